"""The observer: hands over the neurons of every layer, sentence by sentence, while a model reads batches."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models.nonfinite import check_finite
from neuronspec.models.padding import complete_batch
from neuronspec.models.peft_wrapping import unwrap_model
from neuronspec.models.placement import input_device, number_facts
from neuronspec.models.transformers_internals import evaluating, without_output_layer
from neuronspec.neurons.activity import Activity
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import SPECIALIZATION
from neuronspec.neurons.overflow import LastStates, find_bad_row
from neuronspec.neurons.positions import Positions


class Observer:
    """Reads batches with a model; a subclass decides in `observe` what becomes of the neurons.

    Args:
        model: Model, as `neuronspec.record_activations` takes it.
        activity: Definition of what counts as active.
        tasks: Names of all tasks, if the batches carry numbers; otherwise tasks are added as they appear.

    Raises:
        NeuronspecError: If the model has no FFN blocks.
    """

    def __init__(self, model: PreTrainedModel, activity: Activity, tasks: Sequence[str] | None = None) -> None:
        model = unwrap_model(model)
        self.model = model
        self.device = input_device(model)
        self.layers = find_ffn_layers(model)
        self.activity = activity
        self.tasks = list(tasks or [])
        self.rows = torch.empty(0)  # (batch,) indices of the tasks of the batch that is read
        self.real: dict[str, torch.Tensor] = {}  # stack -> (batch, seq) true at the tokens that count

        # stack -> prefix of the names of its inputs
        both = model.config.is_encoder_decoder
        self.prefixes = {layer.stack: "decoder_" if both and layer.stack == "decoder" else "" for layer in self.layers}

        self._ignored = torch.tensor(list(activity.ignore), dtype=torch.int64, device=self.device)
        self._tasks_are_given = tasks is not None
        self._positions = Positions(self.layers)
        self._last_states = LastStates(self.layers)
        self._locating = False  # whether a batch is read once more, to find where it stops being finite

    def begin(self, inputs: Mapping[str, torch.Tensor]) -> None:
        """Prepare for a batch; `rows` and `real` are those of its sentences.

        Args:
            inputs: Tensors that the model will read, on its device: for each stack `prefixes[stack] + "input_ids"` and
                `prefixes[stack] + "attention_mask"`, (batch, seq).
        """

    def observe(self, layer: FFNLayer, neurons: torch.Tensor, real: torch.Tensor) -> None:
        """Look at the neurons of a layer, once a batch; an expert that no token was sent to is not shown.

        Args:
            layer: Layer of the neurons.
            neurons: (batch, seq, d_ff) activations; those at tokens that do not count have no meaning.
            real: (batch, seq) true at the tokens that count: neither padding nor ignored, and read by this expert.
        """
        raise NotImplementedError

    def watch(self, batches: Iterable[Mapping[str, Any]]) -> None:
        """Read all batches, in evaluation mode and without the output layer.

        Args:
            batches: Batches, as `neuronspec.record_activations` takes them.

        Raises:
            NeuronspecError: If there are no batches, batches have no tasks or no padding, the activation of a gate is
                no module, or weights or activations are not finite.
        """
        if isinstance(batches, Mapping):
            raise NeuronspecError("batches must be several batches, in a list or a loader: this is one")

        # With weights that are not finite, every count would be meaningless.
        check_finite(self.model)

        # Without the output layer, whose logits nobody needs here and which can be larger than all else.
        with torch.no_grad(), evaluating(self.model), self._attached(), without_output_layer(self.model):
            for batch in batches:
                self.read(batch)

        if not self.real:
            raise NeuronspecError("there was nothing to record from: no batches were given")

    def read(self, batch: Mapping[str, Any]) -> None:
        """Send a batch through the model; the hooks observe.

        Args:
            batch: One batch, as `neuronspec.record_activations` takes it.
        """
        if batch.get("tasks") is None:
            raise NeuronspecError("a batch has no 'tasks': give the task of every row, as names or numbers")
        inputs = self._prepare_inputs(batch)

        # The task of every row, and the tokens that count
        numbers = self._number_tasks(batch["tasks"])
        if len(numbers) != len(inputs["input_ids"]):
            raise NeuronspecError(f"a batch has {len(numbers)} tasks for {len(inputs['input_ids'])} rows")
        self.rows = numbers.to(self.device)
        self.real = {stack: self._find_counting(prefix, inputs) for stack, prefix in self.prefixes.items()}
        self.begin(inputs)

        # The forward pass
        specialized = {"tasks": [self.tasks[n] for n in numbers]} if hasattr(self.model, SPECIALIZATION) else {}
        without_cache = {"use_cache": False} if "use_cache" in _list_parameters(self.model) else {}
        forward = functools.partial(self.model, **inputs, **specialized, **without_cache)
        forward()

        # Where a state is not finite, the batch is read once more to find the layer and the task
        there: dict[str, torch.Tensor] = {
            stack: inputs[f"{prefix}attention_mask"].ne(0) for stack, prefix in self.prefixes.items()
        }
        if (bad := self._last_states.bad_row(there)) is not None:
            self.real, self._locating = there, True
            forward()  # raises at the first layer that is not finite
            raise self._not_finite(f"the hidden states of the {bad[0]}", bad[1])

    def facts(self) -> dict[str, str]:
        """Return what decides which neurons are active, including the precision of the model, for a signature."""
        return self.activity.signature(gated=any(layer.gated for layer in self.layers)) | number_facts(self.model)

    def _prepare_inputs(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return what the model reads of a batch, on its device, with attention masks and without labels."""
        # Tensors, moved to the device and completed with masks and the decoder's input
        tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor) and key != "tasks"}
        on_device = {key: value.to(self.device) for key, value in tensors.items()}
        inputs = dict(complete_batch(self.model, on_device))

        # The labels have served their purpose; without them, no loss is computed.
        inputs.pop("labels", None)

        if not self.model.config.is_encoder_decoder and "position_ids" in _list_parameters(self.model):
            # A hole in the middle of a sentence must not move what comes after it.
            inputs.setdefault("position_ids", (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0))
        return inputs

    @contextlib.contextmanager
    def _attached(self) -> Iterator[None]:
        """Hook the model for a while."""
        with contextlib.ExitStack() as hooks:
            for handle in (*self._positions.attach(), *self._last_states.attach()):
                hooks.callback(handle.remove)
            for layer in self.layers:
                hooks.callback(self._hook_layer(layer).remove)
            yield

    def _hook_layer(self, layer: FFNLayer) -> RemovableHandle:
        """Hook the place at which the neurons of a layer are observed."""
        # Either the input of the second matrix, or the output of the gate's activation
        if not layer.gated or self.activity.gated_at == "product":
            return layer.entrance.register_forward_pre_hook(functools.partial(self._before, layer))

        if layer.activation is None:
            raise NeuronspecError(
                f"the gate of {layer.name} is activated by no module of its own: record with gated_at='product', or "
                "register the architecture with the gate's name"
            )
        return layer.activation.register_forward_hook(functools.partial(self._after_gate, layer))

    def _number_tasks(self, tasks: torch.Tensor | Sequence[str]) -> torch.Tensor:
        """Return the (batch,) indices of tasks; names that are new get the next ones."""
        # Numbers: the names of the tasks are known already
        if isinstance(tasks, torch.Tensor):
            if not self._tasks_are_given:
                raise NeuronspecError("the batches number their tasks: give the names with tasks=[...]")

            # Only on the CPU: reading the numbers from an accelerator would stall it.
            if tasks.device.type == "cpu" and any(not 0 <= number < len(self.tasks) for number in tasks.tolist()):
                raise NeuronspecError(f"task numbers must be from 0 to {len(self.tasks) - 1}: found {tasks.tolist()}")
            return tasks

        # Names: those that are new are added, unless all were given
        for task in tasks:
            if task in self.tasks:
                continue
            if self._tasks_are_given:
                raise NeuronspecError(f"unknown task {task!r}; known: {', '.join(self.tasks)}")
            self.tasks.append(task)
        return torch.tensor([self.tasks.index(task) for task in tasks])

    def _find_counting(self, prefix: str, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return which tokens of a stack's input count, (batch, seq)."""
        real = inputs[f"{prefix}attention_mask"].ne(0)
        if len(self._ignored):
            real = real & ~torch.isin(inputs[f"{prefix}input_ids"], self._ignored)
        return real

    def _before(self, layer: FFNLayer, module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        self._hand_over(layer, arguments[0])

    def _after_gate(self, layer: FFNLayer, module: nn.Module, arguments: Any, output: torch.Tensor) -> None:
        self._hand_over(layer, output)

    def _hand_over(self, layer: FFNLayer, vectors: torch.Tensor) -> None:
        """Let the neurons of a layer be observed, or look for one that is not finite."""
        neurons, real = self._sort_by_sentence(layer, vectors)
        if not self._locating:
            self.observe(layer, neurons, real)
        elif (row := find_bad_row(neurons, real)) is not None:
            raise self._not_finite(f"the neurons of {layer.name}", row)

    def _not_finite(self, what: str, row: int) -> NeuronspecError:
        task = self.tasks[int(self.rows[row])]
        return NeuronspecError(
            f"{what} are not finite numbers for the task {task}, though the weights are: {self.model.dtype} overflows. "
            "Nothing can be counted so; load the model in float32 or bfloat16 (dtype=torch.float32)"
        )

    def _sort_by_sentence(self, layer: FFNLayer, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the neurons of every token (batch, seq, d_ff), and which tokens count there (batch, seq)."""
        # Each layer is observed on its own device.
        real = self.real[layer.stack].to(vectors.device)

        routed = self._positions.tokens(layer, vectors)
        if routed is not None:  # an expert sees some tokens only
            everywhere = vectors.new_zeros(real.numel(), layer.width)  # (batch * seq, d_ff)
            everywhere[routed] = vectors.reshape(-1, layer.width)
            vectors, seen = everywhere, torch.zeros_like(real).flatten()
            seen[routed] = True
            real = real & seen.view_as(real)

        # Some models read more than their text in places, such as windows of a fixed size.
        if vectors.numel() != real.numel() * layer.width:
            raise NeuronspecError(
                f"{layer.name} computes {vectors.numel() // layer.width} vectors of neurons for {real.numel()} tokens: "
                f"a {self.model.config.model_type!r} model reads more than its text there (it pads it, or reads it "
                "several times), so that its neurons cannot be assigned to tokens; take another model"
            )

        # To (batch, seq, d_ff), whatever the order or the flattening of the model
        if layer.time_first:
            return vectors.transpose(0, 1), real  # from (seq, batch, d_ff)
        return vectors.reshape(*real.shape, layer.width), real


def _list_parameters(model: PreTrainedModel) -> Collection[str]:
    """Return the names of the arguments that a model takes."""
    return inspect.signature(model.forward).parameters
