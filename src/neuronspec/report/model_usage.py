"""The part of a model's card about its use: with plain transformers, and with this package."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from neuronspec.artifacts.cards import escape_code, escape_text, quote_python
from neuronspec.languages import find_language, split_direction
from neuronspec.models.plain_use import PlainUse


@dataclass(frozen=True, kw_only=True)
class MissingPart:
    """The part of a model that plain transformers does not load.

    Attributes:
        file: Name of the file that holds it.
        command: Command that makes from the directory what other programs can use; empty for none.
        code: Python code that does so; empty for none. Without either, there is no way.
    """

    file: str
    command: str = ""
    code: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelUsage:
    """The use of a model, with this package and without.

    Attributes:
        task: Direction of the examples.
        plain: Way of translating with plain transformers; None if none was found.
        part: Part that plain transformers does not load; None if it loads the whole model.
        search: Arguments of `generate`, where the generation configuration of the model does not have them.
        beams: Beam size of the scored translations.
        forced: Language that the generation configuration forces: `nothing`, the `target` that all directions share, or
            something `else`.
        has_own_embeddings: Whether the encoder's embeddings are apart from those that decoder and output share.
        source_prefix: Words in front of each source as the configuration has them, as JSON; empty for none.
    """

    task: str
    plain: PlainUse | None
    part: MissingPart | None
    search: Mapping[str, object]
    beams: int
    forced: Literal["nothing", "target", "else"]
    has_own_embeddings: bool
    source_prefix: str


def warn_of_missing_part(usage: ModelUsage) -> list[str]:
    """Return the warning that plain transformers loads only a part of the model; empty if it loads all of it."""
    if usage.part is None:
        return []
    return [
        f"**Plain transformers loads only a part of this model, which is not what was scored.** It leaves out "
        f"{escape_code(usage.part.file)}, which holds what each direction has of its own. Translate with neuronspec, "
        "as below."
    ]


def describe_usage(usage: ModelUsage) -> list[str]:
    """Return how the model is used, in Markdown."""
    # A model that other programs cannot use whole is used with this package, or exported.
    if usage.part is not None:
        return ["With neuronspec:", "", *_write_command(usage), *_describe_export(usage.part)]

    plain = _describe_plain(usage, usage.plain) if usage.plain is not None else []
    own = ["With neuronspec, which does this by itself:", "", *_write_command(usage)]
    return [*plain, *own, *_describe_embeddings(usage)]


def _describe_plain(usage: ModelUsage, plain: PlainUse) -> list[str]:
    lines = ["With plain transformers, from this directory:", "", "```python", *write_code(usage, plain), "```", ""]

    if usage.source_prefix:
        lines += [
            "The words in front of each sentence are those of the direction: `source_prefix` in `config.json` is "
            f"{escape_code(usage.source_prefix)}, which plain transformers does not read.",
            "",
        ]
    elif plain.start and plain.prefix and plain.language is None:
        lines += [
            "The tag of the source is written in front of each sentence, and the decoder starts with the tag of the "
            "target. For another direction, exchange both. `src_lang` and `tgt_lang` have no effect on this tokenizer.",
            "",
        ]
    if plain.start:
        forced = f"forced_bos_token_id=tokenizer.convert_tokens_to_ids({quote_python(plain.start[-1])})"
        lines += [
            f"{escape_code(forced)} instead of `decoder_input_ids` leads to the same language, but counts the "
            f"tag as a token of the translation, so that a beam search now and then prefers another translation. "
            f"{_say_what_is_forced(usage)}",
            "",
        ]
    return lines


def _say_what_is_forced(usage: ModelUsage) -> str:
    """Say into which language the model translates where neither is given."""
    if usage.forced == "nothing":
        return "Without either, the model chooses a language by itself."
    if usage.forced == "else":
        return "Without either, the pretrained model's `generation_config.json` decides."

    target = escape_text(find_language(split_direction(usage.task)[1]).name)
    return f"`generation_config.json` forces it, so that `model.generate(**inputs)` translates into {target}."


def write_code(usage: ModelUsage, plain: PlainUse) -> list[str]:
    """Return a program that translates with plain transformers, to be run in the directory of the model."""
    language = find_language(split_direction(usage.task)[0]).name
    lines = ["from transformers import AutoModelForSeq2SeqLM, AutoTokenizer", ""]
    if plain.start:
        lines.insert(0, "import torch")

    lines += [
        'tokenizer = AutoTokenizer.from_pretrained(".")',
        'model = AutoModelForSeq2SeqLM.from_pretrained(".")',
        "",
        f"sentences = [{quote_python(f'A sentence in {language}.')}]",
    ]

    # The encoder's input
    texts = "sentences"
    if plain.language is not None:
        lines.append(f"tokenizer.src_lang = {quote_python(plain.language)}")
    if plain.prefix:
        texts = f"[{quote_python(plain.prefix)} + sentence for sentence in sentences]"
    lines.append(f'inputs = tokenizer({texts}, padding=True, return_tensors="pt")')

    # The decoder's first tokens, and the search
    arguments, written = ["**inputs"], "output"
    if plain.start:
        written = "output[:, len(start):]"  # M2M-100's tags need not be special tokens that decoding skips
        lines.append(f"start = tokenizer.convert_tokens_to_ids([{', '.join(map(quote_python, plain.start))}])")
        arguments.append("decoder_input_ids=torch.tensor([start] * len(sentences))")
    arguments += [f"{name}={value!r}" for name, value in usage.search.items()]
    return [
        *lines,
        f"output = model.generate({', '.join(arguments)})",
        f"print(tokenizer.batch_decode({written}, skip_special_tokens=True))",
    ]


def _write_command(usage: ModelUsage) -> list[str]:
    command = ["neuronspec", "translate", "--model", ".", usage.task, "--beams", str(usage.beams)]
    return ["```console", f"$ {shlex.join(command)} --input SOURCES --to TRANSLATIONS", "```"]


def _describe_export(part: MissingPart) -> list[str]:
    if part.command:
        return [
            "",
            "For other programs, one direction at a time, proven on text (a source and its translation in each line):",
            "",
            *("```console", f"$ {part.command}", "```"),
        ]
    if not part.code:
        return ["", "There is no way of exporting this model to other programs."]
    return ["", "For other programs, one direction at a time:", "", "```python", *part.code.splitlines(), "```"]


def _describe_embeddings(usage: ModelUsage) -> list[str]:
    """Return what another program must know to train the model further."""
    if not usage.has_own_embeddings:
        return []
    return [
        "",
        "Training: the decoder's embeddings and the output layer are one matrix, and the encoder has its own "
        '(`"embeddings": "separate"` in `config.json`). Plain transformers loads them as three matrices, two of which '
        "are equal; `neuronspec.load_model` ties these two again.",
    ]
