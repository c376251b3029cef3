"""The table of costs: parameters, memory, and the duration and speed of trainings (the paper's Table 5)."""

from __future__ import annotations

from collections.abc import Mapping

from neuronspec.comparison.cells import Cell
from neuronspec.comparison.study import Cost, Study
from neuronspec.comparison.tables import ColumnTitle, Table
from neuronspec.statistics.numbers import show_number

# Units from large to small, in the order in which they are tried.
SECONDS = {"h": 3600.0, "min": 60.0, "s": 1.0}
BYTES = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}


def tabulate_efficiency(study: Study) -> Table:
    """Return what each system added and took (the paper's Table 5), as its run measured it.

    Columns: Δθ, the relative increase in parameters, and the increase; the time to find sub-networks; the memory
    next to the model; the training: seconds, updates, tokens of the target language, and its speed relative to
    fine-tuning. Data formats hold plain seconds and bytes. Systems with unknown costs are left out.
    """
    # Speeds are shown relative to fine-tuning on the same machine, if the run has it.
    fine_tuning_speed = _find_speed(study.costs.get(study.fine_tuned))

    rows = []
    for system in study.results.systems:
        cost = study.costs.get(system)
        if cost is None:
            continue

        # Durations get a unit from 1.5 of it on, so 80 minutes are shown as such; sizes from 0.1 on, such as 0.3 GB.
        row = [Cell(study.title(system)), show_increase(study, system), Cell(cost.parameters_added, 0)]
        row.append(_show_amount(cost.search_seconds, SECONDS, least=1.5, missing="-"))
        row.append(_show_amount(cost.extra_bytes, BYTES, least=0.1))
        row.append(_show_amount(cost.seconds, SECONDS, least=1.5))
        row += [Cell(cost.updates, 0), Cell(cost.target_tokens, 0)]
        if fine_tuning_speed:
            speed = _find_speed(cost)
            row.append(Cell(speed / fine_tuning_speed if speed else None, 2))
        rows.append(row)

    # The speed has a column only if fine-tuning was measured, too.
    header: list[ColumnTitle] = ["system", "Δθ", "parameters added", "finding sub-networks", "extra memory"]
    header += [("training", "time"), ("training", "updates"), ("training", "target tokens")]
    notes = [f"Δθ: the relative increase in parameters over {study.title(study.baseline)}. Times are of these runs."]
    if fine_tuning_speed:
        header.append(("training", "speed"))
        notes.append(f"Speed: target tokens a second, relative to {study.title(study.fine_tuned)}.")
    return Table("Cost", header, rows, notes=notes)


def show_increase(study: Study, system: str) -> Cell:
    """Return Δθ, the relative increase in parameters: a dash for the baseline, nothing if it is not known."""
    if system == study.baseline:
        return Cell(None, text="-")
    cost, base = study.costs.get(system), study.costs.get(study.baseline)
    if cost is None:
        return Cell(None, text="")

    # Without the baseline's own number, what was added is taken off.
    before = cost.parameters - cost.parameters_added if base is None else base.parameters
    percent = 100 * (cost.parameters / before - 1)

    # Small increases keep two digits (+0.47%); large ones need no decimals (+120%).
    number = f"{abs(percent):,.0f}" if abs(percent) >= 10 else show_number(abs(percent))
    sign = "-" if percent < 0 else "+"
    return Cell(percent / 100, text=f"{sign}{number}%" if percent else "0%")


def _find_speed(cost: Cost | None) -> float | None:
    """Return the number of target tokens that a training saw in a second."""
    if cost is None or not cost.target_tokens or not cost.seconds:
        return None
    return cost.target_tokens / cost.seconds


def _show_amount(amount: float | None, units: Mapping[str, float], *, least: float, missing: str = "") -> Cell:
    """Return an amount, shown in the first unit in which it is at least `least`."""
    if amount is None:
        return Cell(None, text=missing)

    # The last unit takes what is too small for all others.
    unit = next((unit for unit, size in units.items() if amount >= least * size), [*units][-1])

    # Two digits are enough for people: 1.4 h, 14 h.
    number = amount / units[unit]
    decimals = 1 if number < 10 else 0
    return Cell(amount, text=f"{number:.{decimals}f}".removesuffix(".0") + f" {unit}")
