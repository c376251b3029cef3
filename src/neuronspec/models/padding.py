"""Padding: which tokens of a batch are real, found once for everything that counts tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from neuronspec.data.batches import IGNORED
from neuronspec.errors import NeuronspecError, first_line
from neuronspec.models.transformers_internals import shift_labels

_DECODER = ("decoder_input_ids", "decoder_attention_mask", "decoder_position_ids", "labels")


def complete_batch(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch with the masks and inputs that a model needs, and with all padding on the right.

    Padding of the source is what `attention_mask` leaves out; without that mask, the padding token. Padding of the
    target is what `decoder_attention_mask` leaves out; without that mask, -100 and the padding token in `labels`;
    without labels, the padding token in `decoder_input_ids`. A padding token may also end a sentence (GPT-2's
    tokenizers pad with the end of sentence) or start the decoder (T5). Then the first of the padding tokens at the end
    of a row ends the sentence, and the last of those at its beginning starts the decoder.

    Rows that are padded on the left are moved to the left, so that every token has the position that it has in a row
    without padding.

    Args:
        model: Model that reads the batch; its configuration names the special tokens.
        batch: Tensors (batch, seq), with at least `input_ids`. An encoder-decoder also needs `labels` or
            `decoder_input_ids`.

    Returns:
        The same tensors with `attention_mask`, and for an encoder-decoder `decoder_input_ids` and
        `decoder_attention_mask`. Labels, if given, are -100 at all padding.

    Raises:
        NeuronspecError: If something is missing or has the wrong shape, or padding cannot be recognized.

    Example:
        >>> from transformers import T5Config, T5ForConditionalGeneration
        >>> config = T5Config(vocab_size=9, d_model=4, d_kv=4, d_ff=4, num_layers=1, decoder_start_token_id=0)
        >>> model = T5ForConditionalGeneration(config)
        >>> source = {"input_ids": torch.tensor([[3, 1, 0]]), "attention_mask": torch.tensor([[1, 1, 0]])}
        >>> batch = {**source, "labels": torch.tensor([[4, 1, 0, 0]])}
        >>> complete_batch(model, batch)["decoder_attention_mask"].tolist()
        [[1, 1, 0, 0]]
    """
    if "input_ids" not in batch:
        raise NeuronspecError(f"a batch has no 'input_ids', only {', '.join(batch) or 'nothing'}: give ids of tokens")

    complete = dict(batch)

    # The source, or the only text: every tensor that is not the decoder's.
    source = _find_source(model, complete)
    complete["attention_mask"] = source.long()
    _move_left(complete, [name for name in complete if name not in _DECODER], source)

    if model.config.is_encoder_decoder:
        _complete_decoder(model, complete)
    return complete


@dataclass(frozen=True, kw_only=True)
class _TokenRoles:
    """The ids of a model's special tokens; None for a role without a token.

    Attributes:
        padding: Id of the padding token.
        ends: Ids of the tokens that end a sentence.
        start: Id of the token that starts the decoder, or the only text.
    """

    padding: int | None
    ends: frozenset[int]
    start: int | None


