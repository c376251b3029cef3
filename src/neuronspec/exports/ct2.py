"""The format `ct2`: a directory of CTranslate2 for one task, pruned to its neurons, that needs none of this package."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.exports.answers import open_answers
from neuronspec.exports.ct2_usage import CT2Usage, find_ct2_usage, translate_alone, write_program, write_usage
from neuronspec.exports.formats import Answer, ExportRequest, Written
from neuronspec.exports.options import CT2Options
from neuronspec.exports.sizes import check_disk, count_bytes, count_parameters
from neuronspec.exports.trimmed_export import describe_trimming, trim_for_export
from neuronspec.exports.vocabulary.trimming import TrimmingReport, list_tokens
from neuronspec.files import read_json, write_json
from neuronspec.libraries import import_library
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import unspecialize
from neuronspec.translation.ct2_conversion import check_convertible, convert

_CONFIG = "config.json"  # CTranslate2's, not that of transformers


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """A model of one task and its tokenizer, which are converted, and what was trimmed from their vocabulary."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    trimming: TrimmingReport | None


def write_ct2(request: ExportRequest, directory: Path) -> Written:
    """Write a directory of CTranslate2, with the tokenizer next to it.

    Args:
        request: Model, masks, tokenizer and options.
        directory: Empty directory to write into.

    Raises:
        NeuronspecError: If CTranslate2 does not know the architecture, or no other program could give it the tokens
            that the model reads.
    """
    check_convertible(request.model)
    if getattr(request.tokenizer, "separate_vocabs", False):
        raise NeuronspecError(
            f"{type(request.tokenizer).__name__} has a vocabulary for each side, which the format ct2 cannot hold: "
            "translate with engine=ct2 of neuronspec instead"
        )
    usage = find_ct2_usage(request)
    parts = _make_parts(request)
    check_disk(directory, count_bytes(parts.model))

    # What the small model answers, before its conversion changes it
    parameters = count_parameters(parts.model)
    expected = _answer_small(request, parts) if parts.trimming is not None else []
    _convert(request, parts, usage, directory)
    write_usage(usage, directory)
    if expected and _options(request).compute_type == "float32":
        _check_small(request, expected, directory)

    return Written(
        parameters=parameters,
        notes=_describe(request, parts),
        usage=(
            "With CTranslate2 and transformers, from this directory:",
            "",
            "```python",
            *write_program(usage),
            "```",
        ),
        signature={"ctranslate2": import_library("ctranslate2", "The format ct2", "ct2").__version__},
    )


@contextlib.contextmanager
def open_ct2(request: ExportRequest, directory: Path) -> Iterator[Answer]:
    """Open an exported directory as its users do: with CTranslate2 and the tokenizer in the directory.

    Args:
        request: Request of the export.
        directory: Directory of the export.
    """
    answer = _open_own(request, directory)
    numbers = list_tokens(request.tokenizer)
    names = {number: token for token, number in list_tokens(_load_tokenizer(directory)).items()}

    def translate(sentences: Any, task: str, *, beams: int) -> list[list[int]]:
        # The ids of a trimmed vocabulary are others than those of the request.
        return [[numbers[names[number]] for number in ids] for ids in answer(sentences, task, beams=beams)]

    yield translate


def _open_own(request: ExportRequest, directory: Path) -> Answer:
    """Return what translates with an exported directory, into ids of the exported tokenizer."""
    ctranslate2 = import_library("ctranslate2", "The format ct2", "ct2")
    usage, tokenizer = find_ct2_usage(request), _load_tokenizer(directory)

    # Where the model is, if CTranslate2 can compute there, with as many threads
    is_on_gpu = request.model.device.type == "cuda" and ctranslate2.get_cuda_device_count() > 0
    translator = ctranslate2.Translator(
        str(directory), device="cuda" if is_on_gpu else "cpu", intra_threads=torch.get_num_threads()
    )

    def translate(sentences: Any, task: str, *, beams: int) -> list[list[int]]:
        return translate_alone(usage, translator, tokenizer, sentences, beams)

    return translate


