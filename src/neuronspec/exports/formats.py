"""Formats of exports: Hugging Face directories, and any other that is registered here.

Importing this module imports no library of a format: those are imported when the format writes or opens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from neuronspec.config.sections import Section
from neuronspec.exports.options import CT2Options, HFOptions, NoOptions
from neuronspec.registry import Registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from neuronspec.neurons.masks import NeuronMasks
    from neuronspec.specialization.steering import Steering

DEFAULT_FORMAT = "hf"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A model, the masks to export it with, and the text that proves the export.

    Attributes:
        model: Model, specialized or not; an export never changes it.
        tokenizer: Tokenizer of the model.
        masks: Masks of the exported tasks and no others, in their order; None for the dense model.
        tasks: Names of the exported tasks.
        sentences: Source sentences of each task, for the proof.
        options: Options of the format, an instance of its `options`.
        max_tokens: Largest number of tokens that an answer to a sentence has.
        source: Directory of the model or its name on the hub; empty if unknown.
        steerings: Changes of chosen neurons to export with the model, in the order in which they apply.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    masks: NeuronMasks | None
    tasks: tuple[str, ...]
    sentences: Mapping[str, Sequence[str]]
    options: Section
    max_tokens: int
    source: str = ""
    steerings: tuple[Steering, ...] = ()

    @property
    def changes(self) -> str:
        """Name of what changes the outputs of the model: the masks, the steering, or both; empty without them."""
        parts = ["the masks"] if self.masks is not None else []
        return " and ".join([*parts, "the steering"] if self.steerings else parts)

    @property
    def task(self) -> str:
        """The exported task, of a request with a single one."""
        (task,) = self.tasks
        return task


class Answer(Protocol):
    """An opened export: a function that answers sentences with tokens."""

    def __call__(self, sentences: Sequence[str], task: str, *, beams: int) -> list[list[int]]:
        """Return what the model writes for each sentence, as ids of the tokenizer of the request.

        A translation, or what a decoder-only model continues the sentence with. The end of the sentence and what
        follows it may be left out.

        Args:
            sentences: (n,) plain text.
            task: Task of all sentences.
            beams: Beam size; 1 is greedy search.
        """


@dataclass(frozen=True, kw_only=True)
class Written:
    """Facts about an export that was just written, for its card.

    Attributes:
        parameters: Number of parameters; None if the export holds no model.
        notes: Sentences about the export, in Markdown.
        usage: Lines about its use, in Markdown.
        signature: Facts that the export depends on, in addition to those of the masks.
        hub: Entries of the card's front matter, by which the hub sorts the export.
    """

    parameters: int | None = None
    notes: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()
    signature: Mapping[str, str] = field(default_factory=dict)
    hub: Mapping[str, str] = field(default_factory=dict)


class WriteExport(Protocol):
    """A function that writes an export."""

    def __call__(self, request: ExportRequest, directory: Path) -> Written:
        """Write the export into an empty directory.

        Raises:
            NeuronspecError: If the format cannot express the model or its masks; the message says why.
        """


class OpenExport(Protocol):
    """A function that opens an export."""

    def __call__(self, request: ExportRequest, directory: Path) -> AbstractContextManager[Answer]:
        """Return a context manager that yields what answers with the export, read from its directory."""


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Smallest agreement with the masked model that an export must reach to be published.

    Attributes:
        greedy: Smallest share of sentences whose greedy answer equals that of the masked model.
        beam: Smallest share of sentences whose answer with a beam of 5 does.
        chrf: Smallest chrF++ of all its answers, with those of the masked model as references.
        advice: Advice about an export whose chrF++ is too small.
        remedy: Advice about an export of which too few answers are equal.
    """

    greedy: float = 1.0
    beam: float = 1.0
    chrf: float = 0.0
    advice: str = "choose a higher precision"
    remedy: str = "this is a fault of the format, please report it with the model and this sentence"


def _require_equality(options: Section) -> Standard:
    """Return the standard of formats that compute in the precision of the model."""
    return Standard()


