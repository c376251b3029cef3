"""The format `ia3`: adapters of PEFT, one for each task, that multiply the neurons by its mask and by a steering."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from neuronspec.artifacts.cards import quote_python
from neuronspec.artifacts.tensor_files import write_tensors
from neuronspec.errors import NeuronspecError
from neuronspec.exports.answers import open_answers
from neuronspec.exports.formats import Answer, ExportRequest, Written
from neuronspec.exports.reference import choose_precision
from neuronspec.libraries import import_library
from neuronspec.models.loading import find_loader
from neuronspec.models.matrices import is_matrix
from neuronspec.models.peft_wrapping import name_targets
from neuronspec.names import child
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.routing import unspecialize
from neuronspec.specialization.steering import Steering


def write_adapters(request: ExportRequest, directory: Path) -> Written:
    """Write an adapter for each task: into the directory itself for a single one, else into a folder of its name.

    Args:
        request: Model, masks and tasks.
        directory: Empty directory to write into.

    Raises:
        NeuronspecError: If a factor on each neuron cannot express the masks or the steering, or PEFT cannot wrap the
            matrices.
    """
    layers = find_ffn_layers(request.model)
    if request.masks is not None:
        _check_bias(layers, request.masks)
    _check_scales(request.steerings)
    matrices = _name_matrices(request.model, layers)

    places = find_places(request.tasks, directory)
    for task, place in places.items():
        _write_adapter(request, task, place, matrices=matrices)

    folder = next(iter(places.values())).relative_to(directory).as_posix()
    base = {"base_model": request.source} if "/" in request.source and not Path(request.source).exists() else {}
    return Written(
        parameters=len(request.tasks) * sum(layer.width for layer in layers),
        notes=(
            f"The adapters multiply the input of each second FFN matrix by {_describe_factors(request)}. One adapter "
            "is active at a time: PEFT ignores `adapter_names` for IA3, so a batch cannot mix tasks.",
        ),
        usage=_describe_usage(request, folder),
        hub={"library_name": "peft", **base},
    )


def find_places(tasks: Sequence[str], directory: Path) -> dict[str, Path]:
    """Return the directory of each task's adapter."""
    if len(tasks) == 1:
        return {tasks[0]: directory}
    return {task: child(directory, task) for task in tasks}


def _check_bias(layers: Sequence[FFNLayer], masks: NeuronMasks) -> None:
    """Refuse masks whose neurons still put out something: a factor of 0 leaves nothing."""
    has_bias = any(matrix.bias is not None for layer in layers for matrix in layer.expansions)
    if masks.keeps_bias and has_bias:
        raise NeuronspecError(
            "these masks keep the bias of masked neurons (bias: kept, as the released code does), so that such neurons "
            "put out a constant, which a factor of IA3 cannot express: export as hf, which adds it to the next bias"
        )


def _check_scales(steerings: Sequence[Steering]) -> None:
    """Refuse a steering that is no factor."""
    for steering in steerings:
        if steering.sets:
            raise NeuronspecError(
                "a steering that sets activations (to=) is no factor on them, and IA3 holds factors only: export one "
                "with scale=, or use ns.steer"
            )


def _describe_factors(request: ExportRequest) -> str:
    """Return what the neurons are multiplied by."""
    mask = "the mask of their task: 1 for its neurons, 0 for the others"
    factors = "the factor of each neuron that the steering chooses for their task"
    if not request.steerings:
        return mask
    return factors if request.masks is None else f"{mask}; and by {factors}"


def _name_matrices(model: PreTrainedModel, layers: Sequence[FFNLayer]) -> dict[str, str]:
    """Return the name of each layer's second matrix in the model, by the name of the layer."""
    names = {module: name for name, module in model.named_modules()}
    found = {}
    for layer in layers:
        if layer.projection not in names or not is_matrix(layer.projection):
            raise NeuronspecError(
                f"the second matrix of {layer.name} is no module of its own that IA3 could wrap: choose another format"
            )
        found[layer.name] = names[layer.projection]
    return found


def _write_adapter(request: ExportRequest, task: str, place: Path, *, matrices: Mapping[str, str]) -> None:
    """Write one task's adapter, as PEFT would."""
    peft = import_library("peft", "The format ia3", "lora")
    model = request.model
    targets = name_targets(model, list(matrices.values()))
    config = peft.IA3Config(
        target_modules=targets,
        feedforward_modules=targets,  # the factors belong to the input of these matrices, not to their output
        fan_in_fan_out=any(hasattr(layer.projection, "nf") for layer in find_ffn_layers(model)),
        task_type="SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM",
        base_model_name_or_path=request.source or None,
        inference_mode=True,
    )
    place.mkdir(exist_ok=True)
    config.save_pretrained(str(place))

    # The names that the vectors have inside a model that PEFT has wrapped
    vectors = {
        f"base_model.model.{matrices[layer.name]}.ia3_l": _make_factors(request, task, layer)[None]  # (1, d_ff)
        for layer in find_ffn_layers(model)
    }
    write_tensors(place / "adapter_model.safetensors", vectors, {"format": "pt"})


def _make_factors(request: ExportRequest, task: str, layer: FFNLayer) -> torch.Tensor:
    """Return the (d_ff,) float32 factor of each neuron of a layer for one task."""
    factors = torch.ones(layer.width, dtype=torch.float64)
    if request.masks is not None:
        factors *= request.masks.mask(task, layer.name)

    for steering in request.steerings:
        if steering.applies_to(task) and layer.name in steering.neurons:
            factors[steering.neurons[layer.name]] *= steering.values[layer.name]
    return factors.float()


def _describe_usage(request: ExportRequest, folder: str) -> tuple[str, ...]:
    loader = find_loader(request.model.config).__name__
    base = quote_python(request.source or "BASE_MODEL")
    return (
        "```python",
        "from peft import PeftModel",
        f"from transformers import {loader}",
        "",
        f"base = {loader}.from_pretrained({base})",
        f"model = PeftModel.from_pretrained(base, {quote_python(folder)})",
        "```",
    )


@contextlib.contextmanager
def open_adapters(request: ExportRequest, directory: Path) -> Iterator[Answer]:
    """Open exported adapters with PEFT, around a copy of the model.

    Args:
        request: Request of the export.
        directory: Directory of the export.
    """
    peft = import_library("peft", "The format ia3", "lora")
    places = find_places(request.tasks, directory)

    # PEFT changes the modules of the model that it wraps.
    wrapped: Any = unspecialize(copy.deepcopy(request.model)).to(choose_precision(request.model))
    numbers = {task: str(number) for number, task in enumerate(places)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, about a name that PEFT still uses
        for number, place in enumerate(places.values()):
            if number == 0:
                wrapped = peft.PeftModel.from_pretrained(wrapped, str(place), adapter_name="0")
            else:
                wrapped.load_adapter(str(place), adapter_name=str(number))

    answers = open_answers(wrapped, request.tokenizer, request.max_tokens)

    def answer(sentences: Sequence[str], task: str, *, beams: int) -> list[list[int]]:
        wrapped.set_adapter(numbers[task])
        with torch.no_grad():
            return answers(sentences, task, beams=beams)

    yield answer
