"""Placement of a model's weights: on several devices, in half precision, or quantized."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig, PreTrainedModel

from neuronspec.config.model_loading import ModelLoading
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import import_library
from neuronspec.processes import count_processes

_EXACT = (torch.float32, torch.float64)  # numbers that counts are usually made with


def loading_options(loading: ModelLoading) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that load a model so.

    Args:
        loading: Way to load the model.

    Raises:
        NeuronspecError: If the library for quantization is missing, or several processes would use the same devices.
    """
    options: dict[str, Any] = {"dtype": loading.dtype}
    if loading.device_map is not None:
        if count_processes() > 1:
            raise NeuronspecError(
                "a device map spreads a model over all devices, which each of several processes would do: launch one "
                "process, or leave out the device map"
            )
        options["device_map"] = loading.device_map

    if loading.quantization is not None:
        import_library("bitsandbytes", "Quantized loading", "quantized")
        options["quantization_config"] = _describe_bits(loading)
    return options


def _describe_bits(loading: ModelLoading) -> BitsAndBytesConfig:
    """Return the quantization in the words of transformers."""
    if loading.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)

    # The matrices are multiplied in the numbers that everything else has.
    computed = "bfloat16" if loading.dtype == "auto" else loading.dtype
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=computed)


def is_placed(model: nn.Module) -> bool:
    """Return whether a model lies where loading has put it, and must not be moved as a whole."""
    return getattr(model, "hf_device_map", None) is not None or bool(getattr(model, "is_quantized", False))


def place_model(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """Move a model to a device, unless loading has placed it already; return the model."""
    if is_placed(model):
        return model
    moved: PreTrainedModel = model.to(device)
    return moved


def input_device(model: PreTrainedModel) -> torch.device:
    """Return the device on which a model reads its ids.

    That is the device of its embeddings. Where accelerate keeps the weights elsewhere until they are needed, they have
    none, and it is the device that accelerate brings them to.
    """
    own: torch.device = model.device
    if own.type != "meta":
        return own

    for module in (model, *model.modules()):
        hook = getattr(module, "_hf_hook", None)
        for one in getattr(hook, "hooks", [hook]):  # one, or several in a sequence
            device = getattr(one, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return own


def number_facts(model: PreTrainedModel) -> dict[str, str]:
    """Return facts that distinguish counts of a model in half precision, or quantized, from those in full precision.

    Args:
        model: Model that is read from.

    Returns:
        `dtype` and `quantization`, where they are not the usual ones; empty for a model in float32.
    """
    facts = {} if model.dtype in _EXACT else {"dtype": str(model.dtype).removeprefix("torch.")}

    config = getattr(model.config, "quantization_config", None)
    if config is not None:
        settings = config if isinstance(config, dict) else config.to_dict()
        bits = next((f"{number}bit" for number in (4, 8) if settings.get(f"load_in_{number}bit")), None)
        facts["quantization"] = bits or str(settings.get("quant_method", "unknown"))
    return facts
