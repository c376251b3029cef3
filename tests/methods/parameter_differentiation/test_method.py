"""Parameter differentiation: what is split and when, and that a training with splits keeps the loop's promises.

Run as a program, this file trains in a process of its own: `FILE TOY OUT OPTIONS`, options in JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from scipy.cluster.hierarchy import fcluster, linkage
from tests.processes import call_together
from tests.raw_files import read_raw, write_raw
from torch.nn import functional
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import IGNORED, BatchDataset, TaskData, Tensors
from neuronspec.data.sampling import Batch
from neuronspec.data.store import TokenStore, build_store
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path
from neuronspec.methods.parameter_differentiation.method import ParameterDifferentiation, cluster
from neuronspec.methods.parameter_differentiation.model import BRANCHES_FILE, load_branches
from neuronspec.models.building import count_parameters, initialize
from neuronspec.models.codec import TextCodec
from neuronspec.models.embeddings import tie_embeddings
from neuronspec.models.encoding import encode
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.specialization.routing import dense, unspecialize
from neuronspec.training.checkpoints import STATE_DIRECTORY
from neuronspec.training.journal import LOG_FILE, read_log
from neuronspec.training.loop import TrainingState, train
from neuronspec.training.method import Corpora, Gradients, Method, Resources

TASKS = ("de-en", "en-de", "fr-en", "en-fr")
SYLLABLES = {"de": "ka be zo li mu ra", "en": "pa te so ni ju va", "fr": "xe do gi hu fa qo"}
SMALL: dict[str, Any] = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_layerdrop": 0.0} | {
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
    **{"decoder_layerdrop": 0.0, "max_position_embeddings": 64, "tie_word_embeddings": False},
}
# Validations, at which modules are split, after 2, 4, 6 and 8 updates; clipped, so that the parameters' order counts.
SHORT = {"updates": 8, "validate_every": 2, "checkpoint_every": 1, "learning_rate": 0.01, "max_gradient_norm": 0.5}

Plant = Callable[[int, str], torch.Tensor]


def make(**options: Any) -> ParameterDifferentiation:
    return ParameterDifferentiation(ParameterDifferentiation.Options.model_validate(options))


# Which modules are split


@pytest.fixture
def model() -> PreTrainedModel:
    torch.manual_seed(5)
    return M2M100ForConditionalGeneration(M2M100Config(vocab_size=40, dropout=0.0, **SMALL)).eval()


def attach(model: PreTrainedModel, tasks: Sequence[str] = TASKS, **options: Any) -> ParameterDifferentiation:
    method = make(**options)
    method.attach(model, Resources(tuple(tasks)))
    return method


def noise(task: int, name: str) -> np.random.Generator:
    return np.random.default_rng([task, *name.encode()])


def agreeing(method: ParameterDifferentiation, conflicts: Mapping[str, Sequence[int]], size: float = 1.0) -> Gradients:
    """Gradients of tasks that agree but for noise; in some units those of one group point the opposite way."""

    def gradients() -> Iterator[int]:
        for task in range(len(method.branches.trained)):
            for name, unit in method.branches.units.items():
                for copy in method.branches.copies.get(name, [unit.module]):
                    for key, parameter in copy.named_parameters():
                        common = noise(0, f"{name}.{key}").normal(size=parameter.shape)
                        own = noise(task + 1, f"{name}.{key}").normal(size=parameter.shape)
                        sign = -1 if task in conflicts.get(name, ()) else 1
                        parameter.grad = torch.tensor(size * (sign * common + 0.1 * own), dtype=torch.float32)
            yield task

    return gradients


@pytest.mark.parametrize("size", [1.0, 1e-9])
def test_planted_conflicts_are_split_into_their_groups(model: PreTrainedModel, size: float) -> None:
    """However small the gradients are: only their directions count."""
    conflicts = {"encoder.0.fc2": [1, 3], "decoder.0.encoder_attn.v_proj": [0]}
    method = attach(model)
    before = count_parameters(model)
    assert method.revise(model, agreeing(method, conflicts, size))
    assert method.branches.tables == {"encoder.0.fc2": [0, 1, 0, 1], "decoder.0.encoder_attn.v_proj": [0, 1, 1, 1]}
    assert method.branches.size == before + (32 * 16 + 16) + (16 * 16 + 16)
    assert method.added_modules is method.branches.copied_modules
    assert count_parameters(model) == before


def test_copies_are_split_again_and_one_split_at_a_time_takes_the_worst(model: PreTrainedModel) -> None:
    method = attach(model, splits=1)
    assert method.revise(model, agreeing(method, {"encoder.0.fc2": [1, 3]}))
    assert method.revise(model, agreeing(method, {"encoder.0.fc2": [3]}))
    assert method.branches.tables == {"encoder.0.fc2": [0, 1, 0, 2]}


def naive(method: ParameterDifferentiation, gradients: Gradients) -> list[tuple[float, str, set[frozenset[int]]]]:
    """Score, unit and groups, the highest score first: scipy's distances, and the last merge's two clusters."""
    vectors: dict[str, list[np.ndarray[Any, np.dtype[np.float64]]]] = {name: [] for name in method.branches.units}
    for _ in gradients():
        for name, unit in method.branches.units.items():
            grads = [parameter.grad for parameter in unit.module.parameters()]
            vectors[name].append(np.concatenate([g.double().numpy().ravel() for g in grads if g is not None]))
    found = []
    for name, of_tasks in vectors.items():
        tree = linkage(np.stack(of_tasks), method="average", metric="cosine")
        labels = fcluster(tree, tree[-1, 2] - 1e-9, "distance")
        groups = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}
        found.append((float(tree[-1, 2]), name, groups))
    return sorted(found, key=lambda entry: -entry[0])


def groups(table: Sequence[int]) -> set[frozenset[int]]:
    return {frozenset(n for n, number in enumerate(table) if number == copy) for copy in set(table)}


@pytest.mark.parametrize("tasks", [2, 3, 7])
def test_scores_and_groups_are_those_of_a_naive_computation(model: PreTrainedModel, tasks: int) -> None:
    method = attach(model, [f"x{n}-en" for n in range(tasks)], splits=5)
    generator = np.random.default_rng(2)
    conflicts = {name: np.flatnonzero(generator.random(tasks) < 0.5).tolist() for name in method.branches.units}
    gradients = agreeing(method, conflicts)
    expected = naive(method, gradients)[:5]
    assert method.revise(model, gradients)
    assert {name: groups(table) for name, table in method.branches.tables.items()} == {
        name: split for _, name, split in expected
    }


def test_cluster_on_hard_cases() -> None:
    assert cluster(torch.eye(4))[0] == pytest.approx(1)  # all merges at one height: two groups all the same
    assert cluster(torch.eye(4))[1].any()
    height, others = cluster(torch.tensor([[1.0, 2.0], [-3.0, -6.0]]))
    assert height == pytest.approx(2)
    assert others.tolist() == [False, True]
    assert cluster(torch.ones(3, 5))[0] == pytest.approx(0)
    rng = np.random.default_rng(0)
    for count in (2, 3, 5, 9):
        vectors = rng.normal(size=(count, 6))
        assert cluster(torch.tensor(vectors))[0] == pytest.approx(linkage(vectors, "average", "cosine")[-1, 2])


def test_tasks_without_a_gradient_stay_and_what_is_frozen_is_not_split(model: PreTrainedModel) -> None:
    method = attach(model, splits=1)
    base = agreeing(method, {"encoder.0.fc2": [1, 3], "encoder.0.fc1": [2, 3]})

    def gradients() -> Iterator[int]:
        for task in base():
            for name, unit in method.branches.units.items():
                for parameter in unit.module.parameters():
                    if task == 3:
                        parameter.grad = torch.zeros_like(parameter)
                    if name == "encoder.0.fc2":
                        parameter.grad = None
            yield task

    assert method.revise(model, gradients)
    assert method.branches.tables == {"encoder.0.fc1": [0, 0, 1, 0]}


@pytest.mark.parametrize(("others", "value"), [(0.0, 1.0), (2.0, 1.0)])
def test_where_one_alone_has_a_gradient_or_all_agree_nothing_is_split(
    model: PreTrainedModel, others: float, value: float
) -> None:
    method = attach(model)

    def gradients() -> Iterator[int]:
        for task in range(4):
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
                parameter.grad.view(-1)[0] = others if task else value
            yield task

    assert not method.revise(model, gradients)
    assert not method.branches.tables


def test_a_gradient_that_is_not_finite_is_a_clear_error(model: PreTrainedModel) -> None:
    method = attach(model)

    def gradients() -> Iterator[int]:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, float("nan"))
        yield 1

    with pytest.raises(
        NeuronspecError, match=r"gradient of en-de in encoder\.0\.self_attn\.k_proj is not finite: lower"
    ):
        method.revise(model, gradients)


@pytest.mark.parametrize("room", [-1, 0, 527, 528, 529, 2 * 528 - 1, 2 * 528])
def test_the_upper_bound_is_kept_exactly(model: PreTrainedModel, room: int) -> None:
    """Of two units of 528 parameters that conflict, as many are split as there is room for."""
    conflicts = {"encoder.0.fc2": [1, 3], "decoder.0.fc2": [0, 1]}
    method = attach(model, upper_bound=max(0, room) / count_parameters(model))
    revised = method.revise(model, agreeing(method, conflicts))
    fitting = max(0, room) // 528
    assert (revised, len(method.branches.tables)) == (fitting > 0, fitting)
    assert method.branches.size <= count_parameters(model) + max(0, room)


def test_without_room_no_gradient_is_computed(model: PreTrainedModel) -> None:
    def never() -> Iterator[int]:
        raise AssertionError

    assert not attach(model, upper_bound=0).revise(model, never)
    assert not attach(model, ["de-en"]).revise(model, never)
    assert not attach(model, every=2).revise(model, never)


def test_without_a_bound_every_task_gets_a_model_of_its_own(model: PreTrainedModel) -> None:
    method = attach(model, upper_bound=None, splits=1000)
    count = count_parameters(model)
    while method.revise(model, agreeing(method, {})):
        pass
    units = method.branches.units
    assert not method.branches.shared()
    assert method.branches.size == count + 3 * sum(unit.size for unit in units.values())
    assert all(sorted(table) == [0, 1, 2, 3] for table in method.branches.tables.values())


def test_every_counts_validations_and_the_count_is_kept(model: PreTrainedModel, tmp_path: Path) -> None:
    method = attach(model, every=3)
    conflicts = {"encoder.0.fc2": [1, 3]}
    assert [method.revise(model, agreeing(method, conflicts)) for _ in range(4)] == [False, False, True, False]
    method.save(tmp_path)
    again = attach(model, every=3)
    assert not again.branches.tables
    again.restore(model, tmp_path)
    assert again.branches.tables == method.branches.tables
    assert [again.revise(model, agreeing(again, {})) for _ in range(2)] == [False, True]
    for wrong in (-1, True, "4", None):
        tensors, about = read_raw(tmp_path / BRANCHES_FILE)
        write_raw(tmp_path / BRANCHES_FILE, tensors, about | {"validations": wrong})
        once_more = attach(model)
        with pytest.raises(NeuronspecError, match="the number of validations is"):
            once_more.restore(model, tmp_path)


@pytest.mark.parametrize("options", [{"splits": 0}, {"every": 0}, {"upper_bound": -0.1}, {"bound": 1}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(**options)


# In the loop


class Breaking(BatchDataset):
    """Breaks off after some batches: by an error, or by killing its process."""

    def __init__(self, dataset: BatchDataset, batches: int, kill: bool = False) -> None:
        super().__init__(dataset.store, dataset.tasks)
        self.left, self.kill = batches, kill

    def __getitem__(self, batch: Batch) -> Tensors:
        self.left -= 1
        if self.left < 0:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise InterruptedError
        return super().__getitem__(batch)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `model` (untrained, with dropout, and its tokenizer), `train` and `valid`."""
    directory = tmp_path_factory.mktemp("toy")
    generator = np.random.default_rng(7)
    texts: dict[tuple[str, str], Path] = {}
    for part, lines in (("train", 40), ("valid", 6)):
        for other in ("de", "fr"):
            texts[part, other] = directory / f"{part}.{other}"
            with texts[part, other].open("w", encoding="utf-8") as file:
                for _ in range(lines):
                    drawn = generator.integers(0, 6, generator.integers(2, 7))
                    sides = (" ".join(SYLLABLES[code].split()[n] for n in drawn) for code in (other, "en"))
                    file.write("\t".join(sides) + "\n")
    words = (line for path in texts.values() for line in path.read_text("utf-8").replace("\t", "\n").splitlines())
    tokenizer = learn_vocabulary(words, 72, ["de", "en", "fr"])
    for part in ("train", "valid"):
        pairs = {f"{other}-en": texts[part, other] for other in ("de", "fr")}
        build_store(directory / part, pairs, lambda: lambda lines: encode(tokenizer, "source", lines), len(tokenizer))
    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad", "eos")}
    config = M2M100Config(
        vocab_size=len(tokenizer),
        **(SMALL | {"dropout": 0.1, "decoder_start_token_id": tokenizer.eos_token_id, "embeddings": "separate"}),
        **tokens,
    )
    torch.manual_seed(3)
    start = M2M100ForConditionalGeneration(config)
    tie_embeddings(start)
    initialize(start)
    save_model(start, directory / "model", tokenizer)
    return directory


