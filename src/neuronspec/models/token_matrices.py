"""Matrices with a row for each token: copies of a model with some of these rows, or with more of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from neuronspec.errors import NeuronspecError

_ID_KEYS = re.compile(r".*(_token_ids?|_words_ids|suppress_tokens)")  # keys of a configuration that hold ids
_SIZE_KEYS = ("vocab_size", "decoder_vocab_size")


def take_tokens(model: PreTrainedModel, ids: Sequence[int]) -> PreTrainedModel:
    """Return a copy of a model with some of its tokens, which are then numbered from 0.

    Rows of embeddings and of the output layer, and entries of its bias, are taken. Matrices that are one stay one. Ids
    in the configurations become the new ones; those of other tokens disappear from them.

    Args:
        model: Encoder-decoder, specialized or not; it is not changed.
        ids: (n,) ids of the tokens that stay, ascending.

    Raises:
        NeuronspecError: If the matrices are quantized, or the id of the padding token decides where positions begin
            and would change.
    """
    numbers = {old: new for new, old in enumerate(ids)}
    _check_positions(model, numbers)

    # The smaller tensors take the places of the larger ones, everywhere in the copy.
    memo: dict[int, Any] = {}
    rows = torch.tensor(ids)
    for tensor in list_token_tensors(model):
        memo[id(tensor)] = _take(tensor, rows.to(tensor.device))
    smaller = {id(tensor) for tensor in memo.values()}
    trimmed = copy.deepcopy(model, memo)

    # Attributes that name sizes and ids
    for module in trimmed.modules():
        if id(getattr(module, "weight", None)) in smaller:
            _renew_sizes(module, numbers)
        config = getattr(module, "config", None)
        if config is not None and config.vocab_size != len(ids):
            _renumber(config, numbers)
            resize_config(config, len(ids))
    _renumber(trimmed.generation_config, numbers)
    return trimmed


def add_tokens(model: PreTrainedModel, parents: Sequence[Sequence[int]], seed: int = 0) -> PreTrainedModel:
    """Return a copy of a model with more tokens, whose ids follow those of the others.

    The row of a new token is the mean of the rows of its parents; without any, a draw from the normal distribution of
    the rows that there are, feature by feature.

    Args:
        model: Encoder-decoder, not specialized; it is not changed.
        parents: For each new token, the ids of the tokens that it is made from.
        seed: Seed of the random draw.

    Raises:
        NeuronspecError: If the matrices are quantized.
    """
    memo: dict[int, Any] = {}
    generator = torch.Generator().manual_seed(seed)
    for tensor in list_token_tensors(model):
        memo[id(tensor)] = _extend(tensor, parents, generator)
    longer = {id(tensor) for tensor in memo.values()}
    grown = copy.deepcopy(model, memo)

    # Attributes that name sizes
    size = model.config.vocab_size + len(parents)
    for module in grown.modules():
        if id(getattr(module, "weight", None)) in longer:
            if isinstance(module, nn.Embedding):
                module.num_embeddings = size
            elif isinstance(module, nn.Linear):
                module.out_features = size
        config = getattr(module, "config", None)
        if config is not None and config.vocab_size != size:
            resize_config(config, size)
    return grown


@torch.no_grad()
def _extend(tensor: torch.Tensor, parents: Sequence[Sequence[int]], generator: torch.Generator) -> torch.Tensor:
    """Return a matrix with a row for each new token, or a bias (n,) or (1, n) with an entry for each."""
    is_bias = tensor.ndim == 1 or tensor.shape[0] == 1
    rows = tensor.detach().float().cpu()
    rows = rows.reshape(-1, 1) if is_bias else rows  # (tokens, features)
    mean, deviation = rows.mean(0), rows.std(0)

    added = []
    for ids in parents:
        drawn = mean + deviation * torch.randn(rows.shape[1], generator=generator)
        added.append(rows[list(ids)].mean(0) if ids else drawn)

    # In the shape of the tensor: (n,), (1, n) or (tokens, features)
    new = torch.stack(added).to(tensor) if added else tensor.detach().new_zeros(0, rows.shape[1])
    if is_bias:
        new = new.reshape(-1) if tensor.ndim == 1 else new.T
    extended = torch.cat([tensor.detach(), new], dim=-1 if is_bias else 0)
    return nn.Parameter(extended, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else extended


def list_token_tensors(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the tensors of a model that have a row or an entry for each token, each of them once.

    Raises:
        NeuronspecError: If they are quantized.
    """
    output: Any = model.get_output_embeddings()
    parts: list[Any] = [model.get_input_embeddings(), output]
    parts += [stack.get_input_embeddings() for stack in (model.get_encoder(), model.get_decoder())]

    tensors = [part.weight for part in parts if part is not None]
    tensors += [getattr(output, "bias", None), getattr(model, "final_logits_bias", None)]
    found = {id(tensor): tensor for tensor in tensors if tensor is not None}
    for tensor in found.values():
        if not tensor.is_floating_point() or type(tensor) not in (nn.Parameter, torch.Tensor):
            raise NeuronspecError(
                "cannot trim the vocabulary: the embeddings are quantized; load the model without quantization"
            )
    return [*found.values()]


