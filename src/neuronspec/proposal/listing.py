"""Listing the files that users point at: files, folders, templates, and the members of zip archives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronspec.config import holds_run
from neuronspec.data.configured_corpora import find_candidates
from neuronspec.data.corpora import names_no_file
from neuronspec.data.reading_errors import explain_missing
from neuronspec.data.zip_files import open_archive, split_archive
from neuronspec.errors import NeuronspecError
from neuronspec.placeholders import CORPUS_PLACEHOLDERS, check_placeholders

_DATASET_MARKS = ("state.json", "dataset_dict.json")  # in every folder that the library `datasets` wrote
_NAMED = 3  # files in a message that cannot be used


@dataclass(frozen=True)
class ListedFile:
    """A file, or a member of a zip archive as `ARCHIVE!MEMBER`.

    Attributes:
        path: Path of the file.
        root: Length of the beginning of the path that says nothing about languages and parts.
    """

    path: str
    root: int

    @property
    def name(self) -> str:
        """The rest of the path, which may name languages and parts."""
        return self.path[self.root :]


@dataclass(frozen=True)
class LeftOut:
    """Something that cannot be used, and the reason.

    Attributes:
        path: Path, as users see it.
        reason: Reason, with what to do about it.
    """

    path: str
    reason: str


def describe_left_out(left_out: Sequence[LeftOut], introduction: str = "") -> str:
    """Return the first few files that cannot be used, with the reasons, in brackets; nothing if there are none.

    Args:
        left_out: Files, with the reasons.
        introduction: Words before the brackets.
    """
    some = "; ".join(f"{one.path}: {one.reason}" for one in left_out[:_NAMED])
    return f"{introduction} ({some})" if some else ""


def list_files(places: Iterable[str]) -> tuple[list[ListedFile], list[LeftOut]]:
    """Return the files of files, folders and templates, each once, and what is left out.

    Args:
        places: Paths of files and folders, `ARCHIVE!MEMBER`, or templates with `{lang}`, `{src}` and `{tgt}`.

    Raises:
        NeuronspecError: If a path does not exist.
    """
    files: dict[str, ListedFile] = {}
    left_out: list[LeftOut] = []
    for place in places:
        for found in _list_place(place):
            if isinstance(found, LeftOut):
                left_out.append(found)
            elif not _is_no_template(found.path):
                left_out.append(LeftOut(found.path, "braces in its name would be read as a placeholder; rename it"))
            elif not _is_text(found.path):
                left_out.append(
                    LeftOut(found.path, "its name is not UTF-8, so that no configuration can name it; rename it")
                )
            else:
                files.setdefault(found.path, found)
    return list(files.values()), left_out


def _is_no_template(path: str) -> bool:
    """Return whether the name of a file, and those of the folders above it, differ from a template."""
    absolute = str(Path(path).absolute())
    return not any(f"{{{name}}}" in absolute for name in CORPUS_PLACEHOLDERS)


def _is_text(path: str) -> bool:
    """Return whether the name of a file, and those of the folders above it, are UTF-8."""
    try:
        str(Path(path).absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def _list_place(place: str) -> Iterator[ListedFile | LeftOut]:
    if names_no_file(place):
        yield LeftOut(place, "its languages cannot be seen from here; add it to data.train by hand")
        return

    # A template stands for all files that it could name.
    if any(f"{{{name}}}" in place for name in CORPUS_PLACEHOLDERS) and not Path(place).exists():
        check_placeholders(place, CORPUS_PLACEHOLDERS)
        yield from _list_template(place)
        return

    archive, _ = split_archive(place)
    path = Path(place).expanduser()
    if archive is not None and archive.is_file():
        yield ListedFile(place, root=len(str(archive.parent)) + 1)
    elif not path.exists():
        raise explain_missing(path)
    elif path.is_dir():
        yield from _list_folder(path, root=len(str(path)) + 1 if str(path) != "." else 0)
    else:
        # The folder of a file may name the language, but not the folders above.
        above = path.parent.parent
        yield from _list_path(path, root=0 if str(above) == "." else len(str(above).rstrip("/")) + 1)


def _list_template(template: str) -> Iterator[ListedFile | LeftOut]:
    # What stands before the first placeholder is the same for all.
    folder = Path(*itertools.takewhile(lambda part: "{" not in part, Path(template).parts))
    root = 0 if str(folder) == "." else len(str(folder)) + 1
    found = find_candidates(template)
    if not found:
        raise NeuronspecError(f"no file fits {template}; write the name as the files have it, or name their folder")
    for path in sorted(found):
        yield from _list_path(path, root)


def _list_folder(folder: Path, root: int, above: frozenset[Path] = frozenset()) -> Iterator[ListedFile | LeftOut]:
    """Yield the files below a folder, in the order of their names; hidden ones are no data.

    Args:
        folder: Folder to look through.
        root: Length of the beginning of paths that says nothing about languages.
        above: Folders that this one is in, without links: one that links to them is not entered again.
    """
    if folder.resolve() in above:
        return
    above |= {folder.resolve()}

    if holds_run(folder):
        yield LeftOut(str(folder), "the directory of a run")
        return
    if any((folder / mark).is_file() for mark in _DATASET_MARKS):
        advice = f'add {{path: "{folder}", format: datasets}} to data.train by hand'
        yield LeftOut(str(folder), f"a dataset, whose languages cannot be seen from here; {advice}")
        return

    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _list_folder(path, root, above)
        elif path.is_file():
            yield from _list_path(path, root)


def _list_path(path: Path, root: int) -> Iterator[ListedFile | LeftOut]:
    """Yield a file, or the members of a zip archive."""
    if path.suffix.lower() != ".zip":
        yield ListedFile(str(path), root)
        return
    try:
        with open_archive(path) as archive:
            members = [member.filename for member in archive.infolist() if not member.is_dir()]
    except NeuronspecError as error:
        yield LeftOut(str(path), str(error))
        return
    for member in sorted(members):
        yield ListedFile(f"{path}!{member}", root)
