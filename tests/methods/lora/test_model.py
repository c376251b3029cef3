from __future__ import annotations

import contextlib
import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from tests.conftest import FLOAT32
from torch import nn
from transformers import AutoModelForSeq2SeqLM, M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.methods.lora.model import LORA_FILE, Lora, LoraSettings, find_targets, load_lora, make_sets
from neuronspec.models.loading import load_model, save_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.routing import dense, find_router, task, unspecialize
from neuronspec.version import __version__

pytest.importorskip("peft")

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]
Work = Callable[..., list[list[dict[str, torch.Tensor]]]]

TASKS = ["de-en", "en-fr", "sv-de"]
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
KINDS = ("m2m_100", "mbart", "marian", "pegasus", "blenderbot", "fsmt", "t5", "mt5")
STILL = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
FIRST = "0.encoder/layers/0/fc1.lora_B.weight"


def shape(**changes: Any) -> LoraSettings:
    return LoraSettings.model_validate(
        {"tasks": TASKS, "rank": 4, "alpha": 6, "dropout": 0.0, "targets": "both"} | changes
    )


def shake(lora: Lora, seed: int = 1) -> Lora:
    """Give the LoRA weights at random, all of them: it starts with zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in lora.sets.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return lora


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


def generate(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> list[list[int]]:
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ids: list[list[int]] = model.generate(**inputs, max_new_tokens=8, do_sample=False, **options).tolist()
    return ids


def trimmed(ids: list[int], padding: int = 1) -> list[int]:
    return ids[: len(ids) - next((n for n, number in enumerate(reversed(ids)) if number != padding), len(ids))]


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    tolerance = 1e-11 if one.dtype == torch.float64 else 1e-4
    return torch.allclose(one, other, rtol=tolerance, atol=tolerance)


def merged(plain: PreTrainedModel, lora: Lora, number: int, stacks: Sequence[str] = ("encoder", "decoder")) -> Any:
    """A copy of a plain model, with one task's changes added to its weights."""
    model = copy.deepcopy(plain)
    for name, place in find_targets(model, lora.settings.targets).items():
        part: Any = lora.sets.get_submodule(f"{number}.{name}")
        if place.stack in stacks:
            change = part.lora_B.weight @ part.lora_A.weight * (lora.settings.alpha / lora.settings.rank)
            place.matrix.weight.data += change
    return model


@torch.no_grad()
@pytest.mark.parametrize("targets", ["attention", "ffn", "both"])
def test_it_computes_what_changed_weights_would(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], targets: str
) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    lora = shake(Lora(model, shape(targets=targets)))
    for number, name in enumerate(TASKS):
        expected = compute(merged(plain, lora, number), batch)
        assert close(compute(model, batch, tasks=[name] * 4), expected)
        assert not close(expected, compute(plain, batch))


def test_every_matrix_of_the_layers_is_a_target(kind: str, small_model: SmallModel) -> None:
    model = small_model(kind)
    every = {name.replace(".", "/") for name, part in model.base_model.named_modules() if isinstance(part, nn.Linear)}
    every -= {"lm_head", "decoder/output_projection"}  # T5's and FSMT's
    assert find_targets(model, "both").keys() == every
    attention, ffn = find_targets(model, "attention").keys(), find_targets(model, "ffn").keys()
    assert attention | ffn == every
    assert not attention & ffn
    assert len(attention) == 4 * (2 + 2 * 2)
    assert len(ffn) == 4 * (3 if kind == "mt5" else 2)