def list_configured_ids(model: PreTrainedModel) -> set[int]:
    """Return the ids in the configurations of a model, such as that of the token which the decoder starts with."""
    found: set[int] = set()
    for config in (model.config, model.generation_config):
        for value in _read_ids(config).values():
            found |= {*_flatten(value)}
    return found


def _take(tensor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return some rows of a matrix, or some entries of a bias (n,) or (1, n)."""
    is_bias = tensor.ndim == 1 or tensor.shape[0] == 1
    taken = tensor.detach().index_select(-1 if is_bias else 0, rows)
    return nn.Parameter(taken, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else taken


def _check_positions(model: PreTrainedModel, numbers: Mapping[int, int]) -> None:
    """Refuse another id of the padding token where positions begin after it, as in M2M-100."""
    for module in model.modules():
        start = getattr(module, "padding_idx", None)
        if hasattr(module, "make_weights") and start is not None and numbers.get(start) != start:
            raise NeuronspecError(
                f"cannot trim the vocabulary: positions begin at the id of the padding token, {start}, which would "
                f"become {numbers.get(start)}; export without trimming"
            )


def _renew_sizes(module: nn.Module, numbers: Mapping[int, int]) -> None:
    if isinstance(module, nn.Embedding):
        module.num_embeddings = len(numbers)
        if module.padding_idx is not None:
            module.padding_idx = numbers.get(module.padding_idx)
    elif isinstance(module, nn.Linear):
        module.out_features = len(numbers)


def resize_config(config: Any, size: int) -> None:
    """Write the number of tokens into a configuration, under all of its keys."""
    for key in _SIZE_KEYS:
        if getattr(config, key, None) is not None:
            setattr(config, key, size)


def _read_ids(config: Any) -> dict[str, Any]:
    """Return the entries of a configuration that are ids or lists of ids."""
    entries: dict[str, Any] = {key: getattr(config, key, None) for key in config.to_dict() if _ID_KEYS.fullmatch(key)}
    return {key: value for key, value in entries.items() if value is not None}


def _renumber(config: Any, numbers: Mapping[int, int]) -> None:
    for key, value in _read_ids(config).items():
        setattr(config, key, _renew(value, numbers))


def _renew(value: Any, numbers: Mapping[int, int]) -> Any:
    """Return new ids in place of old ones; of lists, those with an id that is gone are left out."""
    if isinstance(value, int):
        return numbers.get(value)
    renewed = [_renew(one, numbers) for one in value]
    return [one for one in renewed if one not in (None, [])]


def _flatten(value: Any) -> list[int]:
    if isinstance(value, int):
        return [value]
    return [number for one in value for number in _flatten(one)]
