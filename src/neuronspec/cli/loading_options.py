"""Options that decide how a large model is loaded: `--dtype`, `--device-map`, `--quantize`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from neuronspec.config.model_loading import ModelLoading


class NumberChoice(StrEnum):
    """Numbers of a model's weights."""

    # The values are those of `config.model_loading.NumberType`.
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    auto = "auto"


class DeviceMapChoice(StrEnum):
    """Way to spread a model over devices."""

    # The values are those of `config.model_loading.DeviceMap`.
    auto = "auto"
    balanced = "balanced"
    sequential = "sequential"


class QuantizationChoice(StrEnum):
    """Number of bits of quantized weights."""

    # The values are those of `config.model_loading.Quantization`.
    four = "4bit"
    eight = "8bit"


NumberOption = Annotated[
    NumberChoice,
    typer.Option("--dtype", help="Numbers of the model's weights: bfloat16 takes half the memory; auto: as saved."),
]
DeviceMapOption = Annotated[
    DeviceMapChoice | None,
    typer.Option("--device-map", help="Spread a large model over all GPUs, and the CPU if they are too small."),
]
QuantizeOption = Annotated[
    QuantizationChoice | None,
    typer.Option("--quantize", help="Round the model's matrices to 4 or 8 bits (extra quantized)."),
]
LOADING = ("dtype", "device_map", "quantize")  # names of the parameters


def describe_loading(
    dtype: NumberChoice, device_map: DeviceMapChoice | None, quantize: QuantizationChoice | None
) -> ModelLoading:
    """Return how a model is loaded, as the options say."""
    return ModelLoading(
        dtype=dtype.value,
        device_map=None if device_map is None else device_map.value,
        quantization=None if quantize is None else quantize.value,
    )
