"""Modules in several copies: rows go through their task's, the rest of the model stays as it is."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.raw_files import read_raw, write_raw
from tests.specialization.outputs import generate, logits
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.methods.parameter_differentiation.model import BRANCHES_FILE, Branches, find_units, load_branches
from neuronspec.models.building import count_parameters
from neuronspec.specialization.routing import dense, task, unspecialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ("de-en", "en-fr", "sv-de", "fr-en")
MIXED = ["en-fr", "de-en", "sv-de", "en-fr"]  # the tasks of the four rows of `small_batch`
KINDS = ("m2m_100", "mbart", "marian", "pegasus", "blenderbot", "t5", "mt5")
STILL = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def batch(small_batch: SmallBatch) -> dict[str, torch.Tensor]:
    return small_batch()


def branch(model: PreTrainedModel, moved: bool = True) -> Branches:
    """Split every unit twice, each into other groups of tasks, and let the copies differ."""
    branches = Branches(model, TASKS)
    for number, name in enumerate(branches.units):
        first = [number % 4, (number + 1) % 4]
        branches.split(name, first)
        branches.split(name, first[:1] if number % 2 else [(number + 2) % 4])  # of a copy, or of the model's own
    if moved:
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in branches.copied_modules.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return branches


def backbone_of(branches: Branches, encoder: str, decoder: str | None = None) -> PreTrainedModel:
    """An ordinary model whose modules are the copies of a task; a naive way to compute the same."""
    tasks = {"encoder": branches.trained.index(encoder), "decoder": branches.trained.index(decoder or encoder)}
    places = {module: name for name, module in branches.model.named_modules()}
    chosen = {
        places[unit.module]: branches.copies[name][branches.tables[name][tasks[unit.stack]]].state_dict()
        for name, unit in branches.units.items()
    }
    plain: PreTrainedModel = type(branches.model)(branches.model.config).to(branches.model.dtype).eval()
    plain.load_state_dict(branches.model.state_dict())
    for place, state in chosen.items():
        plain.get_submodule(place).load_state_dict(state)
    return plain


def row(batch: dict[str, torch.Tensor], number: int) -> dict[str, torch.Tensor]:
    return {name: tensor[number : number + 1] for name, tensor in batch.items()}


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-12)


def same_rows(mixed: list[list[int]], alone: Sequence[list[int]]) -> bool:
    """Whether rows are the same but for the padding at their ends."""

    def trim(ids: list[int]) -> list[int]:
        return trim(ids[:-1]) if ids and ids[-1] == 1 else ids

    return [trim(ids) for ids in mixed] == [trim(ids) for ids in alone]


# Units


def test_units_are_what_bears_weights_in_the_layers(small_model: SmallModel) -> None:
    attention = [f"{part}_proj" for part in "kvq"] + ["out_proj"]
    own = [f"self_attn.{part}" for part in attention] + ["self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"]
    cross = [f"encoder_attn.{part}" for part in attention] + ["encoder_attn_layer_norm"]
    expected = {f"encoder.{layer}.{part}" for layer in (0, 1) for part in own}
    expected |= {f"decoder.{layer}.{part}" for layer in (0, 1) for part in own + cross}
    units = find_units(small_model())
    assert units.keys() == expected
    assert units["encoder.0.fc1"].size == 16 * 24 + 24
    assert units["decoder.1.final_layer_norm"].size == 2 * 16
    assert {name: unit.stack for name, unit in units.items()} == {name: name.partition(".")[0] for name in expected}


def test_t5_has_units_too_and_no_embedding_is_one(small_model: SmallModel) -> None:
    units = find_units(small_model("t5"))
    assert {"encoder.0.layer.0.SelfAttention.q", "decoder.1.layer.2.DenseReluDense.wo"} < units.keys()
    assert "decoder.0.layer.1.layer_norm" in units
    assert not any("bias" in name for name in units)
    assert len(units) == 2 * (4 + 2 + 2) + 2 * (4 + 4 + 2 + 3)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("fsmt", r"the vectors in encoder\.0 are time-first; branches need \(batch, seq, features\)"),
        ("nllb-moe", "go through experts, without their rows; branches need"),
        ("llama", "branches are for encoder-decoders; 'llama' is none"),
    ],
)
def test_models_that_do_not_fit_are_refused_and_left_alone(
    small_model: SmallModel, architecture: str, message: str
) -> None:
    model = small_model(architecture)
    with pytest.raises(NeuronspecError, match=message):
        Branches(model, TASKS)
    assert "generate" not in model.__dict__


def test_flattened_vectors_are_refused(small_model: SmallModel) -> None:
    model = small_model()
    branches = branch(model)
    with task(model, "de-en"), pytest.raises(NeuronspecError, match=r"fc1 was given \(3, 16\): expected"):
        branches.units["encoder.0.fc1"].module(torch.zeros(3, 16, dtype=torch.float64))


# Rows


def test_without_a_split_the_model_is_untouched(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    expected = logits(model, batch)
    branches = Branches(model, TASKS)
    assert torch.equal(logits(model, batch), expected)  # no tasks are needed
    assert torch.equal(logits(model, batch, tasks=MIXED), expected)
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert (branches.size, len(list(branches.copied_modules.parameters()))) == (count_parameters(model), 0)


def test_a_split_changes_no_output(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model(kind)
    expected = logits(model, batch)
    branch(model, moved=False)
    for name in TASKS:
        assert torch.equal(logits(model, batch, tasks=[name] * 4), expected)
    assert close(logits(model, batch, tasks=MIXED), expected)


def test_each_task_has_its_copies(kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model(kind)
    plain = logits(model, batch)
    branches = branch(model)
    for name in TASKS:
        expected = logits(backbone_of(branches, name), batch)
        assert torch.equal(logits(model, batch, tasks=[name] * 4), expected)
        assert not close(expected, plain)
        with task(model, name):
            assert torch.equal(logits(model, batch), expected)


def test_r4_a_row_of_a_mixed_batch_gets_what_a_batch_of_its_task_gets(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(kind)
    branches = branch(model)
    with torch.no_grad():
        mixed = model(**batch, tasks=MIXED).logits
        for number, name in enumerate(MIXED):
            alone = backbone_of(branches, name)(**batch).logits
            real = batch["decoder_attention_mask"][number].bool()
            assert close(mixed[number][real], alone[number][real])


@pytest.mark.parametrize("beams", [1, 3])
def test_r4_generation_with_beams(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], beams: int
) -> None:
    model = small_model(kind)
    branches = branch(model)
    mixed = generate(model, batch, tasks=MIXED, num_beams=beams)
    alone = [generate(backbone_of(branches, name), batch, num_beams=beams)[n] for n, name in enumerate(MIXED)]
    assert same_rows(mixed, alone)
    single = generate(model, batch, tasks=["sv-de"] * 4, num_beams=beams)
    assert single == generate(backbone_of(branches, "sv-de"), batch, num_beams=beams)


def test_dense_is_the_backbone_and_unspecialize_takes_all_off(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    expected, state = logits(model, batch), copy.deepcopy(model.state_dict())
    branch(model)
    with dense(model):
        assert torch.equal(logits(model, batch), expected)
        assert torch.equal(logits(model, batch, tasks=MIXED), expected)
    with pytest.raises(NeuronspecError, match="needs to know the task of every row"):
        logits(model, batch)
    unspecialize(model)
    assert torch.equal(logits(model, batch), expected)
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())


def test_a_forward_of_another_library_comes_back_or_stays_on_top(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model()
    below, above = model.model.encoder.layers[0].fc1, model.model.encoder.layers[1].fc1
    expected = logits(model, batch)

    def keep(states: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(states, below.weight, below.bias)

    below.forward = keep
    branch(model)
    ours = above.forward
    above.forward = lambda states: ours(states)
    unspecialize(model)
    assert below.forward is keep
    assert "forward" in above.__dict__
    assert torch.equal(logits(model, batch), expected)


def test_only_the_rows_own_copies_get_gradients(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model(**STILL)
    branches = branch(model)
    for tasks in (["de-en"] * 4, ["sv-de", "de-en", "sv-de", "de-en"]):
        for parameter in (*model.parameters(), *branches.copied_modules.parameters()):
            parameter.grad = None
        model(**batch, tasks=tasks).logits.logsumexp(-1).sum().backward()
        numbers = {TASKS.index(name) for name in tasks}
        for name, copies in branches.copies.items():
            used = {branches.tables[name][number] for number in numbers}
            for number, module in enumerate(copies):
                grads = [parameter.grad for parameter in module.parameters()]
                assert all((grad is not None) == (number in used) for grad in grads), (name, number)


def test_gradients_are_those_of_separate_batches(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(kind, **({} if "t5" in kind else STILL))
    branches = branch(model)
    parameters = [p for p in (*model.parameters(), *branches.copied_modules.parameters()) if p.requires_grad]

    def gradients(*losses: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(torch.stack(losses).sum(), parameters, allow_unused=True, materialize_grads=True)
        return list(found)

    def loss(output: torch.Tensor, part: dict[str, torch.Tensor]) -> torch.Tensor:
        return output[part["decoder_attention_mask"].bool()].logsumexp(-1).sum()

    mixed = gradients(loss(model(**batch, tasks=MIXED).logits, batch))
    rows = [row(batch, number) for number in range(4)]
    alone = gradients(*(loss(model(**part, tasks=[name]).logits, part) for part, name in zip(rows, MIXED, strict=True)))
    assert all(itertools.starmap(close, zip(mixed, alone, strict=True)))


def test_gradient_checkpointing_computes_again_for_the_same_rows(
    small_model: SmallModel, batch: dict[str, torch.Tensor]
) -> None:
    model = small_model(**STILL).train()
    branches = branch(model)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        for parameter in (*model.parameters(), *branches.copied_modules.parameters()):
            parameter.grad = None
        losses = [
            model(**batch, tasks=tasks).logits.logsumexp(-1).sum() for tasks in (MIXED, MIXED[::-1], ["de-en"] * 4)
        ]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        found.append(
            [p.grad for p in (*model.parameters(), *branches.copied_modules.parameters()) if p.grad is not None]
        )
    assert len(found[0]) == len(found[1])
    assert all(itertools.starmap(close, zip(*found, strict=True)))


# Splits


def test_tables_names_and_sizes(small_model: SmallModel) -> None:
    model = small_model()
    branches = Branches(model, TASKS)
    unit = branches.units["decoder.1.encoder_attn.k_proj"]
    assert len(branches.shared()) == len(branches.units)
    branches.split(unit.name, [1, 3])
    branches.split(unit.name, [3])
    assert branches.tables == {unit.name: [0, 1, 0, 2]}
    assert branches.size == count_parameters(model) + 2 * unit.size
    assert set(branches.copied_modules.state_dict()) == {
        f"{unit.name}.{number}.{key}" for number in (1, 2) for key in ("weight", "bias")
    }
    (left,) = (found for found in branches.shared() if found.unit is unit)
    assert (left.number, left.tasks, left.module) == (0, (0, 2), unit.module)
    branches.split("encoder.0.fc1", [2])
    again = Branches(small_model(), TASKS)
    assert again.size == again.original


def test_a_copy_follows_its_model_to_another_precision(small_model: SmallModel, batch: dict[str, torch.Tensor]) -> None:
    model = small_model()
    branches = branch(model)
    expected = logits(model, batch, tasks=MIXED)
    model.float()
    assert torch.allclose(logits(model, batch, tasks=MIXED).double(), expected, atol=1e-4)
    logits(model, batch, tasks=["fr-en"] * 4)
    assert {parameter.dtype for parameter in branches.copied_modules.parameters()} == {torch.float32}


# Files


def test_a_saved_model_loads_plainly_and_with_its_branches(
    kind: str, small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = small_model(kind)
    branches = branch(model)
    model.save_pretrained(tmp_path)
    branches.save(tmp_path, note=3)
    loaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path, dtype="float64").eval()
    with dense(model):
        assert torch.equal(logits(loaded, batch), logits(model, batch))
    again = load_branches(loaded, tmp_path)
    assert (again.tables, again.tasks, again.original) == (branches.tables, branches.tasks, branches.original)
    assert all(map(torch.equal, again.copied_modules.parameters(), branches.copied_modules.parameters()))
    assert close(logits(loaded, batch, tasks=MIXED), logits(model, batch, tasks=MIXED))
    assert generate(loaded, batch, tasks=MIXED, num_beams=3) == generate(model, batch, tasks=MIXED, num_beams=3)
    assert [name for name, _ in again.copied_modules.named_parameters()] == [
        n for n, _ in branches.copied_modules.named_parameters()
    ]
    assert read_raw(tmp_path / BRANCHES_FILE)[1]["note"] == 3


def test_an_unsplit_model_saves_and_loads(small_model: SmallModel, tmp_path: Path) -> None:
    Branches(small_model(), TASKS).save(tmp_path)
    assert load_branches(small_model(), tmp_path).tables == {}


def test_restoring_for_other_tasks_is_refused(small_model: SmallModel, tmp_path: Path) -> None:
    branch(small_model()).save(tmp_path)
    with pytest.raises(NeuronspecError, match="are of the tasks de-en, en-fr, sv-de, fr-en; expected de-en, en-fr"):
        Branches(small_model(), TASKS[:2]).restore(tmp_path)


def test_zero_shot_takes_the_encoder_of_one_and_the_decoder_of_the_other(
    small_model: SmallModel, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = small_model()
    branches = branch(model)
    branches.add_zero_shot(["de-fr", "de-en"], pivot="en")
    assert branches.tasks == (*TASKS, "de-fr")
    expected = backbone_of(branches, "de-en", "en-fr")
    assert torch.equal(logits(model, batch, tasks=["de-fr"] * 4), logits(expected, batch))
    mixed = generate(model, batch, tasks=["de-fr", "de-en", "de-fr", "sv-de"], num_beams=2)
    alone = generate(expected, batch, num_beams=2)
    assert same_rows([mixed[0], mixed[2]], [alone[0], alone[2]])
    with pytest.raises(NeuronspecError, match="nothing for the task 'en-sv'"):
        branches.add_zero_shot(["de-sv"], pivot="en")
    branches.save(tmp_path)
    assert load_branches(small_model(), tmp_path).tasks == TASKS
    with pytest.raises(NeuronspecError, match="nothing for the task 'fr-sv'"):
        logits(model, batch, tasks=["fr-sv"] * 4)


Header = dict[str, Any]
FC1 = "encoder.0.fc1"


def _without(key: str) -> Callable[[Header], Any]:
    return lambda header: {name: value for name, value in header.items() if name != key}


def _with(**changes: Any) -> Callable[[Header], Any]:
    return lambda header: header | changes


def _table(table: Any, name: str = FC1) -> Callable[[Header], Any]:
    return lambda header: header | {"tables": header["tables"] | {name: table}}


HEADERS: dict[str, tuple[Callable[[Header], Any], str]] = {
    "no header": (lambda header: 5, "cannot read"),
    "a list": (lambda header: ["tasks", "tables", "original"], "damaged|cannot read"),
    "no tasks": (_without("tasks"), "'tasks' is missing in its header"),
    "no tables": (_without("tables"), "'tables' is missing in its header"),
    "no size": (_without("original"), "'original' is missing in its header"),
    "tasks of numbers": (_with(tasks=[1, 2, 3, 4]), "its tasks are not a list of different names"),
    "one text of tasks": (_with(tasks="abcd"), "its tasks are not a list of different names"),
    "no task": (_with(tasks=[]), "its tasks are not a list of different names"),
    "a task twice": (_with(tasks=["a-b"] * 4), "its tasks are not a list of different names"),
    "fewer tasks": (_with(tasks=["a-b", "b-a"]), "does not give each of 2 tasks"),
    "a size in words": (_with(original="large"), "its original is not a number of parameters"),
    "a size true": (_with(original=True), "its original is not a number of parameters"),
    "tables in a list": (_with(tables=[]), "its tables are not a mapping"),
    "a unit of no model": (_table([0, 1, 0, 0], "encoder.9.fc1"), "copies of encoder.9.fc1, which the model lacks"),
    "a gap": (_table([0, 2, 0, 0]), "does not give each of 4 tasks one of several copies"),
    "negative": (_table([0, -1, 0, 0]), "does not give each"),
    "fractions": (_table([0, 1.0, 0, 0]), "does not give each"),
    "truths": (_table([False, True, False, False]), "does not give each"),
    "lists": (_table([[0], [1], [0], [0]]), "does not give each"),
    "no list": (_table(1), "does not give each"),
    "none copied": (_table([0, 0, 0, 0]), "does not give each"),
    "fewer copies": (_table([0, 1, 0, 0]), r"it has the tensor encoder\.0\.fc1\.2\.bias, against its tables"),
    "more copies": (_table([0, 1, 2, 3]), r"it lacks the tensor encoder\.0\.fc1\.3\.bias, against its tables"),
}


@pytest.mark.parametrize(("change", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_r7_mangled_headers_are_refused(
    small_model: SmallModel, tmp_path: Path, change: Callable[[Header], Any], message: str
) -> None:
    path = tmp_path / BRANCHES_FILE
    branch(small_model()).save(tmp_path)
    tensors, about = read_raw(path)
    save_file(tensors, path, {"neuronspec": json.dumps(change(about))})
    model = small_model()
    with pytest.raises(NeuronspecError, match=message):
        load_branches(model, tmp_path)
    assert "generate" not in model.__dict__


def test_r7_mangled_tensors_are_refused(small_model: SmallModel, tmp_path: Path) -> None:
    path = tmp_path / BRANCHES_FILE
    branch(small_model()).save(tmp_path)
    tensors, about = read_raw(path)
    name = f"{FC1}.1.weight"
    for wrong, message in (
        (torch.zeros(3, 16), r"encoder\.0\.fc1\.1\.weight is torch\.float32 of shape \(3, 16\), expected numbers"),
        (torch.zeros(24, 16, dtype=torch.int64), "is torch.int64 of shape"),
    ):
        write_raw(path, tensors | {name: wrong}, about)
        with pytest.raises(NeuronspecError, match=message):
            load_branches(small_model(), tmp_path)
    write_raw(path, {key: tensor for key, tensor in tensors.items() if key != name}, about)
    with pytest.raises(NeuronspecError, match="it lacks the tensor"):
        load_branches(small_model(), tmp_path)
    write_raw(path, tensors, about)
    with pytest.raises(NeuronspecError, match="damaged or of another model"):
        load_branches(small_model("t5"), tmp_path)


def test_r7_a_file_cut_anywhere_is_refused(small_model: SmallModel, tmp_path: Path) -> None:
    path = tmp_path / BRANCHES_FILE
    with pytest.raises(NeuronspecError, match=f"{BRANCHES_FILE} does not exist: expected branches"):
        load_branches(small_model(), tmp_path)
    branch(small_model()).save(tmp_path)
    whole = path.read_bytes()
    assert load_file(path)
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NeuronspecError, match="cannot read"):
            load_branches(small_model(), tmp_path)
