"""Exports for the check with stock libraries: what they hold, how they are used, and what the masked model answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

import neuronspec as ns
from neuronspec.config.sections import Translation
from neuronspec.exports.answers import open_answers
from neuronspec.exports.ct2_usage import find_ct2_usage
from neuronspec.exports.formats import EXPORTS, ExportRequest
from neuronspec.exports.ia3 import find_places
from neuronspec.exports.reference import use_masked
from neuronspec.exports.requests import make_request
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import find_loader
from neuronspec.models.plain_use import find_plain_use
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.translation.beam_search import translate_sentences

BEAMS = (1, 5)
Case = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model with masks, its directory, and sentences of each task.

    Attributes:
        name: Name, for messages and folders.
        model: Model without masks.
        tokenizer: Its tokenizer.
        masks: Masks of the tasks.
        directory: Directory of both.
        sentences: Source sentences by task.
        max_tokens: Largest number of tokens of an answer.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    masks: NeuronMasks
    directory: Path
    sentences: Mapping[str, Sequence[str]]
    max_tokens: int


def make_torch_cases(source: Source, out: Path) -> list[Case]:
    """Export a model as `hf`, for its first task, and as `ia3`, for all; return what stock libraries must answer."""
    first, *_ = source.sentences
    expected = answer_masked(source)
    cases = []

    hf = out / f"{source.name}.hf"
    write(source, hf, "hf", task=first)
    card: Case | None = expect_card(source, first, hf)
    cases.append(describe(source, first, f"{source.name} hf", expected[first], model=hf, tokenizer=hf, card=card))

    ia3 = out / f"{source.name}.ia3"
    write(source, ia3, "ia3", task=list(source.sentences))
    card = {"directory": str(ia3), "sentences": None, "expected": None}
    for task, place in find_places(tuple(source.sentences), ia3).items():
        given: dict[str, Any] = {"model": source.directory, "tokenizer": source.directory, "adapter": str(place)}
        cases.append(describe(source, task, f"{source.name} ia3 {task}", expected[task], card=card, **given))
        card = None  # the card has one program
    return cases


def make_ct2_cases(source: Source, out: Path, texts: Mapping[str, Path]) -> list[Case]:
    """Export the first task of a model for CTranslate2, in two precisions and with a trimmed vocabulary."""
    task, *_ = source.sentences
    expected = name_tokens(source, answer_masked(source)[task])
    options: dict[str, dict[str, Any]] = {
        "float32": {},
        "int8": {"compute_type": "int8", "least_chrf": 0},
        "trimmed": {"trim": {language: str(path) for language, path in texts.items()}, "least_chrf": 0},
    }

    cases = []
    for name, given in options.items():
        directory = out / f"{source.name}.ct2.{name}"
        request = write(source, directory, "ct2", task=task, **given)
        usage = find_ct2_usage(request)

        # What this package reads from the export must be what others read: there, rounding is the same.
        with EXPORTS["ct2"].open(request, directory) as answer:
            own = {beams: answer(source.sentences[task], task, beams=beams) for beams in BEAMS}
        cases.append(
            {
                **{"name": f"{source.name} ct2 {name}", "kind": "ct2", "exact": name == "float32"},
                **{"model": str(directory), "tokenizer": str(directory), "beams": BEAMS},
                **{"language": usage.language, "prefix": usage.prefix, "start": usage.target_prefix},
                **{"search": dict(usage.search), "sentences": list(source.sentences[task])},
                **{"masked": expected, "expected": name_tokens(source, own), "ends": find_ends(source)},
                "card": {
                    "directory": str(directory),
                    "sentences": list(source.sentences[task]),
                    "expected": [text.strip() for text in decode(source, own[5])],
                },
            }
        )
    return cases


def write(source: Source, out: Path, format: str, *, task: str | list[str], **options: Any) -> ExportRequest:
    """Export, and return the request by which the export can be opened again."""
    tasks = [task] if isinstance(task, str) else task
    given: dict[str, Any] = {
        **{"task": task, "sentences": {name: source.sentences[name] for name in tasks}},
        **{"dense": False, "pivot": "en", "limit": 1000, "max_tokens": source.max_tokens},
        "source": str(source.directory),
    }
    ns.export(source.model, source.tokenizer, source.masks, out=out, format=format, **given, **options)
    return make_request(EXPORTS[format], format, source.model, source.tokenizer, source.masks, options=options, **given)


def describe(
    source: Source,
    task: str,
    name: str,
    expected: Mapping[int, list[list[int]]],
    *,
    model: Path,
    tokenizer: Path,
    card: Case | None,
    adapter: str | None = None,
) -> Case:
    """Return a case of transformers or PEFT."""
    case: Case = {
        **{"name": name, "kind": "continue", "exact": True, "beams": BEAMS, "max_tokens": source.max_tokens},
        **{"model": str(model), "tokenizer": str(tokenizer), "adapter": adapter, "card": card},
        **{"loader": find_loader(source.model.config).__name__, "sentences": list(source.sentences[task])},
        **{"masked": expected, "expected": expected, "ends": find_ends(source)},
    }
    if source.model.config.is_encoder_decoder:
        plain = find_plain_use(TextCodec(source.tokenizer, source.model.config), task)
        assert plain is not None
        case |= {"kind": "translate", "language": plain.language, "prefix": plain.prefix, "start": plain.start}
    return case


def answer_masked(source: Source) -> dict[str, dict[int, list[list[int]]]]:
    """Return the ids that the masked model writes, by task and beam size."""
    with use_masked(source.model, source.masks) as masked:
        answer = open_answers(masked, source.tokenizer, source.max_tokens)
        return {
            task: {beams: answer(sentences, task, beams=beams) for beams in BEAMS}
            for task, sentences in source.sentences.items()
        }


def expect_card(source: Source, task: str, directory: Path) -> Case:
    """Return what the program on the card of an `hf` export must print: its own beam search with the masked model."""
    sentences = list(source.sentences[task])
    with use_masked(source.model, source.masks) as masked:
        if source.model.config.is_encoder_decoder:
            options = Translation(beams=5, max_tokens=source.max_tokens)
            texts = translate_sentences(masked, source.tokenizer, sentences, [task] * len(sentences), options)
            expected = [text.strip() for text in texts]
            return {"directory": str(directory), "sentences": sentences, "expected": expected}

        # A language model continues the text that is on the card.
        text = "A text to continue"
        (ids,) = open_answers(masked, source.tokenizer, 32)([text], task, beams=1)
    printed: str = source.tokenizer.decode([*source.tokenizer(text)["input_ids"], *ids])
    return {"directory": str(directory), "sentences": None, "expected": printed.splitlines()}


def name_tokens(source: Source, answers: Mapping[int, list[list[int]]]) -> dict[int, list[list[str]]]:
    names = source.tokenizer.convert_ids_to_tokens
    return {beams: [names(ids) for ids in rows] for beams, rows in answers.items()}


def decode(source: Source, rows: list[list[int]]) -> list[str]:
    texts: list[str] = source.tokenizer.batch_decode(rows, skip_special_tokens=True)
    return texts


def find_ends(source: Source) -> list[Any]:
    """Return the ids and the tokens that end a sentence; what follows the first of them is padding."""
    tokenizer = source.tokenizer
    ids = [number for number in (tokenizer.eos_token_id, tokenizer.pad_token_id) if number is not None]
    return [*ids, *tokenizer.convert_ids_to_tokens(ids)]