class ChooseStandard(Protocol):
    """A function that says what an export with some options must reach."""

    def __call__(self, options: Section, /) -> Standard:
        """Return the standard."""


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format of exports.

    Attributes:
        write: Function that writes an export.
        open: Function that opens it again, from disk, for the proof.
        summary: One line about the format, for help and documentation.
        options: Class of its options; their docstrings are their documentation.
        standard: Function that says what an export must reach to be published.
        several: Whether one export can hold several tasks.
        needs_masks: Whether it holds masks, so that a dense model cannot be exported.
        steers: Whether it can hold a steering: the factors of chosen neurons.
        reads_special: Whether its programs take text such as `</s>` for that token, which the masked model never does:
            such sentences prove nothing.
        library: Python library that the format needs in addition to those of neuronspec; empty for none.
        extra: Extra of neuronspec that installs the library.
    """

    write: WriteExport
    open: OpenExport
    summary: str
    options: type[Section] = NoOptions
    standard: ChooseStandard = _require_equality
    several: bool = False
    needs_masks: bool = False
    steers: bool = False
    reads_special: bool = False
    library: str = ""
    extra: str = ""


EXPORTS: Registry[ExportFormat] = Registry("export format")
"""Every format of exports, by name."""


def _write_hf(request: ExportRequest, directory: Path) -> Written:
    from neuronspec.exports.hf import write_model

    return write_model(request, directory)


def _open_hf(request: ExportRequest, directory: Path) -> AbstractContextManager[Answer]:
    from neuronspec.exports.hf import open_model

    return open_model(request, directory)


EXPORTS.register(DEFAULT_FORMAT)(
    ExportFormat(
        write=_write_hf,
        open=_open_hf,
        summary="a smaller dense model of one task, as a Hugging Face directory",
        options=HFOptions,
    )
)


def _write_masks(request: ExportRequest, directory: Path) -> Written:
    from neuronspec.exports.mask_export import write_masks

    return write_masks(request, directory)


def _open_masks(request: ExportRequest, directory: Path) -> AbstractContextManager[Answer]:
    from neuronspec.exports.mask_export import open_masks

    return open_masks(request, directory)


EXPORTS.register("masks")(
    ExportFormat(
        write=_write_masks,
        open=_open_masks,
        summary="the masks alone, one bit a neuron, for `neuronspec.specialize`",
        several=True,
        needs_masks=True,
    )
)


def _write_ia3(request: ExportRequest, directory: Path) -> Written:
    from neuronspec.exports.ia3 import write_adapters

    return write_adapters(request, directory)


def _open_ia3(request: ExportRequest, directory: Path) -> AbstractContextManager[Answer]:
    from neuronspec.exports.ia3 import open_adapters

    return open_adapters(request, directory)


EXPORTS.register("ia3")(
    ExportFormat(
        write=_write_ia3,
        open=_open_ia3,
        summary="the masks, or a steering's factors, as IA3 adapters of PEFT, one for each task",
        several=True,
        needs_masks=True,
        steers=True,
        library="peft",
        extra="lora",
    )
)


def _write_ct2(request: ExportRequest, directory: Path) -> Written:
    from neuronspec.exports.ct2 import write_ct2

    return write_ct2(request, directory)


def _open_ct2(request: ExportRequest, directory: Path) -> AbstractContextManager[Answer]:
    from neuronspec.exports.ct2 import open_ct2

    return open_ct2(request, directory)


def _choose_ct2_standard(options: Section) -> Standard:
    """Return the standard of a conversion: equality where nothing but the library differs."""
    # With a beam, the two libraries end the search and count lengths differently.
    assert isinstance(options, CT2Options)
    is_exact = options.compute_type == "float32" and not options.trim

    # What else than the library differs
    advice = [] if options.compute_type == "float32" else ["choose a higher precision, such as compute_type=float32"]
    if options.trim:
        advice.append("trim the vocabulary to more text, or not at all")
    accept = "accept the difference with a lower least_chrf"
    return Standard(
        greedy=1.0 if is_exact else 0.0,
        beam=0.0,
        chrf=options.least_chrf,
        advice=", or ".join([*advice, accept]),
        remedy="where few sentences differ, two tokens of almost the same probability may be the reason, between which "
        "rounding decides: prove it on other text (--text); otherwise report this",
    )


EXPORTS.register("ct2")(
    ExportFormat(
        write=_write_ct2,
        open=_open_ct2,
        summary="a directory of CTranslate2 for one task, each layer with its own width",
        options=CT2Options,
        standard=_choose_ct2_standard,
        reads_special=True,
        library="ctranslate2",
        extra="ct2",
    )
)
