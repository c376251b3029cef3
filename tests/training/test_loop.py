"""The training loop: it learns, it repeats itself bit by bit, it survives being killed, processes add up."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.patience import PATIENCE
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec import interruption
from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import IGNORED, BatchDataset, Tensors
from neuronspec.data.sampling import Batch, BatchSampler
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, read_json, write_json
from neuronspec.interruption import REQUESTS, Interrupted
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.training.checkpoints import STATE_DIRECTORY
from neuronspec.training.journal import LOG_FILE, read_log
from neuronspec.training.loop import TrainingState, train
from neuronspec.training.method import Corpora, Method, Resources

TASKS = ("de-en", "en-de")
SAMPLING = Sampling(tokens_per_batch=96)
# Validations at 3, 6 and 8, checkpoints at 2, 4, 6 and with each validation; with dropout, so that chance matters.
SHORT = {"updates": 8, "validate_every": 3, "checkpoint_every": 2, "warmup": 3, "learning_rate": 0.01}
WEIGHTS = "model.safetensors"


class WithoutDropout(Method):
    """Trains without chance, so that only the data decide."""

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        for module in model.modules():
            for name in ("dropout", "attention_dropout"):
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)


class Watched(BatchDataset):
    """Writes down the examples of each batch that is asked for, one line a batch."""

    def __init__(self, dataset: BatchDataset, record: Path) -> None:
        super().__init__(dataset.store, dataset.tasks)
        self.record = record

    def __getitem__(self, batch: Batch) -> Tensors:
        with self.record.open("a", encoding="utf-8") as file:
            file.write(f"{describe(batch)}\n")
        return super().__getitem__(batch)


def describe(batch: Batch) -> str:
    return " ".join(f"{task}:{example}" for task, example in zip(batch.tasks, batch.examples, strict=True))


def run(
    start: Path,
    corpora: Corpora,
    out: Path,
    method: Method | None = None,
    seed: int = 1,
    workers: int = 0,
    **given: Any,
) -> tuple[Path, TrainingState]:
    """Train the toy model in this process."""
    return train(
        load_model(start),
        load_tokenizer(start),
        corpora,
        method or Method(),
        Resources(TASKS, seed=seed),
        training=Training.model_validate({"label_smoothing": 0.0, **SHORT, **given}),
        sampling=SAMPLING,
        directory=out,
        cpu=True,
        workers=workers,
    )


def losses(out: Path) -> list[tuple[int, float, dict[str, float]]]:
    return [(entry["update"], entry["train"]["loss"], entry["valid"]["loss"]) for entry in read_log(out / LOG_FILE)]


def list_points(out: Path) -> list[list[float]]:
    """The points of the training curve: update, loss and learning rate."""
    return [point for entry in read_log(out / LOG_FILE) for point in entry["train"]["points"]]


def fingerprint(out: Path, checkpoint: Path) -> tuple[str, str, object]:
    """The hashes of the weights and of the optimiser's moments, and every loss in the log."""
    return (
        hash_path(checkpoint / WEIGHTS),
        hash_path(checkpoint / STATE_DIRECTORY / "optimizer.safetensors"),
        (losses(out), list_points(out)),
    )


