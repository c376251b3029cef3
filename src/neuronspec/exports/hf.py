"""The format `hf`: a dense model of one task that plain transformers loads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.exports.answers import open_answers
from neuronspec.exports.formats import Answer, ExportRequest, Written
from neuronspec.exports.options import HFOptions
from neuronspec.exports.plain_usage import describe_plain_usage
from neuronspec.exports.reference import choose_precision
from neuronspec.exports.sizes import check_disk, count_bytes, count_parameters
from neuronspec.models.loading import SHAPES, find_loader, load_configuration, load_model, save_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.pruning import prune


def write_model(request: ExportRequest, directory: Path) -> Written:
    """Write the model of one task as a Hugging Face directory.

    Args:
        request: Model, masks and tokenizer.
        directory: Empty directory to write into.
    """
    model, notes = _make_model(request)
    needs_own_loader = _needs_own_loader(model.config)
    check_disk(directory, count_bytes(model))
    save_model(model, directory, request.tokenizer)

    return Written(
        parameters=count_parameters(model),
        notes=notes,
        usage=describe_plain_usage(request, needs_own_loader=needs_own_loader),
        signature={"widths": "own" if needs_own_loader else "plain"},
        hub={"library_name": "neuronspec" if needs_own_loader else "transformers"},
    )


def _make_model(request: ExportRequest) -> tuple[PreTrainedModel, tuple[str, ...]]:
    """Return the model to write, and what there is to say about its widths."""
    if request.masks is None:
        return request.model, ()

    assert isinstance(request.options, HFOptions)
    if request.options.widths == "own":
        return prune(request.model, request.masks, request.task, widths="own"), ()

    # Where the neurons of every layer fill the width of its stack, nothing is added.
    model = _fill_up(request.model, request.masks, request.task)
    added = _count_zeros(model, request.masks, request.task)
    if not added:
        return model, ()

    size = next(model.parameters()).element_size()
    note = (
        "Each layer has as many neurons as the widest one of its stack, since plain transformers has one width for "
        f"all: the neurons that fill it up are zeros. They cost {added:,} parameters ({added * size:,} bytes) more "
        f"than layers of their own widths (`widths=own`, for `neuronspec.load_model`), which would leave "
        f"{count_parameters(model) - added:,} parameters."
    )
    return model, (note,)


def _count_zeros(model: PreTrainedModel, masks: NeuronMasks, task: str) -> int:
    """Return the number of parameters that belong to neurons of zeros, which fill up the layers of a pruned model."""
    zeros = 0
    for layer in find_ffn_layers(model):
        matrices = [parameter for matrix in layer.expansions for parameter in matrix.parameters()]
        of_neurons = sum(map(torch.numel, (*matrices, layer.projection.weight)))
        zeros += of_neurons // layer.width * (layer.width - int(masks.mask(task, layer.name).sum()))
    return zeros


def _fill_up(model: PreTrainedModel, masks: NeuronMasks, task: str) -> PreTrainedModel:
    """Return a pruned model with the widths that its configuration can hold."""
    try:
        return prune(model, masks, task, widths="stack")
    except NeuronspecError as error:
        raise NeuronspecError(
            f"plain transformers cannot load this model pruned ({error}): export it with widths=own"
        ) from error


@contextlib.contextmanager
def open_model(request: ExportRequest, directory: Path) -> Iterator[Answer]:
    """Open an exported model as its users do: with plain transformers, unless only this package can load it.

    Args:
        request: Request of the export.
        directory: Directory of the export.
    """
    dtype = choose_precision(request.model)
    if _needs_own_loader(load_configuration(directory)):
        model = load_model(directory).to(dtype)
    else:
        loader = find_loader(request.model.config)
        model = loader.from_pretrained(str(directory), dtype=dtype, use_safetensors=True, trust_remote_code=False)

    tokenizer = AutoTokenizer.from_pretrained(str(directory), trust_remote_code=False)
    yield open_answers(model.to(request.model.device), tokenizer, request.max_tokens)


def _needs_own_loader(config: PreTrainedConfig) -> bool:
    """Return whether plain transformers cannot load a model with this configuration."""
    return bool(getattr(config, SHAPES, None))
