"""Neurons that fired while a model read a text and its translation, and which of them other directions use, too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import BaseModel, Field
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations

STRONGEST = 8  # neurons of a layer that are named


class FiredNeuron(BaseModel):
    """A neuron that fired."""

    neuron: int = Field(description="Its index in the layer.")
    strength: float = Field(description="Its mean activation over all tokens.")
    tokens: int = Field(description="Number of tokens at which it was active.")
    directions: int = Field(description="Number of directions whose masks have it; 0 without masks.")


class FiredLayer(BaseModel):
    """A layer, and how many of its neurons fired."""

    layer: str = Field(examples=["encoder.0"])
    width: int = Field(description="Number of its neurons.")
    selected: int = Field(description="Number of neurons in the direction's mask; all without masks.")
    directions: int = Field(description="Number of directions that have masks; 0 without masks.")
    fired: int = Field(description="Number of neurons that were active at one token at least.")
    own: int = Field(description="Number of these that are in the mask of this direction alone.")
    common: int = Field(description="Number of these that are in the masks of all directions.")
    strongest: list[FiredNeuron] = Field(description="Those with the highest mean activation, the highest first.")


def find_fired(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    masks: NeuronMasks | None,
    *,
    task: str,
    source: str,
    translation: str,
    source_prefix: SourcePrefix | None = None,
) -> list[FiredLayer]:
    """Return which neurons fired while a model read a text and its translation (teacher forcing).

    Args:
        model: Encoder-decoder. A specialized one computes with the neurons of the task, unless inside
            `neuronspec.dense`.
        tokenizer: Tokenizer of the model.
        masks: Masks of all directions, which say who else uses a neuron; None without masks.
        task: Direction.
        source: Text with a visible character.
        translation: Its translation, with a visible character.
        source_prefix: Words in front of the source, for a model without language tags.

    Returns:
        The layers in the order of the model.
    """
    batches = make_batches(model, tokenizer, {task: [(source, translation)]}, source_prefix=source_prefix)
    with torch.no_grad():
        counts = record_activations(model, batches, unit="token", means=True)
    return [
        _describe_layer(layer, task, masks, active=active[0], means=counts.means[layer][0])
        for layer, active in counts.values.items()
    ]


def _describe_layer(
    layer: str, task: str, masks: NeuronMasks | None, *, active: torch.Tensor, means: torch.Tensor
) -> FiredLayer:
    """Return what there is to say about a layer.

    Args:
        layer: Name of the layer.
        task: Direction.
        masks: Masks of all directions.
        active: (d_ff,) number of tokens at which each neuron was active.
        means: (d_ff,) mean activations.
    """
    fired = active > 0
    directions = _count_directions(layer, masks, fired)
    total = 0 if masks is None else len(masks.tasks)
    selected = torch.ones_like(fired) if masks is None else masks.mask(task, layer)

    # What did not fire may have a higher mean than a neuron that seldom did
    ranked = torch.where(fired, means.double(), -torch.inf)
    order = ranked.argsort(descending=True, stable=True)[: min(STRONGEST, int(fired.sum()))]
    return FiredLayer(
        layer=layer,
        width=fired.numel(),
        selected=int(selected.sum()),
        directions=total,
        fired=int(fired.sum()),
        own=int((fired & selected & (directions == 1)).sum()),
        common=int((fired & (directions == total)).sum()) if total > 1 else 0,
        strongest=_list_strongest(order.tolist(), active=active, means=means, directions=directions),
    )


def _count_directions(layer: str, masks: NeuronMasks | None, fired: torch.Tensor) -> torch.Tensor:
    """Return for each neuron the number of directions whose masks have it, (d_ff,)."""
    if masks is None:
        return torch.zeros_like(fired, dtype=torch.long)
    return masks.layer(layer).sum(0)


def _list_strongest(
    order: Sequence[int], *, active: torch.Tensor, means: torch.Tensor, directions: torch.Tensor
) -> list[FiredNeuron]:
    return [
        FiredNeuron(
            neuron=neuron,
            strength=float(means[neuron]),
            tokens=int(active[neuron]),
            directions=int(directions[neuron]),
        )
        for neuron in order
    ]
