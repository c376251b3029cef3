"""The check of a model, of masks or counts, or of files of text, outside of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neuronspec.checking.neurons import check_counts, check_masks, check_origin
from neuronspec.checking.problem import Problem, list_places
from neuronspec.checking.tags import check_tags, find_tags, name_tags
from neuronspec.checking.text import check_text
from neuronspec.checking.text_sample import PairText, choose_limit, read_text
from neuronspec.checking.tokens import check_lengths, check_unknown, count_unknown, encode_text
from neuronspec.config.columns import Columns
from neuronspec.config.sections import Data, Sampling
from neuronspec.data.corpora import read_pairs
from neuronspec.data.templates import list_grid
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import DEFAULT_IDENTIFIER
from neuronspec.languages import join_direction, split_direction
from neuronspec.models.building import build_skeleton, count_parameters
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.models.tags import list_tags
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.mask_sources import find_kind
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.checkup import Checkup
from neuronspec.pipeline.source_kinds import find_source_kind
from neuronspec.proposal import Discovery, discover
from neuronspec.statistics.numbers import show_number

_LISTED = 3  # files that are left out, each with its reason
_OTHER_VOCABULARY = "choose a model whose vocabulary has this script"


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options of a check outside of a run.

    Attributes:
        model: Model of masks, counts or text.
        texts: File of each task, for a model.
        columns: Columns of the files that are tables, by task.
        formats: Formats of the files whose names do not show them, by task.
        languages: Codes or directions that a model must have tags for, separated by commas.
        limit: Number of sentence pairs to read of each text.
        identifier: Name of the language identifier.
    """

    model: str | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Columns] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)
    languages: str | None = None
    limit: int | None = None
    identifier: str = DEFAULT_IDENTIFIER


def check_source(source: str, options: SourceOptions) -> Checkup:
    """Check a model, masks, counts, or files of text.

    Args:
        source: Directory or hub name of a model, place of masks or counts, or file or folder of text.
        options: Options of the check.

    Raises:
        NeuronspecError: If the source does not exist, or cannot be read.
    """
    kind = find_source_kind(source)
    if kind == "neurons":
        return check_neurons(Path(source), options)
    return check_files(source, options) if kind == "text" else check_model(source, options)


def check_model(name: str, options: SourceOptions) -> Checkup:
    """Check a model with its tokenizer, and text as it reads it.

    Args:
        name: Directory of the model, or its name on the hub.
        options: Languages and text.

    Raises:
        NeuronspecError: If it is no model, or a text cannot be read.
    """
    config, tokenizer = load_configuration(name), load_tokenizer(name)
    result = Checkup(kind="model", name=name)
    skeleton = build_skeleton(config)
    result.facts = {"architecture": config.model_type, "parameters": count_parameters(skeleton)}
    try:
        layers = find_ffn_layers(skeleton)
        result.facts["FFN layers"] = len(layers)
        result.facts["neurons"] = sum(layer.width for layer in layers)
    except NeuronspecError as error:
        result.found.append(Problem(level="warning", subject="model", message=str(error)))

    # Masks that are stored with the model
    place = Path(name)
    if (place / MASKS_FILE).is_file():
        masks = NeuronMasks.from_pretrained(place)
        result.facts["masks"] = f"{len(masks.tasks)} tasks"
        result.found += [*check_masks(masks), *check_origin(masks, config, None, tokenizer)]

    if not config.is_encoder_decoder:
        return result
    result.facts["tags in the vocabulary"] = len(list_tags(tokenizer))
    codec = TextCodec(tokenizer, config)
    tasks = [*_list_tasks(options.languages), *options.texts]
    _check_translation(result, codec, tasks, _read_files(options), identifier=options.identifier)
    return result


def check_neurons(place: Path, options: SourceOptions) -> Checkup:
    """Check masks or counts, with their model if one is given.

    Args:
        place: Directory or file.
        options: Model of the neurons.

    Raises:
        NeuronspecError: If the file is damaged, or the model cannot be read.
    """
    kind = find_kind(place)
    neurons = NeuronMasks.from_pretrained(place) if kind == "masks" else ActivationCounts.load(place)
    result = Checkup(kind=kind, name=str(place))
    result.facts = {
        "tasks": list(neurons.tasks),
        "layers": len(neurons.layers),
        "neurons": sum(neurons.widths.values()),
    }
    if isinstance(neurons, NeuronMasks):
        result.facts["sparsity"] = f"{100 * neurons.mean_sparsity():.1f} %"
        result.found += check_masks(neurons)
    else:
        result.facts["unit"] = neurons.unit
        result.found += check_counts(neurons)

    if options.model is not None:
        config, tokenizer = load_configuration(options.model), load_tokenizer(options.model)
        result.found += check_origin(neurons, config, Path(options.model), tokenizer)
    return result


