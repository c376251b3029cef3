"""Recording: which neurons are active for which task, counted on the model's own device while it reads."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.forward import evaluating, shift_labels, without_output_layer
from neuronspec.neurons.counts import ActivationCounts, Unit
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import SPECIALIZATION
from neuronspec.neurons.positions import Positions

GatedAt = Literal["gate", "product"]


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
        batches: mappings with `input_ids`, `attention_mask` (batch, seq), for an encoder-decoder also
            `decoder_input_ids` and `decoder_attention_mask` (batch, target) or `labels` (batch, target; -100 where
            padded), and `tasks`: a name for each row, or with `tasks=` given, (batch,) numbers into it.
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
    if unit not in get_args(Unit) or gated_at not in get_args(GatedAt):
        raise NeuronspecError(f"unit must be sentence or token, gated_at gate or product; not {unit!r}, {gated_at!r}")
    if isinstance(batches, Mapping):
        raise NeuronspecError("batches must be several batches, in a list or a loader: this is one")
    if not all(isinstance(number, int) for number in ignore):
        raise NeuronspecError(f"ignore takes ids of tokens, not {list(ignore)}")
    recorder = _Recorder(model, unit, threshold, gated_at, list(tasks or []), fixed=tasks is not None)
    recorder.ignore = torch.tensor(list(ignore), dtype=torch.int64, device=model.device)
    recorder.wants_means, recorder.wants_states = means, states
    with torch.no_grad(), evaluating(model), recorder.attached(), without_output_layer(model):
        for batch in batches:
            recorder.read(batch)
    facts = {"threshold": str(threshold), "ignored": " ".join(map(str, sorted(set(ignore)))) or "padding"}
    if any(layer.gated for layer in recorder.layers):
        facts["gated_at"] = gated_at
    return recorder.result(dict(signature or {}) | facts)


class _Recorder:
    """The counters, and the hooks that feed them."""

    wants_means = False
    wants_states = False
    ignore: torch.Tensor

    def __init__(
        self, model: PreTrainedModel, unit: Unit, threshold: float, gated_at: GatedAt, tasks: list[str], fixed: bool
    ) -> None:
        self.model = model
        self.layers = find_ffn_layers(model)
        self.positions = Positions(self.layers)
        self.unit = unit
        self.threshold = threshold
        self.gated_at = gated_at
        self.tasks = tasks
        self.fixed = fixed
        self.counts = _Counters()
        self.totals = _Counters()
        self.sums = _Counters()  # of activations, for means
        self.tokens = _Counters()  # counted positions, for means
        self.states: dict[str, list[torch.Tensor]] = {}
        self.state_tasks: list[torch.Tensor] = []
        self.rows = torch.empty(0)  # (batch,) task numbers
        self.real: dict[str, torch.Tensor] = {}  # stack -> (batch, seq) true at the tokens that count

    def read(self, batch: Mapping[str, Any]) -> None:
        """Send a batch through the model; the hooks count."""
        model = self.model
        tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor) and key != "tasks"}
        inputs = {key: value.to(model.device) for key, value in tensors.items()}
        if batch.get("tasks") is None:
            raise NeuronspecError("a batch has no 'tasks': give the task of every row, as names or numbers")
        if "attention_mask" not in inputs:
            raise NeuronspecError("a batch has no 'attention_mask': cannot tell padding")
        labels = inputs.pop("labels", None)
        if model.config.is_encoder_decoder:
            _complete_decoder_inputs(model, inputs, labels)
        elif "position_ids" in _parameters(model):
            # Padding on the left must not move a sentence.
            inputs.setdefault("position_ids", (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0))
        numbers = self._numbers(batch["tasks"])
        if len(numbers) != len(inputs["input_ids"]):
            raise NeuronspecError(f"a batch has {len(numbers)} tasks for {len(inputs['input_ids'])} rows")
        self._begin(numbers.to(model.device), inputs)
        specialized = {"tasks": [self.tasks[n] for n in numbers]} if hasattr(model, SPECIALIZATION) else {}
        without_cache = {"use_cache": False} if "use_cache" in _parameters(model) else {}
        model(**inputs, **specialized, **without_cache)
        for layer in self.layers if self.wants_states else ():
            states = self.states.setdefault(layer.name, [])
            if len(states) < len(self.state_tasks):  # an expert that no token was sent to
                states.append(torch.zeros(len(numbers), -(-layer.width // 8), dtype=torch.uint8))

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hook the model for a while."""
        with contextlib.ExitStack() as hooks:
            for handle in self.positions.attach():
                hooks.callback(handle.remove)
            for layer in self.layers:
                if layer.gated and self.gated_at == "gate":
                    if layer.activation is None:
                        raise NeuronspecError(
                            f"the gate of {layer.name} is activated by no module of its own: record with "
                            "gated_at='product', or register the architecture with the gate's name"
                        )
                    handle = layer.activation.register_forward_hook(functools.partial(self._after_gate, layer))
                else:
                    handle = layer.projection.register_forward_pre_hook(functools.partial(self._before, layer))
                hooks.callback(handle.remove)
            yield

    def result(self, signature: Mapping[str, str]) -> ActivationCounts:
        """Return what was counted."""
        rows = len(self.tasks)
        totals = {stack: self.totals.get(stack, rows) for stack in self.totals.named}
        if not totals:
            raise NeuronspecError("there was nothing to record from: no batches were given")
        return ActivationCounts(
            tuple(self.tasks),
            {layer.name: self.counts.get(layer.name, rows, layer.width) for layer in self.layers},
            totals,
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

    def _numbers(self, tasks: torch.Tensor | Sequence[str]) -> torch.Tensor:
        if isinstance(tasks, torch.Tensor):
            if not self.fixed:
                raise NeuronspecError("the batches number their tasks: give the names with tasks=[...]")
            if tasks.device.type == "cpu" and any(not 0 <= number < len(self.tasks) for number in tasks.tolist()):
                raise NeuronspecError(f"task numbers must be from 0 to {len(self.tasks) - 1}: found {tasks.tolist()}")
            return tasks
        for task in tasks:
            if task not in self.tasks:
                if self.fixed:
                    raise NeuronspecError(f"unknown task {task!r}; known: {', '.join(self.tasks)}")
                self.tasks.append(task)
        return torch.tensor([self.tasks.index(task) for task in tasks])

    def _begin(self, rows: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> None:
        """Note whose rows these are and which of their tokens count; count what is seen."""
        self.rows = rows
        for stack in dict.fromkeys(layer.stack for layer in self.layers):
            prefix = "decoder_" if stack == "decoder" and self.model.config.is_encoder_decoder else ""
            real = inputs[f"{prefix}attention_mask"].ne(0)
            if len(self.ignore):
                real = real & ~torch.isin(inputs[f"{prefix}input_ids"], self.ignore)
            self.real[stack] = real
            tokens = real.sum(1)
            self.totals.add(stack, len(self.tasks), rows, torch.ones_like(rows) if self.unit == "sentence" else tokens)
            if self.wants_means:
                self.tokens.add(stack, len(self.tasks), rows, tokens)
        if self.wants_states:
            self.state_tasks.append(rows.cpu())

    def _before(self, layer: FFNLayer, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self._count(layer, arguments[0])

    def _after_gate(self, layer: FFNLayer, module: nn.Module, arguments: Any, output: torch.Tensor) -> None:
        self._count(layer, output)

    def _count(self, layer: FFNLayer, vectors: torch.Tensor) -> None:
        neurons, real = self._by_sentence(layer, vectors)  # (batch, seq, d_ff), (batch, seq)
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

    def _by_sentence(self, layer: FFNLayer, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the neurons of every token (batch, seq, d_ff), and which tokens count there (batch, seq)."""
        real = self.real[layer.stack]
        routed = self.positions.tokens(layer, vectors)
        if routed is not None:  # an expert sees some tokens only
            everywhere = vectors.new_zeros(real.numel(), layer.width)
            everywhere[routed] = vectors.reshape(-1, layer.width)
            vectors, seen = everywhere, torch.zeros_like(real).flatten()
            seen[routed] = True
            real = real & seen.view_as(real)
        if layer.time_first:
            return vectors.transpose(0, 1), real
        return vectors.reshape(*real.shape, layer.width), real


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


def _parameters(model: PreTrainedModel) -> Collection[str]:
    return inspect.signature(model.forward).parameters


def _complete_decoder_inputs(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], labels: torch.Tensor | None
) -> None:
    """Make the decoder's input and its padding of the labels, where they are not given."""
    if "decoder_input_ids" not in inputs and labels is not None:
        inputs["decoder_input_ids"] = shift_labels(model, labels)
    if "decoder_attention_mask" not in inputs:
        if labels is None:
            raise NeuronspecError("a batch has neither 'decoder_attention_mask' nor 'labels': cannot tell padding")
        inputs["decoder_attention_mask"] = (labels != -100).long()


def _pack(active: torch.Tensor) -> torch.Tensor:
    """Return (batch, ceil(d_ff / 8)) uint8 of (batch, d_ff) booleans, the first neuron in the highest bit."""
    padded = nn.functional.pad(active.to(torch.uint8), (0, -active.shape[1] % 8))
    powers = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=active.device)
    return (padded.view(len(active), -1, 8) * powers).sum(2).to(torch.uint8)
