"""Searching an unknown architecture for its FFN blocks: by what happens inside the model, not by names.

In an FFN every output feature of the first matrix goes its own way into the second matrix: changing feature i at
position t changes entry i of the second matrix's input at position t, and nothing else. No other pair of matrices in a
Transformer layer behaves so: attention spreads a change over positions, norms spread it over features.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError, first_line
from neuronspec.layer_names import STACKS, Stack
from neuronspec.models.matrices import WeightMatrix, features_in, features_out
from neuronspec.models.peft_wrapping import list_matrices, unwrap_matrix
from neuronspec.models.placement import input_device
from neuronspec.models.transformers_internals import evaluating
from neuronspec.neurons.architectures import ARCHITECTURES, HOW_TO_REGISTER, Architecture, Form

Blocks = Sequence[nn.Module]
_POSITIONS = 4  # of the probe; its two rows are the same but for the change
_SURE_WIDTH = 64  # with so many neurons, chance does not switch half of them off at one position


def search_architecture(model: PreTrainedModel) -> Architecture:
    """Find the FFN blocks of a model of an unregistered architecture, for certain or not at all.

    A few tokens are sent through the model, once for each matrix of a layer; in the second of two equal rows, half of
    that matrix' output features are changed at one position, in every layer.

    Args:
        model: Model in any mode; nothing of it changes.

    Returns:
        The architecture, as a registered entry would describe it.

    Raises:
        NeuronspecError: If no block, or more than one in a layer, behaves like an FFN, the model reads no text, or its
            experts share one parameter; the message says what was found.
    """
    _check_reads_text(model)

    stacks: dict[Stack, tuple[str, str]] = {}
    forms: list[Form] = []
    # The parts of an FFN are named from the layer itself, hence the empty path to its holder.
    for stack, path, blocks in _search_stacks(model):
        form = _find_form(model, blocks, f"{path}.N")
        stacks[stack] = (path, "")
        if form not in forms:
            forms.append(form)
    return Architecture(stacks, tuple(forms))


def _search_stacks(model: PreTrainedModel) -> Iterator[tuple[Stack, str, Blocks]]:
    """Yield each stack with the path of its layers: the lists of at least one layer that hold matrices."""
    lists = _find_lists(model)
    expected: list[Stack] = list(STACKS) if model.config.is_encoder_decoder else ["decoder"]
    if len(lists) != len(expected):
        raise _refusal(model, f"{len(lists)} lists of layers ({', '.join(lists) or 'none'}), expected {len(expected)}")

    # The encoder is built, and so listed, before the decoder; a model that names them otherwise must be registered.
    for stack, (path, blocks) in zip(expected, lists.items(), strict=True):
        if len(expected) == 2 and stack not in path:
            raise _refusal(model, f"the lists of layers {', '.join(lists)}: cannot tell encoder from decoder")
        yield "encoder" if path.startswith("encoder") else stack, path, blocks


def _find_lists(model: PreTrainedModel) -> dict[str, list[nn.Module]]:
    """Return the lists of layers that read text, by their paths; those inside a layer are left out."""
    # Lists inside a layer, such as those of experts, are parts of a stack, not stacks.
    lists = {path: list(module) for path, module in model.base_model.named_modules() if _holds_layers(module)}
    lists = _keep_text(model, lists)
    return {path: blocks for path, blocks in lists.items() if not _is_inside(path, lists)}


def _holds_layers(module: nn.Module) -> bool:
    """Return whether a module is a list of layers, each with several matrices on average."""
    return isinstance(module, nn.ModuleList) and len(list_matrices(module)) > len(module) > 0


def _is_inside(path: str, others: Iterable[str]) -> bool:
    """Return whether a module is a part of another one."""
    return any(path.startswith(f"{other}.") for other in others)


def _find_form(model: PreTrainedModel, blocks: Blocks, where: str) -> Form:
    """Return the form that the FFNs of a stack share.

    Args:
        model: Model of the stack.
        blocks: Layers of the stack.
        where: Place of the layers, for messages.
    """
    # What no probe of matrices could show is refused first.
    for block in blocks:
        _check_parameters(model, block, where)

    kinds: dict[tuple[str, ...], list[nn.Module]] = {}  # layers that mix their tokens in different ways
    for block in blocks:
        kinds.setdefault(tuple(list_matrices(block)), []).append(block)

    # Only whole modules may differ, never the matrices of a layer itself.
    everywhere = set.intersection(*map(set, kinds))
    differing = set().union(*kinds) - everywhere
    if any("." not in name for name in differing):  # not in a module of its own, as kinds of attention are
        raise _refusal(model, f"layers of different kinds in {where}")

    # The FFN must be the same in all kinds.
    forms = {_find_form_of_kind(model, of_kind, list(names), where): None for names, of_kind in kinds.items()}
    if len(forms) != 1:
        raise _refusal(model, f"layers of different kinds in {where}, with different FFNs")
    return next(iter(forms))


def _find_form_of_kind(model: PreTrainedModel, blocks: Blocks, names: list[str], where: str) -> Form:
    """Return the form of the FFN of layers that have matrices of the same names."""
    # Each matrix is tried as a first one; its second one is the matrix that follows it feature by feature.
    found: dict[str, list[str]] = {}  # second matrix -> first matrices
    for first in names:
        for second in _probe(model, blocks, first, names):
            found.setdefault(second, []).append(first)

    # What is narrower than what it writes to is a bottleneck, as adapters are: no FFN.
    found = {second: first for second, first in found.items() if _widens(blocks[0], second)}
    if len(found) > 1:
        found = _prefer_widest(blocks[0], found, names)

    # One second matrix, with one first matrix or (if gated) two
    if len(found) != 1 or len(next(iter(found.values()))) > 2:
        pairs = [f"{' + '.join(first)} -> {second}" for second, first in found.items()]
        raise _refusal(model, f"{'; '.join(pairs) or 'no such pair'} among {', '.join(names)} in {where}")

    ((second, firsts),) = found.items()
    return _order_gate(model, blocks[0], Form(second, tuple(firsts)))


def _prefer_widest(block: nn.Module, found: dict[str, list[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the widest of several pairs, if it has a module to itself; otherwise all of them.

    The gate of an attention acts on its values feature by feature, too. But an attention has other matrices.
    """
    widest = max(found, key=lambda second: _width(block, second))
    return {widest: found[widest]} if _stand_alone([widest, *found[widest]], names) else found


