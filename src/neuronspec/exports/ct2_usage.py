"""Translating with an exported directory of CTranslate2, by that library and transformers alone.

The program on the card and the proof of the export are made from the same values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from transformers import PreTrainedTokenizerBase

from neuronspec.artifacts.cards import quote_python
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.exports.formats import ExportRequest
from neuronspec.files import read_json, write_json
from neuronspec.format_versions import add_format, remove_format
from neuronspec.languages import find_language, split_direction
from neuronspec.models.codec import TextCodec
from neuronspec.models.plain_use import find_plain_use
from neuronspec.translation.ct2_search import choose_best
from neuronspec.translation.ct2_settings import find_least_length, list_forbidden

BATCH = 32  # sentences
USAGE_FILE: Final = "neuronspec_usage.json"
_SEARCH_ARGUMENTS: Final = frozenset(
    {"max_decoding_length", "min_decoding_length", "max_input_length"}
    | {"repetition_penalty", "no_repeat_ngram_size", "suppress_sequences"}
)


@dataclass(frozen=True, kw_only=True)
class CT2Usage:
    """The way of translating in one direction with a converted model.

    Attributes:
        task: Direction.
        language: Value of the tokenizer's `src_lang`; None if it stays as it is.
        prefix: Text in front of each source.
        start: Token that the decoder starts with, which the converted model knows.
        target_prefix: Tokens that each translation starts with.
        uncounted: Number of these that are no part of a translation; transformers counts the others, which are forced.
        search: Arguments of `translate_batch`, without the beam size.
        longest: Number of tokens of text that the model can read; None for no limit.
    """

    task: str
    language: str | None
    prefix: str
    start: str
    target_prefix: tuple[str, ...]
    uncounted: int
    search: Mapping[str, Any]
    longest: int | None = None

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens of a translation, those that are given included."""
        return int(self.search["max_decoding_length"])


def find_ct2_usage(request: ExportRequest) -> CT2Usage:
    """Return the way of translating with the model of a request.

    Raises:
        NeuronspecError: If the tokenizer alone does not make what the model reads.
    """
    tokenizer = request.tokenizer
    codec = TextCodec(tokenizer, request.model.config, fixed_tables=True)
    plain, form = find_plain_use(codec, request.task), codec.format(request.task)
    if plain is None:
        raise NeuronspecError(
            f"{type(tokenizer).__name__} alone does not make the tokens that the model reads for {request.task}, so "
            "that no other program could translate with the export: translate with engine=ct2 of neuronspec instead"
        )

    # What transformers would force as the first token of a translation is given.
    settings: Any = request.model.generation_config
    given = form.decoding_start[1:]
    uncounted = len(given)
    if settings.forced_bos_token_id is not None and not given:
        given = [settings.forced_bos_token_id]

    # CTranslate2 counts given tokens as new ones, and does not write an end that transformers forces.
    room = request.max_tokens
    if form.longest_target is not None:
        room = min(room, form.longest_target - len(form.decoding_start))
    longest = max(1, room + uncounted - (settings.forced_eos_token_id is not None))
    # An empty translation is one of those that end a search, as in transformers, unless the model forbids it.
    least = find_least_length(settings, given=uncounted)
    limits: dict[str, Any] = {"max_decoding_length": longest, "min_decoding_length": least, "max_input_length": 0}

    start, *prefix = tokenizer.convert_ids_to_tokens([form.start, *given])
    return CT2Usage(
        task=request.task,
        language=plain.language,
        prefix=plain.prefix,
        start=start,
        target_prefix=tuple(prefix),
        uncounted=uncounted,
        search=limits | _list_search(settings, tokenizer),
        longest=form.room[0],
    )


