"""`neuronspec analyze --lape`: the perplexity of every text without the neurons of every language."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neuronspec.cli.loading_options import LOADING
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import ONLY_RUNS, check_place
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.text_options import TextOptions
from neuronspec.errors import NeuronspecError
from neuronspec.models.directories import check_directory
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neuronspec.analysis.perplexity_matrix import PerplexityMatrix

_TEXT = ("columns", "format", "source_prefix", "too_long", *LOADING)
OF_LAPE = Mode(
    reads=reading("source", "overrides", "lape", "model", "text", *_TEXT, "out", "seed", "force", "as_json"),
    advice="--lape records, selects and measures by itself: leave these options out",
    own_advice=ONLY_RUNS,
)
FOLDER = "lape"  # below the directory of the analysis


def analyze_lape(
    words: Sequence[str], model: str | None, texts: TextOptions, *, out: Path, seed: int, force: bool, as_json: bool
) -> None:
    """Measure, write and print LAPE's matrix.

    Args:
        words: Overrides of the settings.
        model: Directory or hub name of the model.
        texts: Text of each task.
        out: Directory of the analysis.
        seed: Seed of the random control.
        force: Whether an earlier result may be replaced.
        as_json: Whether to print JSON instead of tables.

    Raises:
        NeuronspecError: If an option is wrong or missing.
    """
    work_alone()
    if model is None:
        raise NeuronspecError("--lape needs a model and text: --model MODEL --text de=de.txt --text en=en.txt")
    for word in words:
        if "=" not in word:
            raise NeuronspecError(f"--lape records counts by itself, so that {word!r} would not be read: leave it out")
    from neuronspec.config.loading import load_sections

    # Everything that can be wrong in the command line is checked before the model is loaded.
    sections = load_sections(words, "record", "select", "ablate")
    texts.check()
    check_directory(model)
    check_place(out, force, lambda entry: entry.name in {FOLDER, f".{FOLDER}.tmp", f".{FOLDER}.old"})
    from neuronspec.pipeline.lape_files import check_lape_settings, run_lape

    check_lape_settings(sections)
    matrix = run_lape(texts.open(model), model, sections, out / FOLDER, seed=seed)
    _print_matrix(matrix, out / FOLDER, as_json)


def _print_matrix(matrix: PerplexityMatrix, place: Path, as_json: bool) -> None:
    """Print the perplexities and their increases, and what they say."""
    if as_json:
        print_json(matrix.as_dict())
        return
    from neuronspec.cli.console import print_table
    from neuronspec.report.perplexity_tables import describe_perplexities, tabulate_perplexities

    tables = tabulate_perplexities(matrix)
    print_table(tables["perplexity"])
    print_table(tables["increase"])
    say(describe_perplexities(matrix))
    note(f"the tables, the figure, the numbers and the masks of the neurons are in {place}")
