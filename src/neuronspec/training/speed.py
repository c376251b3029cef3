"""Estimates of what a run takes: time and memory measured on a few real updates, disk computed from sizes."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSeq2SeqLM, M2M100Config, PretrainedConfig, PreTrainedModel

from neuronspec.config.sections import Model, Sampling, Training
from neuronspec.data.batches import BatchDataset, Tensors, collate
from neuronspec.data.sampling import Batch, BatchSampler, Cursor
from neuronspec.data.task_format import TaskFormat
from neuronspec.errors import NeuronspecError
from neuronspec.models.building import build_skeleton, count_parameters
from neuronspec.models.embeddings import count_embeddings, tie_embeddings
from neuronspec.models.length_limits import read_limits
from neuronspec.models.loading import load_configuration
from neuronspec.models.presets import PRESETS
from neuronspec.training.loop import TrainingRun
from neuronspec.training.method import Corpora, Method, Resources
from neuronspec.training.stream import stream_updates

# Bytes of a parameter in float32; training also keeps its gradient and two moments of Adam, a checkpoint the moments.
_WEIGHT = 4
_IN_TRAINING = 4 * _WEIGHT
_IN_CHECKPOINT = 3 * _WEIGHT

# Invented sentences: lengths in tokens as in ordinary text, many short ones and a few long ones
_PAIRS, _MEDIAN, _SPREAD, _SHORTEST = 20_000, 22, 0.6, 3

_FIRST_BATCH = 1_024  # tokens of the first, uncounted update
_POLL = 0.02  # seconds between two looks at the memory


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Time and memory that training takes on this machine.

    Attributes:
        seconds_per_update: Seconds of one update.
        memory: Peak of the memory in bytes: of the device if it is a GPU, otherwise of this process with its libraries.
        parameters: Number of parameters of the model.
        updates: Number of updates that were measured.
        scale: Size of a real update, measured in those that were made; above 1 for models that are too slow to try.
    """

    seconds_per_update: float
    memory: int
    parameters: int
    updates: int
    scale: float = 1.0


def measure_speed(
    model: Model,
    vocabulary: int,
    *,
    training: Training | None = None,
    sampling: Sampling | None = None,
    seconds: float = 20.0,
    cpu: bool = False,
    lengths: NDArray[np.integer] | None = None,
) -> Speed:
    """Measure updates of the real training loop on invented text.

    The numbers are an estimate. The model has the size of the configured one and random weights, and is trained by
    plain fine-tuning; validation, checkpoints and the other stages come on top.

    Args:
        model: Preset, or pretrained model whose configuration is read (not its weights).
        vocabulary: Number of tokens in the vocabulary of a preset's model; a pretrained model has its own.
        training: Settings of the training.
        sampling: Settings for drawing batches.
        seconds: Time to measure for. The first update, which is not counted, and building the model come on top.
        cpu: Whether to stay on the CPU even if there is a GPU.
        lengths: Lengths of real sources and targets in tokens, (pairs, 2), in place of invented ones.

    Raises:
        NeuronspecError: If the model cannot be trained in the memory that is free, or is not found.
    """
    training, sampling = training or Training(), sampling or Sampling()
    config = configure(model, vocabulary)
    parameters = count_model(config)
    _check_memory(parameters, cpu=cpu)

    with _watch_memory(cpu) as watch, tempfile.TemporaryDirectory() as directory:
        built = _build(config)
        text = _InventedText(config, vocabulary, _invent_lengths(sampling) if lengths is None else lengths)
        run = TrainingRun(
            built,
            None,  # nothing is saved
            Corpora(text, text),
            Method(),
            Resources(tasks=("invented",)),
            # A measurement validates, saves and reports nothing.
            training=training.model_copy(update={"report_to": []}),
            sampling=sampling,
            directory=Path(directory),
            cpu=cpu,
            workers=0,
        )
        return _measure(run, text, seconds=seconds, watch=watch, parameters=parameters)


