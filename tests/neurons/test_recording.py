from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import FLOAT32, SHAPES
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.neurons.activity import GatedAt, Unit
from neuronspec.neurons.architectures import ARCHITECTURES
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.routing import dense, task

SmallModel = Callable[..., PreTrainedModel]
Neurons = dict[str, list[list[float] | None]]  # layer -> token -> neurons; None where an expert did not see it
Counts = dict[str, dict[str, list[int]]]  # task -> layer -> neuron -> count

TASKS = ["de-en", "en-fr", "sv-de"]
PAD = 1
MARGIN = 1e-5  # in float32, what is nearer than this to 0 may fall on either side of it
# Attention in Python computes its softmax in float32, in which float64's mask of padding on the left overflows.
ROUNDED = (*FLOAT32, "bloom", "gemma2")
GATED = ("mt5", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")

_BART: dict[str, tuple[str, ...]] = {
    "encoder": ("model.encoder.layers.{}.fc1",),
    "decoder": ("model.decoder.layers.{}.fc1",),
}
_LLAMA: dict[str, tuple[str, ...]] = {"decoder": ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj")}
# Where this file's own hooks find the first matrices, the gate's first: written by hand, not by `find_ffn_layers`.
FIRST: dict[str, dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(("m2m_100", "mbart", "bart", "marian", "pegasus", "blenderbot", "blenderbot-small"), _BART),
    "fsmt": _BART,
    "nllb-moe": {"encoder": ("model.encoder.layers.{}.ffn.fc1",), "decoder": ("model.decoder.layers.{}.ffn.fc1",)},
    "t5": {
        "encoder": ("encoder.block.{}.layer.1.DenseReluDense.wi",),
        "decoder": ("decoder.block.{}.layer.2.DenseReluDense.wi",),
    },
    "mt5": {
        "encoder": ("encoder.block.{}.layer.1.DenseReluDense.wi_0", "encoder.block.{}.layer.1.DenseReluDense.wi_1"),
        "decoder": ("decoder.block.{}.layer.2.DenseReluDense.wi_0", "decoder.block.{}.layer.2.DenseReluDense.wi_1"),
    },
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), _LLAMA),
    "phi": {"decoder": ("model.layers.{}.mlp.fc1",)},
    "phi3": {"decoder": ("model.layers.{}.mlp.gate_up_proj",)},
    "gpt_neox": {"decoder": ("gpt_neox.layers.{}.mlp.dense_h_to_4h",)},
    "opt": {"decoder": ("model.decoder.layers.{}.fc1",)},
    "xglm": {"decoder": ("model.layers.{}.fc1",)},
    "bloom": {"decoder": ("transformer.h.{}.mlp.dense_h_to_4h",)},
    "falcon": {"decoder": ("transformer.h.{}.mlp.dense_h_to_4h",)},
    "gpt2": {"decoder": ("transformer.h.{}.mlp.c_fc",)},
    "gpt_neo": {"decoder": ("transformer.h.{}.mlp.c_fc",)},
}


@dataclass(frozen=True)
class Example:
    """A sentence pair, or a text, and the neurons of each of its tokens at the gate and before the second matrix."""

    task: str
    source: list[int]
    target: list[int]
    neurons: dict[GatedAt, Neurons]

    def tokens(self, stack: str) -> list[int]:
        return self.source if stack == "encoder" or not self.target else self.target


