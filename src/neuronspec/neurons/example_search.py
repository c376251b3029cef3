"""Finding the sentences that activate each neuron most, while a model reads batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import torch
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.activity import Activity, GatedAt, choose_activity
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.observer import Observer


def find_examples(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Any]],
    top: int = 5,
    *,
    threshold: float = 0.0,
    gated_at: GatedAt = "gate",
    ignore: Sequence[int] = (),
    activity: Activity | None = None,
    tasks: Sequence[str] | None = None,
    signature: Mapping[str, str] | None = None,
) -> Examples:
    """Find the sentences that activate each neuron most, to see what a neuron stands for.

    A sentence has one place in a neuron's list, by its largest activation at a token that counts. Of two sentences
    with the same activation, the one that was read first comes first. So the size of the batches makes no difference
    (except for how the model itself rounds in each), and their order matters for ties only.

    Args:
        model: Model, as `record_activations` takes it.
        batches: Batches, as `record_activations` takes them.
        top: Number of sentences to keep for a neuron.
        threshold: Activation that a sentence must exceed.
        gated_at: Place at which gated units are observed, `gate` or `product`; see `Activity`.
        ignore: Token ids that are no examples, such as those of tags and of the end of sentence; they are still shown
            with their sentences.
        activity: The three settings above as one object, in place of them; its unit makes no difference.
        tasks: Names of all tasks, if the batches carry numbers.
        signature: Facts to keep with the examples.

    Returns:
        The examples.

    Raises:
        NeuronspecError: If there are no FFN blocks or no batches, batches have no tasks, or the activation of a gate
            is no module.

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
    chosen = choose_activity(activity, threshold=threshold, gated_at=gated_at, ignore=ignore)

    finder = _ExampleFinder(model, chosen, tasks=tasks, top=top)
    finder.watch(batches)
    return finder.result(dict(signature or {}) | finder.facts())


