"""Recording: which neurons are active for which task, counted on the model's own device while it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts, Unit
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.observing import GatedAt as GatedAt
from neuronspec.neurons.observing import Observer


def record_activations(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Any]],
    unit: Unit = "sentence",
    *,
    tasks: Sequence[str] | None = None,
    threshold: float = 0.0,
    gated_at: GatedAt = "gate",
    ignore: Sequence[int] = (),
    means: bool = False,
    states: bool = False,
    signature: Mapping[str, str] | None = None,
) -> ActivationCounts:
    """Count how often each neuron is active for each task (paper, 3.1; Algorithm 1, step 1).

    An encoder-decoder reads source and target (teacher forcing), any other model its text; the output layer is never
    computed. The counts are exact integers that do not depend on batch size, padding or order (promise R5); every
    real token counts, tags and end of sentence included, padding never. A specialised model is recorded as it
    computes, with its masks on, unless inside `neuronspec.dense`.

    Args:
        model: of a registered architecture, or one in which FFN blocks can be found; put into evaluation mode while
            recording.
        batches: mappings with `input_ids`, `attention_mask` (batch, seq), for an encoder-decoder also `labels` or
            `decoder_input_ids` (batch, target), and `tasks`: a name for each row, or with `tasks=` given, (batch,)
            numbers into it. Padding of the target is what `decoder_attention_mask` leaves out, else what is -100 or
            the padding token in `labels`, else the padding token in `decoder_input_ids`
            (`neuronspec.models.padding`); on either side of the rows.
        unit: `sentence`: a sentence counts once, where any of its tokens activates the neuron (the paper's text);
            `token`: every token position counts.
        tasks: every task's name, where the batches carry numbers.
        threshold: active means greater than this. With ReLU nothing but 0 makes sense; GELU and SiLU are a little
            below 0 for most inputs below 0, so that 0 divides at the same place.
        gated_at: of gated units (mT5, LLaMA ...), `gate` looks at the gate's activation, as LAPE does, `product` at
            the vector that enters the second matrix. The sign of the product says as much about the other factor as
            about the gate, hence the default. Units without a gate have one place to look at.
        ignore: token ids that do not count, such as those of tags and of the end of sentence.
        means: keep the mean activation of every neuron and task, too.
        states: keep which neurons every sentence activated, too: an eighth of a byte each.
        signature: facts to keep with the counts.

    Returns:
        The counts.

    Raises:
        NeuronspecError: no FFN blocks, no batches, batches without tasks, or a gate whose activation is no module.
    """
    if unit not in get_args(Unit):
        raise NeuronspecError(f"unit must be sentence or token, not {unit!r}")
    recorder = _Recorder(model, threshold, gated_at, ignore, tasks)
    recorder.unit, recorder.wants_means, recorder.wants_states = unit, means, states
    recorder.watch(batches)
    return recorder.result(dict(signature or {}) | recorder.facts())


class _Recorder(Observer):
    """The counters."""

    unit: Unit = "sentence"
    wants_means = False
    wants_states = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.counts = _Counters()
        self.totals = _Counters()
        self.sums = _Counters()  # of activations, for means
        self.tokens = _Counters()  # counted positions, for means
        self.states: dict[str, list[torch.Tensor]] = {}
        self.state_tasks: list[torch.Tensor] = []

    def read(self, batch: Mapping[str, Any]) -> None:
        """Send a batch through the model; the hooks count."""
        super().read(batch)
        for layer in self.layers if self.wants_states else ():
            states = self.states.setdefault(layer.name, [])
            if len(states) < len(self.state_tasks):  # an expert that no token was sent to
                states.append(torch.zeros(len(self.rows), -(-layer.width // 8), dtype=torch.uint8))

    def begin(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Count what will be seen."""
        for stack, real in self.real.items():
            tokens = real.sum(1)
            seen = torch.ones_like(self.rows) if self.unit == "sentence" else tokens
            self.totals.add(stack, len(self.tasks), self.rows, seen)
            if self.wants_means:
                self.tokens.add(stack, len(self.tasks), self.rows, tokens)
        if self.wants_states:
            self.state_tasks.append(self.rows.cpu())

    def observe(self, layer: FFNLayer, neurons: torch.Tensor, real: torch.Tensor) -> None:
        """Count the active neurons of a layer."""
        # A product of zeros and ones in float32 is exact up to 2^24 tokens a sentence, and faster than counting.
        active = torch.gt(neurons, self.threshold, out=torch.empty_like(neurons, dtype=torch.float32))
        tokens = torch.bmm(real.float()[:, None], active)[:, 0]  # (batch, d_ff): at how many tokens of each sentence
        count = tokens.long() if self.unit == "token" else (tokens > 0).long()
        self.counts.add(layer.name, len(self.tasks), self.rows, count)
        if self.wants_means:
            total = torch.bmm(real.float()[:, None], neurons.float())[:, 0]
            exact = total if total.device.type == "mps" else total.double()
            self.sums.add(layer.name, len(self.tasks), self.rows, exact)
        if self.wants_states:
            self.states.setdefault(layer.name, []).append(_pack(tokens > 0).cpu())

    def result(self, signature: Mapping[str, str]) -> ActivationCounts:
        """Return what was counted."""
        rows = len(self.tasks)
        return ActivationCounts(
            tuple(self.tasks),
            {layer.name: self.counts.get(layer.name, rows, layer.width) for layer in self.layers},
            {stack: self.totals.get(stack, rows) for stack in self.totals.named},
            self.unit,
            signature,
            {layer.name: self._mean(layer, rows) for layer in self.layers if self.wants_means},
            {layer.name: torch.cat(self.states[layer.name]) for layer in self.layers if self.states},
            torch.cat(self.state_tasks) if self.state_tasks else None,
        )

    def _mean(self, layer: FFNLayer, rows: int) -> torch.Tensor:
        """Return the (tasks, d_ff) mean activation over all counted positions."""
        seen = self.tokens.get(layer.stack, rows).clamp(min=1)
        return self.sums.get(layer.name, rows, layer.width).double() / seen[:, None]


class _Counters:
    """Named counters with a row for each task; they grow as tasks appear."""

    def __init__(self) -> None:
        self.named: dict[str, torch.Tensor] = {}

    def add(self, name: str, tasks: int, rows: torch.Tensor, values: torch.Tensor) -> None:
        """Add each of `values` (batch, ...) to the row of its task."""
        counter = self.named.setdefault(name, values.new_zeros(tasks, *values.shape[1:]))
        self.named[name] = _grown(counter, tasks).index_add_(0, rows, values)

    def get(self, name: str, tasks: int, *shape: int) -> torch.Tensor:
        """Return a counter with a row for each task, on the CPU; zeros where nothing was ever added."""
        return _grown(self.named.get(name, torch.zeros(0, *shape, dtype=torch.int64)), tasks).cpu()


def _grown(counter: torch.Tensor, rows: int) -> torch.Tensor:
    """Return `counter` with zero rows added up to `rows`."""
    if len(counter) == rows:
        return counter
    return torch.cat([counter, counter.new_zeros(rows - len(counter), *counter.shape[1:])])


def _pack(active: torch.Tensor) -> torch.Tensor:
    """Return (batch, ceil(d_ff / 8)) uint8 of (batch, d_ff) booleans, the first neuron in the highest bit."""
    padded = nn.functional.pad(active.to(torch.uint8), (0, -active.shape[1] % 8))
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=active.device)
    return (padded.view(len(active), -1, 8) * powers).sum(2).to(torch.uint8)
