"""The causal check: planted neurons are found out, random ones are not, and the loss is the plain model's."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

import neuronspec
from neuronspec.analysis.ablation import Ablation, ablate
from neuronspec.analysis.ablation_masks import choose_own_neurons, make_ablation_masks
from neuronspec.analysis.ablation_metrics import measuring_loss
from neuronspec.data.batches import IGNORED, Tensors, collate
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.routing import find_router

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., Tensors]

TASKS = ("en-de", "en-fr", "en-nl", "en-ru", "en-sv")
WORDS = 8  # of each planted language
SPECIAL = 4
NEURONS = 3  # of each planted language
D_FF = 64


def language_words(number: int) -> range:
    return range(SPECIAL + number * WORDS, SPECIAL + (number + 1) * WORDS)


def plant(small_model: SmallModel) -> PreTrainedModel:
    """A model whose decoder knows by `NEURONS` neurons alone that a word follows one of its language.

    Dimensions 0..4 of the decoder's input say which language a word is of, 8..12 make the words of a language likely.
    The other neurons fire on every word and write to dimension 15, which no word's score reads.
    """
    languages = range(len(TASKS))
    size = SPECIAL + len(TASKS) * WORDS
    shape = {"vocab_size": size, "decoder_layers": 1, "decoder_ffn_dim": D_FF, "tie_word_embeddings": False}
    model = small_model("m2m_100", **shape, scale_embedding=False)
    layer = model.model.decoder.layers[0]
    with torch.no_grad():
        for module in (layer.self_attn, layer.encoder_attn):
            module.out_proj.weight.zero_()
            module.out_proj.bias.zero_()
        for norm in (layer.final_layer_norm, model.model.decoder.layer_norm):
            norm.weight.fill_(1.0)
            norm.bias.zero_()
        words, scores = model.model.decoder.embed_tokens.weight, model.lm_head.weight
        words.zero_()
        scores.zero_()
        scores[:SPECIAL, 13] = 4.0  # as likely as the words of a language that is not read
        layer.fc1.weight.zero_()
        layer.fc1.bias.fill_(1.0)
        layer.fc2.weight.normal_(0, 0.01)
        layer.fc2.weight[8:14] = 0.0
        layer.fc2.bias.zero_()
        for number in languages:
            words[language_words(number), number] = 500.0  # so that positions do not matter
            scores[language_words(number), 8 + number] = 4.0
            mine = slice(number * NEURONS, (number + 1) * NEURONS)
            layer.fc1.weight[mine, number] = 4.0  # normalised, the dimension of the language is over 3
            layer.fc1.bias[mine] = -4.0
            layer.fc2.weight[8 + number, mine] = 20.0
    return model


def write_text(rows: int = 6, seed: int = 0) -> dict[str, list[Tensors]]:
    """For each task two batches: a source of any words, and a target of the language's own."""
    draw = np.random.default_rng(seed)
    text: dict[str, list[Tensors]] = {}
    for number, task in enumerate(TASKS):
        words = language_words(number)
        first = language_words(number)[0]
        form = TaskFormat(source_suffix=(first,), target_prefix=(first,), target_suffix=(first,), start=first, pad=1)
        pairs = [
            (number, form, draw.integers(SPECIAL, 44, 5).tolist(), draw.choice(words, draw.integers(2, 9)).tolist())
            for _ in range(2 * rows)
        ]
        text[task] = [collate(pairs[:rows]), collate(pairs[rows:])]
    return text


@pytest.fixture(scope="module")
def planted(small_model: SmallModel) -> tuple[PreTrainedModel, dict[str, list[Tensors]], ActivationCounts]:
    model, text = plant(small_model), write_text()
    batches = [batch for batches in text.values() for batch in batches]
    return model, text, neuronspec.record_activations(model, batches, tasks=TASKS)