def check_files(source: str, options: SourceOptions) -> Checkup:
    """Check files of text: the corpora that are found in them.

    Args:
        source: File, folder or template.
        options: Model that would read the text.

    Raises:
        NeuronspecError: If no corpus is found, or the model cannot be read.
    """
    found = discover([source], languages=options.languages.split(",") if options.languages else ())
    pairs = [join_direction(found.pivot, language) for language in found.languages]
    data = Data.model_construct(
        train=found.list_corpora("train"), valid=found.list_corpora("valid"), test=found.list_corpora("test")
    )
    result = Checkup(kind="data", name=source)
    result.facts = {
        "languages": [found.pivot, *found.languages],
        "corpora": list(dict.fromkeys(f"{corpus.corpus.path} ({corpus.part})" for corpus in found.corpora)),
    }
    result.found += _list_left_out(found)

    result.texts, unread = read_text(data, pairs, found.pivot, limit=options.limit)
    for text in result.texts:
        # A part without any corpus is no fault of the files.
        text.whole -= {part for part in ("train", "valid", "test") if not getattr(data, part)}
    result.found += [*unread, *check_text(result.texts, identifier=options.identifier)]

    if options.model is not None:
        config = load_configuration(options.model, translates=True)
        codec = TextCodec(load_tokenizer(options.model), config)
        tasks = [*pairs, *("-".join(reversed(split_direction(pair))) for pair in pairs)]
        _check_translation(result, codec, tasks, result.texts, identifier=options.identifier, pivot=found.pivot)
    return result


def _list_left_out(found: Discovery) -> Iterator[Problem]:
    """Yield a note about each file that is left out, as far as they are few."""
    for left in found.left_out[:_LISTED]:
        yield Problem(level="note", subject=left.path, message=f"{left.path} is left out: {left.reason}")
    if more := found.left_out[_LISTED:]:
        names = list_places([left.path for left in more])
        yield Problem(level="note", subject="files", message=f"{len(more)} more files are left out: {names}")


def _check_translation(
    result: Checkup,
    codec: TextCodec,
    tasks: Sequence[str],
    texts: Sequence[PairText],
    *,
    identifier: str,
    pivot: str = "",
) -> None:
    """Check the tags of directions, and text as the model reads it."""
    problems = list(check_tags(codec, tasks))
    result.found += problems
    usable = [task for task in tasks if not any(one.subject == task and one.level == "error" for one in problems)]
    if usable:
        result.facts["tags"] = name_tags(codec.tokenizer, find_tags(codec.tokenizer, usable))
    if not texts:
        return

    if not result.texts:
        result.texts = texts
        result.found += check_text(texts, identifier=identifier)
    encoded = list(encode_text(codec, texts, usable, pivot))
    result.facts["unknown tokens"] = {
        code: f"{show_number(100 * unknown / max(1, tokens))} %"
        for code, (unknown, tokens, _) in count_unknown(encoded).items()
    }
    result.found += check_unknown(encoded, _OTHER_VOCABULARY)
    result.found += check_lengths(encoded, Sampling())


def _list_tasks(languages: str | None) -> list[str]:
    """Return the directions that languages or directions name; a single language is paired with English."""
    words = [word.strip() for word in languages.split(",")] if languages else []
    if not words:
        return []
    return list_grid(words if len(words) > 1 or "-" in words[0] else [words[0], "en"])


def _read_files(options: SourceOptions) -> list[PairText]:
    """Return the text of each direction, up to a limit."""
    limit = options.limit or choose_limit(len(options.texts))
    texts = []
    for task, path in options.texts.items():
        format, columns = options.formats.get(task, "auto"), options.columns.get(task)
        found = read_pairs(path, *split_direction(task), format=format, columns=columns)
        pairs = ((pair.source, pair.target) for pair in found)
        text = PairText(pair=task)
        text.parts["test"].extend(itertools.islice(pairs, limit))
        if next(pairs, None) is None:
            text.whole.add("test")
        texts.append(text)
    return texts
