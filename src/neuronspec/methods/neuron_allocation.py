"""Neurons allocated by importance (Xie et al., 2021), as masks of the FFN: most for all tasks, the rest for few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED, BatchDataset
from neuronspec.errors import NeuronspecError
from neuronspec.methods.neuron_specialization import NeuronSpecialization
from neuronspec.methods.registry import METHODS
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.processes import join_processes
from neuronspec.progress import show_progress
from neuronspec.training.method import Resources, Search
from neuronspec.training.objective import TranslationLoss


@METHODS.register("neuron_allocation")
class NeuronAllocation(NeuronSpecialization):
    """Masks neurons that are neither important to all tasks together nor among the most important to this one.

    The importance of a neuron to a task is |activation x gradient|, summed over the positions of the validation text.
    As published it is measured in attention and the output layer, too; here in the FFN, so that masks are as those of
    neuron_specialization and the two differ in the choice of neurons alone.
    """

    class Options(NeuronSpecialization.Options):
        """Options of neuron_allocation."""

        shared: float = Field(default=0.7, ge=0, le=1)
        """Share of each layer's neurons, the most important to all tasks together, that every task keeps."""
        bar: float = Field(default=0.9, gt=0, le=1)
        """Of the other neurons, a task keeps those whose importance to it is above this share of the highest."""

    name = "neuron_allocation"
    uses_masks = False
    searches = True
    options: Options

    def search(self, search: Search) -> None:
        """Measure the importance of every neuron to every task, and allocate them."""
        processes = join_processes(search.cpu)
        if processes.is_main_process:
            model, _ = search.load()
            model.to(processes.device)
            importance = measure_importance(model, search.corpora.valid, search.sampling.tokens_per_batch)
            if bad := find_nonfinite(importance.items()):
                raise NeuronspecError(
                    f"the importance of the neurons of {bad[0]} is not finite: its gradients overflow"
                )
            values = {name: allocate(rows, self.options.shared, self.options.bar) for name, rows in importance.items()}
            signature = {"rule": "allocation", "shared": str(self.options.shared), "bar": str(self.options.bar)}
            NeuronMasks(search.tasks, values, signature).save_pretrained(search.directory)
        processes.wait_for_everyone()

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialise the model with the masks that the search left."""
        if resources.found is None:
            raise NeuronspecError(f"{self.name} needs the masks of its search, which has not run")
        masks = NeuronMasks.from_pretrained(resources.found)
        super().attach(model, Resources(resources.tasks, masks, resources.seed))


def measure_importance(model: PreTrainedModel, valid: BatchDataset, tokens_per_batch: int) -> dict[str, torch.Tensor]:
    """Return how much the loss of each task would change, to first order, without each neuron.

    Args:
        model: in evaluation mode afterwards.
        valid: the examples of all tasks.
        tokens_per_batch: padded tokens of a batch.

    Returns:
        Layer -> (tasks, d_ff) float64: the sum over positions of |activation x gradient|, a target token.
    """
    layers = find_ffn_layers(model)
    objective = TranslationLoss(model, label_smoothing=0.0)
    model.eval()
    found = {layer.name: torch.zeros(len(valid.tasks), layer.width, dtype=torch.float64) for layer in layers}
    with show_progress("measuring importance", len(valid.tasks)) as advance:
        for number in range(len(valid.tasks)):
            tokens = 0
            for batch in valid.in_order(tokens_per_batch, number):
                tokens += int((batch["labels"] != IGNORED).sum())
                on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
                for name, amounts in _measure_batch(objective, layers, on_device).items():
                    found[name][number] += amounts
            for rows in found.values():
                rows[number] /= max(1, tokens)
            advance()
    return found


def allocate(importance: torch.Tensor, shared: float, bar: float) -> torch.Tensor:
    """Return which neurons of a layer each task keeps.

    Args:
        importance: (tasks, d_ff), not negative.
        shared: share of the neurons, the most important in sum, that all tasks keep; ties: the lower index first.
        bar: a task keeps another neuron where its importance is above this share of the highest of all tasks.

    Returns:
        (tasks, d_ff) boolean.

    Example:
        >>> allocate(torch.tensor([[9.0, 1.0, 0.5], [9.0, 0.2, 0.5]]), shared=0.34, bar=0.9).int().tolist()
        [[1, 1, 1], [1, 0, 1]]
    """
    count = int(shared * importance.shape[1])
    order = importance.sum(0).sort(descending=True, stable=True).indices
    kept = importance > bar * importance.max(0).values  # (tasks, d_ff)
    if bar == 1:  # the highest is not above itself, but keeps its own
        kept = importance == importance.max(0).values
    kept[:, order[:count]] = True
    return kept


def _measure_batch(
    objective: TranslationLoss, layers: Sequence[FFNLayer], batch: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return |activation x gradient| of one batch, summed over its positions, (d_ff,) a layer."""
    seen: dict[str, torch.Tensor] = {}
    handles = []
    for layer in layers:

        def note(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], name: str = layer.name) -> None:
            seen[name] = arguments[0]

        handles.append(layer.entrance.register_forward_pre_hook(note))
    try:
        loss = objective(batch)
    finally:
        for handle in handles:
            handle.remove()
    gradients = torch.autograd.grad(loss, list(seen.values()))
    amounts = {}
    for (name, states), gradient in zip(seen.items(), gradients, strict=True):
        product = (states.detach() * gradient).abs().double()  # (..., d_ff)
        amounts[name] = product.reshape(-1, product.shape[-1]).sum(0).cpu()
    return amounts
