from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts, Unit
from neuronspec.neurons.recording import record_activations

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ["de-en", "en-fr", "sv-de"]
LAYERS = ("encoder.0", "encoder.1", "decoder.0", "decoder.1")
PAD = 1


@dataclass
class Example:
    """A sentence pair and, for each layer, at how many of its tokens each neuron is active."""

    task: str
    source: list[int]
    target: list[int]
    active: dict[str, list[int]]


def count_in_a_loop(model: PreTrainedModel, source: list[int], target: list[int]) -> dict[str, list[int]]:
    """One sentence alone, without padding; the neurons are taken behind the first matrix, not before the second."""
    neurons: dict[str, list[list[float]]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: torch.nn.Module, arguments: object, output: torch.Tensor) -> None:
            neurons[name] = model.model.encoder.layers[0].activation_fn(output)[0].tolist()

        return hook

    handles = [
        model.get_submodule(f"model.{layer.replace('.', '.layers.')}.fc1").register_forward_hook(keep(layer))
        for layer in LAYERS
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target]))
    for handle in handles:
        handle.remove()
    counts = {}
    for layer, tokens in neurons.items():
        counts[layer] = [0] * len(tokens[0])
        for token in tokens:
            for neuron, value in enumerate(token):
                if value > 0:
                    counts[layer][neuron] += 1
    return counts


@pytest.fixture(scope="module")
def model(small_model: SmallModel) -> PreTrainedModel:
    return small_model()


@pytest.fixture(scope="module")
def examples(model: PreTrainedModel) -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    found = []
    for number in range(14):
        source, target = (
            torch.randint(4, 48, (int(torch.randint(1, 7, (), generator=generator)),), generator=generator).tolist()
            for _ in range(2)
        )
        found.append(Example(TASKS[number % 3], source, target, count_in_a_loop(model, source, target)))
    return found


def pad(rows: list[list[int]], extra: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows)) + extra
    ids, mask = torch.full((len(rows), width), PAD), torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return ids, mask


def make_batch(rows: list[Example], extra: int = 0, left: bool = False, numbers: bool = False) -> dict[str, Any]:
    source, source_mask = pad([row.source for row in rows], extra, left)
    target, target_mask = pad([row.target for row in rows], extra, left)
    names = [row.task for row in rows]
    return {
        "input_ids": source,
        "attention_mask": source_mask,
        "decoder_input_ids": target,
        "decoder_attention_mask": target_mask,
        "tasks": torch.tensor([TASKS.index(name) for name in names]) if numbers else names,
    }


def expect(examples: list[Example], unit: Unit) -> dict[str, dict[str, list[int]]]:
    """task -> layer -> counts, summed in plain Python."""
    expected: dict[str, dict[str, list[int]]] = {}
    for example in examples:
        layers = expected.setdefault(example.task, {})
        for layer, active in example.active.items():
            now = [min(count, 1) for count in active] if unit == "sentence" else active
            layers[layer] = [a + b for a, b in zip(layers.get(layer, [0] * len(now)), now, strict=True)]
    return expected


def as_dict(counts: ActivationCounts) -> dict[str, dict[str, list[int]]]:
    return {
        task: {layer: counts.values[layer][row].tolist() for layer in counts.layers}
        for row, task in enumerate(counts.tasks)
    }


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_r5_counts_are_those_of_a_loop_over_sentences_whatever_the_batches(
    model: PreTrainedModel, examples: list[Example], data: st.DataObject
) -> None:
    unit: Unit = data.draw(st.sampled_from(get_args(Unit)))
    numbers = data.draw(st.booleans(), "numbers")
    order = data.draw(st.permutations(examples))[: data.draw(st.integers(1, len(examples)), "count")]
    batches, rest = [], list(order)
    while rest:
        size = data.draw(st.integers(1, 6), "batch size")
        extra, left = data.draw(st.integers(0, 3), "extra padding"), data.draw(st.booleans(), "left")
        batches.append(make_batch(rest[:size], extra, left, numbers))
        rest = rest[size:]
    counts = record_activations(model, batches, unit, tasks=TASKS if numbers else None)
    seen = {task: layers for task, layers in as_dict(counts).items() if any(map(any, layers.values()))}
    assert seen == expect(order, unit)
    for stack, side in (("encoder", "source"), ("decoder", "target")):
        totals = [
            sum(1 if unit == "sentence" else len(getattr(row, side)) for row in order if row.task == task)
            for task in counts.tasks
        ]
        assert counts.totals[stack].tolist() == totals
    assert all(values.dtype == torch.int64 for values in (*counts.values.values(), *counts.totals.values()))


