"""PEFT's wrapping of models and matrices: looking through it, and refusing it where it is not supported."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from torch import nn

from neuronspec.errors import NeuronspecError
from neuronspec.models.matrices import WeightMatrix, is_matrix


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the transformers model inside a `PeftModel`, with its adapters; any other model unchanged.

    PEFT puts adapters into the model itself, so that it computes with them, and wraps it in a class of its own.

    Raises:
        NeuronspecError: If the model is prompted by trained vectors (prompt or prefix tuning). Only PEFT's own forward
            adds them; without them, it would be another model.
    """
    if not _is_peft(model) or not hasattr(model, "get_base_model"):
        return model

    # Methods of PEFT, which need not be installed for type checking.
    wrapped: Any = model
    config = wrapped.active_peft_config
    if config.is_prompt_learning:
        raise NeuronspecError(
            f"a model with {config.peft_type.value} computes with trained vectors that stand before its text: its "
            "neurons cannot be told apart by task; use adapters of its matrices (LoRA, DoRA, IA3), or its base model"
        )

    base: nn.Module = wrapped.get_base_model()
    return base


def unwrap_matrix(module: nn.Module) -> WeightMatrix | None:
    """Return the matrix inside PEFT's wrapping, if there is any; None if the module contains no matrix."""
    # Wrappings may be nested.
    while not is_matrix(module):
        if not _is_peft(module):
            return None

        # Layers of adapters keep the matrix as `base_layer`, fully trained modules as `original_module`.
        inner = getattr(module, "base_layer", getattr(module, "original_module", None))
        if not isinstance(inner, nn.Module):
            return None
        module = inner
    return module


def list_matrices(module: nn.Module) -> dict[str, nn.Module]:
    """Return the matrices in a module by name, each with PEFT's wrapping."""
    return dict(_list_matrices(module, ""))


def name_targets(model: nn.Module, modules: Collection[str]) -> list[str]:
    """Return the names by which PEFT finds modules of a model: short ones like `q_proj`, if they fit no other module.

    Args:
        model: Model without PEFT's wrapping.
        modules: Full names of the modules.
    """
    # The short names are safe only if they match no module that is not meant.
    short = {name.rpartition(".")[2] for name in modules}
    matched = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in short}
    return sorted(short if matched == set(modules) else modules)


def refuse_wrapped(model: nn.Module, what: str) -> None:
    """Refuse a model with PEFT's adapters in it.

    Args:
        model: Any model.
        what: Action that is refused, as the beginning of a sentence: `"cannot prune"`.

    Raises:
        NeuronspecError: If there are adapters; the first is named.
    """
    for name, module in model.named_modules():
        if _is_peft(module):
            where = f" ({type(module).__name__} at {name})" if name else ""
            raise NeuronspecError(
                f"{what} a model with PEFT's adapters in it{where}: put them into its weights first, "
                "model = model.merge_and_unload()"
            )


def _list_matrices(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    if unwrap_matrix(module) is not None:
        # The adapters inside, which are matrices too, are not listed.
        yield name, module
        return

    for part, child in module.named_children():
        yield from _list_matrices(child, f"{name}.{part}".lstrip("."))


def _is_peft(module: nn.Module) -> bool:
    """Return whether a module is PEFT's, by the name of its class's module, so that PEFT need not be installed."""
    return any(kind.__module__.partition(".")[0] == "peft" for kind in type(module).__mro__)
