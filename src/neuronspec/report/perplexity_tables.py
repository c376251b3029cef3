"""Tables of LAPE's experiment: the perplexity of every text without the neurons of every task, and its increase."""

from __future__ import annotations

from collections.abc import Sequence

from neuronspec.analysis.perplexity_matrix import NOTHING, RANDOM, PerplexityMatrix
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.tables import ColumnTitle, Table
from neuronspec.layer_names import stack_of
from neuronspec.statistics.numbers import FloatArray


def tabulate_perplexities(matrix: PerplexityMatrix) -> dict[str, Table]:
    """Return the tables of a matrix by their names: perplexities, increases, and increases in percent.

    Args:
        matrix: Perplexities without the neurons of each task.
    """
    control = (
        "random: as many neurons in each layer as are the text's own, of about the same activation probability on it; "
        f"mean of {_count_draws(matrix)}."
    )
    notes = [_define(matrix), control]
    if silent := [task for task, number in matrix.neurons.items() if not number]:
        notes.append(f"No neuron is selected for {', '.join(silent)}: LAPE found none that it shares with few others.")

    increase = "Increase of the perplexity over that with nothing off"
    return {
        "perplexity": _tabulate("Perplexity", matrix, matrix.perplexities, notes=notes, signed=False),
        "increase": _tabulate("Increase of the perplexity", matrix, matrix.increases, notes=[f"{increase}."]),
        "increase_percent": _tabulate(
            "Increase of the perplexity in percent", matrix, matrix.percentages, notes=[f"{increase}, in percent."]
        ),
    }


def describe_perplexities(matrix: PerplexityMatrix) -> str:
    """Return a sentence that says whether texts need their own neurons most."""
    test = matrix.test()
    size = len(matrix.tasks)
    own = float(matrix.percentages[:size].diagonal().mean())
    others = (float(matrix.percentages[:size].sum()) / size - own) / (size - 1)
    random = float(matrix.percentages[size].mean())
    return (
        f"Perplexity rises by {own:.2f} % without a text's own neurons, by {others:.2f} % without another task's, and "
        f"by {random:.2f} % without random ones (own above random: p = {test.p_random:.2g}); the own neurons matter "
        f"most for {test.strongest} of {size} texts."
    )


def _tabulate(
    title: str, matrix: PerplexityMatrix, values: FloatArray, *, notes: Sequence[str], signed: bool = True
) -> Table:
    """Return a table with a row for what was off and a column for each text; own neurons are bold."""
    names = [*matrix.tasks, RANDOM] if signed else [NOTHING, *matrix.tasks, RANDOM]
    first = len(names) - 1 - len(matrix.tasks)  # the row of the first task's neurons
    header: list[ColumnTitle] = ["neurons off", "number", *matrix.tasks]

    rows = []
    for number, (name, line) in enumerate(zip(names, values.tolist(), strict=True)):
        is_task = first <= number < len(names) - 1
        count = matrix.neurons[name] if is_task else None if name == RANDOM else 0

        # The text of the task whose neurons are off
        own = number - first if is_task else None
        cells = [Cell(value, 2, signed=signed, bold=column == own) for column, value in enumerate(line)]
        rows.append([Cell(name), Cell(count, 0), *cells])
    return Table(title, header, rows, notes=notes)


def _define(matrix: PerplexityMatrix) -> str:
    """Return the definition of the perplexity, and how many tokens it is based on."""
    has_encoder = any(stack_of(layer) == "encoder" for layer in matrix.masks.layers)
    counted = "all tokens of the target" if has_encoder else "all real tokens of a text but the first of each line"
    return f"Perplexity: exp of the mean negative log-likelihood over {counted} ({_list_tokens(matrix)})."


def _list_tokens(matrix: PerplexityMatrix) -> str:
    return "tokens: " + ", ".join(f"{task} {number}" for task, number in matrix.tokens.items())


def _count_draws(matrix: PerplexityMatrix) -> str:
    draws = len(matrix.random)
    return "1 draw" if draws == 1 else f"{draws} draws"
