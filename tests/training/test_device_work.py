"""Bounds for the work of a device in an update, and for how often it is waited for, which later changes must keep.

A GPU runs behind the program; whatever reads a value of it (`.item()`, `.tolist()`, an index of booleans, a copy to the
CPU) waits until all of its work is done. Here the operations that would do so are counted on a CPU.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import IGNORED, locate_real_tokens
from neuronspec.errors import NeuronspecError
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.transformers_internals import compute_logits, without_reading_padding
from neuronspec.neurons import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization import specialize
from neuronspec.specialization.routing import BatchTasks, TaskRouter
from neuronspec.training import loop, objective
from neuronspec.training.loop import TrainingRun
from neuronspec.training.method import Corpora, Method, Resources

TASKS = ("de-en", "en-de")
GPU = torch.device("cuda")  # only its name is used

# What waits for a GPU: values that are read, and results whose size depends on values.
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique")
# Operations that only describe a tensor anew: they launch nothing.
FREE = {
    *("view", "t", "transpose", "permute", "detach", "unsqueeze", "squeeze", "expand", "alias", "slice", "select"),
    *("_unsafe_view", "split", "unbind", "as_strided", "empty_like", "empty", "new_empty", "lift_fresh"),
}


class DeviceWork(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what a device would have to do within a block, and where the program would wait for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = function._schema.name.partition("::")
        if space == "aten" and name not in FREE:
            self.launches[name] += 1
        by_booleans = name.startswith("index") and any(
            getattr(index, "dtype", None) == torch.bool for index in (args[1] if isinstance(args[1], list) else ())
        )
        if name in WAITING or by_booleans:
            self.waits[name] += 1
        return function(*args, **(kwargs or {}))


class Readings(TorchFunctionMode):
    """Counts calls that read a tensor from Python, which a CPU serves without an operation."""

    NAMES = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "__index__")

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        if name in self.NAMES:
            self.names[name] += 1
        return function(*args, **(kwargs or {}))


class Specialized(Method):
    """Trains with masks of half of the neurons, in batches of both tasks."""

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        draw = torch.Generator().manual_seed(0)
        widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
        masks = {name: torch.rand(width, generator=draw) > 0.5 for name, width in widths.items()}
        specialize(model, NeuronMasks.from_dict(dict.fromkeys(resources.tasks, masks)))


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program behave as on a GPU, although it computes on the CPU."""
    monkeypatch.setattr(objective, "without_reading_padding", lambda device: without_reading_padding(GPU))
    monkeypatch.setattr(TrainingRun, "should_read", property(lambda run: run.state.update % loop.READ_EVERY == 0))
    # Task numbers on a GPU are not checked.
    monkeypatch.setattr(TaskRouter, "_read_tasks", lambda router, tasks, default: BatchTasks(tasks, default=default))


def prepare(method: Method, toy_directory: Path, corpora: Corpora, directory: Path, updates: int) -> TrainingRun:
    """Return a training whose optimizer has its moments, and whose batches are on the device already."""
    run = TrainingRun(
        load_model(toy_directory / "model"),
        load_tokenizer(toy_directory / "model"),
        corpora,
        method,
        Resources(TASKS, seed=1),
        training=Training(updates=100, max_gradient_norm=1.0),
        sampling=Sampling(tokens_per_batch=96),
        directory=directory,
        cpu=True,
        workers=0,
    )
    run.update()
    run.updates = iter(list(itertools.islice(run.updates, updates)))
    return run


# Launches of an update, with some room for other versions of transformers: 319 and 325 with 5.23
METHODS = {"dense": (Method, 335), "masked": (Specialized, 341)}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.usefixtures("on_gpu")
def test_updates_wait_for_a_gpu_only_to_read_their_losses(
    name: str, toy_directory: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    method, most = METHODS[name]
    run = prepare(method(), toy_directory, toy_corpora, tmp_path, updates=loop.READ_EVERY + 2)
    assert len(run.recent.updates) == 0

    # Up to the next reading nothing is read, whatever the batches hold.
    with DeviceWork() as work, Readings() as readings:
        for _ in range(loop.READ_EVERY - 2):
            run.update()
    assert (work.waits, readings.names) == (Counter(), Counter())
    assert sum(work.launches.values()) / (loop.READ_EVERY - 2) <= most

    # Then the losses of all updates are read together.
    with DeviceWork() as work, Readings() as readings:
        run.update()
        run.update()
    assert (work.waits, readings.names) == (Counter(), Counter({"tolist": 1}))
    assert len(run.recent.updates) == loop.READ_EVERY
    assert run.state.train_loss > 0


def test_losses_that_are_read_late_are_those_that_are_read_at_once(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {}
    for every in (1, 7):
        monkeypatch.setattr(loop, "READ_EVERY", every)
        monkeypatch.setattr(TrainingRun, "should_read", property(lambda run: run.state.update % loop.READ_EVERY == 0))
        runs[every] = prepare(Method(), toy_directory, toy_corpora, tmp_path / str(every), updates=13)
        for _ in range(13):
            runs[every].update()
    for one, other in zip(runs[1].recent.updates, runs[7].recent.updates, strict=True):
        assert one[:2] == other[:2]
    assert (runs[1].state.train_loss, runs[1].state.points) == (runs[7].state.train_loss, runs[7].state.points)
    weights = [run.model.state_dict() for run in runs.values()]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_loss_that_is_not_finite_is_found_before_anything_is_saved(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepare(Method(), toy_directory, toy_corpora, tmp_path, updates=3)
    monkeypatch.setattr(run.accelerator.state, "device", GPU)
    reads = [run.should_read]
    run.state.update = run.training.updates  # validated and saved
    reads.append(run.should_read)
    assert reads == [False, True]
    run.unread = [loop._Unread(4, 10, torch.tensor([float("nan"), 0.0]))]
    with pytest.raises(NeuronspecError, match="the loss is nan at update 4"):
        run.read_losses()


def test_masks_of_the_paddings_are_the_same_without_reading_them(toy_directory: Path, toy_corpora: Corpora) -> None:
    model = load_model(toy_directory / "model").eval()
    for batch in itertools.islice(toy_corpora.valid.in_order(96), 3):
        located = locate_real_tokens(batch)
        real = batch["labels"] != IGNORED
        with torch.no_grad():
            expected = compute_logits(model, batch, real)
            with without_reading_padding(GPU):
                found = compute_logits(model, batch, located["real_tokens"])
        torch.testing.assert_close(found, expected)


def test_new_models_attend_with_the_kernels_of_torch(toy_directory: Path) -> None:
    assert load_model(toy_directory / "model").config._attn_implementation == "sdpa"