def _find_source(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the real tokens of the source, or of the only text: (batch, seq) boolean."""
    ids = batch["input_ids"]
    if "attention_mask" in batch:
        return _read_padding_mask(batch, "attention_mask", ids=ids, other="input_ids")

    # Without a mask, the padding token marks padding, if it has no other role.
    tokens = _read_token_roles(model)
    padding = tokens.padding
    if padding is None:
        raise NeuronspecError(
            "a batch has no 'attention_mask', and the model's configuration has no pad_token_id: cannot identify "
            "padding; give what the tokenizer returns as attention_mask"
        )

    # An encoder-decoder's source never begins with the token that starts the decoder.
    begins = padding == tokens.start and not model.config.is_encoder_decoder
    if (padding in tokens.ends or begins) and bool((ids == padding).any()):
        raise NeuronspecError(
            f"a batch has no 'attention_mask', and its padding token ({padding}) also ends or begins a sentence: "
            "cannot identify padding; give what the tokenizer returns as attention_mask"
        )
    return ids != padding


def _complete_decoder(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> None:
    """Add the decoder's input and its mask."""
    labels, ids = batch.get("labels"), batch.get("decoder_input_ids")
    real = _find_target(model, batch)

    # All padding becomes -100, whatever marked it.
    if labels is not None:
        labels = labels.masked_fill(~real, IGNORED)
        batch["labels"] = labels
        if ids is not None and _is_shifted(model, ids, labels):
            ids = None  # made again from the labels, after the rows are moved

    # Input from the labels is made after the rows are moved: its first token must stay in front.
    batch["decoder_attention_mask"] = real.long()
    if ids is None:
        batch.pop("decoder_input_ids", None)
    _move_left(batch, [name for name in batch if name in _DECODER], real)
    if ids is None:
        batch["decoder_input_ids"] = _shift(model, batch["labels"])


def _is_shifted(model: PreTrainedModel, ids: torch.Tensor, labels: torch.Tensor) -> bool:
    """Return whether rows are padded on the left, and the decoder's input is what the model makes of the labels."""
    if not bool((labels[:, 0] == IGNORED).any()):
        return False
    shifted = _shift(model, labels)
    return ids.shape == shifted.shape and bool((ids == shifted).all())


def _shift(model: PreTrainedModel, labels: torch.Tensor) -> torch.Tensor:
    """Return the decoder's input for labels, both (batch, target)."""
    try:
        return shift_labels(model, labels)
    except (AttributeError, ValueError, TypeError) as error:
        raise NeuronspecError(
            f"cannot make the decoder's input from the labels: {first_line(error)}; set decoder_start_token_id and "
            "pad_token_id in the model's configuration, or give decoder_input_ids"
        ) from error


def _find_target(model: PreTrainedModel, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return the real tokens of the target: (batch, target) boolean."""
    name, given = _choose_target(batch)
    if "decoder_attention_mask" in batch:
        return _read_padding_mask(batch, "decoder_attention_mask", ids=given, other=name)

    tokens = _read_token_roles(model)
    padding = tokens.padding
    if padding is None and not bool((given == IGNORED).any()):
        raise NeuronspecError(
            "a batch has neither 'decoder_attention_mask' nor 'labels' with -100, and the model's configuration has no "
            "pad_token_id: cannot identify padding; give one of them"
        )

    # Labels do not begin with the token that starts the decoder; its input does.
    starts = name == "decoder_input_ids" and padding is not None and padding == tokens.start
    return _find_real(given, padding, ends=padding in tokens.ends, starts=starts)


def _choose_target(batch: Mapping[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """Return the tensor (batch, target) that shows the target's padding, and its name: labels, if there are any."""
    labels, ids = batch.get("labels"), batch.get("decoder_input_ids")
    # Two tensors of one target must agree.
    if labels is not None and ids is not None and labels.shape != ids.shape:
        raise NeuronspecError(
            f"the labels of a batch have the shape {tuple(labels.shape)}, its decoder_input_ids {tuple(ids.shape)}: "
            "expected the same"
        )

    if labels is not None:
        return "labels", labels
    if ids is not None:
        return "decoder_input_ids", ids
    raise NeuronspecError(
        "a batch has no 'decoder_input_ids' and no 'labels', and an encoder-decoder needs one of them: give the labels "
        "that the tokenizer returns for text_target=[...]"
    )


def _find_real(ids: torch.Tensor, padding: int | None, *, ends: bool, starts: bool) -> torch.Tensor:
    """Return which tokens are not padding.

    Args:
        ids: Tokens or labels, (batch, seq).
        padding: Id of the padding token; None for none.
        ends: Whether that token also ends a sentence.
        starts: Whether it also starts the decoder, and `ids` are the decoder's input.

    Returns:
        (batch, seq) boolean.
    """
    ignored = ids == IGNORED
    pads = ignored if padding is None else ignored | (ids == padding)
    if not (ends or starts):
        return ~pads

    # Padding tokens within a sentence are real, those around it are not ...
    leading = pads.cumprod(1).bool()  # (batch, seq)
    trailing = pads.flip(1).cumprod(1).flip(1).bool()
    real = ~(leading | trailing)

    # ... but for the one that starts the decoder and the one that ends the sentence.
    columns = torch.arange(ids.shape[1], device=ids.device)
    only_padding = leading.all(1, keepdim=True)  # (batch, 1)
    if starts:
        last_leading = leading.sum(1, keepdim=True) - 1
        real |= (columns == last_leading) & ~only_padding
    if ends:
        first_trailing = ids.shape[1] - trailing.sum(1, keepdim=True)
        real |= (columns == first_trailing) & ~only_padding

    real |= (columns == 0) & only_padding  # an empty sentence still starts, or ends
    return real & ~ignored


def _move_left(batch: dict[str, torch.Tensor], names: list[str], real: torch.Tensor) -> None:
    """Move the padding before each row's first real token to its end, in every tensor of the same shape."""
    # Padding in front of the first real token; a row of nothing but padding stays.
    before = ~real.long().cumsum(1).bool()  # (batch, seq)
    before &= ~before.all(1, keepdim=True)
    if not bool(before[:, 0].any()):
        return

    # A stable sort by "is padding in front" keeps the order of all other tokens.
    order = before.long().argsort(dim=1, stable=True)
    for name in names:
        if batch[name].shape == real.shape:
            batch[name] = batch[name].gather(1, order.to(batch[name].device))


def _read_padding_mask(batch: Mapping[str, torch.Tensor], name: str, *, ids: torch.Tensor, other: str) -> torch.Tensor:
    """Return a mask of a batch as booleans; it must have the shape of `ids`, the tensor named `other`."""
    mask = batch[name]
    if mask.shape != ids.shape:
        raise NeuronspecError(
            f"'{name}' of a batch has the shape {tuple(mask.shape)}, '{other}' {tuple(ids.shape)}: expected the same"
        )
    return mask.ne(0)


def _read_token_roles(model: PreTrainedModel) -> _TokenRoles:
    """Return the special tokens in a model's configuration."""
    # A model may have several tokens that end a sentence.
    ends = _find_token(model, "eos_token_id")
    several = ends if isinstance(ends, list | tuple) else [ends]

    starts = "decoder_start_token_id" if model.config.is_encoder_decoder else "bos_token_id"
    return _TokenRoles(
        padding=_find_token(model, "pad_token_id"),
        ends=frozenset(end for end in several if end is not None),
        start=_find_token(model, starts),
    )


def _find_token(model: PreTrainedModel, name: str) -> Any:
    """Return a special token from the first configuration that has it: the model's, its text part's, generation's."""
    for config in (model.config, model.config.get_text_config(), getattr(model, "generation_config", None)):
        found = getattr(config, name, None)
        if found is not None:
            return found
    return None