def activate(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """Apply the architecture's activation function, which its configuration names."""
    names = ("dense_act_fn", "activation_function", "hidden_activation", "hidden_act", "activation")
    named = next((getattr(model.config, name) for name in names if getattr(model.config, name, None)), "gelu_new")
    found: torch.Tensor = ACT2FN[named](states)
    return found


def read_alone(
    name: str, model: PreTrainedModel, source: list[int], target: list[int]
) -> tuple[dict[GatedAt, Neurons], float]:
    """One sentence alone, without padding; the neurons are taken behind the first matrices, not before the second.

    Also returns how near to 0 these come.
    """
    written: dict[str, torch.Tensor] = {}  # module -> (tokens, features)
    read: dict[str, torch.Tensor] = {}

    def keep(path: str, module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        read[path] = arguments[0].reshape(-1, arguments[0].shape[-1])
        written[path] = output.reshape(-1, output.shape[-1])

    handles = [
        module.register_forward_hook(functools.partial(keep, path))
        for path, module in model.named_modules()
        if path.endswith((".experts", *{path.rpartition(".")[2] for paths in FIRST[name].values() for path in paths}))
    ]
    inputs = {"input_ids": torch.tensor([source])} | ({"decoder_input_ids": torch.tensor([target])} if target else {})
    with torch.no_grad():
        model(**inputs, use_cache=False)  # with a cache, FSMT's decoder would see the future
    for handle in handles:
        handle.remove()
    found: dict[GatedAt, Neurons] = {"gate": {}, "product": {}}
    for stack, paths in FIRST[name].items():
        for index in range(2):
            here = [path.format(index) for path in paths]
            experts = here[0].replace("fc1", "experts")
            if experts in read and experts not in here:
                for expert in range(model.config.num_experts):
                    path = f"{experts}.expert_{expert}.fc1"
                    rows = _spread(read[experts], read.get(path), written.get(path))
                    every = [None if row is None else activate(model, row).tolist() for row in rows]
                    for neurons in found.values():
                        neurons[f"{stack}.{index}.expert.{expert}"] = every
                continue
            states = [part for path in here for part in written[path].chunk(2 if name == "phi3" else 1, dim=-1)]
            gate = activate(model, states[0])
            found["gate"][f"{stack}.{index}"] = gate.tolist()
            found["product"][f"{stack}.{index}"] = (gate * states[1] if len(states) > 1 else gate).tolist()
    firsts = (states for path, states in written.items() if not path.endswith("experts"))
    return found, min(float(states.abs().min()) for states in firsts)


def _spread(
    hidden: torch.Tensor, entered: torch.Tensor | None, written: torch.Tensor | None
) -> list[torch.Tensor | None]:
    """What an expert wrote for each of the tokens: those of which it read the hidden state, found by comparing."""
    rows: list[torch.Tensor | None] = [None] * len(hidden)
    if entered is not None and written is not None:
        for state, row in zip(entered, written, strict=True):
            rows[int((hidden == state).all(1).nonzero()[0])] = row
    return rows


def draw_examples(name: str, model: PreTrainedModel, count: int = 12, longest: int = 6) -> list[Example]:
    generator = torch.Generator().manual_seed(3)

    def draw_ids() -> list[int]:
        length = int(torch.randint(1, longest + 1, (), generator=generator))
        ids: list[int] = torch.randint(4, 48, (length,), generator=generator).tolist()
        return ids

    found: list[Example] = []
    while len(found) < count:
        source, target = draw_ids(), draw_ids() if model.config.is_encoder_decoder else []
        neurons, nearest = read_alone(name, model, source, target)
        if name not in ROUNDED or nearest > MARGIN:
            found.append(Example(TASKS[len(found) % 3], source, target, neurons))
    return found


@pytest.fixture(scope="module")
def model(small_model: SmallModel) -> PreTrainedModel:
    return small_model()


@pytest.fixture(scope="module")
def examples(model: PreTrainedModel) -> list[Example]:
    return draw_examples("m2m_100", model, 14)


def pad(rows: list[list[int]], extra: int, left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows)) + extra
    ids, mask = torch.full((len(rows), width), PAD), torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        ids[number, place], mask[number, place] = torch.tensor(row), 1
    return ids, mask


def make_batch(rows: Sequence[Example], extra: int = 0, left: bool = False, numbers: bool = False) -> dict[str, Any]:
    batch: dict[str, Any] = {}
    batch["input_ids"], batch["attention_mask"] = pad([row.source for row in rows], extra, left)
    if rows[0].target:
        target, target_mask = pad([row.target for row in rows], extra, left)
        batch |= {"decoder_input_ids": target, "decoder_attention_mask": target_mask}
    names = [row.task for row in rows]
    return batch | {"tasks": torch.tensor([TASKS.index(name) for name in names]) if numbers else names}


def expect(
    examples: Sequence[Example],
    unit: Unit,
    gated_at: GatedAt = "gate",
    threshold: float = 0.0,
    ignore: Sequence[int] = (),
) -> Counts:
    """Summed in plain Python, neuron by neuron and token by token."""
    expected: Counts = {}
    for example in examples:
        layers = expected.setdefault(example.task, {})
        for layer, tokens in example.neurons[gated_at].items():
            width = next((len(token) for token in tokens if token is not None), 0)
            active = [0] * width
            for token, number in zip(tokens, example.tokens(layer.partition(".")[0]), strict=True):
                for neuron, value in enumerate(token or ()):
                    if number not in ignore and value > threshold:
                        active[neuron] += 1
            now = [min(count, 1) for count in active] if unit == "sentence" else active
            before = layers.get(layer, [])
            layers[layer] = [a + b for a, b in itertools.zip_longest(before, now, fillvalue=0)]
    return expected


def as_dict(counts: ActivationCounts) -> Counts:
    return {
        task: {layer: counts.values[layer][row].tolist() for layer in counts.layers}
        for row, task in enumerate(counts.tasks)
    }


def with_some(counts: Counts) -> Counts:
    """Leave out tasks in which nothing was active, and layers of which nothing was seen."""
    some = {task: {layer: row for layer, row in layers.items() if any(row)} for task, layers in counts.items()}
    return {task: layers for task, layers in some.items() if layers}


@functools.cache
def model_and_examples(name: str, small_model: SmallModel) -> tuple[PreTrainedModel, list[Example]]:
    model = small_model(name).to(torch.float32 if name in ROUNDED else torch.float64)
    return model, draw_examples(name, model)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=25, derandomize=True)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")