def corpora_of(toy: Path) -> Corpora:
    tokenizer, config = load_tokenizer(toy / "model"), load_model(toy / "model").config
    tasks = [
        TaskData(task, pair, side, TextCodec(tokenizer, config).format(task))
        for pair in ("de-en", "fr-en")
        for side, task in enumerate((pair, "-".join(pair.split("-")[::-1])))
    ]
    return Corpora(*(BatchDataset(TokenStore(toy / part), tasks) for part in ("train", "valid")))


def run(
    toy: Path,
    out: Path,
    method: Method | None = None,
    break_after: int | None = None,
    kill: bool = False,
    still: bool = False,
    options: dict[str, Any] | None = None,
    **given: Any,
) -> tuple[Path, TrainingState]:
    """Train the toy model; `still` without dropout."""
    torch.set_num_threads(1)
    corpora = corpora_of(toy)
    if break_after is not None:
        corpora = Corpora(Breaking(corpora.train, break_after, kill), corpora.valid)
    model = load_model(toy / "model")
    if still:
        for module in model.modules():
            for name in ("dropout", "attention_dropout", "activation_dropout"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)
    return train(
        model,
        load_tokenizer(toy / "model"),
        corpora,
        method or make(upper_bound=None, **(options or {})),
        Resources(TASKS),
        training=Training.model_validate({"warmup": 0, "schedule": "constant", "select": "last", **SHORT, **given}),
        sampling=Sampling(tokens_per_batch=96),
        directory=out,
        cpu=True,
    )


