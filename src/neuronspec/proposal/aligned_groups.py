"""Files that belong together: their names differ in a language's code only, and they are aligned line by line."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from neuronspec.languages import names_language, same_language
from neuronspec.proposal.contents import count_lines
from neuronspec.proposal.file_names import CodePlace, find_codes
from neuronspec.proposal.listing import LeftOut, ListedFile
from neuronspec.proposal.parallel_text import ParallelText

# NTREX and WMT call one side of a set `src` and the other one `ref`.
_SIDES = re.compile(r"(?<![A-Za-z0-9])(?:src|ref)(?![A-Za-z0-9])")


@dataclass(frozen=True)
class FileGroup:
    """Files whose names differ in a language's code only.

    Attributes:
        template: Path of all of them, with `{lang}`.
        files: Files by the code in their names.
    """

    template: str
    files: dict[str, ListedFile] = field(default_factory=dict)


def group_files(
    files: Sequence[ListedFile], own: Collection[str] = (), alone: bool = False
) -> tuple[list[FileGroup], list[ListedFile]]:
    """Return the groups of files, and the files that belong to no group.

    Args:
        files: Files with a sentence a line.
        own: Codes that users give.
        alone: Whether a single file makes a group, as the catalogs of gettext do, which have English for keys.
    """
    # Every place of a code in a name makes a template.
    places = {file.path: list(_list_templates(file, own)) for file in files}
    members: dict[str, set[str]] = defaultdict(set)
    for templates in places.values():
        for template, place in templates:
            members[template].add(place.code)

    # The last place at which there are other languages decides.
    groups: dict[str, FileGroup] = {}
    rest = []
    for file in files:
        fitting = [
            (len(members[text]) if alone else 0, number, text, place.code)
            for number, (text, place) in enumerate(places[file.path])
            if (alone and place.sure) or _is_group(members[text], own)
        ]
        if not fitting:
            rest.append(file)
            continue
        _, _, template, code = max(fitting)
        groups.setdefault(template, FileGroup(template)).files[code] = file

    # A group may have lost its other files to other groups.
    kept = [group for group in groups.values() if alone or len(group.files) > 1]
    rest += [file for group in groups.values() if group not in kept for file in group.files.values()]
    return kept, rest


def _list_templates(file: ListedFile, own: Collection[str]) -> Iterator[tuple[str, CodePlace]]:
    """Yield the path with `{lang}` in place of each code of its name, in the order of the name."""
    for place in find_codes(file.name, own):
        start, end = file.root + place.start, file.root + place.end
        before, after = file.path[:start], file.path[end:]

        # The two sides of one set differ in one more word; members of archives have no wildcards.
        if "!" not in file.path:
            before = before[: file.root] + _SIDES.sub("*", before[file.root :])
        yield f"{before}{{lang}}{after}", place


def _is_group(codes: set[str], own: Collection[str]) -> bool:
    """Return whether codes are those of several languages, at least one of them well known."""
    sure = [code for code in codes if any(place.sure for place in find_codes(code, own))]
    first = next(iter(codes))
    return bool(sure) and any(not same_language(first, code) for code in codes)


def read_groups(groups: Iterable[FileGroup]) -> Iterator[ParallelText | LeftOut]:
    """Yield the text of groups of aligned files; one without two files of the same length is left out."""
    for group in groups:
        counts = {code: count_lines(file.path) for code, file in group.files.items()}
        lines = {code: count for code, (count, _) in counts.items()}

        # Two files at least must have the same number of lines.
        usual = max(lines.values(), key=list(lines.values()).count)
        if list(lines.values()).count(usual) < 2:
            found = ", ".join(f"{group.files[code].path}: {count:,} lines" for code, count in lines.items())
            yield LeftOut(group.template, f"its files are not aligned line by line ({found})")
            continue

        file = next(iter(group.files.values()))
        yield ParallelText(
            path=group.template,
            name=group.template[file.root :],
            lines=lines,
            named_by="direction",
            template=_name_direction(group.template, file.root, list(lines)),
            exact=all(exact for _, exact in counts.values()),
        )


def _name_direction(template: str, root: int, codes: Sequence[str]) -> str:
    """Return a template with `{src}-{tgt}` in place of the two languages of its files: one for all directions."""
    if len(codes) != 2:
        return template
    name = template[root:]

    # Pairs of codes, from the last one on, so that the places of the others stay.
    places = find_codes(name, codes)
    for first, second in reversed(list(itertools.pairwise(places))):
        joined = name[first.end : second.start]
        named = {first.code, second.code}
        if joined in ("-", "_") and all(any(names_language(one, code) for one in named) for code in codes):
            name = f"{name[: first.start]}{{src}}{joined}{{tgt}}{name[second.end :]}"
    return template[:root] + name