def test_r5_counts_are_those_of_a_loop_over_sentences_whatever_the_batches(
    name: str, small_model: SmallModel, data: st.DataObject
) -> None:
    model, examples = model_and_examples(name, small_model)
    unit: Unit = data.draw(st.sampled_from(get_args(Unit)), "unit")
    gated_at: GatedAt = data.draw(st.sampled_from(get_args(GatedAt)) if name in GATED else st.just("gate"), "gated at")
    numbers = data.draw(st.booleans(), "numbers")
    drawn = data.draw(st.permutations(range(len(examples))), "order")[: data.draw(st.integers(1, 12), "count")]
    order = [examples[number] for number in drawn]
    batches, rest = [], order
    while rest:
        size = data.draw(st.integers(1, 6), "batch size")
        extra = data.draw(st.integers(0, 3), "extra padding")
        left = data.draw(st.booleans(), "left")
        batches.append(make_batch(rest[:size], extra, left, numbers))
        rest = rest[size:]
    counts = record_activations(model, batches, unit, tasks=TASKS if numbers else None, gated_at=gated_at)
    assert with_some(as_dict(counts)) == with_some(expect(order, unit, gated_at))
    for stack in FIRST[name]:
        totals = [
            sum(1 if unit == "sentence" else len(row.tokens(stack)) for row in order if row.task == task)
            for task in counts.tasks
        ]
        assert counts.totals[stack].tolist() == totals
    assert all(values.dtype == torch.int64 for values in (*counts.values.values(), *counts.totals.values()))


@pytest.mark.parametrize(
    ("name", "paths", "shape"),
    [
        ("gptj", ("transformer.h.{}.mlp.fc_in",), {"n_embd": 16, "n_inner": 24, "n_layer": 2, "n_head": 2}),
        ("bert", ("bert.encoder.layer.{}.intermediate.dense",), {}),
        ("olmo", ("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"), {}),
    ],
)
def test_r5_an_architecture_that_is_found_by_searching_is_counted_too(
    name: str, paths: tuple[str, ...], shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIRST, name, {"encoder" if name == "bert" else "decoder": paths})
    model = build_unregistered(name, **shape)
    examples = draw_examples(name, model, 6)
    for unit, left, gated_at in itertools.product(get_args(Unit), (False, True), get_args(GatedAt)):
        batches = [make_batch(examples[:4], 1, left), make_batch(examples[4:], 0, left)]
        assert as_dict(record_activations(model, batches, unit, gated_at=gated_at)) == expect(examples, unit, gated_at)