def fingerprint(out: Path, checkpoint: Path) -> tuple[str, str, str, object]:
    """The hashes of weights, copies and moments, and every loss in the log."""
    losses = [(entry["update"], entry["train"]["loss"], entry["valid"]["loss"]) for entry in read_log(out / LOG_FILE)]
    files = ("model.safetensors", BRANCHES_FILE, f"{STATE_DIRECTORY}/optimizer.safetensors")
    weights, copies, moments = (hash_path(checkpoint / name) for name in files)
    return weights, copies, moments, losses


@pytest.fixture(scope="module")
def uninterrupted(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, str, str, object]]:
    out = tmp_path_factory.mktemp("uninterrupted")
    path, _ = run(toy, out)
    return path, fingerprint(out, path)


def test_a_training_splits_modules_and_leaves_an_ordinary_model(
    toy: Path, uninterrupted: tuple[Path, tuple[str, str, str, object]]
) -> None:
    path, _ = uninterrupted
    model = load_model(path)
    assert model.state_dict().keys() == load_model(toy / "model").state_dict().keys()
    branches = load_branches(model, path)
    assert sum(max(table) for table in branches.tables.values()) >= 6  # two a validation, be it the last or not
    assert branches.trained == TASKS
    earlier = read_raw(path.with_name("checkpoint-000007") / BRANCHES_FILE)[1]["tables"]
    for name, table in earlier.items():  # the others were split when all updates were over
        for one, other in itertools.combinations(branches.copies[name][: max(table) + 1], 2):
            assert not torch.equal(next(one.parameters()), next(other.parameters()))
    inputs = corpora_of(toy).valid[Batch(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 3]))]
    source = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    out = model.generate(**source, tasks=list(TASKS), num_beams=3, max_new_tokens=6)
    assert len(out) == 4
    branches.add_zero_shot(["de-fr"], "en")
    model.generate(**source, tasks=["de-fr"] * 4, num_beams=3, max_new_tokens=6)
    with dense(model):
        expected = model.generate(**source, max_new_tokens=6)
    assert torch.equal(unspecialize(model).generate(**source, max_new_tokens=6), expected)


