"""The one training loop, for every method: read it top to bottom."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import IGNORED, BatchDataset, Tensors
from neuronspec.data.sampling import Batch, BatchSampler, Cursor
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS
from neuronspec.libraries import find_library
from neuronspec.models.loading import load_model, save_model
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.processes import join_processes
from neuronspec.progress import show_progress
from neuronspec.training.checkpoints import Checkpoints, optimizer_tensors, restore_optimizer
from neuronspec.training.journal import Journal
from neuronspec.training.method import Corpora, Method, Resources
from neuronspec.training.objective import TranslationLoss, token_losses
from neuronspec.training.schedule import learning_rate

logger = logging.getLogger(__name__)
PARTS = "parts"  # what a method trains beside the model, in the names of the optimiser's state


@dataclass
class State:
    """Where a training is: with the weights and the optimiser's moments, all that a checkpoint needs (R1)."""

    update: int = 0
    round: int = 0
    batch: int = 0
    target_tokens: int = 0
    seconds: float = 0.0
    train_loss: float = 0.0
    best_loss: float | None = None
    best_update: int = 0
    validations_without_gain: int = 0
    finished: bool = False


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    corpora: Corpora,
    method: Method,
    resources: Resources,
    *,
    training: Training,
    sampling: Sampling,
    directory: Path,
    title: str = "training",
    cpu: bool = False,
    workers: int = 0,
) -> tuple[Path, State]:
    """Train a model with a method, or go on where an earlier run of the same training stopped.

    Args:
        model: changed in place.
        tokenizer: saved with every checkpoint.
        corpora: what to train and validate on.
        method: how.
        resources: what the method may use.
        training: the budget, the optimiser, the schedule.
        sampling: how batches are drawn.
        directory: of the checkpoints and the log.
        title: for the progress bar.
        cpu: stay on the CPU even where there is a GPU.
        workers: processes that build batches; the data do not depend on it (R2).

    Returns:
        The directory of the checkpoint that `train.select` asks for, and the final state.

    Raises:
        NeuronspecError: a direction has no examples, the loss is not finite, or the disk is full.
    """
    run = _Run(model, tokenizer, corpora, method, resources, training, sampling, directory, cpu, workers)
    with show_progress(title, training.updates, run.state.update) as advance:
        while not run.state.finished:
            loss = run.update()
            validating = run.state.update % training.validate_every == 0 or run.state.update == training.updates
            if validating:
                run.validate()
            if validating or run.state.update % (training.checkpoint_every or training.validate_every) == 0:
                run.save()
            advance(note=f"loss {loss:.2f}")
    return run.finish()


