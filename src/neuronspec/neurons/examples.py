"""Examples: the sentences that activate each neuron most, and the token at which they do."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError, did_you_mean
from neuronspec.files import publish
from neuronspec.layer_names import stack_of
from neuronspec.models.encoding import Side, name_tokens
from neuronspec.names import check_layers, check_names
from neuronspec.neurons.counts import read_tensors
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.observing import GatedAt, Observer

EXAMPLES_FILE = "activation_examples.safetensors"


@dataclass(frozen=True)
class Example:
    """A sentence that activates a neuron.

    Args:
        task: whose sentence it is.
        tokens: the sentence's tokens as the neuron's stack reads them, to be shown.
        position: which of them activates the neuron most.
        value: the activation there.
    """

    task: str
    tokens: list[str]
    position: int
    value: float


@dataclass(frozen=True, repr=False)
class Examples:
    """For every neuron the sentences that activate it most, the highest activation first.

    Sentences are numbered in the order in which they were read; the tokens of those that are an example of any
    neuron are kept.

    Args:
        tasks: their names.
        top: how many sentences a neuron has at most.
        values: for each layer, (d_ff, top) float32: the largest activation in the sentence; nan where there are fewer.
        sentences: for each layer, (d_ff, top) int64: the sentence's number; -1 where there are fewer.
        positions: for each layer, (d_ff, top) int64: which of the sentence's tokens it was, as the stack reads them,
            padding left out; -1 where there are fewer.
        numbers: (kept,) int64: the numbers of the sentences that are kept, ascending.
        sentence_tasks: (kept,) int64: the task of each.
        lengths: for each stack, (kept,) int64: how many tokens the stack reads of each.
        tokens: for each stack, their token ids (sum of the lengths,) int32, one sentence after the other.
        signature: what else the examples depend on (threshold, ignored tokens, model and data hashes), as strings.
    """

    tasks: tuple[str, ...]
    top: int
    values: Mapping[str, torch.Tensor]
    sentences: Mapping[str, torch.Tensor]
    positions: Mapping[str, torch.Tensor]
    numbers: torch.Tensor
    sentence_tasks: torch.Tensor
    lengths: Mapping[str, torch.Tensor]
    tokens: Mapping[str, torch.Tensor]
    signature: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Examples({len(self.tasks)} tasks, {len(self.values)} layers, top {self.top})"

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(self.values)

    def show(self, layer: str, neuron: int, tokenizer: PreTrainedTokenizerBase) -> list[Example]:
        """Return the examples of a neuron with their tokens in words.

        Args:
            layer: its name.
            neuron: its number.
            tokenizer: the model's.

        Returns:
            At most `top` examples, the highest activation first. Tokens are as the tokenizer names them; of one that
            works on bytes, as its bytes read.

        Raises:
            NeuronspecError: there is no such layer or neuron, or the tokenizer is another model's.
        """
        if layer not in self.values:
            raise NeuronspecError(f"there is no layer {layer!r}{did_you_mean(layer, self.layers)}")
        width = len(self.values[layer])
        if not 0 <= neuron < width:
            raise NeuronspecError(f"{layer} has neurons 0 to {width - 1}, not {neuron}")
        stack = stack_of(layer)
        side: Side = "source" if stack == "encoder" else "target"
        shown = []
        columns = (named[layer][neuron].tolist() for named in (self.sentences, self.positions, self.values))
        for number, position, value in zip(*columns, strict=True):
            if number >= 0:
                row = int(torch.searchsorted(self.numbers, number))
                start = int(self.lengths[stack][:row].sum())
                ids = self.tokens[stack][start : start + int(self.lengths[stack][row])].tolist()
                task = self.tasks[int(self.sentence_tasks[row])]
                shown.append(Example(task, read_tokens(tokenizer, ids, side), position, value))
        return shown

    def save(self, directory: Path) -> Path:
        """Write `activation_examples.safetensors` into `directory` and return its path."""
        path = directory / EXAMPLES_FILE
        tensors = {
            f"{group}.{name}": tensor.contiguous()
            for group in ("values", "sentences", "positions", "lengths", "tokens")
            for name, tensor in getattr(self, group).items()
        }
        tensors |= {"numbers": self.numbers, "sentence_tasks": self.sentence_tasks}
        header = {"tasks": self.tasks, "layers": self.layers, "top": self.top, "signature": dict(self.signature)}
        with publish(path) as temporary:
            save_file(tensors, temporary, {"neuronspec": json.dumps(header)})
        return path

    @classmethod
    def load(cls, source: str | Path) -> Examples:
        """Read examples from a directory or a file.

        Raises:
            NeuronspecError: the file is missing, damaged, or holds no examples.
        """
        path = Path(source) / EXAMPLES_FILE if Path(source).is_dir() else Path(source)
        tensors, header = read_tensors(path, "examples")

        def group(name: str, keys: Iterable[str]) -> dict[str, torch.Tensor]:
            return {key: tensors[f"{name}.{key}"] for key in keys}

        try:
            layers = list(header["layers"])
            check_names(header["tasks"], "task", path)
            check_layers(layers, path)
            stacks = dict.fromkeys(stack_of(layer) for layer in layers)
            examples = cls(
                tuple(header["tasks"]),
                int(header["top"]),
                group("values", layers),
                group("sentences", layers),
                group("positions", layers),
                tensors["numbers"],
                tensors["sentence_tasks"],
                group("lengths", stacks),
                group("tokens", stacks),
                dict(header["signature"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise NeuronspecError(f"{path} holds no examples, or is damaged: {error} in its header") from error
        if not (layers and _sentences_fit(examples) and all(_neurons_fit(examples, layer) for layer in layers)):
            raise NeuronspecError(f"{path} is damaged: its neurons and sentences do not fit together; find them again")
        return examples


def find_examples(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Any]],
    top: int = 5,
    *,
    threshold: float = 0.0,
    gated_at: GatedAt = "gate",
    ignore: Sequence[int] = (),
    tasks: Sequence[str] | None = None,
    signature: Mapping[str, str] | None = None,
) -> Examples:
    """Find the sentences that activate each neuron most, to see what a neuron stands for.

    A sentence has one place in a neuron's list, by its largest activation at a token that counts. Of two that activate
    it alike, the one that was read first comes first; so the size of the batches plays no part (but for how the model
    itself rounds in each), and their order only there.

    Args:
        model: as `record_activations` takes it.
        batches: as `record_activations` takes them.
        top: how many sentences to keep for a neuron.
        threshold: only activations greater than this.
        gated_at: of gated units, `gate` looks at the gate's activation, `product` at what enters the second matrix.
        ignore: token ids that are no examples, such as those of tags and of the end of sentence; they are still
            shown with their sentences.
        tasks: every task's name, where the batches carry numbers.
        signature: facts to keep with the examples.

    Returns:
        The examples.

    Raises:
        NeuronspecError: no FFN blocks, no batches, batches without tasks, or a gate whose activation is no module.

    Example:
        >>> from transformers import GPT2Config, GPT2LMHeadModel
        >>> config = GPT2Config(vocab_size=9, n_embd=4, n_layer=1, n_head=1, n_inner=8)
        >>> batch = {"input_ids": torch.tensor([[3, 4, 5], [6, 7, 0]]), "attention_mask":
        ...          torch.tensor([[1, 1, 1], [1, 1, 0]]), "tasks": ["de", "en"]}
        >>> examples = find_examples(GPT2LMHeadModel(config), [batch], top=2)
        >>> examples, examples.sentences["decoder.0"].shape
        (Examples(2 tasks, 1 layers, top 2), torch.Size([8, 2]))
    """
    if top < 1:
        raise NeuronspecError(f"top must be at least 1, not {top}")
    finder = _Finder(model, threshold, gated_at, ignore, tasks)
    finder.top = top
    finder.watch(batches)
    return finder.result(dict(signature or {}) | finder.facts())


class _Finder(Observer):
    """What is best so far.

    A candidate is one integer, the activation's order above and the sentence's number below, so that no two are
    alike: of ties, topk may return any.
    """

    top = 1

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.best: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # layer -> (d_ff, top) candidates and positions
        self.places: dict[str, torch.Tensor] = {}  # stack -> (batch, seq) number of each token in its sentence
        self.numbers = torch.empty(0)  # (batch,) of the sentences
        self.seen = 0
        self.sentence_tasks: list[torch.Tensor] = []
        self.lengths: dict[str, list[torch.Tensor]] = {stack: [] for stack in self.prefixes}
        self.tokens: dict[str, list[torch.Tensor]] = {stack: [] for stack in self.prefixes}

    def begin(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Number the sentences and keep their tokens."""
        self.numbers = torch.arange(self.seen, self.seen + len(self.rows), device=self.rows.device)
        self.seen += len(self.rows)
        self.sentence_tasks.append(self.rows.cpu())
        for stack, prefix in self.prefixes.items():
            if f"{prefix}input_ids" not in inputs:
                raise NeuronspecError(f"a batch has no '{prefix}input_ids': there are no tokens to show")
            there = inputs[f"{prefix}attention_mask"].ne(0)
            self.places[stack] = there.cumsum(1) - 1
            self.lengths[stack].append(there.sum(1).cpu())
            self.tokens[stack].append(inputs[f"{prefix}input_ids"][there].int().cpu())

    def observe(self, layer: FFNLayer, neurons: torch.Tensor, real: torch.Tensor) -> None:
        """Let the sentences of a batch take their places among the best."""
        counted = torch.where(real[:, :, None], neurons, -torch.inf)
        largest = counted.amax(1)  # (batch, d_ff)
        largest = torch.where(largest > self.threshold, largest, -torch.inf)
        found = _join(largest.T.float(), self.numbers)  # (d_ff, batch)
        nothing = found.new_full((layer.width, self.top), torch.iinfo(found.dtype).min)
        best, positions = self.best.get(layer.name, (nothing, nothing))
        best, columns = torch.cat([best, found], 1).topk(self.top, 1)  # (d_ff, top)
        # The positions of the winners alone: of every sentence, that takes much longer than the maximum itself.
        rows = (columns - self.top).clamp(min=0)  # (d_ff, top) in the batch
        every = torch.arange(layer.width, device=rows.device)[:, None]
        tokens = counted[rows, :, every].argmax(2)  # (d_ff, top, seq) -> (d_ff, top): the first of equal ones
        before = positions.gather(1, columns.clamp(max=self.top - 1))
        here = self.places[layer.stack][rows, tokens]
        self.best[layer.name] = best, torch.where(columns < self.top, before, here)

    def result(self, signature: Mapping[str, str]) -> Examples:
        """Return what is best, and the tokens of the sentences."""
        values, sentences, positions = {}, {}, {}
        for layer in self.layers:
            nothing = torch.full((layer.width, self.top), torch.iinfo(torch.int64).min)  # of an expert without tokens
            best, places = (tensor.cpu() for tensor in self.best.get(layer.name, (nothing, nothing)))
            value, number = _split(best)
            some = value > -torch.inf  # false for nan, which nothing reads as
            values[layer.name] = value.where(some, torch.nan)
            sentences[layer.name], positions[layer.name] = number.where(some, -1), places.where(some, -1)
        numbers = torch.unique(torch.cat([named[named >= 0] for named in sentences.values()]))
        lengths = {stack: torch.cat(parts) for stack, parts in self.lengths.items()}
        kept = torch.zeros(self.seen, dtype=torch.bool).index_fill_(0, numbers, True)
        return Examples(
            tuple(self.tasks),
            self.top,
            values,
            sentences,
            positions,
            numbers,
            torch.cat(self.sentence_tasks)[kept],
            {stack: length[kept] for stack, length in lengths.items()},
            {stack: torch.cat(self.tokens[stack])[kept.repeat_interleave(lengths[stack])] for stack in lengths},
            signature,
        )