def _stand_alone(pair: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether the matrices of a pair are in one module, with no other matrix in it."""
    holder = pair[0].rpartition(".")[0]
    return bool(holder) and {name for name in names if name.startswith(f"{holder}.")} == {*pair}


def _width(block: nn.Module, name: str) -> int:
    return features_in(_unwrap(list_matrices(block)[name]))


def _widens(block: nn.Module, name: str) -> bool:
    return _width(block, name) >= features_out(_unwrap(list_matrices(block)[name]))


def _check_reads_text(model: PreTrainedModel) -> None:
    """Refuse a model that reads sounds or pictures."""
    reads = getattr(model, "main_input_name", "input_ids")
    if reads != "input_ids":
        raise NeuronspecError(
            f"a {model.config.model_type!r} model reads {reads}, not the tokens of a text: its neurons cannot be "
            "assigned to the languages that it reads; take a model of text"
        )


def _keep_text(model: PreTrainedModel, lists: dict[str, list[nn.Module]]) -> dict[str, list[nn.Module]]:
    """Return the lists of layers in the part for text, if the model also reads pictures or sounds."""
    # Encoder-decoders have a `get_decoder`, too, but both of their stacks read text.
    text = getattr(model, "get_decoder", lambda: None)()
    if model.config.is_encoder_decoder or not isinstance(text, nn.Module):
        return lists

    # Compared by identity: the same module has another path in each part of the model.
    inside = {id(module) for module in text.modules()}
    return {path: blocks for path, blocks in lists.items() if id(blocks[0]) in inside} or lists


def _check_parameters(model: PreTrainedModel, block: nn.Module, where: str) -> None:
    """Refuse a layer with weights that are no matrices: they may hold neurons that no matrix shows."""
    for name, parameter in block.named_parameters():
        # Vectors and matrices are what a layer usually has; a convolution mixes neighboring tokens and is no FFN.
        owner = block.get_submodule(name.rpartition(".")[0])
        if parameter.ndim <= 2 or isinstance(owner, nn.Conv1d | nn.Conv2d):
            continue

        if "expert" in name or "moe" in name.lower():
            raise NeuronspecError(
                f"a {model.config.model_type!r} model keeps the matrices of all experts of a layer in one parameter "
                f"({name} in {where}, {tuple(parameter.shape)}) in a way that is not registered; if it computes as "
                f"others do, such as {', '.join(_list_with_experts())}, register it as they are "
                "(neuronspec.neurons.architectures), or take a dense model"
            )
        raise _refusal(model, f"a parameter that is no matrix, {name} in {where}, of shape {tuple(parameter.shape)}")


def _list_with_experts() -> list[str]:
    """Return the registered architectures with experts."""
    return sorted(name for name, architecture in ARCHITECTURES.items() if architecture.experts)


def _probe(model: PreTrainedModel, blocks: Blocks, first: str, names: Sequence[str]) -> list[str]:
    """Return the matrices whose input entry i follows feature i of `first` and nothing else, in every layer."""
    followed = {second: [False] * len(blocks) for second in names if second != first}

    # Where other factors of few neurons happen to be 0, nothing moves: then other positions are tried, too.
    width = features_out(_unwrap(list_matrices(blocks[0])[first]))
    for position in range(_POSITIONS if width < _SURE_WIDTH else 1):
        for second, seen in _look_at(model, blocks, first, seconds=list(followed), position=position).items():
            # One layer that disagrees, or in which it did not run exactly once, rules a matrix out.
            if len(seen) != len(blocks) or any(look.elsewhere for look in seen):
                del followed[second]
            else:
                followed[second] = [before or look.moved for before, look in zip(followed[second], seen, strict=True)]
    return [second for second, layers in followed.items() if all(layers)]


class _Look(NamedTuple):
    """The effect of a change on the input of a matrix: on the entries that follow it, and on any elsewhere."""

    moved: bool
    elsewhere: bool


def _look_at(
    model: PreTrainedModel, blocks: Blocks, first: str, *, seconds: Sequence[str], position: int
) -> dict[str, list[_Look]]:
    """Return what a change of `first` at a position does to the inputs of other matrices, layer by layer."""
    looks: dict[str, list[_Look]] = {second: [] for second in seconds}
    written: list[torch.Tensor] = []  # the changed outputs of `first`, layer by layer

    with contextlib.ExitStack() as hooks:
        for block in blocks:
            parts = list_matrices(block)
            inner = {name: _unwrap(part) for name, part in parts.items()}
            width = features_out(inner[first])

            # Equal rows enter the layer; then one of them changes at `first`.
            change = functools.partial(_change_half, written, position)
            hooks.callback(block.register_forward_pre_hook(_make_rows_equal, with_kwargs=True).remove)
            hooks.callback(parts[first].register_forward_hook(change).remove)

            # Only matrices of a fitting width are watched; a gate and its factor may be written by one matrix.
            for second, seen in looks.items():
                if width in (features_in(inner[second]), 2 * features_in(inner[second])):
                    hooks.callback(parts[second].register_forward_pre_hook(_watch(seen, written, position)).remove)
        _run_model(model)
    return looks


def _make_rows_equal(module: nn.Module, arguments: Any, options: dict[str, Any]) -> Any:
    """Undo, before a layer, what earlier changes did, so that each layer is tested by itself."""

    def equal(value: Any) -> Any:
        # Hidden states (2, seq, d_model); masks and positions stay unchanged.
        floats = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 3
        return value[:1].expand_as(value).clone() if floats and len(value) == 2 else value

    return tuple(map(equal, arguments)), {name: equal(value) for name, value in options.items()}


def _change_half(
    written: list[torch.Tensor], position: int, module: nn.Module, arguments: Any, output: torch.Tensor
) -> torch.Tensor:
    """Change every other feature of the second row at a position."""
    changed = output.clone().reshape(2, -1, output.shape[-1])  # (row, position, feature)

    # Of x and 1.5 - x at least one is positive, so that even a ReLU lets the change through.
    place = min(position, changed.shape[1] - 1)
    changed[1, place, ::2] = 1.5 - changed[1, place, ::2]
    written.append(changed.reshape(output.shape))
    return written[-1]


def _watch(
    seen: list[_Look], written: list[torch.Tensor], position: int
) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def look(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        rows = arguments[0].reshape(2, -1, arguments[0].shape[-1])
        differs = rows[0] != rows[1]  # (positions, features)

        # An input that equals the output is no neuron: two matrices with nothing between them are one of low rank.
        as_written = bool(written) and torch.equal(arguments[0], written[-1])
        place = min(position, len(differs) - 1)
        moved = not as_written and bool(differs[place, ::2].any())

        # Only the changed features of the changed position may differ.
        differs[place, ::2] = False
        seen.append(_Look(moved=moved, elsewhere=bool(differs.any())))

    return look


def _order_gate(model: PreTrainedModel, block: nn.Module, form: Form) -> Form:
    """Put the gate first and name the module of its activation, where there are two matrices and such a module."""
    if len(form.first) == 1:
        return form

    parts = dict(block.named_modules())
    written: dict[str, torch.Tensor] = {}
    gates: list[tuple[str, str]] = []  # (matrix, activation)

    # Modules without parts, among them the matrices and the activations
    leaves = [name for name, module in parts.items() if name and not any(True for _ in module.children())]

    def note(name: str) -> Callable[..., None]:
        def look(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if name in form.first:
                written[name] = output
            gates.extend((matrix, name) for matrix, states in written.items() if arguments and arguments[0] is states)

        return look

    # A module that reads just what one of the first matrices wrote is the activation of the gate.
    with contextlib.ExitStack() as hooks:
        for name in leaves:
            hooks.callback(parts[name].register_forward_hook(note(name)).remove)
        _run_model(model)

    # Where there is no such module, or more than one, the gate stays unknown.
    if len(gates) != 1:
        return form
    gate, activation = gates[0]
    other = next(name for name in form.first if name != gate)
    return Form(form.second, (gate, other), activation)


@torch.no_grad()
def _run_model(model: PreTrainedModel) -> None:
    padding = getattr(model.config, "pad_token_id", None)
    try:
        vocabulary = model.get_input_embeddings().weight.shape[0]
    except (NotImplementedError, AttributeError) as error:
        raise _refusal(model, f"a model without get_input_embeddings ({first_line(error)})") from error

    # Two equal rows of the first few tokens, without padding: its vectors are all zeros.
    real = [number for number in range(min(vocabulary, _POSITIONS + 1)) if number != padding]
    ids = torch.tensor([real[:_POSITIONS]] * 2, device=input_device(model))
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})

    try:
        with evaluating(model):
            model.base_model(**inputs, use_cache=False)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise _refusal(model, f"a model that a few tokens cannot be sent through ({first_line(error)})") from error


def _unwrap(module: nn.Module) -> WeightMatrix:
    matrix = unwrap_matrix(module)
    assert matrix is not None  # it is one of `list_matrices`
    return matrix


def _refusal(model: PreTrainedModel, seen: str) -> NeuronspecError:
    return NeuronspecError(
        f"cannot tell where the neurons of a {model.config.model_type!r} model live: found {seen}; {HOW_TO_REGISTER}"
    )