def configure(model: Model, vocabulary: int) -> PretrainedConfig:
    """Return the configuration of a model, without a tokenizer or weights.

    Args:
        model: Preset, or pretrained model.
        vocabulary: Number of tokens in the vocabulary of a preset's model.

    Raises:
        NeuronspecError: If the pretrained model is not found.
    """
    if model.pretrained is not None:
        return load_configuration(model.pretrained, model.revision, translates=True)

    # The configuration has exactly one of the two.
    assert model.preset is not None
    return M2M100Config(
        vocab_size=vocabulary,
        activation_function=model.activation,
        embeddings=model.embeddings,
        tie_word_embeddings=model.embeddings == "shared",
        decoder_start_token_id=2,
        **PRESETS[model.preset].configuration(),
    )


def count_model(config: PretrainedConfig) -> int:
    """Return the number of parameters of a model, without memory for them."""
    return count_parameters(build_skeleton(config))


def estimate_checkpoint(parameters: int) -> int:
    """Return the bytes of a checkpoint: the weights and the optimizer's two moments, in float32.

    Example:
        >>> estimate_checkpoint(1_000_000)
        12000000
    """
    return parameters * _IN_CHECKPOINT


def estimate_disk(parameters: int, trainings: int, *, keep_checkpoints: int = 2) -> int:
    """Return the bytes that the models and checkpoints of a run take.

    Args:
        parameters: Number of parameters of the model.
        trainings: Number of trainings: the model that is specialized, and each method's.
        keep_checkpoints: Number of checkpoints to keep, in addition to the best one.

    Example:
        >>> estimate_disk(1_000_000, 2, keep_checkpoints=2)
        92000000
    """
    # After each training, its checkpoints and its model stay; one more checkpoint is there while it is written.
    kept = (keep_checkpoints + 1) * estimate_checkpoint(parameters)
    model = parameters * _WEIGHT
    return trainings * (kept + model) + estimate_checkpoint(parameters)


def estimate_memory(parameters: int) -> int:
    """Return the bytes that the training of a model needs at least: weights, gradients and moments in float32.

    Example:
        >>> estimate_memory(1_000_000)
        16000000
    """
    return parameters * _IN_TRAINING


def estimate_seconds(seconds_per_update: float, *, updates: int, continued: int = 0, methods: int = 0) -> float:
    """Return the seconds that the trainings of a run take, without validation and the other stages.

    Args:
        seconds_per_update: Seconds of one update.
        updates: Number of updates of the model that is specialized.
        continued: Number of updates of each continued training.
        methods: Number of continued trainings.

    Example:
        >>> estimate_seconds(0.5, updates=1_000, continued=200, methods=3)
        800.0
    """
    return seconds_per_update * (updates + continued * methods)


class _InventedText(BatchDataset):
    """Examples of random tokens with given lengths, in place of those of a token store."""

    def __init__(self, config: PretrainedConfig, vocabulary: int, lengths: NDArray[np.integer]) -> None:
        self.pairs = lengths
        sizes = (count_embeddings(config, "source"), count_embeddings(config, "target"))
        self.vocabulary = min(size or vocabulary for size in sizes)

        # Nothing stands around these texts; the model's positions limit them.
        source, target = read_limits(config)
        pad, start = config.pad_token_id or 0, config.decoder_start_token_id or 0
        self.format = TaskFormat(start=start, pad=pad, longest_source=source, longest_target=target)
        self.generator = np.random.default_rng(0)

    def lengths(self) -> list[NDArray[np.int32]]:
        return [self.pairs.astype(np.int32)]

    def limit(self, max_tokens: int) -> int:
        limits = [max_tokens, self.format.longest_source, self.format.longest_target]
        return min(limit for limit in limits if limit is not None)

    def __getitem__(self, batch: Batch) -> Tensors:
        rows = []
        for source, target in self.pairs[batch.examples].tolist():
            ids = self.generator.integers(self.vocabulary, size=source + target)
            rows.append((0, self.format, ids[:source], ids[source:]))
        return collate(rows)


