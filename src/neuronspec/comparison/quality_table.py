"""The table of translations that are broken in ways that no metric shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from neuronspec.comparison.paper_tables import Rows, stack
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import Cell, Table, Title
from neuronspec.evaluation.results import SystemQuality

UNTOLD = "cannot be told"
MOST_TASKS = 6  # that a cell names


def tabulate_quality(study: Study) -> Table:
    """Return what no metric shows, in percent of all test sentences: a row a system, zero-shot directions apart.

    Off-target counts the directions where it can be told. Where there are others, a last column names them, each with
    the share of its references that is called another language, and the notes say why.
    """
    unseen, found = study.results.zero_shot, study.results.qualities
    parts = {"zero-shot": [one for one in found if one.task in unseen]} if unseen else {}
    parts = {"trained" if unseen else "": [one for one in found if one.task not in unseen], **parts}
    blocks: dict[str, Rows] = {}
    for (name, qualities), system in product(parts.items(), study.results.systems):
        if own := [one for one in qualities if one.system == system]:
            blocks.setdefault(name, []).append([Cell(study.title(system)), *_count_broken(own)])
    header: list[Title] = ["system", ("off-target %", "system"), ("off-target %", "references"), "of sentences"]
    header += ["empty %", "copied %", "repeated %", "over-long %"]
    notes = [
        "Off-target: in another language, of those that are long enough to tell (40 letters); of the references, "
        "it is the error of the tool that tells."
    ]
    if any(_is_untold(one) for one in found):
        header.append(f"off-target {UNTOLD}")
        notes += _explain_untold(found)
    else:
        blocks = {name: [row[:-1] for row in rows] for name, rows in blocks.items()}
    return stack("Translations that are broken", header, blocks, notes)


def _count_broken(qualities: Sequence[SystemQuality]) -> list[Cell]:
    """Return shares in percent over the sentences of several test sets, and where off-target cannot be told."""
    judged = [quality for quality in qualities if quality.off_target is not None]
    untold = [quality for quality in qualities if _is_untold(quality)]
    identified = sum(quality.identified for quality in judged)
    text = UNTOLD if untold and not judged else None
    cells = [Cell(_average((one.identified, one.off_target) for one in judged), text=text)]
    weights = [(one, one.identified if judged else one.sentences) for one in judged or untold]
    cells.append(Cell(_average((weight, one.off_target_references) for one, weight in weights)))
    cells.append(Cell(identified, 0))

    for kind in ("empty", "copied", "repeated", "over_long"):
        shares = [(quality.sentences, getattr(quality, kind)) for quality in qualities]
        known = all(share is not None for _, share in shares)
        cells.append(Cell(_average(shares) if known else None))
    return [*cells, Cell(_list_untold(untold))]


def _average(shares: Iterable[tuple[int, float | None]]) -> float | None:
    """Return the mean of (weight, share) in percent, without the shares that are not known; None where none is."""
    known = [(weight, share) for weight, share in shares if share is not None]
    total = sum(weight for weight, _ in known)
    return 100 * sum(weight * share for weight, share in known) / total if total else None


def _is_untold(quality: SystemQuality) -> bool:
    """Tell whether a test set could not be judged, and a reason was kept."""
    return quality.off_target is None and bool(quality.off_target_note)


def _list_untold(qualities: Sequence[SystemQuality]) -> str:
    """Return tasks, each with the share of its references that is called another language, where that is known."""
    shown = []
    for one in qualities[:MOST_TASKS]:
        share = one.off_target_references
        shown.append(one.task if share is None else f"{one.task} (references {100 * share:.0f} %)")
    more = len(qualities) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])


def _explain_untold(qualities: Iterable[SystemQuality]) -> list[str]:
    """Return a note for each reason why off-target cannot be told, with the tasks that it is the reason for."""
    tasks: dict[str, dict[str, None]] = {}
    for one in qualities:
        if _is_untold(one):
            tasks.setdefault(one.off_target_note, {})[one.task] = None
    notes = []
    for reason, names in tasks.items():
        listed = [*names][:MOST_TASKS]
        more = [f"{len(names) - len(listed)} more"] if len(names) > len(listed) else []
        notes.append(f"Off-target {UNTOLD} of {', '.join([*listed, *more])}: {reason}.")
    return notes