class _ExampleFinder(Observer):
    """Keeps the best sentences so far.

    A candidate is one integer, with the order of the activation in its upper half and the number of the sentence in
    its lower half, so that no two candidates are equal: among ties, topk may return any.
    """

    def __init__(
        self, model: PreTrainedModel, activity: Activity, tasks: Sequence[str] | None = None, top: int = 1
    ) -> None:
        super().__init__(model, activity, tasks)
        self.top = top
        self.best: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # layer -> (d_ff, top) candidates and positions
        self.places: dict[str, torch.Tensor] = {}  # stack -> (batch, seq) index of each token in its sentence
        self.numbers = torch.empty(0)  # (batch,) numbers of the sentences
        self.seen = 0
        self.sentence_tasks: list[torch.Tensor] = []
        self.lengths: dict[str, list[torch.Tensor]] = {stack: [] for stack in self.prefixes}
        self.tokens: dict[str, list[torch.Tensor]] = {stack: [] for stack in self.prefixes}

    def begin(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Number the sentences and keep their tokens."""
        # Sentences are numbered across batches, in the order in which they are read.
        self.numbers = torch.arange(self.seen, self.seen + len(self.rows), device=self.rows.device)
        self.seen += len(self.rows)
        self.sentence_tasks.append(self.rows.cpu())

        for stack, prefix in self.prefixes.items():
            if f"{prefix}input_ids" not in inputs:
                raise NeuronspecError(f"a batch has no '{prefix}input_ids': there are no tokens to show")

            # The real tokens of all sentences, one sentence after the other
            there = inputs[f"{prefix}attention_mask"].ne(0)  # (batch, seq)
            self.places[stack] = there.cumsum(1) - 1
            self.lengths[stack].append(there.sum(1).cpu())
            self.tokens[stack].append(inputs[f"{prefix}input_ids"][there].int().cpu())

    def observe(self, layer: FFNLayer, neurons: torch.Tensor, real: torch.Tensor) -> None:
        """Let the sentences of a batch take their places among the best."""
        # The largest activation of each sentence, as candidates
        counted = torch.where(real[:, :, None], neurons, -torch.inf)
        largest = counted.amax(1)  # (batch, d_ff)
        largest = torch.where(largest > self.activity.threshold, largest, -torch.inf)
        found = _join_lists(largest.T.float(), self.numbers.to(largest.device))  # (d_ff, batch)

        # The best of these and of those before
        nothing = found.new_full((layer.width, self.top), torch.iinfo(found.dtype).min)
        best, positions = self.best.get(layer.name, (nothing, nothing))
        best, columns = torch.cat([best, found], 1).topk(self.top, 1)  # (d_ff, top)

        # The positions of the winners alone: of every sentence, that takes much longer than the maximum itself.
        rows = (columns - self.top).clamp(min=0)  # (d_ff, top) in the batch
        every = torch.arange(layer.width, device=rows.device)[:, None]
        tokens = counted[rows, :, every].argmax(2)  # (d_ff, top, seq) -> (d_ff, top): the first of equal ones
        before = positions.gather(1, columns.clamp(max=self.top - 1))
        here = self.places[layer.stack].to(rows.device)[rows, tokens]
        self.best[layer.name] = best, torch.where(columns < self.top, before, here)

    def result(self, signature: Mapping[str, str]) -> Examples:
        """Return the best sentences, and their tokens."""
        # The candidates of every neuron, taken apart
        values, sentences, positions = {}, {}, {}
        for layer in self.layers:
            nothing = torch.full((layer.width, self.top), torch.iinfo(torch.int64).min)  # of an expert without tokens
            best, places = (tensor.cpu() for tensor in self.best.get(layer.name, (nothing, nothing)))
            value, number = _split_rows(best)
            some = value > -torch.inf  # false for nan, which nothing reads as
            values[layer.name] = value.where(some, torch.nan)
            sentences[layer.name], positions[layer.name] = number.where(some, -1), places.where(some, -1)

        # The sentences that are an example of any neuron
        numbers = torch.unique(torch.cat([named[named >= 0] for named in sentences.values()]))
        kept = torch.zeros(self.seen, dtype=torch.bool).index_fill_(0, numbers, True)

        # Their tokens: a token is kept if its sentence is.
        lengths = {stack: torch.cat(parts) for stack, parts in self.lengths.items()}
        tokens = {
            stack: torch.cat(self.tokens[stack])[kept.repeat_interleave(length)] for stack, length in lengths.items()
        }

        return Examples(
            tasks=tuple(self.tasks),
            top=self.top,
            values=values,
            sentences=sentences,
            positions=positions,
            numbers=numbers,
            sentence_tasks=torch.cat(self.sentence_tasks)[kept],
            lengths={stack: length[kept] for stack, length in lengths.items()},
            tokens=tokens,
            signature=signature,
        )


_LOW: Final = 0xFFFFFFFF  # the lower half of a candidate
_MAGNITUDE: Final = 0x7FFFFFFF  # a float32 without its sign


def _join_lists(values: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return int64 candidates: greater for a greater value, and of equal values for the smaller number.

    Args:
        values: (..., sentences) float32, without NaN.
        numbers: (sentences,) numbers from 0 to 2^32 - 1.
    """
    bits = (values + 0.0).contiguous().view(torch.int32).long()  # + 0: -0.0 is as large as 0.0
    ordered = bits ^ ((bits >> 31) & _MAGNITUDE)  # of negative floats, the bits grow downwards

    # The smaller number makes the larger lower half, so it comes first among equals.
    return (ordered << 32) | (_LOW - numbers)


def _split_rows(candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the float32 values and the numbers of candidates."""
    ordered = candidates >> 32
    # The sign stays in its place, so the same step as in `_join_lists` undoes it.
    bits = ordered ^ ((ordered >> 31) & _MAGNITUDE)
    return bits.int().view(torch.float32), _LOW - (candidates & _LOW)
