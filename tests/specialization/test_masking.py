from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.specialization.outputs import generate, logits, trimmed
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization import packing
from neuronspec.specialization.masking import get_masks, specialize
from neuronspec.specialization.packing import Packed
from neuronspec.specialization.routing import assign_tasks, dense, task, unspecialize

Work = Callable[..., list[list[dict[str, torch.Tensor]]]]
SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr", "sv-de")
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
WIDTHS = {"encoder.0": 24, "encoder.1": 24, "decoder.0": 40, "decoder.1": 40}


def draw_masks(seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    return NeuronMasks(
        TASKS, {layer: torch.rand(3, width, generator=generator) > 0.5 for layer, width in WIDTHS.items()}
    )


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed matrices hold a task's neurons alone: filled up as they are for speed, small ones would be whole."""
    monkeypatch.setattr(packing, "_WIDTH_MULTIPLE", 1)


@pytest.fixture
def masks() -> NeuronMasks:
    return draw_masks()


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def expansion(model: PreTrainedModel, layer: str) -> torch.nn.Linear:
    module = model.get_submodule(f"model.{layer.replace('.', '.layers.')}.fc1")
    assert isinstance(module, torch.nn.Linear)
    return module


def zero_out(model: PreTrainedModel, masks: NeuronMasks, name: str) -> PreTrainedModel:
    """A copy whose rows of W1 and b1 are zero where the task masks: every activation function here maps 0 to 0."""
    zeroed = copy.deepcopy(model)
    with torch.no_grad():
        for layer in WIDTHS:
            off = ~masks.mask(name, layer)
            expansion(zeroed, layer).weight[off] = 0
            expansion(zeroed, layer).bias[off] = 0
    return zeroed


def first_scores(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """The (rows, vocabulary) scores of each row's first generated token."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    output = model.generate(
        **inputs, max_new_tokens=2, do_sample=False, output_scores=True, return_dict_in_generate=True, **options
    )
    scores: torch.Tensor = output.scores[0]
    return scores[:: options.get("num_beams", 1)]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-12)


def test_a_masked_neuron_is_gone_with_its_bias(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model(architecture)
    model = specialize(copy.deepcopy(plain), masks)
    for name in TASKS:
        expected = logits(zero_out(plain, masks, name), batch)
        assert close(logits(model, batch, tasks=[name] * 4), expected)
        assert not close(expected, logits(plain, batch))


def test_r4_a_row_of_a_mixed_batch_gets_what_a_batch_of_its_task_gets(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(architecture), masks)
    with torch.no_grad():
        mixed = model(**batch, tasks=MIXED).logits
        for row, name in enumerate(MIXED):
            assert close(mixed[row], model(**batch, tasks=[name] * 4).logits[row])
            alone = {key: value[row : row + 1] for key, value in batch.items()}
            assert close(mixed[row], model(**alone, tasks=[name]).logits[0])
        numbers = torch.tensor([TASKS.index(name) for name in MIXED])
        assert close(mixed, model(**batch, tasks=numbers).logits)
    assert not close(mixed[0], model(**batch, tasks=["de-en"] * 4).logits[0])


@pytest.mark.parametrize("beams", [1, 3])
def test_r4_generation_is_that_of_a_model_without_the_neurons(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, beams: int
) -> None:
    plain = small_model(architecture)
    model = specialize(copy.deepcopy(plain), masks)
    found = generate(model, batch, tasks=MIXED, num_beams=beams)
    scores = first_scores(model, batch, tasks=MIXED, num_beams=beams)
    for row, name in enumerate(MIXED):
        zeroed = zero_out(plain, masks, name)
        assert trimmed(found[row]) == trimmed(generate(zeroed, batch, num_beams=beams)[row])
        assert close(scores[row], first_scores(zeroed, batch, num_beams=beams)[row])
    assert not close(scores, first_scores(plain, batch, num_beams=beams))


def test_several_sequences_for_a_row_keep_its_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    found = generate(model, batch, tasks=MIXED, num_beams=4, num_return_sequences=2)
    for row, name in enumerate(MIXED):
        zeroed = generate(zero_out(plain, masks, name), batch, num_beams=4, num_return_sequences=2)
        assert found[2 * row : 2 * row + 2] == zeroed[2 * row : 2 * row + 2]


def test_task_sets_the_task_of_every_row(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected = logits(model, batch, tasks=["sv-de"] * 4)
    sequences = generate(model, batch, tasks=["sv-de"] * 4)
    with task(model, "sv-de") as same:
        assert same is model
        assert close(logits(model, batch), expected)
        assert generate(model, batch) == sequences
    with pytest.raises(NeuronspecError, match="no masks for the task 'sv-dd'"), task(model, "sv-dd"):
        pass
    with pytest.raises(NeuronspecError, match="needs to know the task"):
        logits(model, batch)


def test_dense_switches_the_masks_off_for_a_while(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    with task(model, "de-en"):
        with dense(model):
            assert torch.equal(logits(model, batch), logits(plain, batch))
            assert generate(model, batch, num_beams=2) == generate(plain, batch, num_beams=2)
        assert close(logits(model, batch), logits(zero_out(plain, masks, "de-en"), batch))


def test_an_exception_ends_task_and_dense(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    for context in (task(model, "de-en"), dense(model)):
        with pytest.raises(KeyError), context:
            raise KeyError
        with pytest.raises(NeuronspecError, match="needs to know the task"):
            logits(model, batch)


def test_unspecialize_gives_the_model_back(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    assert get_masks(model) is masks
    assert unspecialize(model) is model
    assert get_masks(model) is None
    assert torch.equal(logits(model, batch), logits(plain, batch))
    assert generate(model, batch) == generate(plain, batch)
    assert model.__dict__.keys() == plain.__dict__.keys()
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert unspecialize(model) is model
    for context in (task(model, "de-en"), dense(model)):
        with pytest.raises(NeuronspecError, match=r"not specialized: call neuronspec\.specialize"), context:
            pass


def test_new_masks_replace_the_old(small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks) -> None:
    plain, other = small_model(), draw_masks(1)
    model = specialize(specialize(copy.deepcopy(plain), masks), other)
    assert get_masks(model) is other
    assert close(logits(model, batch, tasks=["de-en"] * 4), logits(zero_out(plain, other, "de-en"), batch))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (None, r"needs to know the task of every row: pass tasks=\[...\]"),
        ([], "0 tasks were given for 4 rows"),
        (["de-en"], "1 tasks were given for 4 rows"),
        (["de-en", "en-fr"], "2 tasks were given for 4 rows"),
        (["de-en"] * 3, "3 tasks were given for 4 rows"),
        (["de-en"] * 8, "8 tasks were given for 4 rows"),
        ("de-en", "must be a list of names.*: found 'de-en'"),
        (["de-en", "de-em", "en-fr", "en-fr"], r"no masks for the task 'de-em' \(did you mean 'de-en'"),
    ],
)
@pytest.mark.parametrize("how", ["forward", "generate", "beams"])
def test_tasks_that_do_not_fit_the_batch_are_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tasks: Any, message: str, how: str
) -> None:
    model = specialize(small_model(), masks)
    logits(model, batch, tasks=MIXED)  # the tasks of an earlier batch do not count
    run: Any = logits if how == "forward" else functools.partial(generate, num_beams=1 if how == "generate" else 2)
    with pytest.raises(NeuronspecError, match=message):
        run(model, batch, tasks=tasks)
    expected = logits(specialize(small_model(), masks), batch, tasks=MIXED)
    assert torch.equal(logits(model, batch, tasks=MIXED), expected)  # and the refusal leaves nothing behind


def test_assigned_tasks_count_where_parts_are_called_one_by_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    assign_tasks(model, MIXED)
    with torch.no_grad():
        found = model.lm_head(model.base_model(**batch)[0])
        assert close(found, model(**batch, tasks=MIXED).logits)
    assign_tasks(small_model(), MIXED)  # nothing to assign


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"encoder.0": 24}, "the masks have the layers encoder.0; the model has encoder.0, encoder.1, decoder.0"),
        (WIDTHS | {"decoder.1": 41}, "the masks have 41 neurons in decoder.1, the model has 40"),
    ],
)
def test_masks_of_another_model_are_refused(small_model: SmallModel, widths: dict[str, int], message: str) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match=message):
        specialize(model, NeuronMasks(["a-b"], {layer: torch.ones(1, width) for layer, width in widths.items()}))
    assert get_masks(model) is None
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_state_dict_is_that_of_the_plain_model(small_model: SmallModel, masks: NeuronMasks) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


def test_a_deep_copy_is_specialised_and_independent(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected, sequences = logits(model, batch, tasks=MIXED), generate(model, batch, tasks=MIXED, num_beams=2)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(logits(copied, batch, tasks=MIXED), expected)
    assert generate(copied, batch, tasks=MIXED, num_beams=2) == sequences
    with task(copied, "de-en"), pytest.raises(NeuronspecError, match="needs to know the task"):
        logits(model, batch)
    unspecialize(copied)
    assert get_masks(model) is not None
    assert not any(module._forward_pre_hooks for module in copied.modules())


def test_r9_no_gradient_reaches_neurons_that_the_batch_masks(
    architecture: str, small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(architecture), masks)
    here = ["de-en", "de-en", "sv-de", "de-en"]
    model(**batch, tasks=here).logits.logsumexp(-1).sum().backward()
    for layer in WIDTHS:
        on = masks.mask("de-en", layer) | masks.mask("sv-de", layer)
        first: Any = expansion(model, layer)
        second: Any = model.get_submodule(f"model.{layer.replace('.', '.layers.')}.fc2")
        for gradient in (first.weight.grad, first.bias.grad, second.weight.grad.T):
            assert (~on).any()
            assert (gradient[~on] == 0).all()
            assert gradient[on].abs().sum() > 0


def test_r9_each_row_sends_gradient_only_to_the_neurons_of_its_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    model(**batch, tasks=MIXED).logits[1].logsumexp(-1).sum().backward()  # row 1 is de-en
    for layer in WIDTHS:
        off = ~masks.mask("de-en", layer)
        first: Any = expansion(model, layer)
        assert (first.weight.grad[off] == 0).all()
        assert first.weight.grad[~off].abs().sum() > 0


def test_a_specialised_model_saves_as_an_ordinary_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tmp_path: Path
) -> None:
    plain = small_model().float()
    specialize(copy.deepcopy(plain), masks).save_pretrained(tmp_path)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert get_masks(loaded) is None
    assert torch.equal(logits(loaded, batch), logits(plain, batch))


def test_masks_follow_the_type_of_the_model(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    double = logits(model, batch, tasks=MIXED)
    single = logits(model.float(), batch, tasks=MIXED)
    assert (double.dtype, single.dtype) == (torch.float64, torch.float32)
    assert torch.allclose(double.float(), single, atol=1e-3)


def test_recording_sees_the_masked_neurons_as_inactive(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    with task(model, "de-en"):
        counts = neuronspec.record_activations(model, [batch | {"tasks": ["de-en"] * 4}])
    for layer in WIDTHS:
        on = masks.mask("de-en", layer)
        assert not counts.values[layer][0][~on].any()
        assert counts.values[layer][0][on].any()


def test_tasks_inside_task_are_refused_and_inside_dense_do_nothing(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    plain = small_model()
    model = specialize(copy.deepcopy(plain), masks)
    with task(model, "de-en"), pytest.raises(NeuronspecError, match="leave one out"):
        logits(model, batch, tasks=MIXED)
    with dense(model):
        assert torch.equal(logits(model, batch, tasks=MIXED), logits(plain, batch))


def test_task_numbers_outside_the_masks_are_refused(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    for wrong in (-1, len(masks.tasks)):
        with pytest.raises(NeuronspecError, match="task numbers must be from 0"):
            logits(model, batch, tasks=torch.tensor([0, 0, 0, wrong]))


def masks_of(model: PreTrainedModel, seed: int = 0) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    return NeuronMasks(TASKS, {name: torch.rand(3, n, generator=generator) > 0.5 for name, n in widths.items()})


def parts_of(model: PreTrainedModel, batch: dict[str, torch.Tensor], *, left: bool = False) -> dict[str, torch.Tensor]:
    """The inputs that a model takes; `left`: with the padding before the tokens, as generation needs it."""
    encodes = model.config.is_encoder_decoder
    return {
        name: value.flip(1) if left and not encodes else value
        for name, value in batch.items()
        if encodes or not name.startswith("decoder_")
    }


Generated = list[tuple[list[int], torch.Tensor]]


def sequences(model: PreTrainedModel, inputs: dict[str, torch.Tensor], **options: Any) -> Generated:
    """What is generated for each row, without prompt and padding, and the scores of its beam or first token."""
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    start = 0 if model.config.is_encoder_decoder else given["input_ids"].shape[1]
    output = model.generate(
        **given, max_new_tokens=5, return_dict_in_generate=True, output_scores=True, output_logits=True, **options
    )
    scores = output.sequences_scores if options.get("num_beams", 1) > 1 else output.logits[0]
    return [(trimmed(ids), one) for ids, one in zip(output.sequences[:, start:].tolist(), scores, strict=True)]


def same_generated(one: Generated, other: Generated) -> bool:
    return [ids for ids, _ in one] == [ids for ids, _ in other] and all(
        torch.allclose(scores, others, rtol=0, atol=1e-6) for (_, scores), (_, others) in zip(one, other, strict=True)
    )


LENGTHS = st.tuples(st.integers(1, 9), st.integers(1, 9))
ROWS = st.lists(st.tuples(st.sampled_from(TASKS), LENGTHS), min_size=1, max_size=6)
ALIKE = ("m2m_100", "mt5", "llama", "gpt2", "opt")  # and fsmt, time first, in float32


@pytest.mark.parametrize("packed", ["auto", "always"])
@pytest.mark.parametrize("kind", [*ALIKE, "fsmt"])
def test_r4_any_mixed_batch_is_what_batches_of_one_task_are(
    small_model: SmallModel, small_batch: SmallBatch, kind: str, packed: Packed
) -> None:
    plain = small_model(kind)
    model = specialize(plain, masks_of(plain), packed=packed)
    tolerance = 1e-3 if model.dtype == torch.float32 else 1e-9

    @settings(max_examples=12, derandomize=True)
    @given(rows=ROWS, seed=st.integers(0, 99))
    def check(rows: list[tuple[str, tuple[int, int]]], seed: int) -> None:
        names = [name for name, _ in rows]
        batch = parts_of(model, small_batch([lengths for _, lengths in rows], seed))
        real = batch.get("decoder_attention_mask", batch["attention_mask"]).bool()
        with torch.no_grad():
            mixed = model(**batch, tasks=names).logits
            for name in set(names):
                rows_of_task = [row for row, other in enumerate(names) if other == name]
                alone = {key: value[rows_of_task] for key, value in batch.items()}
                found = model(**alone, tasks=[name] * len(rows_of_task)).logits
                for row, other in zip(rows_of_task, found, strict=True):
                    assert torch.allclose(mixed[row][real[row]], other[real[row]], rtol=tolerance, atol=tolerance)

    check()


@pytest.mark.parametrize("kind", ["m2m_100", "mt5", "llama", "opt"])
def test_r4_any_mixed_batch_generates_what_batches_of_one_task_do(
    small_model: SmallModel, small_batch: SmallBatch, kind: str
) -> None:
    """Beams, several sequences a row, with and without a cache; padded on the left where there is no encoder."""
    plain = small_model(kind)
    model = specialize(plain, masks_of(plain))

    @settings(max_examples=6, derandomize=True)
    @given(rows=ROWS, seed=st.integers(0, 99), beams=st.integers(1, 3), several=st.booleans(), cache=st.booleans())
    def check(rows: list[tuple[str, tuple[int, int]]], seed: int, beams: int, several: bool, cache: bool) -> None:
        names = [name for name, _ in rows]
        batch = parts_of(model, small_batch([lengths for _, lengths in rows], seed), left=True)
        each = beams if several else 1
        options = {"num_beams": beams, "num_return_sequences": each, "use_cache": cache, "do_sample": False}
        mixed = sequences(model, batch, tasks=names, **options)
        for name in set(names):
            rows_of_task = [row for row, other in enumerate(names) if other == name]
            alone = {key: value[rows_of_task] for key, value in batch.items()}
            expected = sequences(model, alone, tasks=[name] * len(rows_of_task), **options)
            assert same_generated([mixed[each * row + n] for row in rows_of_task for n in range(each)], expected)

    check()


@pytest.mark.parametrize("kind", ["m2m_100", "llama"])
@pytest.mark.parametrize("each", [1, 3])
@pytest.mark.parametrize("beams", [1, 3])
def test_r4_sampling_draws_what_a_batch_of_one_task_draws(
    small_model: SmallModel, batch: dict[str, torch.Tensor], kind: str, each: int, beams: int
) -> None:
    """With the same seed and as many rows: every row has the same random numbers."""
    plain = small_model(kind)
    model = specialize(plain, masks_of(plain))
    inputs = parts_of(model, batch, left=True)
    options = {"do_sample": True, "num_return_sequences": each, "num_beams": beams, "min_new_tokens": 5}

    def draw(tasks: list[str]) -> Generated:
        torch.manual_seed(3)
        return sequences(model, inputs, tasks=tasks, **options)

    mixed = draw(MIXED)
    assert same_generated(mixed, draw(MIXED))
    for row, name in enumerate(MIXED):
        here = slice(each * row, each * (row + 1))
        assert same_generated(mixed[here], draw([name] * 4)[here])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt", "gpt_neox"])
def test_r4_padding_on_the_left_and_on_the_right_are_the_same(small_model: SmallModel, kind: str) -> None:
    plain = small_model(kind)
    model = specialize(plain, masks_of(plain))
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(4, 48, (1, length), generator=generator) for length in (5, 3, 6, 1)]
    alone = [model(input_ids=ids, tasks=[name]).logits[0] for ids, name in zip(rows, MIXED, strict=True)]
    for left in (False, True):
        ids, mask = (torch.full((4, 6), fill) for fill in (1, 0))
        for row, tokens in enumerate(rows):
            place = slice(6 - tokens.shape[1], 6) if left else slice(0, tokens.shape[1])
            ids[row, place], mask[row, place] = tokens[0], 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        found = model(input_ids=ids, attention_mask=mask, position_ids=positions, tasks=MIXED).logits
        for row, expected in enumerate(alone):
            assert torch.allclose(found[row][mask[row].bool()], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_is_the_same_for_every_mix(
    small_model: SmallModel, small_batch: SmallBatch, backend: str
) -> None:
    plain = small_model("gpt2", n_layer=1)
    batch = parts_of(plain, small_batch(((3, 3), (3, 3), (2, 3))))
    model = specialize(plain, masks_of(plain), packed="always")
    reference = copy.deepcopy(model)
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, backend=backend)
    mixes: list[Any] = [["de-en", "en-fr", "sv-de"], ["en-fr"] * 3]
    mixes += [torch.tensor(numbers) for numbers in ([0, 1, 1], [2, 2, 2], [1, 0, 2])]
    for tasks in mixes:
        found: Any = compiled(**batch, tasks=tasks, use_cache=False).logits
        expected: Any = reference(**batch, tasks=tasks, use_cache=False).logits
        assert close(found, expected)
        for one, output in ((model, found), (reference, expected)):
            one.zero_grad()
            output.logsumexp(-1).sum().backward()
        for parameter, other in zip(model.parameters(), reference.parameters(), strict=True):
            assert parameter.grad is not None
            assert other.grad is not None
            assert close(parameter.grad, other.grad)
    torch._dynamo.reset()


def test_more_mixes_than_torch_compiles_for_are_computed_all_the_same(
    small_model: SmallModel, small_batch: SmallBatch
) -> None:
    plain = small_model(encoder_layers=1, decoder_layers=1)
    batch = small_batch(((3, 3), (2, 3)))
    model = specialize(plain, masks_of(plain))
    reference = copy.deepcopy(model)
    torch._dynamo.reset()
    compiled: Any = torch.compile(model, backend="eager")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=1):
        for tasks in ([one, other] for one in TASKS for other in TASKS):
            assert close(compiled(**batch, tasks=tasks).logits, reference(**batch, tasks=tasks).logits)
        found = compiled.generate(**inputs, tasks=["de-en", "en-fr"], max_new_tokens=2, num_beams=2)
        assert torch.equal(found, reference.generate(**inputs, tasks=["de-en", "en-fr"], max_new_tokens=2, num_beams=2))
    torch._dynamo.reset()


WORKER = """
import sys
import torch
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForSeq2SeqLM

import neuronspec as ns

directory, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group("gloo", f"file://{directory}/rendezvous", rank=rank, world_size=2)
model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float64).eval()
ns.specialize(model, ns.NeuronMasks.from_pretrained(directory), packed="always")
parallel = DistributedDataParallel(model)
rows = slice(2 * rank, 2 * rank + 2)
batch = {name: value[rows] for name, value in load_file(f"{directory}/batch.safetensors").items()}
for number, tasks in enumerate((["en-fr", "de-en", "sv-de", "en-fr"], ["de-en", "de-en", "sv-de", "sv-de"])):
    parallel.zero_grad()
    parallel(**batch, tasks=tasks[rows]).logits.logsumexp(-1).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    save_file(gradients, f"{directory}/{rank}.{number}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_r4_two_processes_have_the_gradient_of_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, work: Work
) -> None:
    """Each with its half of the rows, of mixed tasks and of one task each."""
    model = small_model()
    found = work(WORKER, model, masks, batch)
    specialize(model, masks)
    for number, tasks in enumerate((MIXED, ["de-en", "de-en", "sv-de", "sv-de"])):
        model.zero_grad()
        model(**batch, tasks=tasks).logits.logsumexp(-1).sum().backward()
        for rank in (0, 1):
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                assert torch.allclose(2 * found[rank][number][name], parameter.grad, rtol=1e-9, atol=1e-9), name


@pytest.mark.parametrize("kind", ["m2m_100", "mt5", "llama", "gpt2"])
@pytest.mark.parametrize("released", [False, True])
def test_r4_bfloat16_models_are_masked_in_their_own_type(
    small_model: SmallModel, batch: dict[str, torch.Tensor], kind: str, released: bool
) -> None:
    plain = small_model(kind).to(torch.bfloat16)
    inputs = parts_of(plain, batch)
    model = specialize(plain, masks_of(plain), packed="always", released=released)
    found = model(**inputs, tasks=MIXED).logits
    assert found.dtype == torch.bfloat16
    found.float().logsumexp(-1).sum().backward()
    real = inputs.get("decoder_attention_mask", inputs["attention_mask"]).bool()
    with torch.no_grad():
        for row, name in enumerate(MIXED):
            alone = model(**inputs, tasks=[name] * 4).logits
            assert torch.allclose(found[row][real[row]].float(), alone[row][real[row]].float(), rtol=0.1, atol=0.15)
    assert len(sequences(model, parts_of(model, batch, left=True), tasks=MIXED, num_beams=2)) == 4


@pytest.mark.parametrize("packed", ["never", "always"])
def test_a_deep_copy_can_have_other_masks(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, packed: Packed
) -> None:
    plain, other = small_model(), draw_masks(1)
    model = specialize(copy.deepcopy(plain), masks, packed=packed)
    one_task = [["de-en"] * 4, ["sv-de"] * 4, MIXED]
    before = [logits(model, batch, tasks=tasks) for tasks in one_task]
    with task(model, "de-en"):  # and inside a context, which stays the original's
        copied = specialize(copy.deepcopy(model), other, packed=packed)
        assert get_masks(model) is masks
        assert get_masks(copied) is other
        for name in TASKS:
            assert close(logits(copied, batch, tasks=[name] * 4), logits(zero_out(plain, other, name), batch))
        assert torch.equal(logits(model, batch), before[0])
    for tasks, expected in zip(one_task, before, strict=True):
        assert torch.equal(logits(model, batch, tasks=tasks), expected)
    unspecialize(model)
    assert torch.equal(logits(model, batch), logits(plain, batch))
    assert close(logits(copied, batch, tasks=["de-en"] * 4), logits(zero_out(plain, other, "de-en"), batch))


def test_training_a_deep_copy_leaves_the_original(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks, packed="always")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(copied.parameters(), lr=0.1)
    copied(**batch, tasks=["de-en"] * 4).logits.logsumexp(-1).sum().backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in copied.parameters())
    optimizer.step()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("packed", ["never", "always"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_recomputes_with_the_tasks_of_the_forward_pass(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, packed: Packed, reentrant: bool
) -> None:
    """What the gradient needs is computed again in the backward pass: by then other tasks may have been seen."""
    still = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    model = specialize(small_model(**still), masks, packed=packed).train()

    def gradients(*mixes: Sequence[str]) -> list[torch.Tensor]:
        model.zero_grad()
        sum(model(**batch, tasks=tasks).logits.logsumexp(-1).sum() for tasks in mixes).backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    mixes = (["de-en"] * 4, ["en-fr"] * 4, MIXED)
    expected = gradients(*mixes)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()
    for one, other in zip(gradients(*mixes), expected, strict=True):
        assert close(one, other)


@pytest.mark.filterwarnings("ignore:this version of transformers sends the tokens of NLLB-MoE")
@pytest.mark.parametrize("kind", ["nllb-moe", "opt", "m2m_100"])
def test_checkpointing_recomputes_batches_of_other_shapes(
    small_model: SmallModel, small_batch: SmallBatch, kind: str
) -> None:
    """Some layers see rows and positions in one dimension: which is which must be that of the forward pass too."""
    still = {
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "moe_token_dropout": 0.0,
    }
    plain = small_model(kind, **(still if kind != "opt" else {"layerdrop": 0.0}))
    model = specialize(plain, masks_of(plain)).train()
    batches = [
        (parts_of(model, small_batch(((6, 4), (2, 4)))), ["de-en", "en-fr"]),
        (parts_of(model, small_batch(((3, 2), (1, 1), (2, 2), (3, 1)))), ["sv-de", "de-en", "en-fr", "en-fr"]),
    ]
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        losses = [model(**batch, tasks=tasks).logits.logsumexp(-1).sum() for batch, tasks in batches]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert all(close(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("packed", ["never", "always"])
def test_checkpointing_goes_back_after_the_context_of_a_task(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, packed: Packed
) -> None:
    still = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
    model = specialize(small_model(**still), masks, packed=packed).train()
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        with task(model, "de-en"):
            loss = model(**batch).logits.logsumexp(-1).sum()
        loss.backward()
        found.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert all(close(one, other) for one, other in zip(*found, strict=True))


def test_the_context_of_a_task_gives_back_what_was_there(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected = [logits(model, batch, tasks=[name] * 4) for name in TASKS]
    with task(model, "de-en"):
        assert torch.equal(logits(model, batch, tasks=["de-en"] * 4), expected[0])  # the same ones may be given
        assert generate(model, batch, tasks=["de-en"] * 4) == generate(model, batch)
        with task(model, "en-fr"):
            assert torch.equal(logits(model, batch), expected[1])
        assert torch.equal(logits(model, batch), expected[0])
        for wrong in (["en-fr"] * 4, torch.tensor([0, 0, 0, 1])):
            with pytest.raises(NeuronspecError, match=r"other tasks were given inside neuronspec\.task"):
                logits(model, batch, tasks=wrong)
            with pytest.raises(NeuronspecError, match=r"other tasks were given inside neuronspec\.task"):
                generate(model, batch, tasks=wrong)
        assert torch.equal(logits(model, batch), expected[0])
    assign_tasks(model, ["sv-de"] * 4)
    with dense(model):
        pass
    with task(model, "de-en"):
        pass
    with torch.no_grad():
        hidden = model.lm_head(model.base_model(**batch)[0])
    assert close(hidden[batch["decoder_attention_mask"].bool()], expected[2])


def test_refused_masks_leave_the_old_ones(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks
) -> None:
    model = specialize(small_model(), masks)
    expected = logits(model, batch, tasks=MIXED)
    with pytest.raises(NeuronspecError, match="they belong to another"):
        specialize(model, NeuronMasks(["a-b"], {"encoder.0": torch.ones(1, 24)}))
    assert get_masks(model) is masks
    assert torch.equal(logits(model, batch, tasks=MIXED), expected)


@pytest.mark.parametrize(
    "tasks",
    [
        pytest.param([0, 1, 2, 0], id="a list of numbers"),
        pytest.param([None] * 4, id="None"),
        pytest.param(torch.tensor([0.0, 1.0, 2.0, 0.0]), id="fractions"),
        pytest.param(torch.tensor([[0], [1], [2], [0]]), id="a table"),
        pytest.param(torch.tensor([True, False, False, False]), id="booleans"),
        pytest.param(torch.tensor(0), id="one number"),
        pytest.param(0, id="a number"),
    ],
)
def test_what_is_no_list_of_tasks_is_refused_with_a_sentence(
    small_model: SmallModel, batch: dict[str, torch.Tensor], masks: NeuronMasks, tasks: Any
) -> None:
    model = specialize(small_model(), masks)
    with pytest.raises(
        NeuronspecError, match="tasks must be a list of names, or a tensor of numbers, one for each row"
    ):
        logits(model, batch, tasks=tasks)
