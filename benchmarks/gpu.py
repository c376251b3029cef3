"""The speed on a GPU: plain transformers, our loop with and without masks, and recording; a tiny form on a CPU.

python -m benchmarks.gpu --write
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from benchmarks.rounds import Times, publish, ratios, say, tabulate
from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import BatchDataset, TaskData, Tensors, collate
from neuronspec.data.sampling import Batch, cut_by_tokens
from neuronspec.data.task_format import TaskFormat
from neuronspec.models.presets import PRESETS
from neuronspec.neurons import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization import specialize
from neuronspec.training.loop import TrainingRun
from neuronspec.training.method import Corpora, Method, Resources

PLAIN, DENSE, MASKED = "plain transformers", "our loop, dense", "our loop, masked, mixed directions"
SHARE_ON = 0.5  # of the neurons, in every mask
# Peak of dense bf16 multiplications in FLOP/s, from the makers' data sheets, by a part of the card's name
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "RTX 4090": 165e12}
TINY = {"preset": "tiny", "vocabulary": 500, "directions": 4, "sentences": 12, "tokens": 256, "updates": 2, "rounds": 1}


class InventedPairs(BatchDataset):
    """Examples of random tokens for a number of directions, with the lengths of ordinary text."""

    def __init__(self, tasks: list[str], pairs: int, vocabulary: int) -> None:
        self.form = TaskFormat(start=2, pad=1, longest_source=None, longest_target=None)
        self.tasks = [TaskData(task, task, 0, self.form) for task in tasks]
        self.vocabulary = vocabulary
        draw = np.random.default_rng(0)
        sources = draw.lognormal(np.log(25), 0.6, (len(tasks), pairs))
        targets = sources * draw.lognormal(0, 0.2, sources.shape)
        self.pairs = np.stack([sources, targets], axis=-1).round().astype(np.int64).clip(3, 120)  # (tasks, pairs, 2)
        self.skips_too_long = False

    def lengths(self) -> list[NDArray[np.int32]]:
        return [lengths.astype(np.int32) for lengths in self.pairs]

    def limit(self, max_tokens: int) -> int:
        return max_tokens

    def _measure(self, task: TaskData) -> NDArray[np.int32]:
        names = [one.name for one in self.tasks]
        return self.lengths()[names.index(task.name)]

    def __getitem__(self, batch: Batch) -> Tensors:
        rows = []
        for task, example in zip(batch.tasks.tolist(), batch.examples.tolist(), strict=True):
            source, target = self.pairs[task, example].tolist()
            ids = np.random.default_rng((task, example)).integers(4, self.vocabulary, size=source + target)
            rows.append((task, self.form, ids[:source], ids[source:]))
        return collate(rows)


def build(preset: str, vocabulary: int) -> PreTrainedModel:
    """Return a preset with random weights, the same each time."""
    torch.manual_seed(0)
    return M2M100ForConditionalGeneration(M2M100Config(vocab_size=vocabulary, **PRESETS[preset].configuration()))


class Halved(Method):
    """Trains with a mask of half of the neurons for each direction."""

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        draw = torch.Generator().manual_seed(0)
        widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
        masks = {
            task: {name: torch.rand(width, generator=draw) < SHARE_ON for name, width in widths.items()}
            for task in resources.tasks
        }
        specialize(model, NeuronMasks.from_dict(masks))


def open_training(options: argparse.Namespace, text: InventedPairs, method: Method, directory: Path) -> TrainingRun:
    """Return a training of our loop."""
    return TrainingRun(
        build(options.preset, options.vocabulary),
        None,  # nothing is saved
        Corpora(text, text),
        method,
        Resources(tuple(task.name for task in text.tasks)),
        training=Training(updates=10**9, validate_every=10**9, label_smoothing=0.1, max_gradient_norm=1.0),
        sampling=Sampling(tokens_per_batch=options.tokens, temperature=1.0, homogeneous=False),
        directory=directory,
        cpu=not torch.cuda.is_available(),
        workers=None,
    )


def run_ours(run: TrainingRun, updates: int) -> int:
    """Make updates; return the number of their target tokens."""
    before = run.state.target_tokens
    for _ in range(updates):
        run.update()
    run.read_losses()
    return run.state.target_tokens - before


class Plain:
    """A training loop as one writes it with transformers, PyTorch's optimizer and autocast."""

    def __init__(self, model: PreTrainedModel, batches: Iterator[list[Tensors]], device: torch.device) -> None:
        self.model, self.batches, self.device = model.to(device).train(), batches, device
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def update(self) -> int:
        """Make an update; return the number of its target tokens."""
        [batch] = next(self.batches)
        tokens = int((batch["labels"] != -100).sum())
        inputs = {name: batch[name].to(self.device, non_blocking=True) for name in batch if name not in NOT_INPUTS}

        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")
        with autocast:
            logits = self.model(**inputs, use_cache=False).logits
            labels = batch["labels"].to(self.device, non_blocking=True)
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=0.1)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return tokens


NOT_INPUTS = ("labels", "tasks", "real_tokens")


