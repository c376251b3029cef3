"""The one training loop, for every method: read it from top to bottom."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGTERM

import numpy as np
import torch
from accelerate.utils import set_seed
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.sampling import BatchSampler, Cursor
from neuronspec.errors import NeuronspecError
from neuronspec.interruption import Interrupted, StopRequest, postponed_signals
from neuronspec.models.loading import load_model, save_model
from neuronspec.models.nonfinite import find_nonfinite
from neuronspec.progress import show_progress
from neuronspec.training.accelerator import make_accelerator
from neuronspec.training.checkpoints import Checkpoints, optimizer_tensors, restore_optimizer
from neuronspec.training.journal import Journal
from neuronspec.training.method import Corpora, Method, Resources
from neuronspec.training.objective import TranslationLoss
from neuronspec.training.recent_updates import RecentUpdates
from neuronspec.training.schedule import learning_rate
from neuronspec.training.stored_state import check_state
from neuronspec.training.stream import stream_updates
from neuronspec.training.validation import iterate_task_gradients, move_batch, validate_tasks

logger = logging.getLogger(__name__)
ADDED_PREFIX = "parts"  # of the names of a method's added modules in the optimizer's state
CURVE_POINTS = 200  # about: of a whole training, whatever its number of updates
READ_EVERY = 10  # updates: on a GPU, reading a loss waits for all work before it
STOPPING = "stopping: this update is finished and saved first; interrupt again to stop at once"


@dataclass
class TrainingState:
    """Training progress; with weights and optimizer state, all that a checkpoint needs (R1)."""

    update: int = 0  # updates made
    round: int = 0  # position in the data, with `batch`: see `Cursor`
    batch: int = 0
    target_tokens: int = 0  # trained on, in all processes
    seconds: float = 0.0  # spent on updates and revisions, not on validation
    train_loss: float = 0.0  # sum of the updates' losses per token since the last validation
    point_loss: float = 0.0  # the same sum since the last point of the training curve
    points: list[list[float]] = field(default_factory=list)  # [update, loss, learning rate] since the last validation
    best_loss: float | None = None  # lowest validation loss of all tokens
    best_update: int = 0
    validations_without_gain: int = 0
    finished: bool = False


@dataclass
class _Unread:
    """An update whose loss has not been read from the device yet.

    Attributes:
        update: Number of the update, 1 for the first.
        tokens: Number of its target tokens.
        sums: (2,) its summed loss, and the number of processes that were asked to stop.
        seconds: Seconds that it took here.
    """

    update: int
    tokens: int
    sums: torch.Tensor
    seconds: float = 0.0


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
    workers: int | None = None,
) -> tuple[Path, TrainingState]:
    """Train a model with a method, or resume from the latest checkpoint of the same training.

    Args:
        model: Model to train in place.
        tokenizer: Tokenizer that is saved with every checkpoint.
        corpora: Training and validation examples.
        method: Training method.
        resources: Masks, seed and other things that the method can use.
        training: Budget, optimizer and schedule.
        sampling: Settings for drawing batches.
        directory: Directory for the checkpoints and the log.
        title: Title of the progress bar.
        cpu: Whether to stay on the CPU even if there is a GPU.
        workers: Number of processes that build batches ahead of the model, by default one for a GPU and none for a CPU;
            the data do not depend on it (R2).

    Returns:
        The directory of the checkpoint that `train.select` asks for, and the final state.

    Raises:
        NeuronspecError: If a direction has no examples, the loss is not finite, or the disk is full.
        Interrupted: After a checkpoint, if a signal asked to stop: Ctrl-C, or what schedulers send.
    """
    run = TrainingRun(
        model,
        tokenizer,
        corpora,
        method,
        resources,
        training=training,
        sampling=sampling,
        directory=directory,
        cpu=cpu,
        workers=workers,
    )

    # The whole of training: update, validate now and then, save now and then, and before stopping.
    with (
        postponed_signals(STOPPING) as run.stop_request,
        show_progress(title, training.updates, run.state.update) as advance,
    ):
        while not run.state.finished:
            run.update()
            if run.should_validate:
                run.validate()
            if run.should_save or run.must_stop:
                run.save()
            advance(note=str(run.recent))
            if run.must_stop:
                raise run.interruption(title)
    return run.finish()


class TrainingRun:
    """A training run: the arguments of `train`, the prepared objective and optimizer, and the state."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        corpora: Corpora,
        method: Method,
        resources: Resources,
        *,
        training: Training,
        sampling: Sampling,
        directory: Path,
        cpu: bool,
        workers: int | None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.corpora, self.method = corpora, method
        self.training, self.sampling = training, sampling
        self.seed = resources.seed

        # The accelerator chooses the device and connects processes; an update has the same batches on any number.
        self.accelerator = make_accelerator(model, training, directory, cpu=cpu, unused_parameters=method.routes)
        sampler = BatchSampler(
            corpora.train.lengths(),
            temperature=sampling.temperature,
            tokens_per_batch=sampling.tokens_per_batch,
            homogeneous=sampling.homogeneous,
            max_tokens=corpora.train.limit(sampling.max_tokens),
            seed=resources.seed,
            names=resources.tasks,
        )

        # Resume: the weights first, because the method and the optimizer refer to the parameters.
        self.checkpoints = Checkpoints(
            directory / "checkpoints", training.keep_checkpoints, self.is_scheduled, check_state
        )
        self.state = TrainingState()
        if found := self.checkpoints.newest(report=logger.warning):
            model.load_state_dict(load_model(found[0]).state_dict())
            self.state = TrainingState(**found[2])
            logger.info("resuming after %d of %d updates", self.state.update, training.updates)

        # The method adds its modules, then loads them; the optimizer needs them all.
        method.attach(model, resources)
        if found:
            method.restore(model, found[0])
        self.prepare()
        if found:
            restore_optimizer(self.optimizer, self.names, found[1])

        # What the progress bar shows
        self.recent = RecentUpdates()

        # Whether this process was asked to stop, and whether any was, as all know since losses were read last
        self.stop_request = StopRequest()
        self.must_stop = False
        self.unread: list[_Unread] = []

        # The log and the data continue where the checkpoint was made.
        self.journal = Journal(directory, self.state.update, self.accelerator)
        self.updates = stream_updates(
            corpora.train,
            sampler,
            Cursor(self.state.round, self.state.batch),
            batches_per_update=training.batches_per_update,
            accelerator=self.accelerator,
            workers=workers,
        )

    def prepare(self) -> None:
        """Make the objective, and the optimizer of the current parameters."""
        training, added = self.training, self.method.added_modules
        # The names of the parameters in the optimizer's saved state
        named = dict(self.model.named_parameters())
        if added is not None:
            named |= {f"{ADDED_PREFIX}.{name}": parameter for name, parameter in added.named_parameters()}
        self.names = {parameter: name for name, parameter in named.items() if parameter.requires_grad}

        # The learning rate is set before each update.
        optimizer = torch.optim.AdamW(
            self.names,
            lr=0.0,
            betas=training.adam_betas,
            eps=training.adam_epsilon,
            weight_decay=training.weight_decay,
            fused=True,
        )

        # Before the optimizer is wrapped: hooks belong on the one that steps.
        self.method.watch(self.model, optimizer)
        self.plain_objective = TranslationLoss(self.model, training.label_smoothing, added)
        self.objective, self.optimizer = self.accelerator.prepare(self.plain_objective, optimizer)

    def update(self) -> None:
        """Make one update. On a GPU, its loss is read later, with those of the updates after it."""
        state, accelerator, training = self.state, self.accelerator, self.training
        started = time.monotonic()
        batches, tokens, cursor = next(self.updates)

        # Everything random in an update follows from its number, so that no random state needs to be saved.
        set_seed(_derive_seed(self.seed, state.update, accelerator.process_index))
        self.objective.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(state.update, training)

        # Forward and backward passes; gradients are exchanged with the last batch only.
        total = torch.zeros((), device=accelerator.device)
        for number, batch in enumerate(batches):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.objective):
                loss = self.objective(move_batch(batch, accelerator.device))
                # The mean over all target tokens of the update; DDP averages over processes.
                accelerator.backward(loss * (accelerator.num_processes / tokens))
            total += loss.detach()

        # One step for all batches.
        if training.max_gradient_norm is not None:
            accelerator.clip_grad_norm_(self.objective.parameters(), training.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()

        # Each process has summed up its own batches only. With the sum travels who was asked to stop, so that all
        # processes stop after the same update.
        asked = torch.full_like(total, self.stop_request.signal_number is not None)
        sums = accelerator.reduce(torch.stack([total, asked]), "sum")  # (2,)

        # The state after this update.
        state.update += 1
        state.round, state.batch = cursor.round, cursor.batch
        state.target_tokens += tokens
        made = _Unread(state.update, tokens, sums)
        self.unread.append(made)

        # Reading is part of the time: it waits until the device has done the work.
        losses = self.read_losses() if self.should_read else []
        made.seconds = time.monotonic() - started
        state.seconds += made.seconds
        for read, loss_per_token in losses:
            self.recent.add(loss_per_token, tokens=read.tokens, seconds=read.seconds)

    @property
    def should_read(self) -> bool:
        """Whether to read losses after the update that was just made; the same in all processes."""
        # A CPU has done the work already. A process alone need not wait to stop.
        at_hand = self.accelerator.device.type == "cpu" or self.state.update % READ_EVERY == 0
        asked = self.accelerator.num_processes == 1 and self.stop_request.signal_number is not None
        return at_hand or asked or self.should_validate or self.should_save

    def read_losses(self) -> list[tuple[_Unread, float]]:
        """Read the losses of the updates since the last reading, and return them per target token, in nats."""
        losses: list[tuple[_Unread, float]] = []
        if not self.unread:
            return losses

        rows = torch.stack([one.sums for one in self.unread]).tolist()  # waits for the device, once
        for one, (loss_sum, number_asked) in zip(self.unread, rows, strict=True):
            loss_per_token: float = loss_sum / one.tokens
            self.must_stop = number_asked > 0
            _check_loss(loss_per_token, "loss", update=one.update, training=self.training)

            self.state.train_loss += loss_per_token
            self.add_to_curve(loss_per_token, one.update)
            losses.append((one, loss_per_token))

        self.unread = []
        return losses

    def add_to_curve(self, loss_per_token: float, update: int) -> None:
        """Let the loss of an update enter the training curve, whose points are means over the updates between them."""
        state, budget = self.state, self.training.updates
        every = math.ceil(budget / CURVE_POINTS)
        state.point_loss += loss_per_token

        # The last interval may be shorter
        if update % every == 0 or update == budget:
            mean = state.point_loss / (update % every or every)
            state.points.append([update, mean, learning_rate(update - 1, self.training)])
            state.point_loss = 0.0

    @property
    def is_last(self) -> bool:
        """Whether all updates of the budget are done."""
        return self.state.update >= self.training.updates

    @property
    def should_validate(self) -> bool:
        """Whether to validate after the update that was just made."""
        return self.is_validated(self.state.update)

    @property
    def should_save(self) -> bool:
        """Whether to save a checkpoint after the update that was just made."""
        return self.is_scheduled(self.state.update)

    def is_validated(self, update: int) -> bool:
        """Return whether there is a validation after an update."""
        return update % self.training.validate_every == 0 or update == self.training.updates

    def is_scheduled(self, update: int) -> bool:
        """Return whether there is a checkpoint after an update even if nobody interrupts."""
        save_every = self.training.checkpoint_every or self.training.validate_every
        return self.is_validated(update) or update % save_every == 0

    def interruption(self, title: str) -> Interrupted:
        """Return the error that ends an interrupted training, whose checkpoint was just saved."""
        # Of several processes, one may know of the signal only through another.
        number = self.stop_request.signal_number or SIGTERM
        done = f"{self.state.update} of {self.training.updates} updates"
        return Interrupted(f"saved after {done} ({title}); the same command resumes there", number)

    def validate(self) -> None:
        """Measure the loss of each task on the validation text, log it, and decide whether to stop."""
        state, training = self.state, self.training
        if self.method.revises and not self.is_last:  # otherwise what is new would never be trained
            self.revise()

        # Measure, and compare with the best validation so far.
        losses = validate_tasks(
            self.model,
            self.corpora.valid,
            accelerator=self.accelerator,
            tokens_per_batch=self.sampling.tokens_per_batch,
        )

        loss = losses["all"]
        _check_loss(loss, "validation loss", update=state.update, training=training)
        if state.best_loss is None or loss < state.best_loss:
            state.best_loss, state.best_update, state.validations_without_gain = loss, state.update, 0
        else:
            state.validations_without_gain += 1

        # Stop, if there is no gain or no budget left.
        out_of_patience = training.patience is not None and state.validations_without_gain >= training.patience
        state.finished = out_of_patience or self.is_last

        # The log gets the mean since the last entry; then the sum begins again.
        self.journal.write(state.update, _make_log_entry(state, losses, training))
        state.train_loss, state.points = 0.0, []

    def revise(self) -> None:
        """Let the method change the parameters; then the optimizer starts again."""
        started = time.monotonic()
        if self.method.revise(self.model, self.task_gradients):
            # The accelerator must forget the old objective and optimizer, which hold the old parameters.
            self.accelerator.free_memory(self.objective, self.optimizer)
            self.prepare()
        self.state.seconds += time.monotonic() - started

    def task_gradients(self) -> Iterator[int]:
        """Yield the number of each task, while the parameters hold the gradient of its mean validation loss."""
        self.model.eval()
        yield from iterate_task_gradients(
            self.plain_objective,
            self.names,
            self.corpora.valid,
            accelerator=self.accelerator,
            tokens_per_batch=self.sampling.tokens_per_batch,
        )

        # These gradients must not reach the next update.
        self.optimizer.zero_grad()

    def save(self) -> None:
        """Publish a checkpoint."""

        def write_model(path: Path) -> None:
            save_model(self.model, path, self.tokenizer)
            self.method.save(path)

        # In every process, so that none waits for one that has stopped
        self._check_finite()
        if self.accelerator.is_main_process:
            moments = optimizer_tensors(self.optimizer, self.names)
            self.checkpoints.save(self.state.update, write_model, optimizer=moments, state=asdict(self.state))
        self.accelerator.wait_for_everyone()

    def _check_finite(self) -> None:
        """Refuse to publish weights or moments that are not finite, even if the loss was finite."""
        # The loss is that of the weights before the update; the update itself may have spoiled them.
        weights = {name: parameter for parameter, name in self.names.items()}
        if bad := find_nonfinite(weights.items()):
            raise _diverged(f"the weights are not finite (first {bad[0]})", self.state.update, self.training)

        moments = {}
        for parameter, state in self.optimizer.state.items():
            for moment, value in state.items():
                moments[f"{moment} of {self.names[parameter]}"] = value
        if bad := find_nonfinite(moments.items()):
            raise _diverged(
                f"the optimizer's moments are not finite (first {bad[0]})", self.state.update, self.training
            )

    def finish(self) -> tuple[Path, TrainingState]:
        """Close the trackers; return the checkpoint that `train.select` asks for, and the state."""
        # Not `end_training`, which would destroy the process group while it is still used.
        for tracker in self.accelerator.trackers:
            tracker.finish()
        self.accelerator.wait_for_everyone()
        # After the wait, the checkpoint is complete for every process.
        chosen = self.state.best_update if self.training.select == "best" else self.state.update
        return self.checkpoints.verify(chosen), self.state


def _check_loss(loss: float, name: str, *, update: int, training: Training) -> None:
    if not math.isfinite(loss):
        raise _diverged(f"the {name} is {loss}", update, training)


def _diverged(found: str, update: int, training: Training) -> NeuronspecError:
    """Return the error of a training that has diverged; its last state is not published, so that it can resume."""
    rate = learning_rate(max(0, update - 1), training)
    return NeuronspecError(
        f"{found} at update {update}: lower the learning rate ({rate:.2g} there, {training.learning_rate:g} at its "
        "peak), lengthen the warm-up, or set max_gradient_norm; the checkpoints before it are whole, and this one was "
        "not saved"
    )


def _make_log_entry(state: TrainingState, losses: dict[str, float], training: Training) -> dict[str, object]:
    # The loss is summed up since the last validation; the last one of a run may come after fewer updates.
    updates_since = state.update % training.validate_every or training.validate_every
    return {
        "train": {
            "loss": state.train_loss / updates_since,
            "learning_rate": learning_rate(state.update - 1, training),
            "target_tokens": state.target_tokens,
            "target_tokens_per_second": round(state.target_tokens / max(state.seconds, 1e-9), 1),
            "points": state.points,
        },
        "valid": {"loss": losses},
    }


def _derive_seed(*numbers: int) -> int:
    # Numbers that differ by one give seeds that have nothing in common.
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
