from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from tests.conftest import FLOAT32
from tests.specialization.outputs import generate, trimmed
from torch import nn
from torch.nn import functional
from transformers import AutoModelForSeq2SeqLM, M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.methods.adapters.model import (
    ADAPTERS_FILE,
    Adapter,
    Adapters,
    AdapterSettings,
    find_hook_points,
    load_adapters,
    make_sets,
)
from neuronspec.models.loading import load_model, save_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.routing import dense, find_router, task, unspecialize
from neuronspec.version import __version__

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
Work = Callable[..., list[list[dict[str, torch.Tensor]]]]

TASKS = ["de-en", "en-fr", "sv-de"]
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
KINDS = ("m2m_100", "mbart", "bart", "marian", "pegasus", "blenderbot", "blenderbot-small", "fsmt", "t5", "mt5")
STILL = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


def share(**changes: Any) -> AdapterSettings:
    owners = {"encoder": [0, 1, 2], "decoder": [0, 1, 2]}
    given = {"tasks": TASKS, "sets": TASKS, "owners": owners, "bottleneck": 8, "dropout": [0.0, 0.0, 0.0]}
    return AdapterSettings.model_validate(given | changes)


def shake(adapters: Adapters, seed: int = 1) -> Adapters:
    """Give the adapters weights at random, all of them: they start as the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapters.sets.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return adapters


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def compute(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    """The logits of the real target tokens."""
    found: torch.Tensor = model(**batch, use_cache=False, **options).logits[batch["decoder_attention_mask"].bool()]
    return found


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    tolerance = 1e-12 if one.dtype == torch.float64 else 2e-5
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def by_hand(model: PreTrainedModel, adapters: nn.Module, ends: dict[str, str]) -> PreTrainedModel:
    """A copy of a plain model, with one set in place for all rows, by the names that its modules have."""

    def adapt(adapter: Any, output: torch.Tensor) -> torch.Tensor:
        mean, variance = output.mean(-1, keepdim=True), output.var(-1, keepdim=True, correction=0)
        z = (output - mean) / (variance + 1e-5).sqrt() * adapter.norm.weight + adapter.norm.bias
        inner = (z @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
        changed: torch.Tensor = output + inner @ adapter.up.weight.T + adapter.up.bias
        return changed

    model = copy.deepcopy(model)
    for place, name in ends.items():
        adapter = adapters.get_submodule(place)
        model.get_submodule(name).register_forward_hook(lambda _m, _i, output, a=adapter: adapt(a, output))
    return model


_BART = {f"encoder_{n}_attention": f"model.encoder.layers.{n}.self_attn.out_proj" for n in (0, 1)}
_BART |= {f"decoder_{n}_attention": f"model.decoder.layers.{n}.encoder_attn.out_proj" for n in (0, 1)}
_BART |= {f"{stack}_{n}_ffn": f"model.{stack}.layers.{n}.fc2" for stack in ("encoder", "decoder") for n in (0, 1)}
_T5 = {f"encoder_{n}_attention": f"encoder.block.{n}.layer.0.SelfAttention.o" for n in (0, 1)}
_T5 |= {f"encoder_{n}_ffn": f"encoder.block.{n}.layer.1.DenseReluDense.wo" for n in (0, 1)}
_T5 |= {f"decoder_{n}_attention": f"decoder.block.{n}.layer.1.EncDecAttention.o" for n in (0, 1)}
_T5 |= {f"decoder_{n}_ffn": f"decoder.block.{n}.layer.2.DenseReluDense.wo" for n in (0, 1)}


@torch.no_grad()
def test_an_adapter_is_after_the_last_attention_and_after_the_ffn(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    adapters = shake(Adapters(model, share()))
    ends = _T5 if kind in ("t5", "mt5") else _BART
    for number, name in enumerate(TASKS):
        expected = compute(by_hand(plain, adapters.sets.get_submodule(str(number)), ends), batch)
        assert close(compute(model, batch, tasks=[name] * 4), expected)
        assert not close(expected, compute(plain, batch))


@torch.no_grad()
def test_new_adapters_change_nothing(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    Adapters(model, share())
    for tasks in (MIXED, ["de-en"] * 4):
        assert torch.equal(compute(model, batch, tasks=tasks), compute(plain, batch))


@torch.no_grad()
def test_r4_a_row_of_a_mixed_batch_gets_what_a_batch_of_its_task_gets(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(kind)
    shake(Adapters(model, share()))
    mixed = model(**batch, tasks=MIXED).logits
    assert close(mixed, model(**batch, tasks=torch.tensor([TASKS.index(name) for name in MIXED])).logits)
    for row, name in enumerate(MIXED):
        real = int(batch["decoder_attention_mask"][row].sum())
        assert close(mixed[row, :real], model(**batch, tasks=[name] * 4).logits[row, :real])
        alone = {key: value[row : row + 1] for key, value in batch.items()}
        assert close(mixed[row, :real], model(**alone, tasks=[name]).logits[0, :real])
    assert not close(mixed[0], model(**batch, tasks=["de-en"] * 4).logits[0])


@pytest.mark.parametrize("beams", [1, 3])
def test_r4_generation_takes_any_mix_of_tasks(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], beams: int
) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    adapters = shake(Adapters(model, share()))
    found = generate(model, batch, tasks=MIXED, num_beams=beams)
    ends = _T5 if kind in ("t5", "mt5") else _BART
    for row, name in enumerate(MIXED):
        alone = by_hand(plain, adapters.sets.get_submodule(str(TASKS.index(name))), ends)
        assert trimmed(found[row]) == trimmed(generate(alone, batch, num_beams=beams)[row])
    with task(model, "sv-de"):
        assert generate(model, batch, num_beams=beams) == generate(model, batch, tasks=["sv-de"] * 4, num_beams=beams)
    with dense(model):
        assert generate(model, batch, num_beams=beams) == generate(plain, batch, num_beams=beams)


@pytest.mark.parametrize("kind", ["m2m_100", "fsmt", "mt5"])
def test_r4_two_tasks_in_a_batch_have_the_gradients_of_two_batches(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(kind)
    sets = shake(Adapters(model, share(), frozen=True)).sets

    def gradients(rows: list[int]) -> list[torch.Tensor | None]:
        sets.zero_grad()
        chosen = {name: value[rows] for name, value in batch.items()}
        compute(model, chosen, tasks=[MIXED[row] for row in rows]).logsumexp(-1).sum().backward()  # type: ignore[no-untyped-call]
        return [parameter.grad for parameter in sets.parameters()]

    mixed, first, second = gradients([0, 1, 3]), gradients([0, 3]), gradients([1])
    for owner, *found in zip([name[0] for name, _ in sets.named_parameters()], mixed, first, second, strict=True):
        alone = {"1": found[1], "0": found[2]}.pop(owner, None)
        assert (found[0] is None) == (alone is None) == (owner == "2")
        assert sum(gradient is not None for gradient in found[1:]) == (owner != "2")
        if found[0] is not None and alone is not None:
            assert found[0].any()
            assert close(found[0], alone) or (kind in FLOAT32 and torch.allclose(found[0], alone, rtol=1e-3, atol=1e-3))
    assert all(parameter.grad is None for parameter in model.parameters())


@torch.no_grad()
def test_sets_may_be_shared_and_differ_between_the_stacks(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    shake(Adapters(model, share()))
    alone = [compute(model, batch, tasks=[name] * 4) for name in TASKS]
    shared = {"sets": ["one", "other", "no one's"], "owners": {"encoder": [0, 1, 0], "decoder": [0, 1, 0]}}
    shake(Adapters(model, share(**shared)))
    for name, expected in zip(TASKS, (alone[0], alone[1], alone[0]), strict=True):
        assert torch.equal(compute(model, batch, tasks=[name] * 4), expected)
    mixed = compute(model, batch, tasks=["sv-de", "de-en", "sv-de", "de-en"])  # one set: the batch is not taken apart
    assert torch.equal(mixed, alone[0])
    shake(Adapters(model, share(owners={"encoder": [0, 1, 0], "decoder": [0, 1, 1]})))
    crossed = compute(model, batch, tasks=["sv-de"] * 4)
    adapters = shake(Adapters(model, share()))
    adapters.add_zero_shot(["de-fr"], "en")
    assert torch.equal(compute(model, batch, tasks=["de-fr"] * 4), crossed)
    real = batch["decoder_attention_mask"][:3].sum()
    assert close(compute(model, batch, tasks=["de-fr", "de-fr", "de-fr", "de-en"])[:real], crossed[:real])
    assert len(generate(model, batch, tasks=["de-fr", *MIXED[1:]], num_beams=2)) == 4


@torch.no_grad()
def test_the_model_itself_stays_as_it_is(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    model.get_input_embeddings().requires_grad_(False)
    asked = [parameter.requires_grad for parameter in model.parameters()]
    layers = [(layer.name, layer.width) for layer in find_ffn_layers(model)]
    adapters = shake(Adapters(model, share(), frozen=True))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in adapters.sets.parameters())
    assert [(layer.name, layer.width) for layer in find_ffn_layers(model)] == layers
    with task(model, "de-en"), dense(model):
        assert torch.equal(compute(model, batch), compute(plain, batch))
    assert find_router(unspecialize(model)) is None
    assert torch.equal(compute(model, batch), compute(plain, batch))
    assert [parameter.requires_grad for parameter in model.parameters()] == asked
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


@torch.no_grad()
def test_a_saved_model_and_its_adapters_load_again(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    plain = small_model(kind).float()
    model = copy.deepcopy(plain)
    adapters = shake(Adapters(model, share(dropout=[0.0, 0.3, 0.0]), frozen=True))
    save_model(model, tmp_path)
    adapters.save(tmp_path)
    loaded = load_model(tmp_path).eval()
    assert load_adapters(loaded, tmp_path) is find_router(loaded)
    assert all(parameter.requires_grad for parameter in loaded.parameters() if parameter.is_leaf)
    router = find_router(loaded)
    assert isinstance(router, Adapters)
    assert router.settings == adapters.settings
    assert torch.equal(compute(loaded, batch, tasks=MIXED), compute(model, batch, tasks=MIXED))
    assert generate(loaded, batch, tasks=MIXED, num_beams=2) == generate(model, batch, tasks=MIXED, num_beams=2)
    stock = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert torch.equal(compute(stock, batch), compute(plain, batch))


def test_the_file_holds_tensors_and_words_only(small_model: SmallModel, tmp_path: Path) -> None:
    adapters = Adapters(small_model(), share())
    adapters.add_zero_shot(["de-fr"], "en")
    adapters.save(tmp_path)
    tensors = load_file(tmp_path / ADAPTERS_FILE)
    assert len(tensors) == 3 * 8 * 6
    assert tensors["2.decoder_1_ffn.down.weight"].shape == (8, 16)
    with safe_open(tmp_path / ADAPTERS_FILE, "pt") as file:
        about = json.loads(file.metadata()["neuronspec"])
    assert about == {
        "format_version": 1,
        "version": __version__,
        "tasks": [*TASKS, "de-fr"],
        "sets": TASKS,
        "owners": {"encoder": [0, 1, 2, 0], "decoder": [0, 1, 2, 1]},
        "bottleneck": 8,
        "dropout": [0.0, 0.0, 0.0],
    }
    router = load_adapters(small_model(), tmp_path)
    assert router is not None
    assert router.tasks == (*TASKS, "de-fr")


def mangle(directory: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> None:
    path = directory / ADAPTERS_FILE
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["neuronspec"])
    tensors = load_file(path)
    change(tensors, about)
    save_file(tensors, path, {"neuronspec": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors, about: about.pop("owners"), "'owners' is missing"),
        (lambda tensors, about: about.update(tasks=["de-en", "de-en", "en-fr"]), "one set in the encoder and one in"),
        (lambda tensors, about: about.update(tasks=[1, 2, 3]), "valid string"),
        (lambda tensors, about: about.update(sets=["a"]), "a set that there is not"),
        (lambda tensors, about: about["owners"].update(encoder=[0, 1]), "one set in the encoder and one in"),
        (lambda tensors, about: about["owners"].update(middle=[0, 1, 2]), "one set in the encoder and one in"),
        (lambda tensors, about: about["owners"].update(encoder=[0, 1, -1]), "a set that there is not"),
        (lambda tensors, about: about.update(bottleneck=1 << 40), "bottleneck"),
        (lambda tensors, about: about.update(bottleneck=9), "size mismatch"),
        (lambda tensors, about: about.update(dropout=[0.0]), "dropout must be given for each set"),
        (lambda tensors, about: about.update(dropout=[0.0, 0.0, 1.0]), "dropout.2 Input should be less than 1"),
        (lambda tensors, about: about.update(more=1), "more Extra inputs"),
        (lambda tensors, about: tensors.pop("0.encoder_0_ffn.up.bias"), "143 tensors are not those of 3 sets in 8"),
        (
            lambda tensors, about: tensors.update(x=tensors.pop("0.encoder_0_ffn.up.bias")),
            "Unexpected key",
        ),
        (lambda tensors, about: tensors["0.encoder_0_ffn.up.bias"].fill_(float("nan")), "no finite number"),
        (
            lambda tensors, about: tensors.update({"0.encoder_0_ffn.up.bias": torch.ones(16, dtype=torch.int64)}),
            "no finite number",
        ),
    ],
)
def test_r7_mangled_files_are_refused(
    small_model: SmallModel,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object],
    reason: str,
) -> None:
    adapters = Adapters(small_model(), share())
    adapters.save(tmp_path)
    mangle(tmp_path, change)
    model = small_model()
    with pytest.raises(NeuronspecError, match=reason):
        load_adapters(model, tmp_path)
    assert find_router(model) is None
    with pytest.raises(NeuronspecError, match=reason):
        adapters.load(tmp_path)


def test_r7_bytes_and_other_files_are_refused(small_model: SmallModel, tmp_path: Path) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match=f"{ADAPTERS_FILE} does not exist: expected adapters"):
        load_adapters(model, tmp_path)
    path = tmp_path / ADAPTERS_FILE
    Adapters(small_model(), share()).save(tmp_path)
    whole = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in torch.randint(0, 1200, (3,), generator=draw).tolist():
            broken[place] = int(torch.randint(0, 256, (1,), generator=draw))
        path.write_bytes(broken)
        with contextlib.suppress(NeuronspecError):  # a letter of a name may have become another one
            load_adapters(small_model(), tmp_path)
    for content in (b"", b"no tensors", whole[:-1], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(NeuronspecError, match="cannot read"):
            load_adapters(model, tmp_path)
    for about in ("[]", "3", "null", '{"tasks"', "{}"):
        save_file({"x": torch.ones(1)}, path, {"neuronspec": about})
        with pytest.raises(NeuronspecError, match="cannot read"):
            load_adapters(model, tmp_path)


@pytest.mark.parametrize(
    ("other", "reason"),
    [({"d_model": 32}, "size mismatch"), ({"decoder_layers": 1}, "144 tensors are not those of 3 sets in 6 places")],
)
def test_adapters_of_another_model_are_refused(
    small_model: SmallModel, tmp_path: Path, other: dict[str, Any], reason: str
) -> None:
    Adapters(small_model(), share()).save(tmp_path)
    with pytest.raises(NeuronspecError, match=f"or it belongs to another model: .*{reason}"):
        load_adapters(small_model(**other), tmp_path)
    adapters = Adapters(small_model(), share(tasks=["de-en", "sv-de", "en-fr"]))
    with pytest.raises(NeuronspecError, match="holds other adapters: they were trained with tasks"):
        adapters.load(tmp_path)


def test_models_that_they_do_not_fit_are_refused(small_model: SmallModel) -> None:
    with pytest.raises(NeuronspecError, match="adapters are for encoder-decoders: 'llama' is none"):
        Adapters(small_model("llama"), share())
    with pytest.raises(NeuronspecError, match=r"do not fit layers of experts, such as encoder\.1\.expert\.0"):
        Adapters(small_model("nllb-moe"), share())
    model: Any = small_model()
    model.model.decoder.layers[1].encoder_attn.out_proj = nn.Identity()
    with pytest.raises(NeuronspecError, match=r"decoder\.1: M2M100DecoderLayer must have 2 attentions .* found 1"):
        Adapters(model, share())
    assert find_router(model) is None


def test_wrong_tasks_are_refused(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    Adapters(model, share())
    with pytest.raises(NeuronspecError, match="nothing for the task 'de-fr'"):
        compute(model, batch, tasks=["de-fr"] * 4)
    with pytest.raises(NeuronspecError, match="3 tasks were given for 4 rows"):
        compute(model, batch, tasks=TASKS)
    with pytest.raises(NeuronspecError, match="needs to know the task"):
        compute(model, batch)
    compute(model, batch, tasks=MIXED)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", ["m2m_100", "t5"])
def test_checkpointing_recomputes_with_the_tasks_of_the_forward_pass(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], reentrant: bool
) -> None:
    """What the gradient needs is computed again in the backward pass: by then other tasks may have been seen."""
    model = small_model(kind, **(STILL if kind == "m2m_100" else {})).train()
    sets = shake(Adapters(model, share(dropout=[0.0, 0.2, 0.4]), frozen=True)).sets
    mixes: Sequence[Sequence[str]] = (["de-en"] * 4, ["en-fr"] * 4, MIXED)

    def gradients() -> list[torch.Tensor]:
        sets.zero_grad()
        torch.manual_seed(0)
        sum(compute(model, batch, tasks=tasks).logsumexp(-1).sum() for tasks in mixes).backward()  # type: ignore[union-attr]
        return [parameter.grad for parameter in sets.parameters() if parameter.grad is not None]

    expected = gradients()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    model.enable_input_require_grads()
    found = gradients()
    assert len(found) == len(expected) == len(list(sets.parameters()))
    assert all(close(one, other) for one, other in zip(found, expected, strict=True))


def test_dropout_is_of_training_alone_and_each_set_has_its_own(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(**STILL)
    shake(Adapters(model, share(dropout=[0.0, 0.5, 0.5])))
    still = compute(model, batch, tasks=["en-fr"] * 4)
    model.train()
    assert not close(compute(model, batch, tasks=["en-fr"] * 4), still)
    model.eval()  # of the model alone, as validation does it
    assert torch.equal(compute(model, batch, tasks=["en-fr"] * 4), still)
    expected = compute(model, batch, tasks=["de-en"] * 4)
    assert torch.equal(compute(model.train(), batch, tasks=["de-en"] * 4), expected)
    mixed = compute(model, batch, tasks=["de-en", "en-fr", "en-fr", "de-en"])
    assert close(mixed[:4], expected[:4])  # the first row's four tokens


@torch.no_grad()
def test_adapters_follow_a_model_that_changes_its_type(
    small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = small_model().float()
    shake(Adapters(model, share())).save(tmp_path)
    expected = compute(model, batch, tasks=MIXED)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(compute(model, batch, tasks=MIXED).float(), expected, atol=1.0, rtol=0.1)
    router = find_router(model)
    assert isinstance(router, Adapters)
    assert {parameter.dtype for parameter in router.sets.parameters()} == {torch.float32}
    half = compute(model.to(torch.bfloat16), batch, tasks=MIXED)
    assert half.dtype == torch.bfloat16
    assert torch.equal(
        half, compute(load_adapters(small_model().to(torch.bfloat16), tmp_path).model, batch, tasks=MIXED)
    )


@torch.no_grad()
def test_a_deep_copy_has_adapters_of_its_own(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    shake(Adapters(model, share()))
    before = compute(model, batch, tasks=MIXED)
    copied = copy.deepcopy(model)
    assert torch.equal(compute(copied, batch, tasks=MIXED), before)
    router = find_router(copied)
    assert isinstance(router, Adapters)
    shake(router, seed=2)
    assert not close(compute(copied, batch, tasks=MIXED), before)
    assert torch.equal(compute(model, batch, tasks=MIXED), before)


def test_the_start_follows_from_the_seed(small_model: SmallModel) -> None:
    model = small_model()
    state = torch.get_rng_state()
    first, same, other = (Adapters(model, share(), seed=seed).sets.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["0.encoder_0_ffn.down.weight"], other["0.encoder_0_ffn.down.weight"])
    assert not torch.equal(first["0.encoder_0_ffn.down.weight"], first["1.encoder_0_ffn.down.weight"])
    assert torch.equal(torch.get_rng_state(), state)


COUNTS = {(512, 128): 132_736, (1024, 128): 265_344, (1024, 512): 1_052_160}  # parameters of one adapter


@pytest.mark.parametrize(
    ("d_model", "bottleneck", "one", "of_a_direction"),
    [(512, 128, 132_736, 3_185_664), (1024, 128, 265_344, 6_368_256), (1024, 512, 1_052_160, 25_251_840)],
)
def test_a_set_has_as_many_parameters_as_the_paper_counts(
    d_model: int, bottleneck: int, one: int, of_a_direction: int
) -> None:
    """24 adapters in 6 and 6 layers: 3.2 M, 6.4 M (A.2.3) and 25.3 M (A.2.4) for each direction or family."""
    with torch.device("meta"):
        model = M2M100ForConditionalGeneration(
            M2M100Config(vocab_size=8, d_model=d_model, encoder_layers=6, decoder_layers=6, max_position_embeddings=8)
        )
        (adapters,) = make_sets(find_hook_points(model), share(bottleneck=bottleneck, dropout=[0.0] * 3), 0)[:1]
    assert sum(parameter.numel() for parameter in Adapter(d_model, bottleneck, 0.0).parameters()) == one
    assert sum(parameter.numel() for parameter in adapters.parameters()) == 24 * one == of_a_direction


def test_the_paper_s_increases_are_those_of_these_counts() -> None:
    pair = 60 * 24 * COUNTS[1024, 128]
    family = 24 * COUNTS[1024, 512]
    assert round(100 * 16 * 24 * COUNTS[512, 128] / 76e6) == 67  # Table 1
    assert round(100 * pair / 438.6e6) == 87  # Table 2
    assert round(4 * pair / 1024**3, 2) == 1.42  # Table 5, in gigabytes
    assert (round(12 * family / 438.6e6, 2), round(12 * family / 1e6)) == (0.69, 303)  # A.2.4: 303.6 M, +69 %
    assert round(10 * family / 1e6, 1) == 252.5  # of the five families that it names, two ways


WORKER = """
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForSeq2SeqLM