def draw_masks(model: PreTrainedModel, names: tuple[str, ...], seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(
        names, {name: torch.rand(len(names), width, generator=generator) > 0.4 for name, width in widths.items()}
    )


def draw_counts(
    seed: int, tasks: int = 4, width: int = 40, layers: tuple[str, ...] = ("encoder.0",)
) -> ActivationCounts:
    draw = np.random.default_rng(seed)
    names = tuple(f"t{number}" for number in range(tasks))
    totals = torch.from_numpy(draw.integers(5, 30, tasks))
    values = {name: torch.from_numpy(draw.integers(0, totals.numpy()[:, None] + 1, (tasks, width))) for name in layers}
    return ActivationCounts(names, values, {"encoder": totals, "decoder": totals}, "sentence")


def make_ablation(harm: NDArray[np.float64], random: NDArray[np.float64], higher_is_better: bool = False) -> Ablation:
    tasks = tuple(f"t{number}" for number in range(len(harm)))
    baseline = np.linspace(20, 30, len(harm))
    sign = -1 if higher_is_better else 1
    values, control = baseline[:, None] + sign * harm, baseline[:, None] + sign * random
    metric = "chrf" if higher_is_better else "loss"
    return Ablation("decoder", tasks, metric, higher_is_better, 0.05, {"decoder.0": 3}, baseline, values, control)


# Measuring


def cripple(model: PreTrainedModel, masks: NeuronMasks, name: str) -> PreTrainedModel:
    """A copy whose second matrices do not read the neurons that are off."""
    crippled = copy.deepcopy(model)
    with torch.no_grad():
        for layer in find_ffn_layers(crippled):
            weight = layer.projection.weight
            of_neurons = weight if weight.shape[0] == layer.width else weight.T  # GPT-2's is transposed
            of_neurons[~masks.mask(name, layer.name)] = 0
    return crippled


def plain_loss(model: PreTrainedModel, batches: list[Tensors], masks: NeuronMasks, name: str | None) -> float:
    """The loss per token by transformers' own forward, row by row without any padding."""
    model = model if name is None else cripple(model, masks, name)
    losses: list[torch.Tensor] = []
    for batch in batches:
        for row, mask in enumerate(batch["attention_mask"].bool()):
            inputs = {"input_ids": batch["input_ids"][row, mask]}
            labels = inputs["input_ids"][1:]
            if model.config.is_encoder_decoder:
                real = batch["labels"][row] != IGNORED
                inputs["decoder_input_ids"], labels = batch["decoder_input_ids"][row, real], batch["labels"][row, real]
            with torch.no_grad():
                logits = model(**{key: value[None] for key, value in inputs.items()}).logits[0]
            losses.append(functional.cross_entropy(logits[: len(labels)], labels, reduction="none"))
    return float(torch.cat(losses).mean())


ENCODER_DECODERS = ("m2m_100", "t5", "mt5", "bart")
DECODERS = ("llama", "gpt2", "opt", "bloom", "gemma2")
PADDED_LEFT = ("llama", "gpt2", "opt")


@pytest.mark.parametrize(
    ("name", "left"),
    [*((name, False) for name in ENCODER_DECODERS + DECODERS), *((name, True) for name in PADDED_LEFT)],
)
def test_the_loss_is_that_of_a_model_without_the_neurons(
    name: str, left: bool, small_model: SmallModel, small_batch: SmallBatch
) -> None:
    model, batch = small_model(name), small_batch()
    if model.config.is_encoder_decoder:
        labels = batch["decoder_input_ids"].roll(-1, 1)
        batch["labels"] = labels.masked_fill(batch["decoder_attention_mask"] == 0, IGNORED)
    else:
        batch = {key: batch[key].flip(1) if left else batch[key] for key in ("input_ids", "attention_mask")}
    half = {key: value[:2] for key, value in batch.items()}
    text = {"a": [batch, half], "b": [half]}
    masks = draw_masks(model, ("without a", "without b"))
    named = {task: [batch | {"tasks": [task] * 4} for batch in batches] for task, batches in text.items()}
    with measuring_loss(model, masks, named) as measure:
        found = {(task, off): measure(task, off) for task in text for off in (None, *masks.tasks, None)}
    for (task, off), loss in found.items():
        assert loss == pytest.approx(plain_loss(model, text[task], masks, off), rel=1e-5)
    assert len({round(loss, 8) for loss in found.values()}) == 6


@pytest.mark.parametrize("name", ["m2m_100", "llama"])
def test_the_model_is_left_as_it_was(name: str, small_model: SmallModel, small_batch: SmallBatch) -> None:
    model, masks = small_model(name), draw_masks(small_model(name), ("x", "y"))
    batch = small_batch()
    inputs = batch if model.config.is_encoder_decoder else {key: batch[key] for key in ("input_ids", "attention_mask")}
    text = {"x": [{**batch, "labels": batch["decoder_input_ids"]}]}
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        before = model(**inputs).logits
    model.train()
    hooks = [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules()]
    with measuring_loss(model, masks, text) as measure:
        measure("x", "y")
    with pytest.raises(RuntimeError, match="stopped"), measuring_loss(model, masks, text):
        raise RuntimeError("stopped")
    assert all(module.training for module in model.modules())
    assert hooks == [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules()]
    assert find_router(model) is None
    assert "generate" not in vars(model)
    assert all(not parameter.grad_fn and parameter.grad is None for parameter in model.parameters())
    after = model.state_dict()
    assert state.keys() == after.keys()
    assert all(torch.equal(state[key], after[key]) for key in state)
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, before)


