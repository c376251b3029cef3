"""Settings of loading a model: the numbers of its weights, their devices, and their quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from neuronspec.errors import NeuronspecError

NumberType = Literal["float32", "bfloat16", "float16", "auto"]
Quantization = Literal["4bit", "8bit"]
DeviceMap = Literal["auto", "balanced", "sequential"]


@dataclass(frozen=True, kw_only=True)
class ModelLoading:
    """Settings of loading a model to record, analyze or translate with it; training needs float32.

    Args:
        dtype: Numbers of the weights; `auto` keeps those of the files.
        device_map: Way to spread the layers over all GPUs and, if they are too small, the CPU (accelerate); None for
            the one device that this process uses.
        quantization: Number of bits that the weights of matrices are rounded to (bitsandbytes); None for all of them.

    Raises:
        NeuronspecError: If a value is not one of these.

    Example:
        >>> ModelLoading(dtype="bfloat16").facts
        {'dtype': 'bfloat16'}
        >>> ModelLoading().facts
        {}
    """

    dtype: NumberType = "float32"
    device_map: DeviceMap | None = None
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        # Literals are not checked at run time.
        _check("dtype", self.dtype, get_args(NumberType))
        _check("device_map", self.device_map, (None, *get_args(DeviceMap)))
        _check("quantization", self.quantization, (None, *get_args(Quantization)))

    @property
    def facts(self) -> dict[str, str]:
        """Settings that differ from the default, as strings."""
        given = {"dtype": self.dtype, "device_map": self.device_map, "quantization": self.quantization}
        return {name: value for name, value in given.items() if value is not None and value != "float32"}


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        listed = ", ".join("none" if one is None else str(one) for one in allowed)
        raise NeuronspecError(f"{name} is one of {listed}, not {value!r}")
