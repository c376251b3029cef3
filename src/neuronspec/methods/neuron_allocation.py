"""The method neuron_allocation (Xie et al., 2021): masks that give most neurons to all tasks, the others to a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from neuronspec.training.method import Resources, SearchResources
from neuronspec.training.objective import TranslationLoss


@METHODS.register("neuron_allocation")
class NeuronAllocation(NeuronSpecialization):
    """Masks neurons that are neither important to all tasks together nor among the most important to this one.

    The importance of a neuron for a task is |activation x gradient|, summed over the positions of the validation text.
    The published method measures it in attention and the output layer, too. Here it is measured in the FFN only, so
    that this method and neuron_specialization differ in nothing but the choice of neurons.
    """

    class Options(NeuronSpecialization.Options):
        """Options of neuron_allocation."""

        shared: float = Field(default=0.7, ge=0, le=1)
        """Share of each layer's neurons that every task keeps: those most important to all tasks together."""
        bar: float = Field(default=0.9, gt=0, le=1)
        """Share of the highest importance among tasks above which a task keeps one of the other neurons."""

    name = "neuron_allocation"
    uses_masks = False
    searches = True
    options: Options

    def search(self, search: SearchResources) -> None:
        """Measure the importance of every neuron for every task, and allocate the neurons."""
        # One process measures; the others wait for its file.
        processes = join_processes(search.cpu)
        if processes.is_main_process:
            model, _ = search.load()
            model.to(processes.device)
            importance = measure_importance(model, search.corpora.valid, search.sampling.tokens_per_batch)
            self._allocate_layers(search.tasks, importance).save_pretrained(search.directory)
        processes.wait_for_everyone()

    def _allocate_layers(self, tasks: Sequence[str], importance: Mapping[str, torch.Tensor]) -> NeuronMasks:
        """Return masks with the allocated neurons of every layer."""
        if bad := find_nonfinite(importance.items()):
            raise NeuronspecError(f"the importance of the neurons of {bad[0]} is not finite: its gradients overflow")

        shared, bar = self.options.shared, self.options.bar
        values = {layer: allocate(rows, shared, bar) for layer, rows in importance.items()}
        return NeuronMasks(tasks, values, {"rule": "allocation", "shared": str(shared), "bar": str(bar)})

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Specialize the model with the masks that the search found."""
        if resources.search_directory is None:
            raise NeuronspecError(f"{self.name} needs the masks of its search, which has not run")

        # From here on, this is neuron_specialization with other masks.
        masks = NeuronMasks.from_pretrained(resources.search_directory)
        super().attach(model, Resources(resources.tasks, masks=masks, seed=resources.seed))


def measure_importance(model: PreTrainedModel, valid: BatchDataset, tokens_per_batch: int) -> dict[str, torch.Tensor]:
    """Return how much the loss of each task would change, to first order, without each neuron.

    Args:
        model: Model to measure; in evaluation mode afterwards.
        valid: Examples of all tasks.
        tokens_per_batch: Maximum number of tokens in a batch, with padding.

    Returns:
        For each layer, (tasks, d_ff) float64: the sum over positions of |activation x gradient|, per target token.
    """
    layers = find_ffn_layers(model)
    # Without smoothing, the gradients are those of the likelihood of the text itself.
    objective = TranslationLoss(model, label_smoothing=0.0)
    model.eval()

    # (tasks, d_ff) for each layer, in float64: it sums up many small amounts
    importance = {layer.name: torch.zeros(len(valid.tasks), layer.width, dtype=torch.float64) for layer in layers}
    with show_progress("measuring importance", len(valid.tasks)) as advance:
        for number in range(len(valid.tasks)):
            # The sum over the task's batches, then the mean over its target tokens.
            tokens = 0
            for batch in valid.in_order(tokens_per_batch, number):
                tokens += int((batch["labels"] != IGNORED).sum())
                on_device = {name: tensor.to(model.device) for name, tensor in batch.items()}
                for name, amounts in _measure_batch(objective, layers, on_device).items():
                    importance[name][number] += amounts

            for rows in importance.values():
                rows[number] /= max(1, tokens)
            advance()
    return importance


def allocate(importance: torch.Tensor, shared: float, bar: float) -> torch.Tensor:
    """Return which neurons of a layer each task keeps.

    Args:
        importance: (tasks, d_ff) importance, not negative.
        shared: Share of the neurons that all tasks keep: those with the greatest sum; ties: the lower index first.
        bar: Share of the highest importance among tasks above which a task keeps another neuron.

    Returns:
        (tasks, d_ff) boolean masks.

    Example:
        >>> allocate(torch.tensor([[9.0, 1.0, 0.5], [9.0, 0.2, 0.5]]), shared=0.34, bar=0.9).int().tolist()
        [[1, 1, 1], [1, 0, 1]]
    """
    # For all tasks: the most important neurons in sum.
    count = int(shared * importance.shape[1])
    order = importance.sum(0).sort(descending=True, stable=True).indices

    # For single tasks: neurons for which the task is close to the highest.
    highest = importance.max(0).values  # (d_ff,)
    # With bar 1, a task keeps the neurons for which it is the highest itself.
    kept = importance == highest if bar == 1 else importance > bar * highest  # (tasks, d_ff)

    # The shared neurons are kept even by tasks to which they matter little.
    kept[:, order[:count]] = True
    return kept


def _measure_batch(
    objective: TranslationLoss, layers: Sequence[FFNLayer], batch: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return |activation x gradient| of one batch, summed over its positions: (d_ff,) for each layer."""
    # Note the input of each layer's second matrix in a forward pass.
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

    # Only the gradients of the activations are needed, not those of the weights.
    gradients = torch.autograd.grad(loss, list(seen.values()))
    amounts = {}
    for (name, states), gradient in zip(seen.items(), gradients, strict=True):
        product = (states.detach() * gradient).abs().double()  # (..., d_ff)
        amounts[name] = product.reshape(-1, product.shape[-1]).sum(0).cpu()
    return amounts