@pytest.mark.parametrize("name", ["m2m_100", "llama"])
def test_measures_without_dropout_and_gradients(name: str, small_model: SmallModel, small_batch: SmallBatch) -> None:
    batch = small_batch()
    text = {"x": [{**batch, "labels": batch["decoder_input_ids"]}]}
    dropout = {"dropout": 0.5} if name == "m2m_100" else {"attention_dropout": 0.5}
    model = small_model(name, **dropout).train()
    gradients: list[bool] = []
    model.get_input_embeddings().register_forward_hook(lambda *_: gradients.append(torch.is_grad_enabled()))
    with measuring_loss(model, draw_masks(model, ("y",)), text) as measure:
        assert measure("x", "y") == measure("x", "y")
    assert not any(gradients)


def test_what_cannot_be_measured_is_refused(small_model: SmallModel, small_batch: SmallBatch) -> None:
    model, batch = small_model(), small_batch()
    masks = draw_masks(model, ("x",))
    labelled = {**batch, "labels": batch["decoder_input_ids"]}
    text: dict[str, Any] = {"de": [labelled], "none": [], "unlabelled": [batch]}
    with measuring_loss(model, masks, text) as measure:
        assert measure("de", None) > 0
        with pytest.raises(NeuronspecError, match=r"no text of the task 'dee' \(did you mean 'de'"):
            measure("dee", None)
        with pytest.raises(NeuronspecError, match="no masks for the task 'z'"):
            measure("de", "z")
        with pytest.raises(NeuronspecError, match="text of none has nothing to predict"):
            measure("none", None)
        with pytest.raises(NeuronspecError, match="no labels"):
            measure("unlabelled", "x")
        assert measure("de", None) > 0  # a refusal leaves nothing behind
    neuronspec.specialize(model, masks)
    with pytest.raises(NeuronspecError, match="already specialized"), measuring_loss(model, masks, text):
        pass
    assert find_router(model) is not None
    neuronspec.unspecialize(model)
    with (
        pytest.raises(NeuronspecError, match="another"),
        measuring_loss(model, draw_masks(small_model("llama"), ("x",)), text),
    ):
        pass
    assert find_router(model) is None


def test_reads_the_batches_of_make_batches(small_model: SmallModel, tokenizer: Any) -> None:
    model = small_model("llama", vocab_size=len(tokenizer))
    texts = {"de": ["abc def", "gab"], "fr": ["dab cab ab", "fed a"]}
    text = {task: list(make_batches(model, tokenizer, {task: rows})) for task, rows in texts.items()}
    with measuring_loss(model, draw_masks(model, ("x",)), text) as measure:
        assert measure("de", "x") != measure("de", None) != measure("fr", None)


# The whole check


