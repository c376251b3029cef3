"""Message catalogs: groups of `.po`, `.mo` and `.json` files, in which English may be the keys."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from neuronspec.data.corpora import read_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.languages import is_english
from neuronspec.proposal.aligned_groups import FileGroup
from neuronspec.proposal.listing import LeftOut
from neuronspec.proposal.parallel_text import ParallelText

_MANY = 4  # catalogs in one place that are named by a wildcard together


def read_catalog_groups(groups: Iterable[FileGroup]) -> Iterator[ParallelText | LeftOut]:
    """Yield the text of groups of catalogs; those in one place are named together."""
    for template, merged in _merge_places(groups).items():
        codes = list(dict.fromkeys(itertools.chain.from_iterable(group.files for group in merged)))
        english = next((code for code in codes if is_english(code)), "en")
        file = next(iter(merged[0].files.values()))

        # Only the reader of catalogs can count what two of them have in common.
        lines, reason = {}, "it has no second language"
        for code in codes:
            try:
                count = sum(1 for _ in read_pairs(template, english, code)) if code != english else 0
            except NeuronspecError as error:
                reason = str(error)
                continue
            if count:
                lines[code] = count

        if lines:
            lines = {english: max(lines.values())} | lines
            yield ParallelText(path=template, name=template[file.root :], lines=lines, aligned=False)
        else:
            yield LeftOut(template, reason)


def _merge_places(groups: Iterable[FileGroup]) -> dict[str, list[FileGroup]]:
    """Return groups by their template, with a wildcard for the name of many catalogs in one place."""
    places: dict[tuple[str, str], list[FileGroup]] = defaultdict(list)
    for group in groups:
        path = PurePath(group.template)
        places[str(path.parent), path.suffix].append(group)

    merged: dict[str, list[FileGroup]] = {}
    for (folder, suffix), members in places.items():
        if len(members) >= _MANY and "{lang}" in folder:
            merged[f"{folder}/*{suffix}"] = members
        else:
            merged |= {group.template: [group] for group in members}
    return merged