from neuronspec.methods.adapters.model import load_adapters
from neuronspec.specialization.routing import find_router

directory, rank = sys.argv[1], int(sys.argv[2])


class Both(torch.nn.Module):
    def __init__(self, model, parts):
        super().__init__()
        self.model, self.parts = model, parts

    def forward(self, batch, tasks):
        return self.model(**batch, tasks=tasks).logits


torch.distributed.init_process_group("gloo", f"file://{directory}/rendezvous", rank=rank, world_size=2)
model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float64).eval()
load_adapters(model, Path(directory)).model.requires_grad_(False)
sets = find_router(model).sets
parallel = DistributedDataParallel(Both(model, sets), find_unused_parameters=True)
rows = slice(2 * rank, 2 * rank + 2)
batch = {name: value[rows] for name, value in load_file(f"{directory}/batch.safetensors").items()}
for number, tasks in enumerate((["en-fr", "de-en", "sv-de", "en-fr"], ["de-en", "de-en", "sv-de", "sv-de"])):
    sets.zero_grad()
    parallel(batch, tasks[rows]).logsumexp(-1).sum().backward()
    gradients = {name: value.grad for name, value in sets.named_parameters() if value.grad is not None}
    save_file(gradients, f"{directory}/{rank}.{number}.safetensors")