def test_the_planted_neurons_are_chosen(
    planted: tuple[PreTrainedModel, dict[str, list[Tensors]], ActivationCounts],
) -> None:
    _, _, counts = planted
    masks = NeuronMasks.from_counts(counts, k=0.95)
    own = choose_own_neurons(counts, masks, TASKS, "decoder", NEURONS / D_FF)
    assert own.layers == ("decoder.0",)
    for number, task in enumerate(TASKS):
        chosen = own.mask(task, "decoder.0").nonzero().flatten().tolist()
        assert chosen == [*range(number * NEURONS, (number + 1) * NEURONS)]


def test_planted_neurons_are_missed_by_their_own_text_alone(
    planted: tuple[PreTrainedModel, dict[str, list[Tensors]], ActivationCounts],
) -> None:
    model, text, counts = planted
    masks = NeuronMasks.from_counts(counts, k=0.95)
    off = make_ablation_masks(choose_own_neurons(counts, masks, TASKS, "decoder", NEURONS / D_FF), masks, counts)
    steps: list[int] = []
    with measuring_loss(model, off, text) as measure:
        ablation = ablate(TASKS, off, measure, advance=lambda: steps.append(1))
    assert len(steps) == 5 * (1 + 5 + 3)
    assert (ablation.stack, ablation.neurons, ablation.share) == ("decoder", {"decoder.0": NEURONS}, NEURONS / D_FF)
    # Without its neurons, a text's words are as likely as any others: ln of all words instead of its language's.
    everything = math.log(SPECIAL + len(TASKS) * WORDS)
    assert ablation.values.diagonal() == pytest.approx(np.full(5, everything), abs=0.05)
    assert (ablation.baseline < math.log(WORDS) + 0.3).all()
    others = ablation.changes[~np.eye(5, dtype=bool)]
    assert others == pytest.approx(np.zeros(20), abs=1e-6)
    found = ablation.test()
    assert (found.strongest, found.p_others, found.p_random) == (5, 1 / math.factorial(5), 1 / 2**5)
    assert found.own > 1.2
    assert found.own > 20 * max(found.others, found.random)


def test_random_neurons_dominate_nothing(
    planted: tuple[PreTrainedModel, dict[str, list[Tensors]], ActivationCounts],
) -> None:
    model, text, counts = planted
    masks = NeuronMasks.from_counts(counts, k=1.0)
    own = choose_own_neurons(counts, masks, TASKS, "decoder", 0.2)
    off = make_ablation_masks(
        NeuronMasks.random(own, seed=1),
        NeuronMasks.from_dict(
            {task: {layer: torch.ones(width) for layer, width in masks.widths.items()} for task in TASKS}
        ),
        counts,
    )
    with measuring_loss(model, off, text) as measure:
        found = ablate(TASKS, off, measure).test()
    assert found.strongest < 3
    assert found.p_others > 0.1
    assert found.p_random > 0.1


def test_rows_are_measured_one_text_after_the_other() -> None:
    tasks = ("t1", "t0", "t3")  # some of those that there are masks for, in another order
    counts = draw_counts(0, layers=("encoder.0", "decoder.0"))
    masks = NeuronMasks.from_counts(counts, k=0.9)
    off = make_ablation_masks(choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.1), masks, counts, random=2)
    asked: list[tuple[str, str | None]] = []

    def measure(text: str, without: str | None) -> float:
        asked.append((text, without))
        return 50.0 - len(asked)

    ablation = ablate(tasks, off, measure, metric="chrf", higher_is_better=True)
    own = [f"without {name}" for name in tasks]
    expected = [(t, w) for t in tasks for w in (None, *own, f"without random 1 for {t}", f"without random 2 for {t}")]
    assert asked == expected
    assert ablation.baseline.tolist() == [49, 43, 37]
    assert ablation.changes.tolist() == [[1, 2, 3]] * 3
    assert ablation.random_changes.tolist() == [[4, 5]] * 3
    assert ablation.share == 0.1
    assert (ablation.metric, ablation.higher_is_better, ablation.neurons) == ("chrf", True, {"encoder.0": 4})