def build_unregistered(name: str, **shape: Any) -> PreTrainedModel:
    """A small model of an architecture that is in no registry, in float64, all its weights random."""
    assert name not in ARCHITECTURES
    usual = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": 48, "bos_token_id": 0, "pad_token_id": PAD, "eos_token_id": 2}
    if name == "gptj":
        shape |= {"rotary_dim": 4, "n_positions": 64}
    config = AutoConfig.for_model(name, **tokens, **(shape or usual))
    kind = AutoModelForMaskedLM if name == "bert" else AutoModelForCausalLM
    model: PreTrainedModel = kind.from_config(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return model.double().eval()


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


@pytest.mark.parametrize("name", [name for name, stacks in FIRST.items() if "encoder" in stacks])
@pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")
def test_every_encoder_decoder_takes_labels(name: str, small_model: SmallModel) -> None:
    """Before the labels comes the decoder's start token, or what ends them: mBART's tag, FSMT's end of sentence."""
    model, examples = model_and_examples(name, small_model)
    batch = make_batch(examples)
    labels = batch["decoder_input_ids"].masked_fill(batch["decoder_attention_mask"] == 0, -100)
    kept = labels.clone()
    by_labels = {key: value for key, value in batch.items() if not key.startswith("decoder")} | {"labels": labels}
    shifted = [
        [row.target[-1] if name in ("mbart", "fsmt") else model.config.decoder_start_token_id, *row.target[:-1]]
        for row in examples
    ]
    ids, mask = pad(shifted, 0, False)
    expected = record_activations(model, [batch | {"decoder_input_ids": ids, "decoder_attention_mask": mask}], "token")
    counts = record_activations(model, [by_labels], "token")
    assert counts.totals["decoder"].tolist() == expected.totals["decoder"].tolist()
    assert as_dict(counts) == as_dict(expected)
    assert torch.equal(labels, kept), "the user's labels were changed"


def test_the_hooks_of_this_file_see_something(small_model: SmallModel) -> None:
    for name in FIRST:
        _, examples = model_and_examples(name, small_model)
        gate, product = (expect(examples, "token", place)["de-en"] for place in get_args(GatedAt))
        assert (gate != product) == (name in GATED)
        assert len({count for counts in gate.values() for count in counts}) > 2


@pytest.mark.parametrize("threshold", [-0.05, 0.1, 0.6])
@pytest.mark.parametrize(
    ("name", "gated_at"), [("m2m_100", "gate"), ("gpt2", "gate"), ("llama", "gate"), *[("mt5", "product")]]
)
def test_active_means_greater_than_the_threshold(
    name: str, gated_at: GatedAt, threshold: float, small_model: SmallModel
) -> None:
    model, examples = model_and_examples(name, small_model)
    for unit in get_args(Unit):
        counts = record_activations(model, [make_batch(examples, 1)], unit, threshold=threshold, gated_at=gated_at)
        assert as_dict(counts) == expect(examples, unit, gated_at, threshold)
        assert counts.signature["threshold"] == str(threshold)


def test_thresholds_below_and_above_everything(model: PreTrainedModel, examples: list[Example]) -> None:
    batch = make_batch(examples)
    everything = record_activations(model, [batch], "token", threshold=-0.001)  # ReLU: every value is at least 0
    assert (everything.values["encoder.0"] == everything.totals["encoder"][:, None]).all()
    nothing = record_activations(model, [batch], "sentence", threshold=1e9)
    assert not any(values.any() for values in nothing.values.values())
    assert nothing.signature["threshold"] == "1000000000.0"


@pytest.mark.parametrize("name", ["m2m_100", "opt", "t5"])
@pytest.mark.parametrize("unit", get_args(Unit))
def test_ignored_ids_do_not_count(name: str, unit: Unit, small_model: SmallModel) -> None:
    model, examples = model_and_examples(name, small_model)
    ignore = [*set(examples[0].source), *range(4, 14)]  # the whole first source, too
    batches = [make_batch(examples[:7]), make_batch(examples[7:])]
    counts = record_activations(model, batches, unit, ignore=ignore)
    assert as_dict(counts) == expect(examples, unit, ignore=ignore) != expect(examples, unit)
    for stack in FIRST[name]:
        for row, name_of_task in enumerate(counts.tasks):
            sides = [example.tokens(stack) for example in examples if example.task == name_of_task]
            seen = [[number for number in side if number not in ignore] for side in sides]
            assert counts.totals[stack][row] == (len(seen) if unit == "sentence" else sum(map(len, seen)))
    assert counts.signature["ignored"] == " ".join(map(str, sorted(set(ignore))))


@pytest.mark.parametrize("unit", get_args(Unit))
@pytest.mark.parametrize(
    ("name", "gated_at"), [("m2m_100", "gate"), ("t5", "gate"), ("mt5", "gate"), ("mt5", "product")]
)
def test_means_are_over_all_counted_positions(
    name: str, gated_at: GatedAt, unit: Unit, small_model: SmallModel
) -> None:
    model, examples = model_and_examples(name, small_model)
    ignore = [examples[0].source[0]]
    batches = [make_batch(examples[:5], 2), make_batch(examples[5:])]
    counts = record_activations(model, batches, unit, means=True, gated_at=gated_at, ignore=ignore)
    assert list(counts.means) == list(counts.layers)
    for layer, means in counts.means.items():
        assert means.dtype == torch.float64
        for row, name_of_task in enumerate(counts.tasks):
            counted = [
                token
                for example in examples
                if example.task == name_of_task
                for token, number in zip(
                    example.neurons[gated_at][layer], example.tokens(layer.partition(".")[0]), strict=True
                )
                if number not in ignore
            ]
            expected = [sum(values) / len(counted) for values in zip(*filter(None, counted), strict=True)]
            torch.testing.assert_close(means[row], torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_the_mean_of_a_task_that_was_never_seen_is_0(model: PreTrainedModel, examples: list[Example]) -> None:
    counts = record_activations(model, [make_batch(examples)], tasks=["unseen-task", *TASKS], means=True)
    assert not any(means[0].any() for means in counts.means.values())
    assert all(means[1:].any() and means.isfinite().all() for means in counts.means.values())


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("unit", get_args(Unit))
@pytest.mark.parametrize("name", ["m2m_100", "bloom", "llama"])
def test_states_are_the_neurons_that_each_sentence_activated(
    name: str, unit: Unit, numbers: bool, small_model: SmallModel
) -> None:
    model, examples = model_and_examples(name, small_model)
    batches = [make_batch(examples[:5], 2, numbers=numbers), make_batch(examples[5:], numbers=numbers)]
    counts = record_activations(model, batches, unit, tasks=TASKS if numbers else None, states=True)
    assert counts.state_tasks is not None
    assert [counts.tasks[number] for number in counts.state_tasks] == [example.task for example in examples]
    for layer, packed in counts.states.items():
        assert packed.dtype == torch.uint8
        width = counts.values[layer].shape[1]
        bits = np.unpackbits(packed.numpy(), axis=1, count=width)
        expected = [next(iter(expect([example], "sentence").values()))[layer] for example in examples]
        assert bits.tolist() == expected
    if unit == "sentence":
        for layer, packed in counts.states.items():
            bits = np.unpackbits(packed.numpy(), axis=1, count=counts.values[layer].shape[1])
            for row in range(len(counts.tasks)):
                assert bits[counts.state_tasks == row].sum(0).tolist() == counts.values[layer][row].tolist()


def test_states_of_a_width_that_fills_no_byte_are_packed_as_numpy_packs(small_model: SmallModel) -> None:
    model = small_model(encoder_ffn_dim=21, decoder_ffn_dim=3)
    examples = draw_examples("m2m_100", model, 5)
    counts = record_activations(model, [make_batch(examples)], states=True)
    for layer, packed in counts.states.items():
        active = [next(iter(expect([example], "sentence").values()))[layer] for example in examples]
        assert packed.numpy().tolist() == np.packbits(np.array(active, dtype=bool), axis=1).tolist()


def test_nothing_that_was_not_asked_for_is_kept(model: PreTrainedModel, examples: list[Example]) -> None:
    counts = record_activations(model, [make_batch(examples)])
    assert (counts.means, counts.states, counts.state_tasks) == ({}, {}, None)


def test_signature_is_kept(model: PreTrainedModel, examples: list[Example]) -> None:
    counts = record_activations(model, [make_batch(examples)], "token", signature={"model": "abc"})
    assert (counts.unit, dict(counts.signature)) == (
        "token",
        {"model": "abc", "threshold": "0.0", "ignored": "padding"},
    )


@pytest.mark.parametrize("gated_at", get_args(GatedAt))
def test_the_signature_of_gated_units_says_where_they_were_looked_at(
    gated_at: GatedAt, small_model: SmallModel
) -> None:
    model, examples = model_and_examples("llama", small_model)
    assert record_activations(model, [make_batch(examples)], gated_at=gated_at).signature["gated_at"] == gated_at


def hooks_of(model: PreTrainedModel) -> list[tuple[int, int]]:
    return [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in model.modules()]


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


def test_a_part_that_was_put_into_another_mode_keeps_it(small_model: SmallModel, examples: list[Example]) -> None:
    model = small_model().train()
    model.model.encoder.eval()  # as one does to freeze it
    modes = [module.training for module in model.modules()]
    record_activations(model, [make_batch(examples)])
    assert [module.training for module in model.modules()] == modes


@pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")
def test_no_logits_are_computed_and_no_hook_is_left(any_architecture: str, small_model: SmallModel) -> None:
    model, examples = model_and_examples(any_architecture, small_model)
    head = model.get_output_embeddings()
    entered: list[int] = []
    shapes: list[tuple[int, ...]] = []
    handles = [model.register_forward_hook(lambda module, arguments, output: shapes.append(tuple(output.logits.shape)))]
    if isinstance(head, torch.nn.Linear):
        handles.append(head.register_forward_hook(lambda module, arguments, out: entered.append(out[..., 0].numel())))
    before = hooks_of(model)
    record_activations(model, [make_batch(examples[:5]), make_batch(examples[5:])])
    assert shapes == [(5, 0, 48), (7, 0, 48)]
    assert entered == ([0, 0] if isinstance(head, torch.nn.Linear) else [])
    assert hooks_of(model) == before
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (["tasks"], "no 'tasks'"),
        (["attention_mask"], "no 'attention_mask'"),
        (["decoder_attention_mask"], "neither 'decoder_attention_mask' nor 'labels'"),
    ],
)
def test_incomplete_batches_are_refused(
    model: PreTrainedModel,
    examples: list[Example],
    drop: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model.config, "pad_token_id", None)  # by which padding could be told
    monkeypatch.setattr(model.generation_config, "pad_token_id", None)
    batch = {key: value for key, value in make_batch(examples).items() if key not in drop}
    with pytest.raises(NeuronspecError, match=message):
        record_activations(model, [batch])
    assert not any(map(any, hooks_of(model)))