_LOW = 0xFFFFFFFF  # the lower half of a candidate
_MAGNITUDE = 0x7FFFFFFF  # a float32 without its sign


def _join(values: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return int64 candidates, greater for a greater value, and of equal values for the smaller number.

    Args:
        values: (..., sentences) float32, no nan.
        numbers: (sentences,) from 0 to 2^32 - 1.
    """
    bits = (values + 0.0).contiguous().view(torch.int32).long()  # + 0: -0.0 is as large as 0.0
    ordered = bits ^ ((bits >> 31) & _MAGNITUDE)  # of negative floats, the bits grow downwards
    return (ordered << 32) | (_LOW - numbers)


def _split(candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the float32 values and the numbers of candidates."""
    ordered = candidates >> 32
    bits = ordered ^ ((ordered >> 31) & _MAGNITUDE)
    return bits.int().view(torch.float32), _LOW - (candidates & _LOW)


def _sentences_fit(examples: Examples) -> bool:
    """Whether the sentences that were read from a file belong together."""
    numbers, tasks, kept = examples.numbers, examples.sentence_tasks, examples.numbers.numel()
    columns = (numbers, tasks, *examples.lengths.values())
    if any(column.dtype != torch.int64 or column.shape != (kept,) for column in columns):
        return False
    if any(ids.dtype != torch.int32 or ids.dim() != 1 for ids in examples.tokens.values()):
        return False
    if any((column < 0).any() for column in (*columns, *examples.tokens.values())):
        return False
    whole = all(
        (lengths <= len(examples.tokens[stack])).all() and lengths.sum() == len(examples.tokens[stack])
        for stack, lengths in examples.lengths.items()
    )
    return whole and bool((tasks < len(examples.tasks)).all() and (numbers[1:] > numbers[:-1]).all())


def _neurons_fit(examples: Examples, layer: str) -> bool:
    """Whether what was read of a layer names sentences that are there, and tokens of theirs."""
    values, sentences, positions = (named[layer] for named in (examples.values, examples.sentences, examples.positions))
    types = (values.dtype, sentences.dtype, positions.dtype)
    if types != (torch.float32, torch.int64, torch.int64) or values.dim() != 2 or values.shape[1] != examples.top:
        return False
    if not values.shape == sentences.shape == positions.shape:
        return False
    some = sentences >= 0
    if not (torch.isin(sentences[some], examples.numbers).all() and (values.isnan() == ~some).all()):
        return False
    rows = torch.searchsorted(examples.numbers, sentences[some])
    lengths = examples.lengths[stack_of(layer)][rows]
    good = (positions[some] >= 0).all() and (positions[some] < lengths).all()
    return bool(good and (sentences[~some] == -1).all() and (positions[~some] == -1).all())


# How tokenizers that work on bytes write them: ByT5 as the character of that number; byte-level BPE too, but for those
# that are no visible character, for which further ones stand in order.
_VISIBLE = sorted(pre_tokenizers.ByteLevel.alphabet())
_BYTES = {chr(byte): byte for byte in range(256)} | dict(
    zip(
        (character for character in _VISIBLE if ord(character) > 255),
        (byte for byte in range(256) if chr(byte) not in _VISIBLE),
        strict=True,
    )
)


def read_tokens(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], side: Side = "source") -> list[str]:
    """Return tokens so that people can read them.

    Args:
        tokenizer: the one that made the ids.
        ids: of one sentence.
        side: side whose vocabulary the ids are of, where there are two.

    Returns:
        What the tokenizer calls each token (`▁the` of SentencePiece). The tokens of byte-level tokenizers, such as
        GPT-2's, LLaMA-3's and ByT5's, are bytes in disguise (`Ã¤`): here they are the characters that they complete,
        or, where they complete none, their bytes (`<0xC3>`).

    Raises:
        NeuronspecError: the tokenizer has no token of such a number.

    Example:
        >>> from transformers import ByT5Tokenizer
        >>> tokenizer = ByT5Tokenizer()
        >>> read_tokens(tokenizer, tokenizer("zu spät")["input_ids"])
        ['z', 'u', ' ', 's', 'p', '<0xC3>', 'ä', 't', '</s>']
    """
    tokens = name_tokens(tokenizer, side, ids)
    if None in tokens:
        unknown = ids[tokens.index(None)]  # type: ignore[arg-type]
        raise NeuronspecError(f"the tokenizer has no token {unknown}: give the one that the sentences were read with")
    if tokenizer.convert_tokens_to_string(["Ã", "¤"]) != "ä":  # the bytes C3 and A4
        return tokens
    names, decoder, read = tokenizer.added_tokens_decoder, codecs.getincrementaldecoder("utf-8")("replace"), []
    for number, token in zip(ids, tokens, strict=True):
        if number in names or not _BYTES.keys() >= set(token):
            decoder.reset()
            read.append(token)
        else:
            data = bytes(_BYTES[character] for character in token)
            read.append(decoder.decode(data) or "".join(f"<0x{byte:02X}>" for byte in data))
    return read