def test_unfair_or_broken_checks_are_refused() -> None:
    counts = draw_counts(0, layers=("encoder.0", "decoder.0"))
    masks = NeuronMasks.from_counts(counts, k=0.9)
    own = choose_own_neurons(counts, masks, counts.tasks, "encoder", 0.1)
    off = make_ablation_masks(own, masks, counts)
    with pytest.raises(NeuronspecError, match="the loss of t0 without t1 is nan"):
        ablate(counts.tasks, off, lambda text, without: math.nan if without == "without t1" else 1.0)
    with pytest.raises(NeuronspecError, match="with every neuron is inf"):
        ablate(counts.tasks, off, lambda text, without: math.inf)
    with pytest.raises(NeuronspecError, match="found 0 tasks"):
        ablate((), off, lambda text, without: 1.0)
    with pytest.raises(NeuronspecError, match="no masks for the task 'without t9'"):
        ablate(("t0", "t9"), off, lambda text, without: 1.0)
    with pytest.raises(NeuronspecError, match="no masks for the task 'without random 1 for t0'"):
        ablate(("t0", "t1"), off.reorder(["without t0", "without t1"]), lambda text, without: 1.0)
    uneven = NeuronMasks(
        off.tasks, {name: off.layer(name) & (torch.rand(off.layer(name).shape) > 0.5) for name in off.layers}
    )
    with pytest.raises(NeuronspecError, match="equally many"):
        ablate(counts.tasks, uneven, lambda text, without: 1.0)


# The test


def test_p_values_are_those_of_every_order_and_every_sign() -> None:
    draw = np.random.default_rng(5)
    harm, random = draw.normal(size=(5, 5)) + 0.5 * np.eye(5), draw.normal(size=(5, 3))
    found = make_ablation(harm, random).test()
    own = harm.diagonal()
    orders = [sum(harm[row, column] for row, column in enumerate(order)) for order in itertools.permutations(range(5))]
    assert found.p_others == sum(trace >= own.sum() - 1e-9 for trace in orders) / 120
    gains = own - random.mean(1)
    signs = [float(np.dot(sign, gains)) for sign in itertools.product((1, -1), repeat=5)]
    assert found.p_random == sum(total >= gains.sum() - 1e-9 for total in signs) / 32
    assert (found.least_p_others, found.least_p_random) == (1 / 120, 1 / 32)
    assert found.strongest == sum(harm[n, n] == harm[n].max() for n in range(5))
    means = own.mean(), harm[~np.eye(5, dtype=bool)].mean(), random.mean()
    assert (found.own, found.others, found.random) == pytest.approx(means)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 9), st.booleans())
def test_sensitive_texts_and_neurons_that_all_need_change_no_p_value(seed: int, count: int, better: bool) -> None:
    draw = np.random.default_rng(seed)
    harm, random = draw.normal(size=(count, count)), draw.normal(size=(count, 2))
    rows, columns = draw.normal(size=(count, 1)), draw.normal(size=count)
    before = make_ablation(harm, random, better).test(199)
    assert before.p_others == make_ablation(harm + 5 * rows + 5 * columns, random, better).test(199).p_others
    assert before.p_random == make_ablation(harm + 5 * rows, random + 5 * rows, better).test(199).p_random
    assert before.least_p_others <= before.p_others <= 1
    assert before.least_p_random <= before.p_random <= 1


@pytest.mark.parametrize("count", [4, 12])
def test_r12_p_values_are_calibrated(count: int) -> None:
    """Where nothing is specific, a p-value up to a level is as frequent as the level says, and no more."""
    draw = np.random.default_rng(count)
    found = []
    for seed in range(600):
        scale = draw.exponential(size=(count, 1))  # the texts are not equally sensitive
        harm = scale * draw.exponential(size=(count, count))
        random = scale * draw.exponential(size=(count, 1))
        found.append(make_ablation(harm, random).test(199, seed))
    for values, least in (
        ([test.p_others for test in found], found[0].least_p_others),
        ([test.p_random for test in found], found[0].least_p_random),
    ):
        assert least <= 1 / 16
        for level in (0.1, 0.25, 0.5):
            share = np.mean(np.array(values) <= level)
            spread = 3.5 * math.sqrt(level * (1 - level) / 600)
            assert level - least - spread <= share <= level + spread