def test_r5_tasks_that_appear_late_count_from_zero(model: PreTrainedModel, examples: list[Example]) -> None:
    batches = [make_batch([example]) for example in examples]
    counts = record_activations(model, batches)
    assert counts.tasks == tuple(TASKS)  # in the order in which they appear
    assert as_dict(counts) == expect(examples, "sentence")


def test_given_tasks_keep_their_order_even_where_nothing_is_seen(
    model: PreTrainedModel, examples: list[Example]
) -> None:
    tasks = ["unseen-task", *reversed(TASKS)]
    counts = record_activations(model, [make_batch(examples)], tasks=tasks)
    assert counts.tasks == tuple(tasks)
    assert not any(values[0].any() for values in counts.values.values())
    assert {task: layers for task, layers in as_dict(counts).items() if task != tasks[0]} == expect(
        examples, "sentence"
    )


def test_labels_stand_in_for_decoder_inputs(model: PreTrainedModel, examples: list[Example]) -> None:
    batch = make_batch(examples)
    labels = batch["decoder_input_ids"].masked_fill(batch["decoder_attention_mask"] == 0, -100)
    shifted = shift_tokens_right(labels, model.config.pad_token_id, model.config.decoder_start_token_id)
    by_labels = {key: value for key, value in batch.items() if not key.startswith("decoder")} | {"labels": labels}
    for unit in get_args(Unit):
        expected = record_activations(model, [batch | {"decoder_input_ids": shifted}], unit)
        assert as_dict(record_activations(model, [by_labels], unit)) == as_dict(expected)


def test_every_architecture_is_recorded(architecture: str, small_model: SmallModel) -> None:
    model = small_model(architecture)
    source, target = [5, 6, 7, 8], [9, 10, 11]
    example = Example("de-en", source, target, count_in_a_loop(model, source, target))
    assert 0 < sum(example.active["decoder.1"]) < 3 * 40
    for unit in get_args(Unit):
        counts = record_activations(model, [make_batch([example])], unit)
        assert as_dict(counts) == expect([example], unit)


def test_active_means_greater_than_the_threshold(model: PreTrainedModel, examples: list[Example]) -> None:
    batch = make_batch(examples)
    everything = record_activations(model, [batch], "token", threshold=-0.001)  # ReLU: every value is at least 0
    assert (everything.values["encoder.0"] == everything.totals["encoder"][:, None]).all()
    nothing = record_activations(model, [batch], "sentence", threshold=1e9)
    assert not any(values.any() for values in nothing.values.values())
    assert nothing.signature["threshold"] == "1000000000.0"


def test_signature_is_kept(model: PreTrainedModel, examples: list[Example]) -> None:
    counts = record_activations(model, [make_batch(examples)], "token", signature={"model": "abc"})
    assert (counts.unit, dict(counts.signature)) == (
        "token",
        {"model": "abc", "threshold": "0.0", "ignored": "padding"},
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_leaves_the_model_as_it_was(
    small_model: SmallModel, examples: list[Example], training: bool, fails: bool
) -> None:
    model = small_model().train(training)
    modes: list[bool] = []

    def batches() -> Iterator[dict[str, Any]]:
        yield make_batch(examples)
        modes.append(model.training)
        if fails:
            raise KeyboardInterrupt

    if fails:
        with pytest.raises(KeyboardInterrupt):
            record_activations(model, batches())
    else:
        record_activations(model, batches())
    assert modes == [False]
    assert model.training == training
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (["tasks"], "no 'tasks'"),
        (["attention_mask"], "no 'attention_mask'"),
        (["decoder_attention_mask"], "neither 'decoder_attention_mask' nor 'labels'"),
    ],
)
def test_incomplete_batches_are_refused(
    model: PreTrainedModel, examples: list[Example], drop: list[str], message: str
) -> None:
    batch = {key: value for key, value in make_batch(examples).items() if key not in drop}
    with pytest.raises(NeuronspecError, match=message):
        record_activations(model, [batch])


def test_what_cannot_be_counted_is_refused(model: PreTrainedModel, examples: list[Example]) -> None:
    with pytest.raises(NeuronspecError, match="no batches were given"):
        record_activations(model, [])
    with pytest.raises(NeuronspecError, match="number their tasks: give the names"):
        record_activations(model, [make_batch(examples, numbers=True)])
    with pytest.raises(NeuronspecError, match="unknown task 'sv-de'; known: de-en, en-fr"):
        record_activations(model, [make_batch(examples)], tasks=TASKS[:2])