torch.distributed.destroy_process_group()
"""


def test_r4_two_processes_have_the_gradient_of_one(
    small_model: SmallModel, batch: dict[str, torch.Tensor], work: Work, tmp_path: Path
) -> None:
    """Each with its half of the rows, of mixed tasks and of one task each; what no row uses has no gradient."""
    model = small_model()
    adapters = shake(Adapters(model, share(), frozen=True))
    adapters.save(tmp_path)
    found = work(WORKER, model, NeuronMasks(["a-b"], {"encoder.0": torch.ones(1, 24)}), batch)
    for number, tasks in enumerate((MIXED, ["de-en", "de-en", "sv-de", "sv-de"])):
        adapters.sets.zero_grad()
        model(**batch, tasks=tasks).logits.logsumexp(-1).sum().backward()
        gradients = {name: value.grad for name, value in adapters.sets.named_parameters() if value.grad is not None}
        for rank in (0, 1):
            assert found[rank][number].keys() == gradients.keys()
            for name, gradient in gradients.items():
                assert torch.allclose(2 * found[rank][number][name], gradient, rtol=1e-9, atol=1e-9), name


def test_the_formula_is_that_of_layer_norm(small_model: SmallModel) -> None:
    """`by_hand` writes the norm out; this is the same with torch's own."""
    adapter: Any = shake(Adapters(small_model(), share())).sets.get_submodule("0.encoder_0_ffn")
    states = torch.randn(2, 3, 16, dtype=torch.float64)
    z = functional.layer_norm(states, (16,), adapter.norm.weight, adapter.norm.bias)
    assert close(adapter(states, False), states + adapter.up(functional.relu(adapter.down(z))))