def test_drawn_permutations_agree_with_all_of_them() -> None:
    draw = np.random.default_rng(2)
    ablation = make_ablation(draw.normal(size=(7, 7)) + 0.7 * np.eye(7), draw.normal(size=(7, 2)))
    exact, drawn = ablation.test(9999), ablation.test(4000)
    assert (exact.least_p_others, drawn.least_p_others) == (1 / 5040, 1 / 4001)
    assert drawn.p_others == pytest.approx(exact.p_others, abs=0.03)
    some = ablation.test(100)
    assert some.least_p_random == 1 / 101
    assert some.p_random == pytest.approx(exact.p_random, abs=0.15)
    assert ablation.test(100, seed=0) == some != ablation.test(100, seed=3)


def test_two_tasks_can_show_nothing_and_equals_are_one() -> None:
    two = make_ablation(np.eye(2), np.zeros((2, 1))).test()
    assert (two.strongest, two.p_others, two.least_p_others, two.p_random) == (2, 0.5, 0.5, 0.25)
    rounded = np.full((20, 20), 0.1) + 1e-14 * np.eye(20)
    equal = make_ablation(rounded, np.full((20, 2), 0.1)).test()
    assert (equal.strongest, equal.p_others, equal.p_random) == (0, 1.0, 1.0)


def test_two_hundred_tasks_are_tested() -> None:
    draw = np.random.default_rng(0)
    found = make_ablation(draw.normal(size=(200, 200)) + np.eye(200), draw.normal(size=(200, 3))).test()
    assert found.p_others == found.least_p_others == found.p_random == 1 / 10_000


# JSON


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6), st.booleans())
def test_json_round_trip(seed: int, count: int, better: bool) -> None:
    draw = np.random.default_rng(seed)
    ablation = make_ablation(draw.normal(size=(count, count)), draw.normal(size=(count, 3)), better)
    again = Ablation.from_dict(json.loads(json.dumps(ablation.as_dict())))
    assert again.as_dict() == ablation.as_dict()
    assert again.test() == ablation.test()
    assert np.array_equal(again.changes, ablation.changes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.data())
def test_r7_mangled_values_are_refused_or_make_sense(data: st.DataObject) -> None:
    values = make_ablation(np.eye(3), np.zeros((3, 2))).as_dict()
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(JSON)
    try:
        read = Ablation.from_dict(values)
    except NeuronspecError:
        return
    assert json.loads(json.dumps(read.as_dict())) == read.as_dict()
    assert read.changes.shape == (3, 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("stack", "middle", "found the stack 'middle'"),
        ("tasks", ["t0", "t0", "t1"], "different tasks"),
        ("tasks", ["t0", "t1"], "baseline must be 2 finite numbers"),
        ("tasks", ["t0", "t1", 2], "the names of tasks"),
        ("share", 0.0, "share 0"),
        ("share", True, "share as float"),
        ("higher_is_better", 1, "higher_is_better as bool"),
        ("neurons", {"decoder.0": 1.5}, "numbers of neurons"),
        ("baseline", [1.0, None, 2.0], "baseline must be"),
        ("values", [[1.0, 2.0, math.nan]] * 3, "values must be 3 x 3 finite numbers"),
        ("values", [[1.0], [1.0, 2.0]], "values must be"),
        ("values", [["1", "2", "3"]] * 3, "values must be"),
        ("random", [[], [], []], "random must be 3 x 1 or more finite numbers"),
    ],
)
def test_what_is_no_ablation_is_refused(name: str, value: object, message: str) -> None:
    values = make_ablation(np.eye(3), np.zeros((3, 2))).as_dict()
    assert Ablation.from_dict(values).tasks == ("t0", "t1", "t2")
    with pytest.raises(NeuronspecError, match=message):
        Ablation.from_dict(values | {name: value})
    del values[name]
    with pytest.raises(NeuronspecError):
        Ablation.from_dict(values)
    with pytest.raises(NeuronspecError, match="expected stack as str"):
        Ablation.from_dict([values])