def _invent_lengths(sampling: Sampling) -> NDArray[np.int64]:
    """Return lengths of sources and targets in tokens, (pairs, 2), as in ordinary text."""
    generator = np.random.default_rng(0)
    sources = generator.lognormal(np.log(_MEDIAN), _SPREAD, _PAIRS)
    targets = sources * generator.lognormal(0, 0.2, _PAIRS)  # translations are about as long

    lengths = np.stack([sources, targets], axis=1).round().astype(np.int64)  # (pairs, 2)
    return lengths.clip(_SHORTEST, min(sampling.max_tokens, sampling.tokens_per_batch))


def _build(config: PretrainedConfig) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config, dtype=torch.float32)
    tie_embeddings(model)
    return model


def _measure(run: TrainingRun, text: _InventedText, *, seconds: float, watch: _MemoryWatch, parameters: int) -> Speed:
    """Return the speed of a training, from one update that is not counted and as many others as there is time for."""
    # The first update is slower than the others, and small: it shows what there is time for.
    tokens = run.sampling.tokens_per_batch
    small = min(tokens, _FIRST_BATCH)
    _feed(run, text, small)
    started = time.monotonic()
    run.update()
    run.read_losses()  # a GPU may not have done the work yet
    first = time.monotonic() - started

    # A whole batch, unless even one would take too long; then its time is scaled from the small one.
    whole = first * tokens / small <= seconds
    if whole and small < tokens:
        _feed(run, text, tokens)

    updates, started = 0, time.monotonic()
    while updates == 0 or time.monotonic() - started < seconds:
        run.update()
        run.read_losses()
        updates += 1
    taken = (time.monotonic() - started) / updates

    # An update may consist of several batches, which need no more memory than one.
    batch_scale = 1.0 if whole else tokens / small
    scale = batch_scale * run.training.batches_per_update / run.accelerator.num_processes
    fixed = estimate_memory(parameters)
    return Speed(
        seconds_per_update=taken * scale,
        memory=round(watch.outside + fixed + max(0, watch.look() - fixed) * batch_scale),
        parameters=parameters,
        updates=updates,
        scale=scale,
    )


def _feed(run: TrainingRun, text: _InventedText, tokens: int) -> None:
    """Let the next updates of a training have one batch of so many tokens each."""
    limit = text.limit(run.sampling.max_tokens)
    sampler = BatchSampler(text.lengths(), temperature=1.0, tokens_per_batch=tokens, max_tokens=limit)
    run.updates = stream_updates(text, sampler, Cursor(), batches_per_update=1, accelerator=run.accelerator, workers=0)


class _MemoryWatch:
    """Watches how much memory is used: of the device if it is a GPU, otherwise of this process, less what was before.

    Args:
        cpu: Whether to stay on the CPU even if there is a GPU.
    """

    def __init__(self, cpu: bool) -> None:
        self.on_gpu = not cpu and torch.cuda.is_available()
        self.process = psutil.Process()
        self.before = self.process.memory_info().rss
        self.peak = 0
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()

    @property
    def outside(self) -> int:
        """Bytes that a training needs in addition: those of the libraries, where the process has them."""
        return 0 if self.on_gpu else self.before

    def look(self) -> int:
        """Return the largest number of bytes so far."""
        used = torch.cuda.max_memory_allocated() if self.on_gpu else self.process.memory_info().rss - self.before
        self.peak = max(self.peak, used)
        return self.peak


@contextlib.contextmanager
def _watch_memory(cpu: bool) -> Iterator[_MemoryWatch]:
    """Watch the memory that a block uses."""
    watch, done = _MemoryWatch(cpu), threading.Event()

    def look_again_and_again() -> None:
        while not done.wait(_POLL):
            watch.look()

    watcher = threading.Thread(target=look_again_and_again, daemon=True)
    watcher.start()
    try:
        yield watch
    finally:
        done.set()
        watcher.join()


def _check_memory(parameters: int, *, cpu: bool) -> None:
    """Refuse a model whose training cannot fit into the memory that is free.

    Raises:
        NeuronspecError: If it cannot.
    """
    on_gpu = not cpu and torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    needed = estimate_memory(parameters)
    if needed > free:
        raise NeuronspecError(
            f"training {parameters / 1e6:,.0f} million parameters needs at least {needed / 1e9:.1f} GB of memory, and "
            f"{free / 1e9:.1f} GB are free: choose a smaller model or a larger machine"
        )
