"""The speed of the training loop in target tokens per CPU-second, compared with the Seq2SeqTrainer of transformers.

    make bench                                                    # a few minutes
    OMP_NUM_THREADS=1 python -m benchmarks.training_loop --rounds 4 --write

Every contender starts from the same weights of the demo's model and trains on the same examples of the demo's text:
those that our loop draws for `--updates` updates. The Trainer batches them in its own way, for the same number of
updates. The contenders take turns, and each round gives one ratio; benchmarks/README.md lists what is equal for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.models.m2m_100.modeling_m2m_100 import shift_tokens_right

from benchmarks.rounds import describe_machine
from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.data.batches import IGNORED, BatchDataset, TaskData, Tensors
from neuronspec.data.quickstart import MEMBERS, fetch_text
from neuronspec.data.sampling import Batch
from neuronspec.data.store import TokenStore
from neuronspec.data.texts import assign_pairs
from neuronspec.files import write_json, write_text
from neuronspec.methods import make_method
from neuronspec.models.building import build_model
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_tokenizer
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stages import prepare
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources

RESULTS = Path(__file__).parent / "results" / "training_loop"
WARM_UP = 10  # updates before the clock starts
OURS, MASKED = "neuronspec, fine_tune", "neuronspec, neuron_specialization"
RANDOM, GROUPED = "Seq2SeqTrainer, random batches", "Seq2SeqTrainer, grouped by length"
COMPARISONS = {"ours / random": (OURS, RANDOM), "ours / grouped": (OURS, GROUPED), "masked / dense": (MASKED, OURS)}


@dataclass
class Meter:
    """Records the CPU time at the start of each update, and the tokens of each batch."""

    starts: list[float] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    real: list[int] = field(default_factory=list)
    padded: list[int] = field(default_factory=list)

    def start(self) -> None:
        self.starts.append(time.process_time())

    def count(self, batch: Tensors) -> Tensors:
        self.targets.append(int((batch["labels"] != IGNORED).sum()))
        self.real.append(self.targets[-1] + int(batch["attention_mask"].sum()))
        self.padded.append(batch["labels"].numel() + batch["input_ids"].numel())
        return batch

    def summary(self) -> dict[str, float]:
        """Return the speed from the end of the warm-up to the start of the last update, and the average batch."""
        seconds = self.starts[-1] - self.starts[WARM_UP]
        return {
            "target_tokens_per_cpu_second": sum(self.targets[WARM_UP : len(self.starts) - 1]) / seconds,
            "updates": len(self.starts),
            "target_tokens_per_update": statistics.mean(self.targets),
            "padding": 1 - sum(self.real) / sum(self.padded),
        }


class MeteredDataset(BatchDataset):
    """Our training data with a meter: the loop asks for one batch at the start of each update."""

    def __init__(self, store: TokenStore, tasks: Sequence[TaskData]) -> None:
        super().__init__(store, tasks)
        self.meter = Meter()
        self.drawn: list[Batch] = []

    def __getitem__(self, batch: Batch) -> Tensors:
        self.meter.start()
        self.drawn.append(batch)
        return self.meter.count(super().__getitem__(batch))

    def examples(self) -> list[dict[str, list[int]]]:
        """Return the sentence pairs drawn so far, in the form that the Trainer needs."""
        return [
            {
                "input_ids": task.format.source(self.store.sequence(task.pair, task.source_side, number).tolist()),
                "labels": task.format.labels(self.store.sequence(task.pair, 1 - task.source_side, number).tolist()),
            }
            for batch in self.drawn
            for task, number in zip((self.tasks[task] for task in batch.tasks), batch.examples.tolist(), strict=True)
        ]


class UpdateStarts(TrainerCallback):  # type: ignore[misc]
    def __init__(self, meter: Meter) -> None:
        self.meter = meter

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.meter.start()


@dataclass
class Bench:
    """Settings that all contenders share."""

    config: Config
    layout: Layout
    tokenizer: PreTrainedTokenizerBase
    examples: list[dict[str, list[int]]] = field(default_factory=list)

    def model(self) -> PreTrainedModel:
        assert self.config.model.preset is not None
        return build_model(self.config.model.preset, self.tokenizer, dropout=0.0, seed=self.config.seed)

    def run_loop(self, method: str) -> Meter:
        """Train with our loop; its only validation comes after the clock is last read."""
        config, model = self.config, self.model()
        tasks = [
            TaskData(task, pair, side, TextCodec(self.tokenizer, model.config).format(task))
            for task, (pair, side) in assign_pairs(config.directions(), config.pivot).items()
        ]
        data = MeteredDataset(TokenStore(self.layout.tokens("train")), tasks)
        valid = BatchDataset(TokenStore(self.layout.tokens("valid")), tasks)
        torch.manual_seed(config.seed)
        # Which neurons the masks hold does not change the speed: half of them, at random.
        masks = {layer.name: torch.rand(len(tasks), layer.width) < 0.5 for layer in find_ffn_layers(model)}
        with tempfile.TemporaryDirectory() as folder:
            train(
                *(model, self.tokenizer, Corpora(data, valid), make_method(method)),
                Resources(tuple(config.directions()), masks=NeuronMasks(config.directions(), masks), seed=config.seed),
                training=config.train,
                sampling=config.sampling,
                directory=Path(folder),
                title=method,
                cpu=True,
            )
        self.examples = self.examples or data.examples()
        return data.meter

    def run_trainer(self, strategy: str) -> Meter:
        """Train with the Seq2SeqTrainer of transformers, for one epoch of the examples that our loop drew."""
        model, meter, training = self.model(), Meter(), self.config.train
        pad_rows = DataCollatorForSeq2Seq(self.tokenizer)

        def collate(rows: list[dict[str, list[int]]]) -> Tensors:
            batch: Tensors = meter.count(pad_rows(rows))
            # With label smoothing, the Trainer does not pass the labels to the model, and M2M-100 has no function with
            # which the collator could derive the decoder's input from them.
            start = model.config.decoder_start_token_id
            batch["decoder_input_ids"] = shift_tokens_right(batch["labels"], model.config.pad_token_id, start)
            return batch

        with tempfile.TemporaryDirectory() as folder:
            arguments = Seq2SeqTrainingArguments(
                folder,
                train_sampling_strategy=strategy,
                per_device_train_batch_size=round(len(self.examples) / training.updates),
                num_train_epochs=1,
                learning_rate=training.learning_rate,
                lr_scheduler_type="constant_with_warmup",
                warmup_steps=training.warmup,
                adam_beta1=training.adam_betas[0],
                adam_beta2=training.adam_betas[1],
                adam_epsilon=training.adam_epsilon,
                weight_decay=training.weight_decay,
                max_grad_norm=training.max_gradient_norm or 0.0,
                label_smoothing_factor=training.label_smoothing,
                seed=self.config.seed,
                use_cpu=True,
                dataloader_pin_memory=False,
                **{"logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True},
            )
            trainer = Seq2SeqTrainer(
                model,
                arguments,
                data_collator=collate,
                train_dataset=self.examples,
                processing_class=self.tokenizer,
                callbacks=[UpdateStarts(meter)],
            )
            trainer.remove_callback(PrinterCallback)  # it prints to stdout, where the table goes
            trainer.train()
        return meter


def run_rounds(bench: Bench, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run the contenders in turns; return one summary per round for each of them."""
    contenders: dict[str, Callable[[], Meter]] = {
        OURS: lambda: bench.run_loop("fine_tune"),  # first, because it draws the examples
        MASKED: lambda: bench.run_loop("neuron_specialization"),
        RANDOM: lambda: bench.run_trainer("random"),
        GROUPED: lambda: bench.run_trainer("group_by_length"),
    }
    summaries: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        # Every second round goes backwards, so that no contender always follows the same one.
        for name, run in list(contenders.items())[:: 1 if number % 2 == 0 else -1]:
            summaries[name].append(run().summary())
            speed = summaries[name][-1]["target_tokens_per_cpu_second"]
            print(f"round {number + 1}/{rounds}: {name}: {speed:.0f} target tokens per CPU-second", file=sys.stderr)
    return summaries


