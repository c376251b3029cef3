"""The weights of a fairseq model under current names, without what is no weight."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from neuronspec.errors import NeuronspecError

# What a state dict holds besides weights. Positions that are computed, copies for a fused kernel, and the masks of the
# released Neuron Specialization code.
_NO_WEIGHTS = (
    re.compile(r"(encoder|decoder)\.version"),
    re.compile(r"(encoder|decoder)\.embed_positions\.(_float_tensor|weights)"),
    re.compile(r"encoder\.layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)"),
    re.compile(r"(.*\.)?mask_.*"),
)
_OLD_NORMS = {  # names until fairseq 0.6
    "encoder": ("self_attn_layer_norm", "final_layer_norm"),
    "decoder": ("self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"),
}
_OLD_NORM = re.compile(r"((encoder|decoder)\.layers\.\d+)\.layer_norms\.(\d)\.(weight|bias)")
_JOINED = re.compile(r"(.*_attn)\.in_proj_(weight|bias)")
_MASKED = "global_weight"  # the name of a weight that the released code masks
_OUTPUT = "decoder.output_projection.weight"


@dataclass(frozen=True, kw_only=True)
class NamedWeights:
    """The weights of a model, and what is not used.

    Attributes:
        weights: Tensors by current names.
        dropped: Names of entries that are no weights, sorted.
    """

    weights: Mapping[str, torch.Tensor]
    dropped: tuple[str, ...]


def name_weights(state: Mapping[str, torch.Tensor]) -> NamedWeights:
    """Return the weights of a state dict under the names of fairseq 0.12.

    Older names are replaced, joined matrices of queries, keys and values split, and what is no weight dropped.

    Args:
        state: Tensors by fairseq's names.

    Raises:
        NeuronspecError: If two entries are the same weight, or a joined matrix cannot be split.
    """
    weights: dict[str, torch.Tensor] = {}
    dropped = []
    for name, tensor in state.items():
        if any(pattern.fullmatch(name) for pattern in _NO_WEIGHTS):
            dropped.append(name)
            continue

        for current, part in _rename(name, tensor):
            if current in weights:
                raise NeuronspecError(f"the checkpoint holds {current} twice, the second time as {name}")
            weights[current] = part

    # Older models with shared embeddings do not name their output layer.
    if "decoder.embed_tokens.weight" in weights:
        weights.setdefault(_OUTPUT, weights["decoder.embed_tokens.weight"])
    return NamedWeights(weights=weights, dropped=tuple(sorted(dropped)))


def _rename(name: str, tensor: torch.Tensor) -> Iterable[tuple[str, torch.Tensor]]:
    """Yield the current names of an entry with their tensors."""
    if name.endswith(f".{_MASKED}"):
        name = f"{name.removesuffix(_MASKED)}weight"
    if name == "decoder.embed_out":  # until fairseq 0.9
        name = _OUTPUT

    old = _OLD_NORM.fullmatch(name)
    if old is not None and int(old[3]) < len(_OLD_NORMS[old[2]]):
        name = f"{old[1]}.{_OLD_NORMS[old[2]][int(old[3])]}.{old[4]}"

    # Blocks of queries, keys and values, in this order
    joined = _JOINED.fullmatch(name)
    if joined is None:
        yield name, tensor
        return
    if tensor.ndim not in (1, 2) or tensor.shape[0] % 3:
        raise NeuronspecError(f"{name} has shape {tuple(tensor.shape)}: expected three blocks of the same size")
    for letter, block in zip("qkv", tensor.chunk(3), strict=True):
        yield f"{joined[1]}.{letter}_proj.{joined[2]}", block


def convert_weights(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Size], sources: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    """Return the state dict of a model of transformers, in float32.

    Args:
        weights: Weights by current fairseq names.
        expected: Shapes by names of transformers.
        sources: Fairseq's name for each name of transformers.

    Raises:
        NeuronspecError: If weights are missing, unknown, of another shape, or not finite.
    """
    # Every weight has its place, and every place its weight.
    missing = sorted({sources[name] for name in expected} - weights.keys())
    unknown = sorted(weights.keys() - set(sources.values()))
    if missing or unknown:
        faults = [_count("is missing", "are missing", missing), _count("is unknown", "are unknown", unknown)]
        raise NeuronspecError(f"the weights are not those of this architecture: {'; '.join(filter(None, faults))}")

    converted = {}
    for name, shape in expected.items():
        tensor = weights[sources[name]]
        if tensor.shape != shape:
            raise NeuronspecError(
                f"{sources[name]} has shape {tuple(tensor.shape)}, but the rest of the model needs {tuple(shape)}"
            )
        converted[name] = _check_values(sources[name], tensor)
    return converted


def _check_values(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a weight in float32; refuse one that is no number."""
    if not tensor.is_floating_point():
        raise NeuronspecError(f"{name} holds {tensor.dtype}: expected floating-point numbers")

    # A copy, which stays when the file is closed
    values = tensor.to(torch.float32, copy=True).contiguous()
    if not torch.isfinite(values).all():
        raise NeuronspecError(f"{name} has weights that are NaN or infinite: the training had diverged; take another")
    return values


def _count(one: str, several: str, names: list[str]) -> str:
    """Return how many names there are, and the first of them; nothing for none."""
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    shown = ", ".join(name[:80] for name in names[:3])
    return f"{shown}{more} {one if len(names) == 1 else several}"
