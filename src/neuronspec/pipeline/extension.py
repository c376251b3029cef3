"""Room for new languages in a run's pretrained model: what it could do before, its new tokens, and its new neurons."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from transformers import PreTrainedModel

from neuronspec.config.sections import Extension
from neuronspec.data.texts import Texts, read_columns
from neuronspec.errors import NeuronspecError
from neuronspec.exports.other_methods import load_saved_masks
from neuronspec.exports.vocabulary.extending import Coverage, ExtendedVocabulary, extend_vocabulary, is_restored
from neuronspec.files import read_json, write_json
from neuronspec.languages import match_direction, match_language, split_direction
from neuronspec.methods.add_language.planning import plan_masks
from neuronspec.models.building import build_skeleton
from neuronspec.models.codec import TextCodec
from neuronspec.models.embeddings import count_embeddings
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.models.token_matrices import resize_config
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.model_texts import read_task_texts
from neuronspec.pipeline.export_source import read_export_text
from neuronspec.pipeline.model_origin import find_origin
from neuronspec.pipeline.run import Run, open_run
from neuronspec.specialization.growth import grow_model, widen_masks
from neuronspec.training.method import Before

logger = logging.getLogger(__name__)
EXTENSION_FILE: Final = "extension.json"  # next to the tokenizer: what was added to it
_LEARNED_FROM: Final = 500_000  # sentences of each new language


def open_before(run: Run) -> Before:
    """Return the pretrained model of a run as it was before, with its masks and with text of its directions.

    Raises:
        NeuronspecError: If a direction of the run is one of the model's own, there is no text of one of those, or what
            is next to the model is not neuron masks.
    """
    wanted, options = run.config.model, _options(run)
    assert wanted.pretrained is not None
    masks = _find_masks(run, options)

    for task in run.config.directions():
        if masks is not None and match_direction(task, masks.tasks) is not None:
            raise NeuronspecError(
                f"{task} is a direction of the model already, and training would change it: name new directions only"
            )

    tasks = list(masks.tasks) if masks is not None else list(options.proof)
    sentences = _read_proof(wanted.pretrained, tasks, options)
    return Before(
        model=wanted.pretrained,
        revision=wanted.revision,
        masks=masks if masks is not None else _use_everything(run, tasks),
        sentences=sentences,
    )


def _options(run: Run) -> Extension:
    assert run.config.model.extend is not None
    return run.config.model.extend


def _find_masks(run: Run, options: Extension) -> NeuronMasks | None:
    """Return the masks of the directions that the model has; None if it has none."""
    masks = (
        NeuronMasks.from_pretrained(options.masks)
        if options.masks is not None
        else load_saved_masks(Path(str(run.config.model.pretrained)))
    )
    if masks is not None and masks.keeps_bias:
        raise NeuronspecError(
            "cannot add a language next to masks that keep the bias of a masked neuron (`bias: kept`): new neurons "
            "would reach the other directions; train the model with released: false"
        )
    if masks is None and not options.proof:
        raise NeuronspecError(
            f"{run.config.model.pretrained} has no neuron masks: give those of its directions, model.extend.masks=DIR; "
            "or, to count every neuron as used, text of each direction: model.extend.proof={de-en: dev.tsv}"
        )
    return masks


def _use_everything(run: Run, tasks: Sequence[str]) -> NeuronMasks:
    """Return masks of a model without any: every neuron is on."""
    wanted = run.config.model
    skeleton = build_skeleton(load_configuration(str(wanted.pretrained), wanted.revision, translates=True))
    values = {layer.name: torch.ones(len(tasks), layer.width, dtype=torch.bool) for layer in find_ffn_layers(skeleton)}
    return NeuronMasks(tasks, values, {"rule": "all neurons"})


def _read_proof(pretrained: str, tasks: Sequence[str], options: Extension) -> dict[str, list[str]]:
    """Return the first sentences of each direction: of the files that are named, or of the run of the model."""
    found: dict[str, list[str]] = {}
    origin = find_origin(pretrained)
    if origin is not None:
        found |= read_export_text(open_run(origin[0]), tasks, options.sentences)

    texts = read_task_texts(options.proof, pairs=True) if options.proof else {}
    for task, pairs in texts.items():
        name = match_direction(task, tasks)
        if name is None:
            raise NeuronspecError(f"model.extend.proof: the model has no direction {task}: {', '.join(tasks)}")
        found[name] = [source for source, _ in islice(pairs, options.sentences)]

    missing = [task for task in tasks if not found.get(task)]
    if missing:
        raise NeuronspecError(
            f"there is no text of {', '.join(missing)} to prove that nothing changes there: give some for each, "
            f"model.extend.proof={{{missing[0]}: FILE}}, or take a model in the directory of its run"
        )
    return {task: found[task] for task in tasks}


def find_new_languages(tasks: Sequence[str], before: Before) -> list[str]:
    """Return the languages of some directions that no direction from before has.

    Args:
        tasks: New directions.
        before: Model before.
    """
    known = {code for task in before.masks.tasks for code in split_direction(task)}
    codes = dict.fromkeys(code for task in tasks for code in split_direction(task))
    return [code for code in codes if match_language(code, sorted(known)) is None]


def extend_codec(
    run: Run, before: Before, read: Callable[[str], list[str]], *, quiet: bool = False
) -> tuple[ExtendedVocabulary, TextCodec]:
    """Return the tokenizer with the tokens of the new languages, and the codec of the model that will have them.

    Args:
        run: The run.
        before: Model before.
        read: Function that returns training text in a language.
        quiet: Whether to announce nothing about the coverage of the languages.

    Raises:
        NeuronspecError: If the tokenizer cannot be extended, or the model cannot tell the new directions apart.
    """
    wanted = run.config.model
    config = load_configuration(before.model, before.revision, translates=True)
    tokenizer = load_tokenizer(before.model, before.revision)
    rows = count_embeddings(config, "target") or len(tokenizer)

    languages = find_new_languages(run.config.directions(), before)
    extended = extend_vocabulary(
        tokenizer,
        rows=rows,
        languages=languages,
        sentences={language: read(language) for language in languages},
        pieces=_options(run).pieces if languages else 0,
    )
    if not is_restored(tokenizer, extended.tokenizer, rows, extended.pieces):
        raise NeuronspecError(
            f"cannot add a language: {type(tokenizer).__name__} would not split other text as before; "
            "set model.extend.pieces=0"
        )
    for language in () if quiet else languages:
        _announce(language, extended.before[language], extended.after[language])

    # All directions must be distinguishable, as for any model.
    resize_config(config, rows + len(extended.tokens))
    codec = TextCodec(extended.tokenizer, config, wanted.source_prefix)
    codec.formats(run.config.directions(), training=run.config.trains)
    codec.formats(run.config.tested_directions())
    return extended, codec


def read_language(texts: Texts, language: str) -> list[str]:
    """Return the first sentences in a language of the training text."""
    lines: list[str] = []
    for pair in texts.sizes["train"]:
        sides = split_direction(pair)
        if language in sides:
            column = sides.index(language)
            rows = islice(read_columns(texts.path("train", pair)), _LEARNED_FROM - len(lines))
            lines += [columns[column] for columns in rows]
    return lines


def _announce(language: str, before: Coverage, after: Coverage) -> None:
    """Say before any training how well the text of a new language can be written."""
    logger.info("%s: %s with the tokens before, %s with the new ones", language, _show(before), _show(after))
    if after.tokens and after.unknown / after.tokens > _MAX_UNKNOWN:
        logger.warning(
            "%.0f %% of the tokens of %s are unknown: the model can neither read nor write them; add pieces with "
            "model.extend.pieces, if its tokenizer can get some",
            100 * after.unknown / after.tokens,
            language,
        )


_MAX_UNKNOWN: Final = 0.05  # share of the tokens


def _show(coverage: Coverage) -> str:
    share = 100 * coverage.unknown / max(1, coverage.tokens)
    return f"{coverage.tokens / max(1, coverage.words):.2f} tokens a word ({share:.1f} % unknown)"


def write_extension(directory: Path, extended: ExtendedVocabulary) -> None:
    """Write next to a tokenizer what was added to it."""
    values: dict[str, Any] = {
        "tokens": extended.tokens,
        "parents": extended.parents,
        "pieces": extended.pieces,
        "before": {language: asdict(coverage) for language, coverage in extended.before.items()},
        "after": {language: asdict(coverage) for language, coverage in extended.after.items()},
    }
    write_json(directory / EXTENSION_FILE, values)


def make_room(run: Run, model: PreTrainedModel, before: Before) -> tuple[PreTrainedModel, NeuronMasks]:
    """Return the model with its new tokens and neurons, and the masks of all directions: the plan of the training.

    Args:
        run: The run, whose vocabulary is prepared.
        model: Pretrained model.
        before: The same with its masks.

    Raises:
        NeuronspecError: If the layers cannot be widened, or too few neurons are free.
    """
    options, tasks = _options(run), run.config.directions()
    stored: Mapping[str, Any] = read_json(run.layout.vocabulary / EXTENSION_FILE)
    grown = grow_model(
        model,
        languages=find_new_languages(tasks, before),
        tasks=tasks,
        parents=stored["parents"],
        widen=options.widen,
        pieces=stored["pieces"],
        seed=run.config.seed,
    )

    widths = {layer.name: layer.width for layer in find_ffn_layers(grown)}
    masks = plan_masks(
        widen_masks(before.masks, widths),
        tasks,
        reads=options.reads,
        max_free=options.max_free,
        min_neurons=options.min_neurons,
        old_widths=before.masks.widths,
    )
    return grown, masks