def test_copies_are_equal_at_the_split_and_differ_an_update_later(toy: Path, tmp_path: Path) -> None:
    run(toy, tmp_path, updates=4, keep_checkpoints=4)
    at, after = (tmp_path / "checkpoints" / f"checkpoint-{update:06d}" for update in (2, 3))
    tensors, about = read_raw(at / BRANCHES_FILE)
    own = load_branches(load_model(at), at)
    assert about["tables"]
    for name in about["tables"]:
        first, second = (module.state_dict() for module in own.copies[name])
        assert all(torch.equal(first[key], second[key]) for key in first)
    later = read_raw(after / BRANCHES_FILE)[0]
    assert later.keys() == tensors.keys() or later.keys() > tensors.keys()
    assert any(not torch.equal(tensors[name], later[name]) for name in tensors)
    assert not load_file(at / STATE_DIRECTORY / "optimizer.safetensors")  # the optimiser has begun anew
    moments = load_file(after / STATE_DIRECTORY / "optimizer.safetensors")
    assert {f"exp_avg.parts.{name}" for name in tensors} & moments.keys()


def test_without_splits_it_is_fine_tuning_to_the_bit(toy: Path, tmp_path: Path) -> None:
    plain, _ = run(toy, tmp_path / "plain", Method())
    for number, method in enumerate((make(every=100), make(upper_bound=0.0))):
        path, _ = run(toy, tmp_path / str(number), method)
        for name in ("model.safetensors", f"{STATE_DIRECTORY}/optimizer.safetensors"):
            assert hash_path(path / name) == hash_path(plain / name)


