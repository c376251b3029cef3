"""The part of a page that shows translations side by side, and the file of all of them next to it."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuronspec.comparison.ngrams import NgramDifference, compare_ngrams, match_ngrams
from neuronspec.comparison.side_by_side import SENTENCE_METRIC, SideBySide, lay_side_by_side
from neuronspec.comparison.study import Study
from neuronspec.evaluation.metrics import find_scoring
from neuronspec.evaluation.quality import BROKEN_KINDS
from neuronspec.files import publish
from neuronspec.languages import split_direction
from neuronspec.languages.meaning import read_code
from neuronspec.progress import show_progress
from neuronspec.report.sentence_choice import DESCRIPTION, MAX_SHOWN, choose_sentences, share_out
from neuronspec.terminal import escape_json

Frequencies = Callable[[str], Mapping[str, int] | None]
"""A function from a target language to how often each word occurs in its training text; None if there is none."""

Pair = tuple[str, str]  # baseline, system
NO_TRANSLATIONS = (
    "There are scores but no translations to show. A run has them; `neuronspec score --out` keeps them with its "
    "scores: score the files again to see their sentences here."
)
FROM_REFERENCES = "the references of the direction"
EDGES = (1, 5, 10, 20)
"""Points of chrF++ at which the bars of gains begin, and those of losses: 1 is in the first of its side."""


@dataclass(frozen=True, kw_only=True)
class WordCounts:
    """Counts of the words of a text, to say how rare they are.

    Attributes:
        count: Function from a target language to the number of times each word occurs.
        text: Name of the text: "the training text".
    """

    count: Frequencies
    text: str


@dataclass
class _Collected:
    """Parts of a page, collected direction by direction."""

    directions: list[dict[str, Any]] = field(default_factory=list)
    broken: list[list[list[int | None]]] = field(default_factory=list)
    gains: list[list[list[int] | None]] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    ngrams: list[list[Any]] = field(default_factory=list)
    texts: dict[str, None] = field(default_factory=dict)


def list_systems(study: Study) -> list[str]:
    """Return the systems of a study whose translations are at hand."""
    return [system for system in study.results.systems if any(own == system for own, _ in study.results.outputs)]


def list_pairs(study: Study) -> list[Pair]:
    """Return the pairs of systems that a study compares, as (baseline, system).

    First come those with its baseline, and of these the one whose system has the best score: a page opens with it.
    """
    metric, tasks = study.results.metrics[0], study.results.tasks
    sign = 1 if find_scoring(metric).higher_is_better else -1

    def rank(system: str) -> float:
        score = study.results.score(system, metric, tasks)
        return math.inf if math.isnan(score) else -sign * score  # a score that is missing comes last

    others = sorted((system for system in study.results.systems if system != study.baseline), key=rank)
    pairs = [(study.baseline, system) for system in others]
    return list(dict.fromkeys([*pairs, *((one.baseline, one.system) for one in study.comparisons)]))


def show_translations(
    study: Study,
    file: Path,
    *,
    pairs: Sequence[Pair] | None = None,
    words: WordCounts | None = None,
    limit: int = MAX_SHOWN,
) -> dict[str, Any] | None:
    """Write all sentences of a study to a file, and return what a page shows of them.

    Every count is of all sentences, whichever of them the page shows.

    Args:
        study: Study with translations.
        file: File of JSON lines, one for each sentence; see `SideBySide.rows`.
        pairs: Pairs of (baseline, system) whose n-grams are compared; the page opens with the first. By default,
            those of `list_pairs`.
        words: Word counts of the training text; by default words are counted in the references.
        limit: Number of sentences that the page shows at most.

    Returns:
        The part `translations` of a page's payload; None if the study has no translations.

    Raises:
        NeuronspecError: If translations are not those that were scored, or a file is damaged.
    """
    systems = list_systems(study)
    if not systems:
        return None
    pairs = [pair for pair in (list_pairs(study) if pairs is None else pairs) if set(pair) <= set(systems)]

    # A direction at a time: not all sentences of two hundred languages fit into memory.
    collected = _Collected()
    sizes = _count_sentences(study)
    shares = share_out(sizes, limit)
    with _open_lines(file) as write, show_progress("laying sentences side by side", len(sizes)) as advance:
        for task, share in shares.items():
            frequencies = None if words is None else words.count(split_direction(task)[1])
            collected.texts[FROM_REFERENCES if words is None or frequencies is None else words.text] = None
            side = lay_side_by_side(study.results, task, frequencies)
            assert side is not None
            write(side)
            _collect(collected, side, systems=systems, pairs=pairs, share=share)
            advance()

    return {
        "metric": SENTENCE_METRIC,
        "systems": [{"name": system, "title": study.title(system)} for system in systems],
        "pairs": [[systems.index(baseline), systems.index(system)] for baseline, system in pairs],
        "directions": collected.directions,
        "kinds": [kind.replace("_", "-") for kind in BROKEN_KINDS],
        "broken": collected.broken,
        "edges": EDGES,
        "gains": collected.gains,
        "words": " or, where it is not known, in ".join(collected.texts),
        "choice": DESCRIPTION if sum(sizes.values()) > len(collected.rows) else "",
        "file": file.name,
        "packed": _pack({"rows": collected.rows, "ngrams": collected.ngrams}),
    }


def _count_sentences(study: Study) -> dict[str, int]:
    """Return the number of sentences of each direction with translations."""
    tasks = {task for _, task in study.results.outputs}
    return {one.task: one.sentences for one in study.results.scores if one.task in tasks}


@contextmanager
def _open_lines(file: Path) -> Iterator[Callable[[SideBySide], None]]:
    """Yield a function that writes the sentences of a direction; the file appears once all are written."""
    with publish(file) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:

        def write(side: SideBySide) -> None:
            for row in side.rows():
                # Escapes for what would look like the end of a line, or reorder what is read
                lines.write(escape_json(json.dumps(row, ensure_ascii=False)) + "\n")

        yield write


def _collect(
    collected: _Collected, side: SideBySide, *, systems: Sequence[str], pairs: Sequence[Pair], share: int
) -> None:
    """Add a direction to what a page shows."""
    direction = len(collected.directions)
    matches = match_ngrams(side)
    examples: list[int] = []
    for number, (baseline, system) in enumerate(pairs):
        if {baseline, system} <= side.systems.keys():
            for one in compare_ngrams(side, matches, baseline, system):
                collected.ngrams.append([direction, number, *_show_ngram(one)])
                examples += one.sentences

    chosen = choose_sentences(side, share, pairs, examples)
    collected.rows += [_show_sentence(side, i, direction=direction, systems=systems) for i in chosen]
    collected.gains.append([_count_gains(side, *pair) for pair in pairs])
    collected.broken.append([_count_broken(side, system) for system in systems])
    collected.directions.append(
        {
            "name": side.task,
            "languages": [_tag_language(code) for code in split_direction(side.task)],
            "sentences": len(side),
            "shown": len(chosen),
        }
    )


def _tag_language(code: str) -> str:
    """Return the tag by which a browser chooses letter forms and hyphens; empty for an unknown language."""
    meaning = read_code(code)
    return "-".join(filter(None, (meaning.language, meaning.script))) if meaning.registered else ""


def _show_ngram(one: NgramDifference) -> list[Any]:
    # Sentences are numbered from 1, as everywhere on the page.
    return [one.text, one.system, one.baseline, round(one.score, 3), [number + 1 for number in one.sentences]]


def _show_sentence(side: SideBySide, i: int, *, direction: int, systems: Sequence[str]) -> list[Any]:
    """Return a sentence as a page reads it: the systems' translations, scores, and broken kinds as bits."""
    found = [side.systems.get(system) for system in systems]
    return [
        direction,
        i + 1,
        None if side.sources is None else side.sources[i],
        side.references[i],
        side.lengths[i],
        side.rarest[i],
        [one and one.translations[i] for one in found],
        [one and round(float(one.scores[i]), 2) for one in found],
        [sum(1 << BROKEN_KINDS.index(kind) for kind in one.list_broken(i)) if one else 0 for one in found],
    ]