def compare(summaries: dict[str, list[dict[str, float]]]) -> dict[str, list[float]]:
    """Return, for each comparison, the ratio of the speeds in each round."""
    speeds = {name: [run["target_tokens_per_cpu_second"] for run in runs] for name, runs in summaries.items()}
    return {
        title: [one / other for one, other in zip(speeds[first], speeds[second], strict=True)]
        for title, (first, second) in COMPARISONS.items()
    }


def format_report(summaries: dict[str, list[dict[str, float]]], machine: dict[str, str], rounds: int) -> str:
    """Return the result as Markdown."""
    lines = [
        "| contender | target tokens per CPU-second | updates | target tokens per update | padding |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, runs in summaries.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        lines.append(
            f"| {name} | {middle['target_tokens_per_cpu_second']:,.0f} | {middle['updates']:.0f} "
            f"| {middle['target_tokens_per_update']:.0f} | {middle['padding']:.0%} |"
        )
    lines += ["", f"| ratio of speeds | median of {rounds} rounds | range |", "|---|---:|---:|"]
    for title, ratios in compare(summaries).items():
        lines.append(f"| {title} | {statistics.median(ratios):.2f} | {min(ratios):.2f} .. {max(ratios):.2f} |")
    return "\n".join([*lines, "", "; ".join(f"{key} {value}" for key, value in machine.items())]) + "\n"


@contextmanager
def prepared(out: Path | None, updates: int, unfiltered: bool) -> Iterator[Bench]:
    """Prepare the demo's text, in `out` or in a temporary directory."""
    corpus = {"path": f"{fetch_text()}!{MEMBERS}", "format": "catalog"}
    length = [f"train.updates={updates}", f"train.validate_every={updates}"]
    length += ["prepare.max_words=null", "prepare.drop_matching=null"] if unfiltered else []
    config = load_config("demo", [f"data.train={json.dumps([corpus])}", *length])
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(out or Path(folder))
        if not layout.tokens("valid").is_dir():
            prepare.execute(Run(config))
        yield Bench(config, layout, load_tokenizer(layout.vocabulary))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the training loop with transformers' Seq2SeqTrainer.")
    parser.add_argument("--updates", type=int, default=200, help="updates of each contender in each round")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds")
    parser.add_argument("--out", type=Path, help="directory that keeps the prepared text for the next time")
    parser.add_argument(
        "--unfiltered", action="store_true", help="use all sentences of the catalogs, not only those of 3 to 12 words"
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}.md and .json to results/")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    if options.updates <= WARM_UP + 1:
        parser.error(f"--updates must be more than {WARM_UP + 1}: the first {WARM_UP} are not timed")
    torch.set_num_threads(1)
    with prepared(options.out, options.updates, options.unfiltered) as bench:
        summaries = run_rounds(bench, options.rounds)
    machine = describe_machine()
    report = format_report(summaries, machine, options.rounds)
    print(report)
    if options.write:
        results = RESULTS.with_name(f"{RESULTS.name}{'_unfiltered' if options.unfiltered else ''}")
        write_text(results.with_suffix(".md"), report)
        ratios = compare(summaries)
        write_json(results.with_suffix(".json"), {"machine": machine, "ratios": ratios, "runs": summaries})


if __name__ == "__main__":
    main()