@pytest.mark.parametrize("batches", [1, 2, 3, 5, 7])
def test_r1_broken_off_around_splits_it_resumes_to_the_same_bits(
    toy: Path, tmp_path: Path, uninterrupted: tuple[Path, tuple[str, str, str, object]], batches: int
) -> None:
    with pytest.raises(InterruptedError):
        run(toy, tmp_path, break_after=batches)
    path, _ = run(toy, tmp_path)
    assert fingerprint(tmp_path, path) == uninterrupted[1]


@pytest.mark.slow
def test_r1_killed_twice_it_resumes_to_the_same_bits_and_counts_on(toy: Path, tmp_path: Path) -> None:
    """With every second validation, the count of which must outlive the process."""
    more: dict[str, Any] = {"options": {"every": 2}, "checkpoint_every": 1}
    path, _ = run(toy, tmp_path / "whole", **more)
    for batches in (3, 2):
        (code,) = launch(toy, tmp_path / "killed", 1, break_after=batches, kill=True, **more)
        assert code == -signal.SIGKILL
    again, _ = run(toy, tmp_path / "killed", **more)
    assert fingerprint(tmp_path / "killed", again) == fingerprint(tmp_path / "whole", path)
    assert sum(max(t) for t in read_raw(path / BRANCHES_FILE)[1]["tables"].values()) in (2, 4)


def test_the_splits_follow_from_the_validation_gradients(toy: Path, tmp_path: Path) -> None:
    """At the first validation of a model that hardly moved: against gradients by the stock forward pass."""
    run(toy, tmp_path, updates=4, learning_rate=1e-30, keep_checkpoints=4)
    path = tmp_path / "checkpoints" / "checkpoint-000002"
    model, valid = load_model(toy / "model").eval(), corpora_of(toy).valid
    method = attach(model)
    unspecialize(model)

    def gradients() -> Iterator[int]:
        for task in range(4):
            model.zero_grad()
            tokens = 0
            for example in range(6):
                one = valid[Batch(np.array([task]), np.array([example]))]
                inputs = {name: tensor for name, tensor in one.items() if name not in ("tasks", "labels")}
                scores = model(**inputs, use_cache=False).logits.transpose(1, 2)
                functional.cross_entropy(
                    scores, one["labels"], ignore_index=IGNORED, reduction="sum", label_smoothing=0.1
                ).backward()  # type: ignore[no-untyped-call]
                tokens += one["labels"].numel()
            for parameter in model.parameters():
                parameter.grad = None if parameter.grad is None else parameter.grad / tokens
            yield task

    expected = {name: split for _, name, split in naive(method, gradients)[:2]}
    found = read_raw(path / BRANCHES_FILE)[1]["tables"]
    assert {name: groups(table) for name, table in found.items()} == expected


def launch(toy: Path, out: Path, processes: int, **given: Any) -> list[int]:
    """Train in processes, joined by gloo where there are several, and return their exit codes."""
    words = [__file__, toy, out, json.dumps(given)]
    path = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")])}
    return [done.returncode for done in call_together(words, env=path, processes=processes)]


@pytest.mark.slow
def test_r2_two_processes_split_the_same_and_learn_the_same(toy: Path, tmp_path: Path) -> None:
    # A large epsilon, since Adam makes a whole step of a gradient that is nothing but rounding.
    more: dict[str, Any] = {"adam_epsilon": 1e-2, "batches_per_update": 4, "still": True}
    path, _ = run(toy, tmp_path / "one", **more)
    assert launch(toy, tmp_path / "two", 2, **more) == [0, 0]
    other = tmp_path / "two" / "checkpoints" / path.name
    (ours, about), (theirs, about_theirs) = (read_raw(place / BRANCHES_FILE) for place in (path, other))
    assert about == about_theirs
    assert len(about["tables"]) > 1
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-5) for name in ours)
    one, two = load_model(path).state_dict(), load_model(other).state_dict()
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-5) for name in one)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), **json.loads(sys.argv[3]))
