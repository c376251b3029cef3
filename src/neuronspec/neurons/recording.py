"""Recording: which neurons are active for which task, counted on the model's own device while it reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.neurons.activity import Activity, GatedAt, Unit, choose_activity
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import FFNLayer
from neuronspec.neurons.observer import Observer


def record_activations(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Any]],
    unit: Unit = "sentence",
    *,
    tasks: Sequence[str] | None = None,
    threshold: float = 0.0,
    gated_at: GatedAt = "gate",
    ignore: Sequence[int] = (),
    activity: Activity | None = None,
    means: bool = False,
    states: bool = False,
    signature: Mapping[str, str] | None = None,
) -> ActivationCounts:
    """Count how often each neuron is active for each task (paper, 3.1; Algorithm 1, step 1).

    An encoder-decoder reads source and target (teacher forcing), any other model its text; the output layer is never
    computed. The counts are exact integers that do not depend on batch size, padding or order (promise R5). Every
    real token counts, tags and end of sentence included, padding never. A specialized model is recorded as it
    computes, with its masks on, unless inside `neuronspec.dense`.

    Args:
        model: Model of a registered architecture, or one in which FFN blocks can be found; in evaluation mode while
            recording.
        batches: Mappings with `input_ids`, `attention_mask` (batch, seq), for an encoder-decoder also `labels` or
            `decoder_input_ids` (batch, target), and `tasks`: a name for each row or, with `tasks=` given, (batch,)
            indices into it. Padding of the target is what `decoder_attention_mask` leaves out, else what is -100 or
            the padding token in `labels`, else the padding token in `decoder_input_ids`
            (`neuronspec.models.padding`); on either side of the rows.
        unit: `sentence` counts a sentence once if any of its tokens activates the neuron (the paper's text); `token`
            counts every token position.
        tasks: Names of all tasks, if the batches carry numbers.
        threshold: Activation above which a neuron is active; see `Activity`.
        gated_at: Place at which gated units are observed, `gate` or `product`; see `Activity`.
        ignore: Token ids that do not count, such as those of tags and of the end of sentence.
        activity: The unit and the three settings above as one object, in place of them.
        means: Whether to keep the mean activation of every neuron and task, too.
        states: Whether to keep which neurons every sentence activated, too: an eighth of a byte each.
        signature: Facts to keep with the counts.

    Returns:
        The counts.

    Raises:
        NeuronspecError: If there are no FFN blocks or no batches, batches have no tasks, or the activation of a gate
            is no module.
    """
    chosen = choose_activity(activity, unit=unit, threshold=threshold, gated_at=gated_at, ignore=ignore)

    recorder = _Recorder(model, chosen, tasks, means=means, states=states)
    recorder.watch(batches)
    return recorder.result(dict(signature or {}) | recorder.facts())


class _Recorder(Observer):
    """Counts the active neurons of each task.

    Args:
        model: Model to observe.
        activity: Definition of what counts as active.
        tasks: Names of all tasks, if the batches carry numbers.
        means: Whether to sum activations, for means.
        states: Whether to keep which neurons every sentence activated.
    """

    def __init__(
        self, model: PreTrainedModel, activity: Activity, tasks: Sequence[str] | None, *, means: bool, states: bool
    ) -> None:
        super().__init__(model, activity, tasks)
        self.wants_means = means
        self.wants_states = states
        self.counts = _Counters()
        self.totals = _Counters()
        self.sums = _Counters()  # of activations, for means
        self.tokens = _Counters()  # counted positions, for means
        self.states: dict[str, list[torch.Tensor]] = {}
        self.state_tasks: list[torch.Tensor] = []

    def read(self, batch: Mapping[str, Any]) -> None:
        """Send a batch through the model; the hooks count."""
        super().read(batch)

        # The states of every layer have a row for each sentence, whether or not the layer was used.
        for layer in self.layers if self.wants_states else ():
            states = self.states.setdefault(layer.name, [])
            if len(states) < len(self.state_tasks):  # an expert that no token was sent to
                states.append(torch.zeros(len(self.rows), -(-layer.width // 8), dtype=torch.uint8))

    def begin(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Count what will be seen."""
        for stack, real in self.real.items():
            tokens = real.sum(1)

            # The whole that frequencies are shares of: sentences, or token positions
            seen = torch.ones_like(self.rows) if self.activity.unit == "sentence" else tokens
            self.totals.add(stack, len(self.tasks), self.rows, seen)
            if self.wants_means:
                self.tokens.add(stack, len(self.tasks), self.rows, tokens)

        if self.wants_states:
            self.state_tasks.append(self.rows.cpu())

    def observe(self, layer: FFNLayer, neurons: torch.Tensor, real: torch.Tensor) -> None:
        """Count the active neurons of a layer."""
        # A product of zeros and ones in float32 is exact up to 2^24 tokens a sentence, and faster than counting.
        active = torch.gt(neurons, self.activity.threshold, out=torch.empty_like(neurons, dtype=torch.float32))
        tokens = torch.bmm(real.float()[:, None], active)[:, 0]  # (batch, d_ff): at how many tokens of each sentence
        count = tokens.long() if self.activity.unit == "token" else (tokens > 0).long()
        self.counts.add(layer.name, len(self.tasks), self.rows, count)

        if self.wants_means:
            total = torch.bmm(real.float()[:, None], neurons.float())[:, 0]
            # MPS has no float64.
            exact = total if total.device.type == "mps" else total.double()
            self.sums.add(layer.name, len(self.tasks), self.rows, exact)

        if self.wants_states:
            self.states.setdefault(layer.name, []).append(_pack_bits(tokens > 0).cpu())

    def result(self, signature: Mapping[str, str]) -> ActivationCounts:
        """Return what was counted."""
        rows = len(self.tasks)  # counters may have fewer, if later tasks never reached their layer
        return ActivationCounts(
            tasks=tuple(self.tasks),
            values={layer.name: self.counts.get(layer.name, rows, layer.width) for layer in self.layers},
            totals={stack: self.totals.get(stack, rows) for stack in self.totals.named},
            unit=self.activity.unit,
            signature=signature,
            means={layer.name: self._mean(layer, rows) for layer in self.layers if self.wants_means},
            states={layer.name: torch.cat(self.states[layer.name]) for layer in self.layers if self.states},
            state_tasks=torch.cat(self.state_tasks) if self.state_tasks else None,
        )

    def _mean(self, layer: FFNLayer, rows: int) -> torch.Tensor:
        """Return the (tasks, d_ff) mean activation over all counted positions."""
        # A task without a counted position has means of 0, not of NaN.
        seen = self.tokens.get(layer.stack, rows).clamp(min=1)
        return self.sums.get(layer.name, rows, layer.width).double() / seen[:, None]


class _Counters:
    """Named counters with a row for each task; rows are added as tasks appear."""

    def __init__(self) -> None:
        self.named: dict[str, torch.Tensor] = {}

    def add(self, name: str, tasks: int, rows: torch.Tensor, values: torch.Tensor) -> None:
        """Add each of `values` (batch, ...) to the row of its task."""
        # Several sentences of a batch may add to the same row, which plain indexing would not do.
        counter = self.named.setdefault(name, values.new_zeros(tasks, *values.shape[1:]))
        self.named[name] = _grow(counter, tasks).index_add_(0, rows.to(values.device), values)

    def get(self, name: str, tasks: int, *shape: int) -> torch.Tensor:
        """Return a counter with a row for each task, on the CPU; zeros where nothing was ever added."""
        return _grow(self.named.get(name, torch.zeros(0, *shape, dtype=torch.int64)), tasks).cpu()


def _grow(counter: torch.Tensor, rows: int) -> torch.Tensor:
    """Return a counter with as many rows of zeros added as it needs to have `rows`."""
    if len(counter) == rows:
        return counter
    return torch.cat([counter, counter.new_zeros(rows - len(counter), *counter.shape[1:])])


def _pack_bits(active: torch.Tensor) -> torch.Tensor:
    """Return (batch, ceil(d_ff / 8)) uint8 of (batch, d_ff) booleans, the first neuron in the highest bit."""
    # The neurons in groups of eight, with zeros after the last one
    padded = nn.functional.pad(active.to(torch.uint8), (0, -active.shape[1] % 8))
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=active.device)
    return (padded.view(len(active), -1, 8) * powers).sum(2).to(torch.uint8)