def test_what_cannot_be_counted_is_refused(model: PreTrainedModel, examples: list[Example]) -> None:
    with pytest.raises(NeuronspecError, match="no batches were given"):
        record_activations(model, [])
    with pytest.raises(NeuronspecError, match="number their tasks: give the names"):
        record_activations(model, [make_batch(examples, numbers=True)])
    with pytest.raises(NeuronspecError, match="unknown task 'sv-de'; known: de-en, en-fr"):
        record_activations(model, [make_batch(examples)], tasks=TASKS[:2])


@pytest.mark.parametrize("tasks", [["de-en"], ["de-en"] * 15, torch.zeros(13, dtype=torch.long), []])
def test_tasks_that_are_not_one_for_each_row_are_refused(
    model: PreTrainedModel, examples: list[Example], tasks: Any
) -> None:
    with pytest.raises(NeuronspecError, match=f"a batch has {len(tasks)} tasks for 14 rows"):
        record_activations(model, [make_batch(examples) | {"tasks": tasks}], tasks=TASKS)


@pytest.mark.parametrize("number", [3, -1])
def test_a_number_that_is_no_task_is_refused(model: PreTrainedModel, examples: list[Example], number: int) -> None:
    with pytest.raises(NeuronspecError, match=str(number)):
        record_activations(model, [make_batch(examples[:1]) | {"tasks": torch.tensor([number])}], tasks=TASKS)