def measure_training(options: argparse.Namespace, device: torch.device) -> tuple[Times, float, float]:
    """Return the tokens a second of each contender in each round, the FLOP of a token, and the padding."""
    tasks = [f"x{number}-en" for number in range(options.directions)]
    text = InventedPairs(tasks, pairs=2_000, vocabulary=options.vocabulary)
    with tempfile.TemporaryDirectory() as folder:
        dense = open_training(options, text, Method(), Path(folder, "dense"))
        masked = open_training(options, text, Halved(), Path(folder, "masked"))
        drawn = open_training(options, text, Method(), Path(folder, "batches")).updates
        drawn = itertools.cycle(list(itertools.islice(drawn, max(2, options.updates))))
        plain = Plain(build(options.preset, options.vocabulary), (one.batches for one in drawn), device)

        # The first updates make the optimizers' moments and choose kernels; one of them is counted.
        with FlopCounterMode(display=False) as counter:
            tokens = plain.update()
        contenders: dict[str, Callable[[int], int]] = {
            PLAIN: lambda updates: sum(plain.update() for _ in range(updates)),
            DENSE: lambda updates: run_ours(dense, updates),
            MASKED: lambda updates: run_ours(masked, updates),
        }
        for contender in contenders.values():
            contender(2)

        speeds: Times = {name: [] for name in contenders}
        for number in range(options.rounds):
            for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
                speeds[name].append(measure_speed(contenders[name], options.updates))
            say(f"round {number + 1} of {options.rounds}")
    return speeds, counter.get_total_flops() / tokens, measure_padding(next(drawn).batches)


def measure_speed(contender: Callable[[int], int], updates: int) -> float:
    """Return the target tokens a second."""
    wait()
    started = time.perf_counter()
    tokens = contender(updates)
    wait()
    return tokens / (time.perf_counter() - started)


def measure_padding(batches: list[Tensors]) -> float:
    """Return the share of padding in batches."""
    masks = [batch[name] for batch in batches for name in ("attention_mask", "decoder_attention_mask")]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def wait() -> None:
    """Wait until a GPU has done its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_recording(options: argparse.Namespace, device: torch.device) -> list[float]:
    """Return the seconds that it takes to record all directions, in each round."""
    tasks = [f"x{number}-en" for number in range(options.directions)]
    text = InventedPairs(tasks, pairs=options.sentences, vocabulary=options.vocabulary)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = build(options.preset, options.vocabulary).eval().to(device, dtype)

    seconds = []
    for _ in range(options.rounds):
        wait()
        started = time.perf_counter()
        record_activations(model, list_batches(text, options.tokens), tasks=tasks)
        wait()
        seconds.append(time.perf_counter() - started)
    return seconds


def list_batches(text: InventedPairs, tokens: int) -> Iterator[dict[str, Any]]:
    """Yield all sentences of all directions by length, whatever their direction."""
    pairs = text.pairs.shape[1]
    widths = text.pairs.max(axis=2).ravel()  # (tasks * pairs,)
    order = np.argsort(widths, kind="stable")
    for rows in cut_by_tokens(order, widths[order].tolist(), tokens):
        batch = text[Batch(rows // pairs, rows % pairs)]
        yield {name: tensor for name, tensor in batch.items() if name != "labels"}


def describe(options: argparse.Namespace, found: tuple[Times, float, float], recorded: list[float]) -> list[str]:
    """Return the report."""
    speeds, flops, padding = found
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    peak = options.peak or next((peak for part, peak in PEAKS.items() if part in name), None)
    shape = f"{options.preset}, vocabulary {options.vocabulary:,}, {options.directions} directions"
    kind = "bf16" if torch.cuda.is_available() else "float32"
    tiny = [] if torch.cuda.is_available() else ["No GPU: a tiny form on the CPU, which only shows that it runs.", ""]

    lines = [*tiny, f"Training on one {name} in {kind} ({shape}, batches of {options.tokens:,} tokens):", ""]
    lines += ["| contender | target tokens a second | share of the peak |", "|---|---:|---:|"]
    for contender, values in speeds.items():
        median = float(np.median(values))
        share = f"{100 * median * flops / peak:.1f} %" if peak else "unknown"
        lines.append(f"| {contender} | {median:,.0f} | {share} |")
    lines += [
        "",
        f"FLOP are those of the multiplications of plain transformers' update; {100 * padding:.0f} % padding.",
        "",
    ]
    lines += tabulate("speed relative to our loop, dense", ratios(speeds, DENSE), options.rounds)
    text = f"{options.directions} directions of {options.sentences:,} sentences"
    return [*lines, f"Recording {text}: {float(np.median(recorded)):.1f} s (median of {options.rounds}).", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure training and recording on a GPU.")
    parser.add_argument("--preset", default="mT-big")
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--directions", type=int, default=60)
    parser.add_argument("--sentences", type=int, default=1_997, help="sentences of each direction to record")
    parser.add_argument("--tokens", type=int, default=16_384, help="padded tokens of a batch")
    parser.add_argument("--updates", type=int, default=30, help="updates of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", type=float, help="peak FLOP/s of the card in bf16, for cards that are not known here")
    parser.add_argument("--write", action="store_true", help="write results/gpu.md and .json")
    options = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        say("no GPU was found: this is a tiny form on the CPU, whose numbers are not written")
        vars(options).update(TINY, write=False)

    found = measure_training(options, device)
    recorded = measure_recording(options, device)
    publish("gpu", describe(options, found, recorded), {**found[0], "recording": recorded}, options.write)


if __name__ == "__main__":
    main()