def _options(request: ExportRequest) -> CT2Options:
    assert isinstance(request.options, CT2Options)
    return request.options


def _make_parts(request: ExportRequest) -> _Parts:
    """Return the model of the task, in float32 and as a copy, and its tokenizer, trimmed if that is wanted."""
    if request.masks is None:
        model = unspecialize(copy.deepcopy(request.model))
    else:
        model = prune(request.model, request.masks, request.task)

    model = model.to("cpu", torch.float32)
    options = _options(request)
    if not options.trim:
        return _Parts(model=model, tokenizer=request.tokenizer, trimming=None)

    trimmed = trim_for_export(model, request.tokenizer, request.task, options.trim, options.min_count)
    return _Parts(model=trimmed.model, tokenizer=trimmed.tokenizer, trimming=trimmed.report)


def _convert(request: ExportRequest, parts: _Parts, usage: CT2Usage, directory: Path) -> None:
    """Write the converted model and the tokenizer."""
    names = _name_rows(parts)
    convert(parts.model, parts.tokenizer, directory, _options(request).compute_type, names)

    # The names of special tokens that CTranslate2 uses
    tokenizer = parts.tokenizer
    config = read_json(directory / _CONFIG)
    config["decoder_start_token"] = usage.start
    config["eos_token"], config["unk_token"] = tokenizer.eos_token, tokenizer.unk_token
    config["bos_token"] = tokenizer.bos_token or usage.start
    write_json(directory / _CONFIG, config)

    tokenizer.save_pretrained(directory)


def _name_rows(parts: _Parts) -> list[str]:
    """Return a name for each row of the embeddings: its token, or an invented one where no token has its number."""
    names = {number: token for token, number in list_tokens(parts.tokenizer).items()}
    taken = set(names.values())

    rows = []
    for number in range(parts.model.config.vocab_size):
        invented = f"madeupword{number}"
        while invented in taken:
            invented += "_"
        rows.append(names.get(number, invented))
    return rows


def _answer_small(request: ExportRequest, parts: _Parts) -> list[list[int]]:
    """Return the greedy answers of the trimmed model in transformers."""
    answer = open_answers(parts.model, parts.tokenizer, request.max_tokens)
    return answer(request.sentences[request.task], request.task, beams=1)


def _check_small(request: ExportRequest, expected: list[list[int]], directory: Path) -> None:
    """Refuse a conversion that does not answer as the trimmed model in transformers does, token by token."""
    tokenizer = _load_tokenizer(directory)
    found = _open_own(request, directory)(request.sentences[request.task], request.task, beams=1)

    ends = {tokenizer.eos_token_id, tokenizer.pad_token_id}
    for sentence, one, other in zip(request.sentences[request.task], expected, found, strict=True):
        if [number for number in one if number not in ends] != [number for number in other if number not in ends]:
            raise NeuronspecError(
                f"the export is not published, because with the trimmed vocabulary CTranslate2 translates "
                f"{sentence!r:.80} otherwise than transformers does: export without trim, and report this"
            )


def _load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False)
    return loaded


def _describe(request: ExportRequest, parts: _Parts) -> tuple[str, ...]:
    """Return what there is to say about precision and vocabulary."""
    stored = _options(request).compute_type
    ctranslate2 = import_library("ctranslate2", "The format ct2", "ct2")
    notes = [f"The weights are stored in `{stored}`."]
    if stored not in ctranslate2.get_supported_compute_types("cpu"):
        notes[0] += (
            " The processor of the proof cannot compute in it: there, CTranslate2 computed in the nearest precision "
            "that it can."
        )
    if request.masks is not None:
        notes.append("Each layer has the neurons of the direction and no others.")
    if parts.trimming is not None:
        notes.append(describe_trimming(parts.trimming))
    return (" ".join(notes),)