def test_a_gate_that_no_module_activates_must_be_recorded_at_the_product(
    small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, examples = model_and_examples("phi3", small_model)
    monkeypatch.setattr(ARCHITECTURES, "_entries", {key: ARCHITECTURES[key] for key in ARCHITECTURES if key != "phi3"})
    batch = make_batch(examples)
    with pytest.raises(NeuronspecError, match=r"the gate of decoder\.0 .* record with gated_at='product'"):
        record_activations(model, [batch])
    assert not any(map(any, hooks_of(model)))
    counts = record_activations(model, [batch], "token", gated_at="product")
    assert as_dict(counts) == expect(examples, "token", "product")


def draw_masks(model: PreTrainedModel, tasks: Sequence[str] = TASKS) -> NeuronMasks:
    generator = torch.Generator().manual_seed(5)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    values = {name: torch.rand(len(tasks), width, generator=generator) > 0.4 for name, width in widths.items()}
    return NeuronMasks(list(tasks), values)


def remove_neurons(name: str, model: PreTrainedModel, masks: NeuronMasks, of_task: str) -> PreTrainedModel:
    """A copy whose first matrices write 0 for masked neurons: every activation function maps 0 to 0."""
    removed = copy.deepcopy(model)
    for stack, paths in FIRST[name].items():
        for index, path in itertools.product(range(2), paths):
            off = ~masks.mask(of_task, f"{stack}.{index}")
            matrix = removed.get_submodule(path.format(index))
            off = torch.cat([off, off]) if name == "phi3" else off
            with torch.no_grad():
                weight = matrix.weight if name != "gpt2" else matrix.weight.T
                weight[off] = 0
                if getattr(matrix, "bias", None) is not None:
                    matrix.bias[off] = 0
    return removed


def read_removed(name: str, model: PreTrainedModel, masks: NeuronMasks, examples: Sequence[Example]) -> list[Example]:
    copies = {of_task: remove_neurons(name, model, masks, of_task) for of_task in TASKS}
    return [
        Example(row.task, row.source, row.target, read_alone(name, copies[row.task], row.source, row.target)[0])
        for row in examples
    ]


@pytest.mark.parametrize("batched", ["mixed", "one task at a time"])
@pytest.mark.parametrize("packed", ["never", "always", "auto"])
@pytest.mark.parametrize(
    ("name", "gated_at"),
    [
        *[("m2m_100", "gate"), ("t5", "gate"), ("gpt2", "gate")],
        *[("mt5", "gate"), ("mt5", "product"), ("llama", "gate"), ("llama", "product"), ("phi3", "gate")],
    ],
)
def test_a_specialised_model_is_recorded_as_it_computes(
    name: str, gated_at: GatedAt, packed: Any, batched: str, small_model: SmallModel
) -> None:
    plain, examples = model_and_examples(name, small_model)
    masks = draw_masks(plain)
    model = specialize(copy.deepcopy(plain), masks, packed=packed)
    removed = read_removed(name, plain, masks, examples)
    alone = [[row for row in removed if row.task == of_task] for of_task in TASKS]
    batches = [make_batch(rows, 1) for rows in ([removed[:5], removed[5:]] if batched == "mixed" else alone)]
    for unit in get_args(Unit):
        expected = expect(removed, unit, gated_at)
        assert expected != expect(examples, unit, gated_at)
        assert as_dict(record_activations(model, batches, unit, gated_at=gated_at)) == expected


@pytest.mark.parametrize("packed", ["never", "always"])
@pytest.mark.parametrize("name", ["m2m_100", "llama"])
def test_a_specialised_model_is_recorded_dense_inside_dense(name: str, packed: Any, small_model: SmallModel) -> None:
    plain, examples = model_and_examples(name, small_model)
    model = specialize(copy.deepcopy(plain), draw_masks(plain), packed=packed)
    one_task = [row for row in examples if row.task == "de-en"]
    with dense(model):
        for rows in (examples, one_task):
            assert as_dict(record_activations(model, [make_batch(rows)])) == expect(rows, "sentence")


def test_inside_dense_tasks_that_have_no_mask_are_recorded_too(small_model: SmallModel) -> None:
    plain, examples = model_and_examples("m2m_100", small_model)
    model = specialize(copy.deepcopy(plain), draw_masks(plain, ["de-en"]))
    with dense(model):
        assert as_dict(record_activations(model, [make_batch(examples)])) == expect(examples, "sentence")


def test_a_task_without_a_mask_is_refused_of_a_specialised_model(small_model: SmallModel) -> None:
    plain, examples = model_and_examples("m2m_100", small_model)
    model = specialize(copy.deepcopy(plain), draw_masks(plain, ["de-en"]))
    with pytest.raises(NeuronspecError, match="en-fr"):
        record_activations(model, [make_batch(examples)])


def test_inside_task_all_rows_are_recorded_with_its_masks(small_model: SmallModel) -> None:
    plain, examples = model_and_examples("m2m_100", small_model)
    masks = draw_masks(plain)
    rows = [row for row in examples if row.task == "de-en"]
    removed = read_removed("m2m_100", plain, masks, rows)
    with task(specialize(copy.deepcopy(plain), masks), "de-en") as model:
        assert as_dict(record_activations(model, [make_batch(rows)])) == expect(removed, "sentence")


@pytest.mark.parametrize("inside", ["tasks", "dense"])
def test_a_specialised_model_that_is_found_by_searching_is_recorded(
    inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIRST, "starcoder2", {"decoder": ("model.layers.{}.mlp.c_fc",)})
    plain = build_unregistered("starcoder2")
    examples = draw_examples("starcoder2", plain, 6)
    masks = draw_masks(plain)
    model = specialize(copy.deepcopy(plain), masks)
    if inside == "dense":
        with dense(model):
            assert as_dict(record_activations(model, [make_batch(examples)])) == expect(examples, "sentence")
    else:
        removed = read_removed("starcoder2", plain, masks, examples)
        assert as_dict(record_activations(model, [make_batch(examples)])) == expect(removed, "sentence")


def route_as_chosen(experts: torch.nn.ModuleDict, hidden: torch.Tensor, chosen: torch.Tensor, p: Any) -> torch.Tensor:
    """What transformers meant to do: every token to the expert that the router chose for it."""
    mixed = torch.zeros_like(hidden)
    for number in range(chosen.shape[1]):
        tokens = chosen[:, number].nonzero()[:, 0]
        if len(tokens):
            mixed[tokens] = experts[f"expert_{number}"](hidden[tokens]) * p[tokens, number, None]
    return mixed


@pytest.fixture(params=["transformers' routing", "the router's choice"])
def experts(
    request: pytest.FixtureRequest, small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[PreTrainedModel, list[Example]]]:
    """A model of 4 experts, as transformers sends tokens to them and as the router chose; half of them see nothing."""
    model = small_model("nllb-moe", num_experts=4)
    if request.param == "the router's choice":
        for stack in (model.model.encoder, model.model.decoder):
            holder = stack.layers[1].ffn.experts
            monkeypatch.setattr(holder, "forward", functools.partial(route_as_chosen, holder))
    examples = draw_examples("nllb-moe", model, 8, longest=3)
    warns = request.param == "transformers' routing"
    with pytest.warns(NeuronspecWarning, match="experts 0 and 1 alone") if warns else nullcontext():
        yield model, examples


@pytest.mark.parametrize("unit", get_args(Unit))
def test_r5_experts_are_counted_by_the_tokens_that_they_got(
    experts: tuple[PreTrainedModel, list[Example]], unit: Unit
) -> None:
    model, examples = experts
    for batches in ([make_batch(examples)], [make_batch([row], 2) for row in examples]):
        counts = record_activations(model, batches, unit)
        assert with_some(as_dict(counts)) == with_some(expect(examples, unit))
        assert counts.layers[1:5] == tuple(f"encoder.1.expert.{number}" for number in range(4))


def test_every_expert_has_means_of_all_counted_positions(experts: tuple[PreTrainedModel, list[Example]]) -> None:
    model, examples = experts
    counts = record_activations(model, [make_batch([row], 1) for row in examples], "token", means=True)
    assert list(counts.means) == list(counts.layers)
    for layer, means in counts.means.items():
        for row, of_task in enumerate(counts.tasks):
            tokens = [t for example in examples if example.task == of_task for t in example.neurons["gate"][layer]]
            total = torch.zeros(means.shape[1], dtype=torch.float64)
            for token in filter(None, tokens):
                total += torch.tensor(token, dtype=torch.float64)
            torch.testing.assert_close(means[row], total / len(tokens), rtol=1e-5, atol=1e-6)


def test_every_expert_has_a_state_for_every_sentence(experts: tuple[PreTrainedModel, list[Example]]) -> None:
    model, examples = experts
    counts = record_activations(model, [make_batch([row], 1) for row in examples], states=True)
    assert list(counts.states) == list(counts.layers)
    for layer, packed in counts.states.items():
        width = counts.values[layer].shape[1]
        expected = [next(iter(expect([row], "sentence").values()))[layer] or [0] * width for row in examples]
        assert np.unpackbits(packed.numpy(), axis=1, count=width).tolist() == expected