def checkpoints(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


@pytest.fixture
def start(toy_directory: Path) -> Path:
    return toy_directory / "model"


@pytest.fixture(scope="module")
def uninterrupted(
    toy_directory: Path, toy_corpora: Corpora, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, object]:
    out = tmp_path_factory.mktemp("uninterrupted")
    path, _ = run(toy_directory / "model", toy_corpora, out, select="last")
    return fingerprint(out, path)


# Learning


def test_training_reduces_the_loss_of_every_task(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, state = run(start, toy_corpora, tmp_path, updates=90, validate_every=30, learning_rate=0.02, warmup=10)
    logged = losses(tmp_path)
    assert [update for update, _, _ in logged] == [30, 60, 90]
    first, last = logged[0], logged[-1]
    assert last[1] < first[1] - 0.5
    assert set(last[2]) == {*TASKS, "all"}
    assert all(last[2][name] < first[2][name] - 0.3 for name in last[2])
    assert (path.name, state.update, state.finished) == (f"checkpoint-{state.best_update:06d}", 90, True)


def test_the_log_tells_rate_tokens_and_mean_loss(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    _, state = run(start, toy_corpora, tmp_path, WithoutDropout(), learning_rate=1e-30)
    dense = load_model(start).eval()
    lengths = toy_corpora.train.lengths()
    tokens, means = [], []
    for batch in first_batches(toy_corpora, 8):
        tokens.append(sum(int(lengths[t][e, 1]) for t, e in zip(batch.tasks, batch.examples, strict=True)))
        means.append(float(summed_loss(dense, toy_corpora.train[batch]).detach()) / tokens[-1])
    entries = read_log(tmp_path / LOG_FILE)
    assert [entry["train"]["target_tokens"] for entry in entries] == [sum(tokens[:n]) for n in (3, 6, 8)]
    expected = [np.mean(means[:3]), np.mean(means[3:6]), np.mean(means[6:])]
    assert [entry["train"]["loss"] for entry in entries] == pytest.approx(expected, rel=1e-5)
    rates = [1e-30, 1e-30 * (3 / 6) ** 0.5, 1e-30 * (3 / 8) ** 0.5]
    assert [entry["train"]["learning_rate"] for entry in entries] == pytest.approx(rates, rel=1e-6)
    points = list_points(tmp_path)
    assert [update for update, _, _ in points] == [*range(1, 9)]  # few updates: a point for each
    assert [loss for _, loss, _ in points] == pytest.approx(means, rel=1e-5)
    assert [points[update - 1][2] for update in (3, 6, 8)] == pytest.approx(rates, rel=1e-6)
    assert state.target_tokens == sum(tokens)


def test_the_validation_loss_is_the_mean_over_tokens(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    run(start, toy_corpora, tmp_path, learning_rate=1e-30)
    model = load_model(start).eval()
    sums, counts = np.zeros(2), np.zeros(2)
    for number, lengths in enumerate(toy_corpora.valid.lengths()):
        for example in range(len(lengths)):
            one = toy_corpora.valid[Batch(np.array([number]), np.array([example]))]
            sums[number] += float(summed_loss(model, one).detach())
            counts[number] += one["labels"].numel()
    expected = {**dict(zip(TASKS, sums / counts, strict=True)), "all": sums.sum() / counts.sum()}
    assert losses(tmp_path)[0][2] == pytest.approx(expected, rel=1e-5)


def first_batches(corpora: Corpora, count: int) -> list[Batch]:
    """The first training batches, from the public sampler alone."""
    sampler = BatchSampler(
        corpora.train.lengths(), temperature=SAMPLING.temperature, tokens_per_batch=SAMPLING.tokens_per_batch, seed=1
    )
    drawn = sampler.batches()
    return [next(drawn)[0] for _ in range(count)]


def summed_loss(model: PreTrainedModel, tensors: Tensors) -> torch.Tensor:
    """The loss of a batch by the stock forward pass."""
    inputs = {name: tensor for name, tensor in tensors.items() if name not in ("tasks", "labels")}
    logits = model(**inputs, use_cache=False).logits
    return functional.cross_entropy(logits.transpose(1, 2), tensors["labels"], ignore_index=IGNORED, reduction="sum")


@pytest.mark.parametrize("norm", [None, 0.05])
def test_the_batches_of_an_update_count_as_one_batch(
    start: Path, toy_corpora: Corpora, tmp_path: Path, norm: float | None
) -> None:
    """The gradient is that of the mean over all target tokens of the two batches, clipped as a whole."""
    settings: dict[str, Any] = {
        "updates": 1,
        "batches_per_update": 2,
        "warmup": 0,
        "adam_epsilon": 1e-2,
        "max_gradient_norm": norm,
    }
    path, _ = run(start, toy_corpora, tmp_path, WithoutDropout(), **settings)
    model = load_model(start).eval()
    drawn = first_batches(toy_corpora, 2)
    joined = Batch(*(np.concatenate([getattr(b, part) for b in drawn]) for part in ("tasks", "examples")))
    tensors = toy_corpora.train[joined]
    mean = summed_loss(model, tensors) / (tensors["labels"] != IGNORED).sum()
    mean.backward()  # type: ignore[no-untyped-call]
    if norm is not None:
        assert torch.nn.utils.clip_grad_norm_(model.parameters(), norm) > norm
    torch.optim.AdamW(model.parameters(), lr=0.01, betas=(0.9, 0.98), eps=1e-2, weight_decay=0.0).step()
    assert_close(load_model(path), model)


def assert_close(one: PreTrainedModel, other: PreTrainedModel, tolerance: float = 1e-6) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.allclose(tensor, other.state_dict()[name], rtol=0, atol=tolerance), name


# The best checkpoint, and stopping. A rate of 1e-30 changes no weight: after the first validation nothing gets better.


@pytest.mark.parametrize(
    ("select", "keep", "chosen", "kept"),
    [("best", 1, 2, [2, 8]), ("last", 1, 8, [2, 8]), ("best", 3, 2, [2, 4, 6, 8])],
)
def test_early_stopping_keeps_the_best_checkpoint(
    start: Path, toy_corpora: Corpora, tmp_path: Path, select: str, keep: int, chosen: int, kept: list[int]
) -> None:
    settings: dict[str, Any] = {
        "updates": 50,
        "learning_rate": 1e-30,
        "validate_every": 2,
        "checkpoint_every": None,
        "patience": 3,
    }
    path, state = run(start, toy_corpora, tmp_path, select=select, keep_checkpoints=keep, **settings)
    assert path == tmp_path / "checkpoints" / f"checkpoint-{chosen:06d}"
    assert (state.update, state.best_update, state.validations_without_gain) == (8, 2, 3)
    assert checkpoints(tmp_path) == [f"checkpoint-{update:06d}" for update in kept]
    assert [entry["update"] for entry in read_log(tmp_path / LOG_FILE)] == [2, 4, 6, 8]


def test_without_patience_training_goes_to_its_end(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    _, state = run(start, toy_corpora, tmp_path, learning_rate=1e-30, validate_every=1, patience=None)
    assert (state.update, state.validations_without_gain) == (8, 7)


def test_a_checkpoint_loads_as_an_ordinary_model(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, _ = run(start, toy_corpora, tmp_path, select="last")
    assert load_tokenizer(path).get_vocab() == load_tokenizer(start).get_vocab()
    before, after = load_model(start).state_dict(), load_model(path).state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["lm_head.weight"], after["lm_head.weight"])
    assert torch.equal(after["lm_head.weight"], after["model.decoder.embed_tokens.weight"])


# Errors


def test_a_loss_that_is_not_finite_is_a_clear_error(
    toy_model: PreTrainedModel, toy_tokenizer: PreTrainedTokenizerBase, toy_corpora: Corpora, tmp_path: Path
) -> None:
    with torch.no_grad():
        toy_model.get_output_embeddings().weight[5] = float("nan")
    with pytest.raises(NeuronspecError, match=r"the loss is nan at update 1: lower the learning rate"):
        train(
            toy_model,
            toy_tokenizer,
            toy_corpora,
            Method(),
            Resources(TASKS),
            training=Training(updates=4),
            sampling=SAMPLING,
            directory=tmp_path,
            cpu=True,
        )
    assert not (tmp_path / "checkpoints").exists()


def test_weights_that_overflow_are_not_published(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    """The loss of the update that makes them is still finite."""
    with pytest.raises(
        NeuronspecError, match=r"the weights are not finite \(first .*\) at update 1: lower the learning rate \(1e\+38"
    ):
        run(start, toy_corpora, tmp_path, learning_rate=1e38, warmup=0, checkpoint_every=1, weight_decay=0.1)
    assert not (tmp_path / "checkpoints").exists()


def test_moments_that_overflow_are_not_published(
    start: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = torch.optim.AdamW.step

    def poison(self: torch.optim.AdamW, *arguments: Any) -> Any:
        done = step(self, *arguments)
        next(iter(self.state.values()))["exp_avg_sq"].view(-1)[0] = torch.inf
        return done

    monkeypatch.setattr(torch.optim.AdamW, "step", poison)
    with pytest.raises(NeuronspecError, match=r"the optimizer's moments are not finite \(first exp_avg_sq of "):
        run(start, toy_corpora, tmp_path)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("file", [WEIGHTS, f"{STATE_DIRECTORY}/optimizer.safetensors"])
def test_r1_a_poisoned_newest_checkpoint_of_an_earlier_version_is_passed_over(
    file: str, start: Path, toy_corpora: Corpora, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = run(start, toy_corpora, tmp_path, select="last")
    before = fingerprint(tmp_path, path)
    tensors = load_file(path / file)
    next(tensor for tensor in tensors.values() if tensor.numel() > 1).view(-1)[0] = torch.nan
    save_file(tensors, path / file, {"format": "pt"})
    manifest = read_json(path / STATE_DIRECTORY / "manifest.json")
    write_json(path / STATE_DIRECTORY / "manifest.json", manifest | {file: hash_path(path / file)})
    again, _ = run(start, toy_corpora, tmp_path, select="last")
    assert fingerprint(tmp_path, again) == before
    assert f"{path} is not finite" in caplog.text
    assert "trying the one before it" in caplog.text


def test_trackers_get_what_the_log_gets(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(start, toy_corpora, tmp_path, report_to=["tensorboard"])
    (events,) = tmp_path.rglob("events.out.tfevents.*")
    tracked = accumulator.EventAccumulator(str(events))
    tracked.Reload()
    scalars = [(event.step, event.value) for event in tracked.Scalars("valid/loss/de-en")]
    assert [step for step, _ in scalars] == [3, 6, 8]
    assert [value for _, value in scalars] == pytest.approx([loss["de-en"] for _, _, loss in losses(tmp_path)])


def test_a_task_without_fitting_examples_is_named(
    toy_model: PreTrainedModel, toy_tokenizer: PreTrainedTokenizerBase, toy_corpora: Corpora, tmp_path: Path
) -> None:
    tasks = [toy_corpora.train.tasks[0], replace(toy_corpora.train.tasks[1])]
    long = replace(tasks[1].format, source_prefix=(4,) * 97)
    narrow = BatchDataset(toy_corpora.train.store, [tasks[0], replace(tasks[1], format=long)])
    with pytest.raises(NeuronspecError, match="en-de has no training pair"):
        train(
            toy_model,
            toy_tokenizer,
            Corpora(narrow, toy_corpora.valid),
            Method(),
            Resources(TASKS),
            training=Training(),
            sampling=SAMPLING,
            directory=tmp_path,
            cpu=True,
        )


# R1: bit by bit the same, whatever happens


def test_r1_the_same_seed_gives_the_same_bits(
    start: Path, toy_corpora: Corpora, tmp_path: Path, uninterrupted: tuple[str, str, object]
) -> None:
    path, _ = run(start, toy_corpora, tmp_path / "again", select="last")
    assert fingerprint(tmp_path / "again", path) == uninterrupted
    path, _ = run(start, toy_corpora, tmp_path / "other", select="last", seed=2)
    assert fingerprint(tmp_path / "other", path)[0] != uninterrupted[0]


def test_r1_a_finished_training_is_not_done_again(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, state = run(start, toy_corpora, tmp_path, select="last")
    before = fingerprint(tmp_path, path)
    record = tmp_path / "asked"
    watched = Corpora(Watched(toy_corpora.train, record), toy_corpora.valid)
    assert run(start, watched, tmp_path, select="last") == (path, state)
    assert fingerprint(tmp_path, path) == before
    assert not record.exists()


CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["neuronspec.training.loop"])  # imported once, then forked: a process starts at once


def child(start: Path, corpora: Corpora, out: Path, environment: dict[str, str], given: dict[str, Any]) -> None:
    """What a process does: train, and die at the fault point that the environment names."""
    os.environ |= environment
    torch.set_num_threads(1)
    logging.disable()
    die_at = re.compile(environment.get("FAULT", r"(?!)"))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "shutil.rmtree") and die_at.search(
            f"{event} {arguments[0]}"
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    method = WithoutDropout() if "WORLD_SIZE" in environment else None
    try:
        run(start, corpora, out, method, **given)
        if "WORLD_SIZE" in environment:  # one training may follow another in the same group
            run(start, Corpora(corpora.valid, corpora.valid), out / "next", method, **given)
    except Interrupted as stopped:
        sys.exit(128 + stopped.signal_number)
    except NeuronspecError as error:
        (out / f"error.{environment.get('RANK', 0)}").write_text(str(error), encoding="utf-8")


def launch(start: Path, corpora: Corpora, out: Path, environment: dict[str, str], **given: Any) -> ForkServerProcess:
    process = CONTEXT.Process(target=child, args=(start, corpora, out, environment, given))
    process.start()
    return process


def wait(process: ForkServerProcess) -> int:
    """Wait for a process and return its exit code."""
    process.join(timeout=PATIENCE)
    assert process.exitcode is not None, "the process hangs"
    return process.exitcode


# Each pattern names the first file operation (event and path) at which the process is killed.
FAULTS = {
    "before anything": r"os.mkdir .*checkpoints$",
    "before the first checkpoint": r"os.mkdir .*checkpoint-000002\.tmp$",
    "while a model is written": r"open .*checkpoint-000003\..*/config.json$",
    "while a tokenizer is written": r"open .*checkpoint-000004\..*/tokenizer.json$",
    "while the state is written": r"open .*checkpoint-000004\..*state.json\..*tmp$",
    "before the manifest is in place": r"os.rename .*checkpoint-000006\..*manifest.json.*tmp$",
    "before a checkpoint is in place": r"os.rename .*checkpoint-000006\.tmp$",
    "before an old checkpoint loses its name": r"os.rename .*/checkpoint-000002$",
    "before an old checkpoint is removed": r"shutil.rmtree .*checkpoint-000002.del$",
    "while an old checkpoint is removed": r"os.remove (.*/)?model.safetensors$",
    "before a line is logged": r"open .*/log.jsonl$",
    "between the last line of the log and its checkpoint": r"os.mkdir .*checkpoint-000008\.tmp$",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_r1_killed_at_a_fault_point_it_resumes_to_the_same_bits(
    start: Path, toy_corpora: Corpora, tmp_path: Path, uninterrupted: tuple[str, str, object], fault: str
) -> None:
    killed = launch(start, toy_corpora, tmp_path, {"FAULT": fault}, select="last")
    assert wait(killed) == -signal.SIGKILL
    path, _ = run(start, toy_corpora, tmp_path, select="last")
    assert fingerprint(tmp_path, path) == uninterrupted
    assert all(re.fullmatch(r"checkpoint-\d{6}", name) for name in checkpoints(tmp_path))  # nothing left half-written


@pytest.fixture
def dropping(start: Path, tmp_path: Path) -> Path:
    """A model that skips its layers half of the time, as M2M-100 does now and then."""
    path = shutil.copytree(start, tmp_path / "dropping")
    write_json(
        path / "config.json", read_json(path / "config.json") | {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5}
    )
    return path


def test_r1_layers_that_had_no_gradient_yet_resume_as_well(
    dropping: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"checkpoint_every": 1, "select": "last"}
    path, _ = run(dropping, toy_corpora, tmp_path / "whole", **settings)
    killed = launch(dropping, toy_corpora, tmp_path / "killed", {"FAULT": r"os.mkdir .*000002\.tmp$"}, **settings)
    assert wait(killed) == -signal.SIGKILL
    without = load_file(
        tmp_path / "killed" / "checkpoints" / "checkpoint-000001" / STATE_DIRECTORY / "optimizer.safetensors"
    )
    assert len({name.partition(".")[2] for name in without}) < len(list(load_model(dropping).parameters()))
    again, _ = run(dropping, toy_corpora, tmp_path / "killed", **settings)
    assert fingerprint(tmp_path / "killed", again) == fingerprint(tmp_path / "whole", path)


@pytest.mark.parametrize("seed", range(3))
def test_r1_killed_at_random_instants_it_resumes_to_the_same_bits(
    start: Path, toy_corpora: Corpora, tmp_path: Path, uninterrupted: tuple[str, str, object], seed: int
) -> None:
    chance = np.random.default_rng(seed)
    kills = 0
    for attempt in range(4):
        record = tmp_path / f"seen.{attempt}"
        watched = Corpora(Watched(toy_corpora.train, record), toy_corpora.valid)
        process = launch(start, watched, tmp_path, {}, select="last")
        updates = chance.integers(0, 5)
        while process.is_alive() and (len(record.read_bytes().splitlines()) if record.exists() else 0) < updates:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.04))
        process.kill()
        kills += wait(process) == -signal.SIGKILL
    assert kills
    path, _ = run(start, toy_corpora, tmp_path, select="last")
    assert fingerprint(tmp_path, path) == uninterrupted


# R1: asked to stop, it saves first


class Asking(BatchDataset):
    """Sends this process signals when certain batches are asked for, numbered from 1 on."""

    def __init__(self, dataset: BatchDataset, asked: dict[int, list[signal.Signals]]) -> None:
        super().__init__(dataset.store, dataset.tasks)
        self.asked = asked
        self.batches = 0

    def __getitem__(self, batch: Batch) -> Tensors:
        self.batches += 1
        for number in self.asked.get(self.batches, []):
            os.kill(os.getpid(), number)
        return super().__getitem__(batch)


def ask(corpora: Corpora, *asked: tuple[int, signal.Signals]) -> Corpora:
    numbers: dict[int, list[signal.Signals]] = {}
    for batch, number in asked:
        numbers.setdefault(batch, []).append(number)
    return Corpora(Asking(corpora.train, numbers), corpora.valid)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in REQUESTS]


@pytest.mark.parametrize("number", REQUESTS)
@pytest.mark.parametrize("update", [1, 3, 5, 8])
def test_r1_asked_to_stop_it_saves_and_resumes_to_the_same_bits(
    start: Path,
    toy_corpora: Corpora,
    tmp_path: Path,
    uninterrupted: tuple[str, str, object],
    number: signal.Signals,
    update: int,
) -> None:
    before = handlers()
    with pytest.raises(Interrupted, match=f"saved after {update} of 8 updates .*the same command resumes") as stopped:
        run(start, ask(toy_corpora, (update, number)), tmp_path, select="last")
    assert stopped.value.signal_number == number
    assert handlers() == before
    assert checkpoints(tmp_path)[-1] == f"checkpoint-{update:06d}"

    # Each batch is computed once, and nothing tells of the interruption in the end.
    record = tmp_path / "seen"
    watched = Corpora(Watched(toy_corpora.train, record), toy_corpora.valid)
    path, _ = run(start, watched, tmp_path, select="last")
    assert (len(record.read_text("utf-8").splitlines()) if record.exists() else 0) == 8 - update
    assert fingerprint(tmp_path, path) == uninterrupted


def test_r1_a_training_that_is_interrupted_at_every_update_leaves_what_an_undisturbed_one_leaves(
    start: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"checkpoint_every": None, "patience": 2, "learning_rate": 0.3, "keep_checkpoints": 1}
    whole, state = run(start, toy_corpora, tmp_path / "whole", **settings)
    while True:
        try:
            path, again = run(start, ask(toy_corpora, (1, signal.SIGTERM)), tmp_path / "often", **settings)
            break
        except Interrupted:
            scheduled = [name for name in checkpoints(tmp_path / "often") if name[-1] in "368"]
            assert len(checkpoints(tmp_path / "often")) - len(scheduled) <= 1
    assert fingerprint(tmp_path / "often", path) == fingerprint(tmp_path / "whole", whole)
    assert checkpoints(tmp_path / "often") == checkpoints(tmp_path / "whole")
    assert replace(again, seconds=0) == replace(state, seconds=0)


def test_a_request_that_is_sent_twice_is_one_and_a_later_one_stops_at_once(
    start: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = ask(toy_corpora, (3, signal.SIGTERM), (3, signal.SIGTERM))
    with pytest.raises(Interrupted, match="saved after 3"):
        run(start, twice, tmp_path)

    monkeypatch.setattr(interruption, "ONE_REQUEST", -1.0)
    with pytest.raises(Interrupted, match=r"^$"):
        run(start, ask(toy_corpora, (2, signal.SIGTERM), (2, signal.SIGINT)), tmp_path)
    assert checkpoints(tmp_path)[-1] == "checkpoint-000004"  # the second batch was that of update 5


def test_a_signal_that_somebody_else_handles_or_ignores_is_left_to_them(
    start: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    seen: list[int] = []
    before = handlers()
    try:
        signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        corpora = ask(toy_corpora, (2, signal.SIGUSR1), (3, signal.SIGHUP))
        _, state = run(start, corpora, tmp_path)
    finally:
        for number, handler in zip(REQUESTS, before, strict=True):
            signal.signal(number, handler)  # type: ignore[arg-type]
    assert (seen, state.finished) == ([signal.SIGUSR1], True)


def test_outside_of_the_main_thread_signals_are_left_alone(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        _, state = pool.submit(run, start, toy_corpora, tmp_path).result()
    assert state.finished


# R2: the same examples whatever computes them


def test_r2_the_data_do_not_depend_on_the_number_of_workers(
    start: Path, toy_corpora: Corpora, tmp_path: Path, uninterrupted: tuple[str, str, object]
) -> None:
    path, _ = run(start, toy_corpora, tmp_path, select="last", workers=2)
    assert fingerprint(tmp_path, path) == uninterrupted


def test_r2_a_resumed_training_sees_the_examples_that_are_left(
    start: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    record = tmp_path / "seen"
    watched = Corpora(Watched(toy_corpora.train, record), toy_corpora.valid)
    killed = launch(start, watched, tmp_path, {"FAULT": r"os.mkdir .*checkpoint-000006\.tmp$"})
    assert wait(killed) == -signal.SIGKILL
    run(start, watched, tmp_path)
    seen = record.read_text("utf-8").splitlines()
    expected = [describe(batch) for batch in first_batches(toy_corpora, 8)]
    assert seen == [*expected[:6], *expected[4:]]  # 5 and 6 came after the last checkpoint


def launch_group(
    start: Path,
    corpora: Corpora,
    out: Path,
    records: list[Path],
    asked: Sequence[Sequence[tuple[int, signal.Signals]]] = ((), ()),
    **given: Any,
) -> list[int]:
    """Train with one process for each record, joined by gloo, and return their exit codes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"WORLD_SIZE": str(len(records)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        launch(
            start,
            ask(corpora, *asked[rank]) if asked[rank] else Corpora(Watched(corpora.train, record), corpora.valid),
            out,
            {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **given,
        )
        for rank, record in enumerate(records)
    ]
    return [wait(process) for process in processes]


# A large epsilon, since Adam makes a whole step of a gradient that is nothing but rounding.
SMOOTH: dict[str, Any] = {"adam_epsilon": 1e-2, "batches_per_update": 2, "select": "last"}


def test_r2_two_processes_see_the_same_examples_and_learn_the_same(
    start: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    records = [tmp_path / "seen.0", tmp_path / "seen.1"]
    assert launch_group(start, toy_corpora, tmp_path / "two", records, **SMOOTH) == [0, 0]
    path, state = run(start, toy_corpora, tmp_path / "one", WithoutDropout(), **SMOOTH)
    seen = [record.read_text("utf-8").splitlines() for record in records]
    drawn = [describe(batch) for batch in first_batches(toy_corpora, 16)]
    assert [set(pair) for pair in zip(*seen, strict=True)] == [set(drawn[n : n + 2]) for n in range(0, 16, 2)]
    assert_close(load_model(tmp_path / "two" / "checkpoints" / path.name), load_model(path), tolerance=1e-5)
    ours, theirs = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [update for update, _, _ in ours] == [update for update, _, _ in theirs] == [3, 6, 8]
    for (_, ours_train, ours_valid), (_, theirs_train, theirs_valid) in zip(ours, theirs, strict=True):
        assert theirs_train == pytest.approx(ours_train, rel=1e-5)
        assert theirs_valid == pytest.approx(ours_valid, rel=1e-5)
    assert state.update == 8


def test_r1_two_processes_stop_after_the_same_update_although_one_alone_was_asked(
    start: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    records = [tmp_path / "seen.0", tmp_path / "seen.1"]
    assert launch_group(start, toy_corpora, tmp_path / "two", records, **SMOOTH) == [0, 0]
    asked = [[], [(3, signal.SIGTERM)]]
    assert launch_group(start, toy_corpora, tmp_path / "stopped", records, asked, **SMOOTH) == [143, 143]
    assert checkpoints(tmp_path / "stopped")[-1] == "checkpoint-000003"
    assert launch_group(start, toy_corpora, tmp_path / "stopped", records, **SMOOTH) == [0, 0]
    whole, resumed = (
        fingerprint(out, out / "checkpoints" / "checkpoint-000008") for out in (tmp_path / "two", tmp_path / "stopped")
    )
    assert whole == resumed


def test_r2_two_processes_may_drop_different_layers(dropping: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    records = [tmp_path / "seen.0", tmp_path / "seen.1"]
    assert launch_group(dropping, toy_corpora, tmp_path / "two", records, **SMOOTH) == [0, 0]
    assert [update for update, _, _ in losses(tmp_path / "two")] == [3, 6, 8]


def test_r2_batches_must_divide_among_the_processes(start: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    records = [tmp_path / "seen.0", tmp_path / "seen.1"]
    assert launch_group(start, toy_corpora, tmp_path, records, batches_per_update=3) == [0, 0]
    for rank in (0, 1):
        message = (tmp_path / f"error.{rank}").read_text("utf-8")
        assert "train.batches_per_update is 3: it must be a multiple of the 2 processes" in message


# R3: a damaged checkpoint


def test_r3_a_damaged_newest_checkpoint_costs_only_the_updates_since_the_one_before(
    start: Path,
    toy_corpora: Corpora,
    tmp_path: Path,
    uninterrupted: tuple[str, str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path, _ = run(start, toy_corpora, tmp_path, select="last")
    weights = path / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    record = tmp_path / "seen"
    with caplog.at_level(logging.WARNING):
        again, _ = run(start, Corpora(Watched(toy_corpora.train, record), toy_corpora.valid), tmp_path, select="last")
    assert f"{path} is damaged (model.safetensors has changed)" in caplog.text
    assert len(record.read_text("utf-8").splitlines()) == 2  # 7 and 8
    assert fingerprint(tmp_path, again) == uninterrupted
