"""LAPE's experiment on a model and text files: measured, and written as tables, figures, numbers and masks."""

from __future__ import annotations

from pathlib import Path

from neuronspec.analysis.lape_experiment import LapeOptions, measure_lape
from neuronspec.analysis.perplexity_matrix import RANDOM, PerplexityMatrix
from neuronspec.comparison.tables import write_tables
from neuronspec.config.loading import NeuronSections
from neuronspec.config.sections import AblationOptions
from neuronspec.errors import NeuronspecError
from neuronspec.figures.ablation_matrix import draw_perplexities
from neuronspec.files import publish, write_json
from neuronspec.neurons.activity import Activity
from neuronspec.neurons.model_texts import ModelTexts
from neuronspec.neurons.rules import RULES, check_options, list_options
from neuronspec.neurons.text_recording import sign_texts
from neuronspec.pipeline.run_results import TABLES
from neuronspec.report.perplexity_tables import tabulate_perplexities

# Names below the directory of the experiment
LAPE_FILE = "lape.json"
FIGURES, FIGURE = "figures", "perplexity"
MASKS = "masks"

# What the settings of a run decide here; the experiment itself decides the rest.
_READ = {
    "record": {"threshold", "gated_at", "ignore", "tokens_per_batch"},
    "select": {"options"},
    "ablate": {"draws", "sentences"},
}


def check_lape_settings(sections: NeuronSections) -> None:
    """Refuse settings that would change nothing in LAPE's experiment.

    Args:
        sections: Settings that were given.

    Raises:
        NeuronspecError: If there are any.
    """
    for name, keys in _READ.items():
        section = getattr(sections, name)
        unread = set() if section is None else section.model_fields_set - keys
        if unread:
            known = ", ".join(f"{one}.{key}" for one, read in _READ.items() for key in sorted(read))
            raise NeuronspecError(
                f"{name}.{min(unread)} changes nothing with --lape, which counts tokens, selects by the rule lape and "
                f"measures perplexity; it reads {known}"
            )
    check_options("lape", sections.select.options, list_options(RULES["lape"]))


def run_lape(inputs: ModelTexts, name: str, sections: NeuronSections, out: Path, *, seed: int = 0) -> PerplexityMatrix:
    """Measure LAPE's matrix on text files, and write it.

    Args:
        inputs: Model and texts.
        name: Directory or hub name of the model, for the signature.
        sections: Settings of recording, selection and ablation.
        out: Directory of the results, which appear there together.
        seed: Seed of the random control.

    Raises:
        NeuronspecError: If settings would change nothing, or something cannot be measured.
    """
    check_lape_settings(sections)
    matrix = measure_lape(
        inputs.model,
        inputs.tokenizer,
        inputs.texts,
        _choose_options(inputs, sections, seed),
        signature=sign_texts(inputs, name),
    )
    write_lape(matrix, out)
    return matrix


def write_lape(matrix: PerplexityMatrix, out: Path) -> None:
    """Write the numbers, tables, figures and masks of a matrix; they appear together.

    Args:
        matrix: Perplexities without the neurons of each task.
        out: Directory of the results.
    """
    with publish(out) as temporary:
        tables, figures = temporary / TABLES, temporary / FIGURES
        for folder in (tables, figures):
            folder.mkdir(parents=True)

        write_tables(tabulate_perplexities(matrix), tables)
        title = "Increase of the perplexity of each text without the neurons of each task (%)"
        draw_perplexities(matrix.percentages, [*matrix.tasks, RANDOM], matrix.tasks, figures / FIGURE, title=title)
        matrix.masks.save_pretrained(temporary / MASKS)
        write_json(temporary / LAPE_FILE, matrix.as_dict())


def _choose_options(inputs: ModelTexts, sections: NeuronSections, seed: int) -> LapeOptions:
    """Return the settings of the experiment; what is not given is LAPE's own."""
    recording, ablation = sections.record, sections.ablate or AblationOptions()
    return LapeOptions(
        **sections.select.options,
        sentences=ablation.sentences,
        draws=ablation.draws,
        seed=seed,
        activity=Activity(
            unit="token",
            threshold=recording.threshold,
            gated_at=recording.gated_at,
            ignore=tuple(inputs.find_special(recording.ignore)),
        ),
        tokens_per_batch=recording.tokens_per_batch,
        too_long=inputs.too_long,
    )