@torch.no_grad()
def test_a_new_lora_changes_nothing(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    lora = Lora(model, shape())
    for tasks in (MIXED, ["de-en"] * 4):
        assert torch.equal(compute(model, batch, tasks=tasks), compute(plain, batch))
    for name, tensor in lora.sets.state_dict().items():
        assert tensor.any() == ("lora_A" in name)


@torch.no_grad()
def test_r4_a_row_of_a_mixed_batch_gets_what_a_batch_of_its_task_gets(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(kind)
    shake(Lora(model, shape()))
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
    lora = shake(Lora(model, shape()))
    found = generate(model, batch, tasks=MIXED, num_beams=beams)
    for row, name in enumerate(MIXED):
        alone = merged(plain, lora, TASKS.index(name))
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
    sets = shake(Lora(model, shape(), frozen=True)).sets

    def gradients(rows: list[int]) -> list[torch.Tensor | None]:
        sets.zero_grad()
        chosen = {name: value[rows] for name, value in batch.items()}
        compute(model, chosen, tasks=[MIXED[row] for row in rows]).logsumexp(-1).sum().backward()  # type: ignore[no-untyped-call]
        return [parameter.grad for parameter in sets.parameters()]

    mixed, first, second = gradients([0, 1, 3]), gradients([0, 3]), gradients([1])
    for owner, *found in zip([name[0] for name, _ in sets.named_parameters()], mixed, first, second, strict=True):
        alone = {"1": found[1], "0": found[2]}.pop(owner, None)
        assert (found[0] is None) == (alone is None) == (owner == "2")
        if found[0] is not None and alone is not None:
            assert close(found[0], alone) or (kind in FLOAT32 and torch.allclose(found[0], alone, rtol=1e-3, atol=1e-3))
    assert all(parameter.grad is None for parameter in model.parameters())


@torch.no_grad()
def test_an_unseen_direction_takes_the_parts_of_two_trained_ones(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    plain = small_model()
    model = copy.deepcopy(plain)
    lora = shake(Lora(model, shape()))
    lora.add_zero_shot(["de-fr"], "en")
    halves = merged(merged(plain, lora, 0, ["encoder"]), lora, 1, ["decoder"])
    crossed = compute(model, batch, tasks=["de-fr"] * 4)
    assert close(crossed, compute(halves, batch))
    real = batch["decoder_attention_mask"][:3].sum()
    assert close(compute(model, batch, tasks=["de-fr", "de-fr", "de-fr", "de-en"])[:real], crossed[:real])
    assert generate(model, batch, tasks=["de-fr"] * 4, num_beams=2) == generate(halves, batch, num_beams=2)
    with pytest.raises(NeuronspecError, match="nothing for the task 'fr-en'"):
        lora.add_zero_shot(["fr-de"], "en")


@torch.no_grad()
def test_the_model_itself_stays_as_it_is(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    plain = small_model(kind)
    model = copy.deepcopy(plain)
    model.get_input_embeddings().requires_grad_(False)
    asked = [parameter.requires_grad for parameter in model.parameters()]
    layers = [(layer.name, layer.width) for layer in find_ffn_layers(model)]
    lora = shake(Lora(model, shape(), frozen=True))
    assert list(model.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in model.named_modules()] == [name for name, _ in plain.named_modules()]
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in lora.sets.parameters())
    assert not set(lora.sets.parameters()) & set(model.parameters())
    assert [(layer.name, layer.width) for layer in find_ffn_layers(model)] == layers
    with task(model, "de-en"), dense(model):
        assert torch.equal(compute(model, batch), compute(plain, batch))
    assert find_router(unspecialize(model)) is None
    assert torch.equal(compute(model, batch), compute(plain, batch))
    assert [parameter.requires_grad for parameter in model.parameters()] == asked
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


@torch.no_grad()
def test_a_saved_model_and_its_lora_load_again_without_peft(
    kind: str,
    small_model: SmallModel,
    batch: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = small_model(kind).float()
    model = copy.deepcopy(plain)
    lora = shake(Lora(model, shape(dropout=0.3), frozen=True))
    save_model(model, tmp_path)
    lora.save(tmp_path)
    monkeypatch.setitem(sys.modules, "peft", None)
    loaded = load_model(tmp_path).eval()
    router = load_lora(loaded, tmp_path)
    assert router is find_router(loaded)
    assert all(parameter.requires_grad for parameter in loaded.parameters() if parameter.is_leaf)
    assert router.settings == lora.settings
    assert torch.equal(compute(loaded, batch, tasks=MIXED), compute(model, batch, tasks=MIXED))
    assert generate(loaded, batch, tasks=MIXED, num_beams=2) == generate(model, batch, tasks=MIXED, num_beams=2)
    stock = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert torch.equal(compute(stock, batch), compute(plain, batch))


def test_without_peft_there_is_no_new_lora(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(NeuronspecError, match=r"not installed: pip install 'neuronspec\[lora\]'"):
        Lora(model, shape(), frozen=True)
    assert find_router(model) is None
    assert all(parameter.requires_grad for parameter in model.parameters() if parameter.is_leaf)


def test_the_file_holds_tensors_and_words_only(small_model: SmallModel, tmp_path: Path) -> None:
    lora = Lora(small_model(), shape())
    lora.add_zero_shot(["de-fr"], "en")
    lora.save(tmp_path)
    tensors = load_file(tmp_path / LORA_FILE)
    assert len(tensors) == 3 * 2 * (2 * (4 + 2) + 2 * (8 + 2))
    assert tensors["2.decoder/layers/1/fc1.lora_A.weight"].shape == (4, 16)
    assert tensors["2.decoder/layers/1/fc1.lora_B.weight"].shape == (40, 4)
    with safe_open(tmp_path / LORA_FILE, "pt") as file:
        about = json.loads(file.metadata()["neuronspec"])
    shape_of_all = {"tasks": TASKS, "rank": 4, "alpha": 6, "dropout": 0.0, "targets": "both"}
    assert about == {"format_version": 1, "version": __version__} | shape_of_all
    assert load_lora(small_model(), tmp_path).tasks == tuple(TASKS)


def mangle(directory: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> None:
    path = directory / LORA_FILE
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["neuronspec"])
    tensors = load_file(path)
    change(tensors, about)
    save_file(tensors, path, {"neuronspec": json.dumps(about)})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors, about: about.pop("rank"), "'rank' is missing"),
        (lambda tensors, about: about.update(tasks=["de-en", "de-en", "en-fr"]), "a task is given twice"),
        (lambda tensors, about: about.update(tasks=[1, 2, 3]), "valid string"),
        (lambda tensors, about: about.update(tasks=["de-en"]), "192 tensors are not of 1 tasks, 32 matrices"),
        (lambda tensors, about: about.update(rank=1 << 40), "rank Input should be less"),
        (lambda tensors, about: about.update(rank=5), "size mismatch"),
        (lambda tensors, about: about.update(alpha=0), "alpha Input should be greater"),
        (lambda tensors, about: about.update(dropout=1.0), "dropout Input should be less than 1"),
        (lambda tensors, about: about.update(targets="all"), "targets Input should be 'attention', 'ffn' or 'both'"),
        (lambda tensors, about: about.update(targets="ffn"), "192 tensors are not of 3 tasks, 8 matrices"),
        (lambda tensors, about: about.update(more=1), "more Extra inputs"),
        (lambda tensors, about: tensors.pop(FIRST), "191 tensors are not of 3 tasks, 32 matrices"),
        (lambda tensors, about: tensors.update(x=tensors.pop(FIRST)), "Unexpected key"),
        (lambda tensors, about: tensors[FIRST].fill_(float("nan")), "no finite number"),
        (lambda tensors, about: tensors.update({FIRST: torch.ones(24, 4, dtype=torch.int64)}), "no finite number"),
    ],
)
def test_r7_mangled_files_are_refused(
    small_model: SmallModel,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object],
    reason: str,
) -> None:
    lora = Lora(small_model(), shape())
    lora.save(tmp_path)
    mangle(tmp_path, change)
    model = small_model()
    with pytest.raises(NeuronspecError, match=reason):
        load_lora(model, tmp_path)
    assert find_router(model) is None
    with pytest.raises(NeuronspecError, match=reason):
        lora.load(tmp_path)


def test_r7_bytes_and_other_files_are_refused(small_model: SmallModel, tmp_path: Path) -> None:
    model = small_model()
    with pytest.raises(NeuronspecError, match=f"{LORA_FILE} does not exist: expected LoRA"):
        load_lora(model, tmp_path)
    path = tmp_path / LORA_FILE
    Lora(small_model(), shape()).save(tmp_path)
    whole = path.read_bytes()
    draw = torch.Generator().manual_seed(0)
    for _ in range(60):
        broken = bytearray(whole)
        for place in torch.randint(0, 1200, (3,), generator=draw).tolist():
            broken[place] = int(torch.randint(0, 256, (1,), generator=draw))
        path.write_bytes(broken)
        with contextlib.suppress(NeuronspecError):  # a letter of a name may have become another one
            load_lora(small_model(), tmp_path)
    for content in (b"", b"no tensors", whole[:-1], whole[:100]):
        path.write_bytes(content)
        with pytest.raises(NeuronspecError, match="cannot read"):
            load_lora(model, tmp_path)
    for about in ("[]", "3", "null", '{"tasks"', "{}"):
        save_file({"x": torch.ones(1)}, path, {"neuronspec": about})
        with pytest.raises(NeuronspecError, match="cannot read"):
            load_lora(model, tmp_path)


@pytest.mark.parametrize(
    ("other", "reason"),
    [({"d_model": 32}, "size mismatch"), ({"decoder_layers": 1}, "192 tensors are not of 3 tasks, 22 matrices")],
)
def test_lora_of_another_model_is_refused(
    small_model: SmallModel, tmp_path: Path, other: dict[str, Any], reason: str
) -> None:
    Lora(small_model(), shape()).save(tmp_path)
    with pytest.raises(NeuronspecError, match=f"or it belongs to another model: .*{reason}"):
        load_lora(small_model(**other), tmp_path)
    for changes in ({"tasks": ["de-en", "sv-de", "en-fr"]}, {"alpha": 7}):
        lora = Lora(small_model(), shape(**changes))
        with pytest.raises(NeuronspecError, match=f"holds another LoRA: it was trained with {next(iter(changes))}"):
            lora.load(tmp_path)


def test_models_that_it_does_not_fit_are_refused(small_model: SmallModel) -> None:
    with pytest.raises(NeuronspecError, match=r"does not fit this model: encoder\.1\.expert\.0 has experts"):
        Lora(small_model("nllb-moe"), shape())
    with pytest.raises(NeuronspecError, match=r"LoRA is for nn\.Linear: h\.0\..* of this model is a Conv1D"):
        Lora(small_model("gpt2"), shape())


@torch.no_grad()
def test_it_fits_models_without_an_encoder(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    plain = small_model("llama")
    model = copy.deepcopy(plain)
    lora = shake(Lora(model, shape()))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    mixed = model(**inputs, tasks=MIXED).logits
    for row, name in enumerate(MIXED):
        expected = merged(plain, lora, TASKS.index(name))(**inputs).logits
        real = int(inputs["attention_mask"][row].sum())
        assert close(mixed[row, :real], expected[row, :real])


def test_wrong_tasks_are_refused(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    Lora(model, shape())
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
    model = small_model(kind, **(STILL if kind == "m2m_100" else {})).train()
    sets = shake(Lora(model, shape(dropout=0.3), frozen=True)).sets
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


def test_dropout_is_of_training_alone(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model(**STILL)
    shake(Lora(model, shape(dropout=0.5)))
    still = compute(model, batch, tasks=MIXED)
    model.train()
    assert not close(compute(model, batch, tasks=MIXED), still)
    with dense(model):
        assert torch.equal(compute(model, batch), compute(unspecialize(copy.deepcopy(model)), batch))
    model.eval()  # of the model alone, as validation does it
    assert torch.equal(compute(model, batch, tasks=MIXED), still)


@torch.no_grad()
def test_it_follows_a_model_that_changes_its_type(
    small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = small_model().float()
    lora = shake(Lora(model, shape()))
    lora.save(tmp_path)
    expected = compute(model, batch, tasks=MIXED)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(compute(model, batch, tasks=MIXED).float(), expected, atol=2.0, rtol=0.1)
    assert {parameter.dtype for parameter in lora.sets.parameters()} == {torch.float32}
    half = compute(model.to(torch.bfloat16), batch, tasks=MIXED)
    assert half.dtype == torch.bfloat16
    again = load_lora(small_model().to(torch.bfloat16), tmp_path).model
    assert torch.equal(half, compute(again, batch, tasks=MIXED))


@torch.no_grad()
def test_a_deep_copy_has_lora_of_its_own(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    shake(Lora(model, shape()))
    before = compute(model, batch, tasks=MIXED)
    copied = copy.deepcopy(model)
    router = find_router(copied)
    assert isinstance(router, Lora)
    shake(router, seed=2)
    assert not close(compute(copied, batch, tasks=MIXED), before)
    assert torch.equal(compute(model, batch, tasks=MIXED), before)


def test_the_start_follows_from_the_seed(small_model: SmallModel) -> None:
    model = small_model()
    state = torch.get_rng_state()
    first, same, other = (Lora(model, shape(), seed=seed).sets.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    name = "encoder/layers/0/fc1.lora_A.weight"
    assert not torch.equal(first[f"0.{name}"], other[f"0.{name}"])
    assert not torch.equal(first[f"0.{name}"], first[f"1.{name}"])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_task_has_as_many_parameters_as_its_matrices_have_sides() -> None:
    with torch.device("meta"):
        model = M2M100ForConditionalGeneration(
            M2M100Config(vocab_size=8, d_model=512, encoder_layers=6, decoder_layers=6, max_position_embeddings=8)
        )  # d_ff: 4096
    for targets, sides in (("attention", 72 * 1024), ("ffn", 24 * 4608), ("both", 72 * 1024 + 24 * 4608)):
        small = shape(targets=targets, rank=8, tasks=["de-en"])
        (one,) = make_sets(find_targets(model, small.targets), small, 0)
        assert sum(parameter.numel() for parameter in one.parameters()) == 8 * sides


WORKER = """
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForSeq2SeqLM

from neuronspec.methods.lora.model import load_lora

directory, rank = sys.argv[1], int(sys.argv[2])


class Both(torch.nn.Module):
    def __init__(self, model, parts):
        super().__init__()
        self.model, self.parts = model, parts

    def forward(self, batch, tasks):
        return self.model(**batch, tasks=tasks).logits


torch.distributed.init_process_group("gloo", f"file://{directory}/rendezvous", rank=rank, world_size=2)
model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float64).eval().requires_grad_(False)
sets = load_lora(model, Path(directory)).sets
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
    lora = shake(Lora(model, shape(), frozen=True))
    lora.save(tmp_path)
    found = work(WORKER, model, NeuronMasks(["a-b"], {"encoder.0": torch.ones(1, 24)}), batch)
    for number, tasks in enumerate((MIXED, ["de-en", "de-en", "sv-de", "sv-de"])):
        lora.sets.zero_grad()
        model(**batch, tasks=tasks).logits.logsumexp(-1).sum().backward()
        gradients = {name: value.grad for name, value in lora.sets.named_parameters() if value.grad is not None}
        for rank in (0, 1):
            assert found[rank][number].keys() == gradients.keys()
            for name, gradient in gradients.items():
                assert torch.allclose(2 * found[rank][number][name], gradient, rtol=1e-9, atol=1e-9), name


def test_vectors_without_rows_are_refused(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model("opt")  # its FFNs get all tokens of all rows in one dimension
    Lora(model, shape())
    with pytest.raises(NeuronspecError, match=r"needs \(batch, seq, features\): a matrix gets \(24, 16\), .*fc1"):
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], tasks=MIXED)
