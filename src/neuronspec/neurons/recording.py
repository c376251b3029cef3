"""Recording: which neurons are active for which task, counted on the model's own device while it reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.forward import shift_labels
from neuronspec.neurons.counts import ActivationCounts, Unit
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers


def record_activations(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Any]],
    unit: Unit = "sentence",
    *,
    tasks: Sequence[str] | None = None,
    threshold: float = 0.0,
    signature: Mapping[str, str] | None = None,
) -> ActivationCounts:
    """Count how often each neuron is active for each task (paper, 3.1; Algorithm 1, step 1).

    The model reads source and target (teacher forcing) without computing the output layer. The counts are exact
    integers that do not depend on batch size, padding or order (promise R5); every real token counts, tags and end
    of sentence included, padding never.

    Args:
        model: of a registered architecture; put into evaluation mode while recording.
        batches: mappings with `input_ids`, `attention_mask` (batch, source), `decoder_input_ids` and
            `decoder_attention_mask` (batch, target) or `labels` (batch, target; -100 where padded), and `tasks`:
            a name for each row, or with `tasks=` given, (batch,) numbers into it.
        unit: `sentence`: a sentence counts once, where any of its tokens activates the neuron (the paper's text);
            `token`: every token position counts.
        tasks: every task's name, where the batches carry numbers.
        threshold: active means greater than this.
        signature: facts to keep with the counts.

    Returns:
        The counts.

    Raises:
        NeuronspecError: unknown architecture, no batches, or batches without tasks.
    """
    recorder = _Recorder(find_ffn_layers(model), unit, threshold, list(tasks or []), fixed=tasks is not None)
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), recorder.attached():
            for batch in batches:
                recorder.read(model, batch)
    finally:
        model.train(training)
    return recorder.result(dict(signature or {}) | {"threshold": str(threshold)})


class _Recorder:
    """The counters, and the hooks that feed them."""

    def __init__(self, layers: Sequence[FFNLayer], unit: Unit, threshold: float, tasks: list[str], fixed: bool) -> None:
        self.layers = layers
        self.unit = unit
        self.threshold = threshold
        self.tasks = tasks
        self.fixed = fixed
        self.counts: dict[str, torch.Tensor] = {}
        self.totals: dict[str, torch.Tensor] = {}
        self.rows = torch.empty(0)  # (batch,) task numbers
        self.padding: dict[str, torch.Tensor] = {}  # stack -> (batch, seq, 1), true where padded

    def read(self, model: PreTrainedModel, batch: Mapping[str, Any]) -> None:
        inputs = {key: value.to(model.device) for key, value in batch.items() if key != "tasks"}
        if batch.get("tasks") is None:
            raise NeuronspecError("a batch has no 'tasks': give the task of every row, as names or numbers")
        if "attention_mask" not in inputs:
            raise NeuronspecError("a batch has no 'attention_mask': cannot tell padding")
        labels = inputs.pop("labels", None)
        if "decoder_input_ids" not in inputs and labels is not None:
            inputs["decoder_input_ids"] = shift_labels(model, labels)
        if "decoder_attention_mask" not in inputs:
            if labels is None:
                raise NeuronspecError("a batch has neither 'decoder_attention_mask' nor 'labels': cannot tell padding")
            inputs["decoder_attention_mask"] = (labels != -100).long()
        self._begin(self._numbers(batch["tasks"]).to(model.device), inputs)
        model.base_model(**inputs, use_cache=False)

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        handles = [layer.projection.register_forward_pre_hook(self._hook(layer)) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def result(self, signature: Mapping[str, str]) -> ActivationCounts:
        if not self.totals:
            raise NeuronspecError("there was nothing to record from: no batches were given")
        tasks = len(self.tasks)
        return ActivationCounts(
            tuple(self.tasks),
            {layer.name: _grown(self.counts[layer.name], tasks).cpu() for layer in self.layers},
            {stack: _grown(totals, tasks).cpu() for stack, totals in self.totals.items()},
            self.unit,
            signature,
        )

    def _numbers(self, tasks: torch.Tensor | Sequence[str]) -> torch.Tensor:
        if isinstance(tasks, torch.Tensor):
            if not self.fixed:
                raise NeuronspecError("the batches number their tasks: give the names with tasks=[...]")
            return tasks
        for task in tasks:
            if task not in self.tasks:
                if self.fixed:
                    raise NeuronspecError(f"unknown task {task!r}; known: {', '.join(self.tasks)}")
                self.tasks.append(task)
        return torch.tensor([self.tasks.index(task) for task in tasks])

    def _begin(self, rows: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> None:
        self.rows = rows
        masks = {"encoder": inputs["attention_mask"], "decoder": inputs["decoder_attention_mask"]}
        self.padding = {stack: mask.eq(0)[:, :, None] for stack, mask in masks.items()}
        for stack, mask in masks.items():
            seen = torch.ones_like(rows) if self.unit == "sentence" else mask.sum(1)
            totals = _grown(self.totals.get(stack, seen.new_zeros(0)), len(self.tasks))
            self.totals[stack] = totals.index_add_(0, rows, seen)

    def _hook(self, layer: FFNLayer) -> Any:
        def count(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            neurons = arguments[0]  # (batch, seq, d_ff)
            padding = self.padding[layer.stack]
            if self.unit == "sentence":
                lowest = torch.finfo(neurons.dtype).min
                active = neurons.masked_fill(padding, lowest).amax(1) > self.threshold
            else:
                active = ((neurons > self.threshold) & ~padding).sum(1)
            before = self.counts.get(layer.name, torch.zeros(0, layer.width, dtype=torch.int64, device=neurons.device))
            counts = _grown(before, len(self.tasks))
            self.counts[layer.name] = counts.index_add_(0, self.rows, active.long())

        return count


def _grown(counter: torch.Tensor, rows: int) -> torch.Tensor:
    """Return `counter` with zero rows added up to `rows`."""
    if len(counter) == rows:
        return counter
    return torch.cat([counter, counter.new_zeros(rows - len(counter), *counter.shape[1:])])
