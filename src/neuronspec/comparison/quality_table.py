"""The table of translations that are broken in ways that no metric shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.score_rows import stack
from neuronspec.comparison.study import Study
from neuronspec.comparison.tables import ColumnTitle, Table, TableRows
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.evaluation.results import SystemQuality

NOT_KNOWN = "unknown"  # off-target, if the language cannot be identified
MAX_TASKS = 6  # named in a note


def tabulate_quality(study: Study) -> Table:
    """Return the share of broken sentences in percent: a row for each system, zero-shot directions apart.

    Off-target counts the directions where it is known. If there are others, a last column counts them, and the notes
    name them and say why: their names would make the table too wide for a terminal.
    """
    found = study.results.qualities
    has_unknown = any(_is_unknown(one) for one in found)

    # Trained directions, then those that were not trained
    blocks: dict[str, TableRows] = {}
    for title, qualities in _divide(study).items():
        rows = _show_systems(study, qualities, has_unknown=has_unknown)
        if rows:
            blocks[title] = rows

    # The references are human translations: what is called off-target there is the identifier's error.
    header: list[ColumnTitle] = ["system", ("off-target %", "system"), ("off-target %", "references"), "of sentences"]
    header += ["empty %", "copied %", "repeated %", "over-long %"]
    notes = [
        "Off-target: in another language, of the sentences that are long enough to identify (40 letters); for the "
        "references, it is the error of the identification."
    ]

    # Shares of another identifier than the usual one cannot be compared with other papers' or runs'.
    others = {one.identifier for one in found if not one.identifier.startswith(DEFAULT_IDENTIFIER)} - {""}
    if others:
        notes.append(f"Identified by {', '.join(f'`{name}`' for name in sorted(others))}.")

    # Directions whose language cannot be identified are named, each with the reason.
    if has_unknown:
        header.append(("off-target", NOT_KNOWN))
        notes += _explain_unknown(found)

    return stack("Translations that are broken", header, blocks, notes=notes)


def _show_systems(study: Study, qualities: Sequence[SystemQuality], *, has_unknown: bool) -> TableRows:
    """Return a row for each system that has some of the qualities."""
    rows = []
    for system in study.results.systems:
        # A system without such directions, or scored before quality was counted, has no row.
        own = [one for one in qualities if one.system == system]
        if not own:
            continue

        row = [Cell(study.title(system)), *_show_off_target(own), *_show_shares(own)]
        if has_unknown:
            unknown = sum(map(_is_unknown, own))
            row.append(Cell(f"{unknown} of {len(own)}" if unknown else ""))
        rows.append(row)
    return rows


def _divide(study: Study) -> dict[str, list[SystemQuality]]:
    """Return the qualities of trained and of zero-shot directions; without a title if all were trained."""
    unseen, found = study.results.zero_shot, study.results.qualities
    if not unseen:
        return {"": list(found)}
    return {
        "trained": [one for one in found if one.task not in unseen],
        "zero-shot": [one for one in found if one.task in unseen],
    }


def _show_off_target(qualities: Sequence[SystemQuality]) -> list[Cell]:
    """Return the off-target shares of a system's hypotheses and of the references, and of how many sentences."""
    judged = [quality for quality in qualities if quality.off_target is not None]
    if judged:
        # Every share is one of the sentences that were long enough.
        share = _average([(one.identified, one.off_target) for one in judged])
        references = _average([(one.identified, one.off_target_references) for one in judged])
        sentences = sum(one.identified for one in judged)
        return [Cell(share), Cell(references), Cell(sentences, 0)]

    # Nothing was judged: the references, over all their sentences, show why.
    unknown = [quality for quality in qualities if _is_unknown(quality)]
    if not unknown:
        return [Cell(None), Cell(None), Cell(0, 0)]
    references = _average([(one.sentences, one.off_target_references) for one in unknown])
    return [Cell(None, text=NOT_KNOWN), Cell(references), Cell(0, 0)]


def _show_shares(qualities: Sequence[SystemQuality]) -> list[Cell]:
    """Return the shares of the other kinds of broken sentences; nothing if one test set lacks the share."""
    cells = []
    for kind in ("empty", "copied", "repeated", "over_long"):
        # A mean over the other test sets would look complete, and would not be.
        shares = [(quality.sentences, getattr(quality, kind)) for quality in qualities]
        is_complete = all(share is not None for _, share in shares)
        cells.append(Cell(_average(shares) if is_complete else None))
    return cells


def _average(shares: Sequence[tuple[int, float | None]]) -> float | None:
    """Return the mean of (weight, share) in percent, without unknown shares; None if all are unknown."""
    known = [(weight, share) for weight, share in shares if share is not None]
    # Test sets count by their sentences, so the mean is the share of all sentences together.
    total = sum(weight for weight, _ in known)
    if not total:
        return None
    return 100 * sum(weight * share for weight, share in known) / total


def _is_unknown(quality: SystemQuality) -> bool:
    """Return whether off-target is unknown for a test set, and a reason was kept."""
    return quality.off_target is None and bool(quality.off_target_note)


def _explain_unknown(qualities: Iterable[SystemQuality]) -> list[str]:
    """Return a note for each reason why off-target is unknown, with its tasks."""
    # Tasks by reason, each once, in the order of the results.
    tasks: dict[str, dict[str, None]] = {}
    for one in qualities:
        if _is_unknown(one):
            tasks.setdefault(one.off_target_note, {})[one.task] = None

    notes = []
    for reason, names in tasks.items():
        listed = _join_with_rest([*names][:MAX_TASKS], len(names))
        notes.append(f"Off-target is {NOT_KNOWN} for {listed}: {reason}.")
    return notes


def _join_with_rest(shown: Sequence[str], count: int) -> str:
    """Return texts in one, with the number of those that are not shown."""
    rest = count - len(shown)
    return ", ".join([*shown, f"{rest} more"] if rest else shown)