def _list_search(settings: Any, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return those settings of a model's search that differ from the defaults of both libraries."""
    search: dict[str, Any] = {}
    if settings.repetition_penalty not in (None, 1):
        search["repetition_penalty"] = settings.repetition_penalty
    if settings.no_repeat_ngram_size:
        search["no_repeat_ngram_size"] = settings.no_repeat_ngram_size
    forbidden = list_forbidden(settings)
    if forbidden:
        search["suppress_sequences"] = [tokenizer.convert_ids_to_tokens(ids) for ids in forbidden]
    return search


def write_usage(usage: CT2Usage, directory: Path) -> None:
    """Write the way of translating next to a converted model, for programs."""
    write_json(directory / USAGE_FILE, add_format(dataclasses.asdict(usage)))


def read_usage(directory: Path) -> CT2Usage:
    """Return the way of translating that was written next to a converted model.

    Args:
        directory: Directory of the export.

    Raises:
        NeuronspecError: If it is missing or damaged.
    """
    path = directory / USAGE_FILE
    content = remove_format(read_json(path), path)
    try:
        usage: CT2Usage = TypeAdapter(CT2Usage).validate_python(content)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise NeuronspecError(f"{path} is damaged: {place}: {problem['msg']}; export the model again") from error

    # What is not known here is passed on to no library.
    unknown = sorted(usage.search.keys() - _SEARCH_ARGUMENTS)
    if unknown or not isinstance(usage.search.get("max_decoding_length"), int):
        wrong = unknown[0] if unknown else "max_decoding_length"
        raise NeuronspecError(f"{path} is damaged: search.{wrong}; export the model again")
    return usage


def translate_alone(
    usage: CT2Usage, translator: Any, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], beams: int
) -> list[list[int]]:
    """Return the ids of translations, made as the program on the card makes them.

    Args:
        usage: Way of translating.
        translator: Translator of CTranslate2.
        tokenizer: Tokenizer that was exported.
        sentences: (n,) plain text.
        beams: Beam size.

    Raises:
        NeuronspecError: If CTranslate2 cannot translate a sentence.
    """
    if usage.language is not None:
        tokenizer.src_lang = usage.language
    texts = [usage.prefix + sentence for sentence in sentences]
    sources = [tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer(texts)["input_ids"]]

    given = [list(usage.target_prefix)] * len(sources) if usage.target_prefix else None
    try:
        results = translator.translate_batch(
            sources,
            target_prefix=given,
            beam_size=beams,
            num_hypotheses=beams,
            return_scores=True,
            return_end_token=True,
            max_batch_size=BATCH,
            **usage.search,
        )
    except (RuntimeError, ValueError) as error:  # such as a source that is longer than the table of positions
        raise NeuronspecError(f"CTranslate2 cannot translate with the export: {first_line(error)}") from error

    first = usage.uncounted
    return [tokenizer.convert_tokens_to_ids(choose_best(result, given=first)[first:]) for result in results]


def write_program(usage: CT2Usage) -> list[str]:
    """Return a program that translates with CTranslate2 and transformers, to be run in the directory of the export."""
    language = find_language(split_direction(usage.task)[0]).name
    lines = [
        "import ctranslate2",
        "from transformers import AutoTokenizer",
        "",
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'translator = ctranslate2.Translator(".")',
        "",
        f"sentences = [{quote_python(f'A sentence in {language}.')}]",
    ]

    # The encoder's input, as tokens
    texts = "sentences"
    if usage.language is not None:
        lines.append(f"tokenizer.src_lang = {quote_python(usage.language)}")
    if usage.prefix:
        texts = f"[{quote_python(usage.prefix)} + sentence for sentence in sentences]"
    lines.append(f'sources = [tokenizer.convert_ids_to_tokens(ids) for ids in tokenizer({texts})["input_ids"]]')

    return [*lines, *_write_search(usage), "print(tokenizer.batch_decode(outputs, skip_special_tokens=True))"]


def _write_search(usage: CT2Usage) -> list[str]:
    """Return the lines that search, and choose the translation that transformers would choose."""
    given = usage.uncounted
    arguments = ["beam_size=5", f"max_batch_size={BATCH}"]
    arguments += [f"{name}={value!r}" for name, value in usage.search.items()]
    lines = []
    if usage.target_prefix:
        lines.append(f"prefix = [[{', '.join(map(quote_python, usage.target_prefix))}]] * len(sources)")
        arguments.insert(0, "target_prefix=prefix")

    if not given:
        # Both libraries count the same tokens, so that the first hypothesis is the best one.
        return [
            *lines,
            f"results = translator.translate_batch(sources, {', '.join(arguments)})",
            "outputs = [tokenizer.convert_tokens_to_ids(result.hypotheses[0]) for result in results]",
        ]

    arguments += ["num_hypotheses=5", "return_scores=True", "return_end_token=True"]
    return [
        *lines,
        f"results = translator.translate_batch(sources, {', '.join(arguments)})",
        "",
        "def choose_best(result):  # transformers does not count the prefix in the length of a translation",
        "    lengths = [len(tokens) for tokens in result.hypotheses]",
        f"    scores = [score * n / max(n - {given}, 1) for score, n in zip(result.scores, lengths)]",
        f"    return result.hypotheses[scores.index(max(scores))][{given}:]",
        "",
        "outputs = [tokenizer.convert_tokens_to_ids(choose_best(result)) for result in results]",
    ]
