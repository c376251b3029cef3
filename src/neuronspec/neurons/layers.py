"""The places of a model's FFN neurons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import EXPERT, SHARED, STACKS, Stack
from neuronspec.models.matrices import WeightMatrix, features_in, features_out, is_plain
from neuronspec.models.peft_wrapping import unwrap_matrix, unwrap_model
from neuronspec.models.stacked_experts import is_stacked, view_experts
from neuronspec.neurons.architecture_search import search_architecture
from neuronspec.neurons.architectures import ARCHITECTURES, HOW_TO_REGISTER, Architecture, Form
from neuronspec.neurons.masks import SPECIALIZATION


@dataclass(frozen=True)
class FFNLayer:
    """One FFN block of a model.

    Args:
        name: Name of the layer, `encoder.0` .. `decoder.5`; its experts are `encoder.3.expert.0`, `encoder.3.expert.1`
            and so on; one that every token is sent to as well is `encoder.3.expert.shared`.
        stack: `encoder` or `decoder` (the only stack of a decoder-only model).
        index: Index of the layer in its stack.
        width: Number of neurons, d_ff.
        projection: Second matrix.
        expansions: First matrix; for gated units that of the gate and the other one, or one module that holds both.
        entrance: Module in the place of the second matrix: the matrix, or what PEFT has put around it. Its input
            (batch, seq, d_ff) is the vector of neurons.
        exits: Modules in the places of the first matrices; their outputs become the neurons.
        activation: For gated units, the module that computes the activation of the gate (batch, seq, d_ff); else None.
        block: Transformer layer around the FFN.
        experts: For a layer of experts, the module that sends tokens to them; else None.
        expert: Index of this expert.
        time_first: Whether the vectors come as (seq, batch, d_ff).
    """

    name: str
    stack: Stack
    index: int
    width: int
    projection: WeightMatrix
    expansions: tuple[WeightMatrix, ...]
    entrance: nn.Module
    exits: tuple[nn.Module, ...]
    activation: nn.Module | None
    block: nn.Module
    experts: nn.Module | None = None
    expert: int = 0
    time_first: bool = False

    @property
    def plain(self) -> bool:
        """Whether its matrices have nothing around them, and weights that can be cut."""
        # Without PEFT, each matrix is itself the module in its place.
        matrices = (self.projection, *self.expansions)
        itself = all(inner is outer for inner, outer in zip(matrices, (self.entrance, *self.exits), strict=True))
        return itself and all(is_plain(matrix) for matrix in matrices)

    @property
    def gated(self) -> bool:
        """Whether the neurons are the product of the activation of a gate and the output of another matrix."""
        # The gate and its factor have d_ff features each, in two matrices or in one.
        return sum(features_out(expansion) for expansion in self.expansions) == 2 * self.width


def find_ffn_layers(model: PreTrainedModel) -> list[FFNLayer]:
    """Find the FFN layers of a model, encoder first.

    A registered architecture (`neuronspec.neurons.architectures`) is looked up by its names, strictly: anything
    unexpected is an error. Any other one is searched (`neuronspec.neurons.architecture_search`): a probe through the
    model finds the matrices between which every feature goes its own way, or the model is refused.

    Args:
        model: Hugging Face model, with or without a head.

    Returns:
        One `FFNLayer` for each block; for a layer of experts, one for each expert.

    Raises:
        NeuronspecError: If the model is not built as its architecture says, or its architecture is unknown and no FFN
            was found for certain.

    Example:
        >>> from transformers import M2M100Config, M2M100ForConditionalGeneration
        >>> config = M2M100Config(vocab_size=9, d_model=4, encoder_layers=1, decoder_layers=1,
        ...                       encoder_attention_heads=1, decoder_attention_heads=1,
        ...                       encoder_ffn_dim=8, decoder_ffn_dim=8)
        >>> [(layer.name, layer.width) for layer in find_ffn_layers(M2M100ForConditionalGeneration(config))]
        [('encoder.0', 8), ('decoder.0', 8)]
    """
    model = unwrap_model(model)

    # A specialized model knows its layers; a search would run into its masks.
    router = getattr(model, SPECIALIZATION, None)
    if (known := getattr(router, "layers", None)) is not None:
        assert router is not None
        router.follow()  # what is around the matrices may have changed
        return list(router.layers or known)

    return locate_layers(model, find_architecture(model))


def find_architecture(model: PreTrainedModel) -> Architecture:
    """Return where a model keeps its FFN blocks: as registered, or else as a search finds it.

    Args:
        model: Hugging Face model.

    Raises:
        NeuronspecError: If the architecture is unknown, and no FFN was found for certain.
    """
    model_type = model.config.model_type
    return ARCHITECTURES[model_type] if model_type in ARCHITECTURES else search_architecture(model)


def locate_layers(model: PreTrainedModel, architecture: Architecture) -> list[FFNLayer]:
    """Return the FFN layers of a model in the places that its architecture names, encoder first.

    Args:
        model: Hugging Face model.
        architecture: Architecture of the model.

    Raises:
        NeuronspecError: If the model is not built so.
    """
    layers: list[FFNLayer] = []
    try:
        for stack, (path, ffn) in _find_stacks(model, architecture).items():
            for index, block in enumerate(model.base_model.get_submodule(path).children()):
                holder = block.get_submodule(ffn)  # the layer itself, if its path is empty
                layers += _find_in_block(architecture, holder, stack=stack, index=index, block=block)
    except AttributeError as error:  # PyTorch's for a missing module, and ours for parts that do not fit
        raise NeuronspecError(
            f"this {model.config.model_type!r} model is not built as its architecture says ({error}); {HOW_TO_REGISTER}"
        ) from error
    return layers


def _find_stacks(model: PreTrainedModel, architecture: Architecture) -> dict[Stack, tuple[str, str]]:
    """Return the places of the stacks that a model has: the decoder of an encoder-decoder may come alone."""
    stacks = dict(architecture.stacks)

    # Only an architecture with both stacks can be cut to its decoder, as BartForCausalLM is.
    if model.config.is_encoder_decoder or not set(STACKS) <= stacks.keys():
        return stacks
    if _has_part(model, stacks["decoder"][0]) and not _has_part(model, stacks["encoder"][0]):
        del stacks["encoder"]
    return stacks


def _has_part(model: PreTrainedModel, path: str) -> bool:
    return isinstance(getattr(model.base_model, path.partition(".")[0], None), nn.Module)


def _find_in_block(
    architecture: Architecture, ffn: nn.Module, *, stack: Stack, index: int, block: nn.Module
) -> Iterator[FFNLayer]:
    """Yield the FFN layer of a block, or each of its experts."""
    name = f"{stack}.{index}"
    common: dict[str, Any] = {"stack": stack, "index": index, "block": block, "time_first": architecture.time_first}

    # One FFN
    experts = getattr(ffn, architecture.experts or "", None)
    if experts is None:
        yield _make_layer(name, _find_parts(ffn, name, architecture.forms), **common)
        return

    # The experts that the router sends tokens to
    for number, parts in enumerate(_list_experts(experts, name, architecture.forms)):
        yield _make_layer(f"{name}{EXPERT}{number}", parts, experts=experts, expert=number, **common)

    # The expert that reads every token
    shared = getattr(ffn, architecture.shared or "", None)
    if shared is not None:
        name = f"{name}{EXPERT}{SHARED}"
        yield _make_layer(name, _find_parts(shared, name, architecture.forms), **common)


def _list_experts(experts: nn.Module, name: str, forms: tuple[Form, ...]) -> Iterator[_Parts]:
    """Yield the parts of each expert of a layer."""
    if is_stacked(experts):  # all of them share parameters
        for view in view_experts(experts):
            matrices: Any = view
            yield _Parts(
                projection=matrices.second,
                expansions=(matrices.first,),
                entrance=view.second,
                exits=(view.first,),
                activation=view.activation,
            )
        return

    # Each is a module of its own.
    for number, child in enumerate(filter(_has_parts, experts.children())):
        yield _find_parts(child, f"{name}{EXPERT}{number}", forms)


def _make_layer(name: str, parts: _Parts, **more: Any) -> FFNLayer:
    return FFNLayer(name=name, width=features_in(parts.projection), **parts._asdict(), **more)


class _Parts(NamedTuple):
    """The modules of an FFN, as `FFNLayer` names them."""

    projection: WeightMatrix
    expansions: tuple[WeightMatrix, ...]
    entrance: nn.Module
    exits: tuple[nn.Module, ...]
    activation: nn.Module | None


def _has_parts(module: nn.Module) -> bool:
    """Return whether a child is an expert: their dropout is a child too."""
    return any(True for _ in module.children())


def _find_parts(ffn: nn.Module, name: str, forms: tuple[Form, ...]) -> _Parts:
    """Return the modules of an FFN.

    Args:
        ffn: Module that holds the parts.
        name: Name of the layer, for messages.
        forms: Forms that the FFN may have.

    Raises:
        AttributeError: If the module has none of the forms, or its matrices do not fit together.
    """
    parts = dict(ffn.named_modules())
    form = _choose_form(parts, name, forms)

    # The modules, and the matrices in them
    entrance, *exits = (parts[part] for part in (form.second, *form.first))
    names = f"{name}: {', '.join((*form.first, form.second))}"
    second, *first = (_find_matrix(module, names) for module in (entrance, *exits))

    # What the first matrices write must be what the second one reads, once or (with a gate) twice
    width, written = features_in(second), sum(map(features_out, first))
    if written not in ((2 * width,) if form.gate else (width, 2 * width)):
        raise AttributeError(f"{name}: {form.second} reads {width} features, {', '.join(form.first)} write {written}")

    return _Parts(
        projection=second,
        expansions=tuple(first),
        entrance=entrance,
        exits=tuple(exits),
        activation=parts[form.gate] if form.gate else None,
    )


def _choose_form(parts: Mapping[str, nn.Module], name: str, forms: tuple[Form, ...]) -> Form:
    """Return the first form whose parts are all there."""
    for form in forms:
        if {form.second, *form.first, form.gate or form.second} <= parts.keys():
            return form

    expected = " or ".join(", ".join(filter(None, (*form.first, form.gate, form.second))) for form in forms)
    raise AttributeError(f"{name}: expected {expected}; found {', '.join(filter(None, parts))}")


def _find_matrix(module: nn.Module, names: str) -> WeightMatrix:
    matrix = unwrap_matrix(module)
    if matrix is None:
        kind = f"{type(module).__module__}.{type(module).__name__}"
        raise AttributeError(f"{names} must be Linear or Conv1D, with adapters of PEFT or without; found {kind}")
    return matrix
