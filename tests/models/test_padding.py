"""Padding never counts, whichever way a batch says what is padding, and on whichever side it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from neuronspec.analysis.ablation_metrics import _sum_losses
from neuronspec.errors import NeuronspecError
from neuronspec.models.padding import complete_batch
from neuronspec.models.transformers_internals import shift_labels
from neuronspec.neurons.example_search import find_examples
from neuronspec.neurons.recording import record_activations

SmallModel = Callable[..., PreTrainedModel]
EOS = 2
SOURCES = [[5, 6, 7, 8, EOS], [9, EOS], [10, 11, 12, EOS]]
TARGETS = [[13, EOS], [14, 15, 16, 17, 18, EOS], [19, 20, 21, EOS]]
TASKS = ["de-en", "en-fr", "de-en"]
# Special tokens as families of models have them: which one pads, and which one starts the decoder.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "M2M-100, NLLB": ("m2m_100", {}),
    "mBART": ("mbart", {"decoder_start_token_id": None}),
    "BART": ("bart", {}),
    "Marian: padding starts": ("marian", {"decoder_start_token_id": 1}),
    "T5: padding starts": ("t5", {"decoder_start_token_id": 1}),
    "padding ends": ("m2m_100", {"pad_token_id": EOS}),
    "padding starts and ends": ("t5", {"pad_token_id": EOS}),
}


def _pad(rows: Sequence[Sequence[int]], filler: int, left: bool, extra: int = 0) -> torch.Tensor:
    width = max(map(len, rows)) + extra
    fillers = ([filler] * (width - len(row)) for row in rows)
    return torch.tensor([[*fill, *row] if left else [*row, *fill] for row, fill in zip(rows, fillers, strict=True)])


def _source(model: PreTrainedModel, left: bool, extra: int = 0) -> dict[str, Any]:
    return {
        "input_ids": _pad(SOURCES, model.config.pad_token_id, left, extra),
        "attention_mask": _pad([[1] * len(row) for row in SOURCES], 0, left, extra),
        "tasks": TASKS,
    }


def _targets(model: PreTrainedModel, left: bool) -> dict[str, dict[str, torch.Tensor]]:
    """Return the targets as people give them: each says in its own way what is padding."""
    padding = model.config.pad_token_id
    ignored, padded = _pad(TARGETS, -100, left), _pad(TARGETS, padding, left)
    mask = _pad([[1] * len(row) for row in TARGETS], 0, left)
    given = {
        "labels with -100": {"labels": ignored},
        "labels with the padding token": {"labels": padded},
        "labels with a mask": {"labels": padded, "decoder_attention_mask": mask},
        "labels with -100 beyond the padding token": {"labels": _pad(padded.tolist(), -100, left, extra=2)},
        "labels with what the model makes of them": {
            "labels": ignored,
            "decoder_input_ids": shift_labels(model, ignored),
        },
    }
    shifted = [shift_labels(model, torch.tensor([row]))[0].tolist() for row in TARGETS]
    read = _pad(shifted, padding, left)
    return given | {
        "decoder_input_ids with a mask": {"decoder_input_ids": read, "decoder_attention_mask": mask},
        "decoder_input_ids with the padding token": {"decoder_input_ids": read},
    }


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_padded_targets_do_not_count(kind: str, left: bool, small_model: SmallModel) -> None:
    name, changes = KINDS[kind]
    model = small_model(name, **changes)
    rows = [
        {"input_ids": torch.tensor([source]), "attention_mask": torch.ones(1, len(source)), "tasks": [task]}
        | {"labels": torch.tensor([target])}
        for source, target, task in zip(SOURCES, TARGETS, TASKS, strict=True)
    ]
    alone = record_activations(model, rows, "token")  # without any padding
    assert alone.totals["encoder"].tolist() == [9, 2]
    assert alone.totals["decoder"].tolist() == [6, 6]
    for way, target in _targets(model, left).items():
        if way == "decoder_input_ids with the padding token" and model.config.pad_token_id == EOS:
            continue  # whether the first padding token ends the sentence cannot be known there: it counts
        counts = record_activations(model, [_source(model, left) | target], "token")
        assert all(torch.equal(counts.totals[stack], alone.totals[stack]) for stack in alone.totals), way
        assert all(torch.equal(counts.values[layer], alone.values[layer]) for layer in alone.layers), way


@pytest.mark.parametrize("kind", KINDS)
def test_examples_and_states_leave_padding_out_too(kind: str, small_model: SmallModel) -> None:
    name, changes = KINDS[kind]
    model = small_model(name, **changes)
    batches = [_source(model, left=False) | _targets(model, left=False)["labels with the padding token"]]
    examples = find_examples(model, batches, top=3)
    assert examples.lengths["decoder"].tolist() == [len(row) for row in TARGETS]
    source, targets = _source(model, left=False), _targets(model, left=False)
    alone = [source | targets["labels with -100"], source | targets["labels with a mask"]]
    states = [record_activations(model, [batch], states=True, means=True) for batch in (*batches, *alone)]
    for layer in states[0].layers:
        assert torch.equal(states[0].states[layer], states[1].states[layer])
        assert torch.equal(states[0].means[layer], states[2].means[layer])


def test_the_loss_of_an_ablation_leaves_padding_out_too(small_model: SmallModel) -> None:
    model = small_model()
    losses = []
    for way in ("labels with -100", "labels with the padding token", "labels with a mask"):
        batch = {**_source(model, left=False), **_targets(model, left=False)[way]}
        batch.pop("tasks")
        sums, tokens = _sum_losses(model, batch, -1)
        assert tokens.tolist() == [len(row) for row in TARGETS]
        losses.append(sums)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("name", ["llama", "gpt2", "bloom", "opt"])
def test_padding_of_a_text_does_not_count(name: str, small_model: SmallModel) -> None:
    """Of decoder-only models, with labels or without: what is read is the text."""
    model = small_model(name).to(torch.float32)
    alone = record_activations(
        model,
        [
            {"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1, len(row)), "tasks": [task]}
            for row, task in zip(SOURCES, TASKS, strict=True)
        ],
        "token",
    )
    for left in (False, True):
        batch = _source(model, left, extra=1)
        without_mask = {key: value for key, value in batch.items() if key != "attention_mask"}
        for given in (batch, batch | {"labels": batch["input_ids"]}, without_mask):
            counts = record_activations(model, [given], "token")
            assert counts.totals["decoder"].tolist() == alone.totals["decoder"].tolist() == [9, 2]
            assert all(torch.equal(counts.values[layer], alone.values[layer]) for layer in alone.layers)


def test_a_padding_token_that_starts_the_decoder_is_padding_in_a_source(small_model: SmallModel) -> None:
    model = small_model("t5", pad_token_id=1, decoder_start_token_id=1)
    batch = {"input_ids": torch.tensor([[5, 6, EOS], [7, EOS, 1]]), "labels": torch.tensor([[5, EOS], [EOS, -100]])}
    assert complete_batch(model, batch)["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_r5_a_row_without_any_token_counts_nothing(small_model: SmallModel) -> None:
    model = small_model()
    batch = {"input_ids": torch.tensor([[5, EOS], [1, 1]]), "labels": torch.tensor([[6, EOS], [1, -100]])}
    counts = record_activations(model, [batch | {"tasks": ["a-b", "c-d"]}], "token")
    assert counts.totals["encoder"].tolist() == [2, 0]
    assert counts.totals["decoder"].tolist() == [2, 0]
    assert not any(values[1].any() for values in counts.values.values())


@pytest.mark.parametrize(
    ("ids", "real"),
    [
        ([EOS, EOS, EOS], [1, 0, 0]),  # an empty sentence still starts, or ends
        ([EOS, 7, EOS, EOS], [1, 1, 1, 0]),
        ([EOS, EOS, 7, 8], [1, 1, 1, 0]),  # padded on the left: what starts it moves along
        ([EOS, 7, EOS, 8], [1, 1, 1, 1]),
    ],
)
def test_a_padding_token_that_starts_and_ends_counts_once_at_either_end(
    ids: list[int], real: list[int], small_model: SmallModel
) -> None:
    model = small_model("t5", pad_token_id=EOS)
    ones = torch.ones(1, 1, dtype=torch.int64)
    batch = {"input_ids": 5 * ones, "attention_mask": ones, "decoder_input_ids": torch.tensor([ids])}
    assert complete_batch(model, batch)["decoder_attention_mask"].tolist() == [real]


@pytest.mark.parametrize(
    ("changes", "batch", "message"),
    [
        ({}, {"attention_mask": [[1]]}, "no 'input_ids', only attention_mask"),
        ({}, {"input_ids": [[5]]}, "no 'decoder_input_ids' and no 'labels'"),
        (
            {},
            {"input_ids": [[5, 6]], "attention_mask": [[1]], "labels": [[5]]},
            r"the shape \(1, 1\), 'input_ids' \(1, 2\)",
        ),
        ({"pad_token_id": EOS}, {"input_ids": [[5, EOS]], "labels": [[5]]}, r"its padding token \(2\) also ends"),
        (
            {},
            {"input_ids": [[5]], "labels": [[5]], "decoder_attention_mask": [[1, 1]]},
            r"'decoder_attention_mask' of a batch has the shape \(1, 2\), 'labels' \(1, 1\)",
        ),
        (
            {},
            {"input_ids": [[5]], "labels": [[5]], "decoder_input_ids": [[2, 5]]},
            r"the labels of a batch have the shape \(1, 1\), its decoder_input_ids \(1, 2\)",
        ),
    ],
)
def test_padding_that_cannot_be_told_is_refused(
    changes: dict[str, Any], batch: dict[str, list[list[int]]], message: str, small_model: SmallModel
) -> None:
    tensors = {name: torch.tensor(rows) for name, rows in batch.items()}
    with pytest.raises(NeuronspecError, match=message):
        complete_batch(small_model(**changes), tensors)


def test_what_is_complete_stays_as_it_is(small_model: SmallModel) -> None:
    model = small_model()
    batch = {key: value for key, value in _source(model, left=False).items() if key != "tasks"}
    labels = _pad(TARGETS, -100, left=False)
    batch |= {
        "labels": labels,
        "decoder_input_ids": labels.clamp(min=3),
        "decoder_attention_mask": labels.ne(-100).long(),
    }
    completed = complete_batch(model, batch)
    assert completed.keys() == batch.keys()
    assert all(torch.equal(completed[name], batch[name]) for name in batch)