class _Run:
    """A training under way: what `train` was given, the prepared objective and optimiser, and the state."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        corpora: Corpora,
        method: Method,
        resources: Resources,
        training: Training,
        sampling: Sampling,
        directory: Path,
        cpu: bool,
        workers: int,
    ) -> None:
        self.model, self.tokenizer, self.corpora, self.method = model, tokenizer, corpora, method
        self.training, self.sampling, self.seed = training, sampling, resources.seed
        # The accelerator decides on the device and joins processes; each update has the same batches on any number.
        self.accelerator = _make_accelerator(model, training, directory, cpu, method)
        sampler = BatchSampler(
            corpora.train.lengths(),
            temperature=sampling.temperature,
            tokens_per_batch=sampling.tokens_per_batch,
            homogeneous=sampling.homogeneous,
            max_tokens=corpora.train.limit(sampling.max_tokens),
            seed=resources.seed,
            names=resources.tasks,
        )
        # Resume: weights first, since the method and the optimiser take hold of the parameters.
        self.checkpoints = Checkpoints(directory / "checkpoints", training.keep_checkpoints)
        self.state = State()
        if found := self.checkpoints.newest(report=logger.warning):
            model.load_state_dict(load_model(found[0]).state_dict())
            self.state = State(**found[2])
            logger.info("going on after %d of %d updates", self.state.update, training.updates)
        method.attach(model, resources)
        if found:
            method.restore(model, found[0])
        self.prepare()
        if found:
            restore_optimizer(self.optimizer, self.names, found[1])
        self.journal = Journal(directory, self.state.update, self.accelerator)
        self.stream = _updates(corpora.train, sampler, self.state, training, self.accelerator, workers)

    def prepare(self) -> None:
        """Make the objective and the optimiser of the parameters that there are."""
        training, parts = self.training, self.method.parts
        named = dict(self.model.named_parameters())
        if parts is not None:
            named |= {f"{PARTS}.{name}": parameter for name, parameter in parts.named_parameters()}
        self.names = {parameter: name for name, parameter in named.items() if parameter.requires_grad}
        optimizer = torch.optim.AdamW(
            self.names,
            lr=0.0,
            betas=training.adam_betas,
            eps=training.adam_epsilon,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self.method.watch(self.model, optimizer)
        self.plain = TranslationLoss(self.model, training.label_smoothing, parts)
        self.objective, self.optimizer = self.accelerator.prepare(self.plain, optimizer)

    def update(self) -> float:
        """Make one update and return the loss per target token, in nats."""
        state, accelerator, training = self.state, self.accelerator, self.training
        started = time.monotonic()
        batches, tokens, cursor = next(self.stream)
        # Everything random in an update follows from its number: there is no random state to keep.
        set_seed(_seed(self.seed, state.update, accelerator.process_index))
        self.objective.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(state.update, training)
        total = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.objective):
                loss = self.objective(_to(batch, accelerator.device))
                # The mean over all target tokens of the update; DDP averages over processes.
                accelerator.backward(loss * (accelerator.num_processes / tokens))
            total += loss.detach()
        if training.max_gradient_norm is not None:
            accelerator.clip_grad_norm_(self.objective.parameters(), training.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        loss_per_token = float(accelerator.reduce(total, "sum")) / tokens
        _finite(loss_per_token, "loss", state.update + 1, training)
        state.update += 1
        state.round, state.batch = cursor.round, cursor.batch
        state.target_tokens += tokens
        state.train_loss += loss_per_token
        state.seconds += time.monotonic() - started
        return loss_per_token

    def validate(self) -> None:
        """Measure the loss of each task on the validation text, log it, and decide whether to stop."""
        state, training = self.state, self.training
        last = state.update >= training.updates  # what is new then would never be trained
        if self.method.revises and not last:
            started = time.monotonic()
            if self.method.revise(self.model, self.task_gradients):
                self.accelerator.free_memory(self.objective, self.optimizer)
                self.prepare()
            state.seconds += time.monotonic() - started
        losses = validate_tasks(self.model, self.corpora.valid, self.accelerator, self.sampling.tokens_per_batch)
        loss = _finite(losses["all"], "validation loss", state.update, training)
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_update, state.validations_without_gain = loss, state.update, 0
        else:
            state.validations_without_gain += 1
        out_of_patience = training.patience is not None and state.validations_without_gain >= training.patience
        state.finished = out_of_patience or state.update >= training.updates
        self.journal.write(state.update, _entry(state, losses, training))
        state.train_loss = 0.0

    def task_gradients(self) -> Iterator[int]:
        """Yield the number of each task, while the parameters hold the gradient of its mean validation loss."""
        valid, accelerator = self.corpora.valid, self.accelerator
        self.model.eval()
        for number in range(len(valid.tasks)):
            for parameter in self.names:
                parameter.grad = None
            tokens = 0
            batches = valid.in_order(self.sampling.tokens_per_batch, number)
            for place, batch in enumerate(batches):
                tokens += int((batch["labels"] != IGNORED).sum())
                if place % accelerator.num_processes == accelerator.process_index:
                    # Not through DDP: each process adds up its batches, and the sums are added up below.
                    accelerator.backward(self.plain(_to(batch, accelerator.device)))
            for parameter in self.names:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad = accelerator.reduce(parameter.grad, "sum") / max(1, tokens)
            yield number
        self.optimizer.zero_grad()

    def save(self) -> None:
        """Publish a checkpoint."""

        def write_model(path: Path) -> None:
            save_model(self.model, path, self.tokenizer)
            self.method.save(path)

        self._check_finite()
        if self.accelerator.is_main_process:
            moments = optimizer_tensors(self.optimizer, self.names)
            self.checkpoints.save(self.state.update, write_model, moments, asdict(self.state))
        self.accelerator.wait_for_everyone()

    def _check_finite(self) -> None:
        """Refuse to publish what the next start could not go on from: a finite loss may still have made it."""
        weights = {name: parameter for parameter, name in self.names.items()}
        moments = {
            f"{moment} of {self.names[parameter]}": value
            for parameter, state in self.optimizer.state.items()
            for moment, value in state.items()
        }
        for kind, named in (("weights", weights), ("optimizer's moments", moments)):
            if bad := find_nonfinite(named.items()):
                raise _diverged(f"the {kind} are not finite (first {bad[0]})", self.state.update, self.training)

    def finish(self) -> tuple[Path, State]:
        """Close the trackers; return the checkpoint that was asked for, and the state."""
        for tracker in self.accelerator.trackers:  # not end_training: it takes apart the processes' group, still in use
            tracker.finish()
        self.accelerator.wait_for_everyone()
        chosen = self.state.best_update if self.training.select == "best" else self.state.update
        return self.checkpoints.verify(chosen), self.state


def validate_tasks(
    model: PreTrainedModel, valid: BatchDataset, accelerator: Accelerator | None, tokens_per_batch: int
) -> dict[str, float]:
    """Return the negative log-likelihood per target token of each task, and of all tokens together as `all`.

    Args:
        model: put into evaluation mode.
        valid: the examples.
        accelerator: divides the batches among processes; None: this process alone measures.
        tokens_per_batch: padded tokens of a batch.

    Returns:
        Nats per token.
    """
    model.eval()
    count = len(valid.tasks)
    device = model.device if accelerator is None else accelerator.device
    first, step = (0, 1) if accelerator is None else (accelerator.process_index, accelerator.num_processes)
    sums = torch.zeros(2, count, dtype=torch.float64, device=device)
    for batch in itertools.islice(valid.in_order(tokens_per_batch), first, None, step):
        on_device = _to(batch, device)
        losses, tokens = token_losses(model, on_device)
        sums[0].index_add_(0, on_device["tasks"], losses)
        sums[1].index_add_(0, on_device["tasks"], tokens.double())
    losses, tokens = (sums if accelerator is None else accelerator.reduce(sums, "sum")).cpu()
    by_task = {task.name: float(losses[n] / tokens[n]) for n, task in enumerate(valid.tasks) if tokens[n]}
    return by_task | {"all": float(losses.sum() / tokens.sum())}


def _make_accelerator(
    model: PreTrainedModel, training: Training, directory: Path, cpu: bool, method: Method
) -> Accelerator:
    for name in training.report_to:
        find_library(name, "train.report_to", "tracking" if name == "tensorboard" else "")
    # LayerDrop (M2M-100 has it), and parts of tasks that a batch lacks, leave parameters without a gradient.
    unused = method.routes or any(getattr(model.config, f"{stack}_layerdrop", 0) for stack in STACKS)
    joined = join_processes(cpu)
    accelerator = Accelerator(
        cpu=joined.device.type == "cpu",
        mixed_precision=_precision(training.precision, cpu),
        log_with=training.report_to or None,
        project_dir=directory,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused)],
    )
    if training.batches_per_update % accelerator.num_processes:
        raise NeuronspecError(
            f"train.batches_per_update is {training.batches_per_update}: it must be a multiple of the "
            f"{accelerator.num_processes} processes"
        )
    if training.report_to:
        accelerator.init_trackers("neuronspec")
    return accelerator


def _updates(
    dataset: BatchDataset,
    sampler: BatchSampler,
    state: State,
    training: Training,
    accelerator: Accelerator,
    workers: int,
) -> Iterator[tuple[list[Tensors], int, Cursor]]:
    """Yield, for each update, this process's batches, the target tokens of all processes', and the next cursor."""
    mine = slice(accelerator.process_index, None, accelerator.num_processes)

    def plan() -> Iterator[tuple[list[Batch], int, Cursor]]:
        batches = sampler.batches(Cursor(state.round, state.batch))
        while True:
            drawn, cursors = zip(*itertools.islice(batches, training.batches_per_update), strict=True)
            tokens = sum(
                int(sampler.lengths[task][example, 1])
                for batch in drawn
                for task, example in zip(batch.tasks, batch.examples, strict=True)
            )
            yield list(drawn[mine]), tokens, cursors[-1]

    ahead, behind = itertools.tee(plan())
    loader = DataLoader(dataset, sampler=_Flat(ahead), batch_size=None, num_workers=workers)
    tensors = iter(loader)
    for drawn, tokens, cursor in behind:
        yield [next(tensors) for _ in drawn], tokens, cursor


class _Flat:
    """The batches of a plan one after the other, as the sampler of a `DataLoader`."""

    def __init__(self, plan: Iterator[tuple[list[Batch], int, Cursor]]) -> None:
        self.plan = plan

    def __iter__(self) -> Iterator[Batch]:
        for batches, _, _ in self.plan:
            yield from batches


def _finite(number: float, what: str, update: int, training: Training) -> float:
    if not math.isfinite(number):
        raise _diverged(f"the {what} is {number}", update, training)
    return number


def _diverged(found: str, update: int, training: Training) -> NeuronspecError:
    """Return the error of a training that has diverged: nothing of it is published, so that it can be mended."""
    rate = learning_rate(max(0, update - 1), training)
    return NeuronspecError(
        f"{found} at update {update}: lower the learning rate ({rate:.2g} there, {training.learning_rate:g} at its "
        "peak), lengthen the warm-up, or set max_gradient_norm; the checkpoints before it are whole, and this one was "
        "not saved"
    )


def _entry(state: State, losses: dict[str, float], training: Training) -> dict[str, object]:
    since = state.update % training.validate_every or training.validate_every
    return {
        "train": {
            "loss": state.train_loss / since,
            "learning_rate": learning_rate(state.update - 1, training),
            "target_tokens": state.target_tokens,
            "target_tokens_per_second": round(state.target_tokens / max(state.seconds, 1e-9), 1),
        },
        "valid": {"loss": losses},
    }


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _precision(precision: str, cpu: bool) -> str:
    if precision == "auto":
        usable = not cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return "bf16" if usable else "no"
    return {"bf16": "bf16", "fp32": "no"}[precision]


def _to(batch: Tensors, device: torch.device) -> Tensors:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
