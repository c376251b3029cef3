"""Reading the zip archives of OPUS: two files with a sentence a line, and what accompanies them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from neuronspec.data.compression import strip_compression
from neuronspec.data.corpus_formats import LineText, Pair, register_format
from neuronspec.data.locations import locate
from neuronspec.data.readers.aligned import as_line_text, read_aligned
from neuronspec.data.zip_files import open_archive
from neuronspec.errors import NeuronspecError
from neuronspec.languages import match_variant


def find_archived_lines(template: str, source: str, target: str) -> LineText:
    """Return the lines of the two files in a zip archive."""
    return as_line_text(*_find_members(template, source, target))


@register_format("opus", "a zip archive with two aligned files", suffixes=(".zip",), find_lines=find_archived_lines)
def read_archive(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of a zip archive that holds a text in two languages, such as `Books.de-en.de` and `.en`.

    The two are the members whose names differ only in a language's code at their end, in whatever spelling. Nothing
    is unpacked to disk.

    Args:
        template: Archive, with the placeholders of `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the archive is missing or damaged, or does not hold exactly one text in these two
            languages.
    """
    yield from read_aligned(*_find_members(template, source, target))


def _find_members(template: str, source: str, target: str) -> tuple[Path, Path]:
    """Return the members of an archive that hold the text in two languages, named with the archive.

    Raises:
        NeuronspecError: If there are not exactly two such members.
    """
    path, _ = locate(template, source, target)
    members = _list_archive_members(path)

    # Every text that has a member in each of the two languages
    found = []
    for stem, codes in sorted(_group_by_stem(members).items()):
        left, right = (match_variant(code, sorted(codes)) for code in (source, target))

        # One member may fit both codes, such as those of two variants of a language.
        if left is not None and right is not None and left != right:
            found.append((stem, codes[left], codes[right]))

    if not found:
        some = ", ".join(members[:8]) or "nothing"
        single = members[0] if len(members) == 1 else "MEMBER"
        raise NeuronspecError(
            f"{path} holds no text in {source} and {target}, as two members that end in the languages' codes; it has "
            f"{some}; name a single file as {path}!{single}"
        )
    if len(found) > 1:
        stems = ", ".join(stem for stem, _, _ in found[:5])
        raise NeuronspecError(
            f"{path} holds several texts in {source} and {target}: {stems}; name one: {path}!{found[0][0]}.{{lang}}"
        )

    _, first, second = found[0]
    return Path(f"{path}!{first}"), Path(f"{path}!{second}")


def _list_archive_members(path: Path) -> list[str]:
    with open_archive(path) as archive:
        return [member.filename for member in archive.infolist() if not member.is_dir()]


def _group_by_stem(members: list[str]) -> dict[str, dict[str, str]]:
    """Return the members that have a name in common, by the code after its last dot."""
    groups: dict[str, dict[str, str]] = defaultdict(dict)
    for member in members:
        plain = strip_compression(PurePosixPath(member))
        if plain.suffix:
            stem, code = str(plain.with_suffix("")), plain.suffix[1:]
            groups[stem][code] = member
    return groups