def _count_broken(side: SideBySide, system: str) -> list[int | None]:
    """Return how many translations of a system are broken in each way; None where it is unknown."""
    one = side.systems.get(system)
    if one is None:
        return [None] * len(BROKEN_KINDS)
    return [int(one.broken[kind].sum()) if kind in one.broken else None for kind in BROKEN_KINDS]


def _count_gains(side: SideBySide, baseline: str, system: str) -> list[int] | None:
    """Return how many sentences gain and lose how much, between the edges of `EDGES`; None without a system."""
    if not {baseline, system} <= side.systems.keys():
        return None

    # From the same rounded scores as the page, so that each bar has as many sentences as it says
    own, theirs = (side.systems[name].scores.round(2) for name in (system, baseline))
    gains = (own - theirs).round(2)
    bars = len(EDGES) + np.sign(gains) * np.digitize(abs(gains), EDGES)  # (sentences,)
    return [int((bars == bar).sum()) for bar in range(2 * len(EDGES) + 1)]


def _pack(value: Any) -> str:
    """Return a JSON value as text: deflated, since sentences make most of a page, and in base64."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    # Half a surrogate pair, which UTF-8 cannot hold, becomes an escape of JSON.
    packed = zlib.compress(text.encode(errors="backslashreplace"), level=9)
    return base64.b64encode(packed).decode("ascii")
