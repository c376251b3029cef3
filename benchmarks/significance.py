"""The cost of paired approximate randomization, compared with sacrebleu's command line (`--paired-ar`).

OMP_NUM_THREADS=1 python -m benchmarks.significance --rounds 7 --write
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import sacrebleu.sacrebleu

from benchmarks.rounds import Times, publish, ratios, say, tabulate, take_turns
from neuronspec.data.streams import read_lines
from neuronspec.evaluation import sacrebleu_metrics
from neuronspec.evaluation.metrics import METRICS
from neuronspec.statistics.numbers import FloatArray
from neuronspec.statistics.paired import paired_approximate_randomization

OURS, THEIRS, ONE = "ours", "sacrebleu's command line", "the same with 1 trial"
TRIALS, THEIR_TRIALS = "ours, the trials alone", "sacrebleu's, the trials alone"
ARGUMENTS = {"bleu": ["-m", "bleu"], "chrf": ["-m", "chrf", "--chrf-word-order", "2"]}
SYSTEMS = {"baseline": 0.40, "system": 0.385}  # share of words that each system gets wrong


def write_texts(directory: Path, sentences: int) -> dict[str, Path]:
    """Write generated references, and the outputs of two systems that garble them, to files."""
    draw = random.Random(0)
    letters = "etaoinshrdlu"
    vocabulary = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5_000)]
    weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
    references = [draw.choices(vocabulary, weights, k=draw.randint(5, 45)) for _ in range(sentences)]
    texts = {"references": references}
    for name, share in SYSTEMS.items():
        texts[name] = [
            [draw.choices(vocabulary, weights)[0] if draw.random() < share else word for word in words]
            for words in references
        ]
    paths = {name: directory / name for name in texts}
    for name, lines in texts.items():
        paths[name].write_text("".join(" ".join(line) + ".\n" for line in lines), encoding="utf-8")
    return paths


def count(paths: dict[str, Path], name: str) -> list[FloatArray]:
    """Return the statistics of both systems."""
    references = list(read_lines(paths["references"]))
    return [METRICS[name].statistics(list(read_lines(paths[system])), references, "en") for system in SYSTEMS]


def run_ours(rows: list[FloatArray], name: str, trials: int) -> float:
    """Return the p-value of our test."""
    return paired_approximate_randomization(rows[0], rows[1], METRICS[name].score, trials).p_value


def run_theirs(paths: dict[str, Path], name: str, trials: int) -> float:
    """Return the p-value of sacrebleu's command line, run in this process: its start is not timed."""
    command = ["sacrebleu", str(paths["references"]), "-i", *(str(paths[system]) for system in SYSTEMS)]
    command += ["--paired-ar", "--paired-ar-n", str(trials), *ARGUMENTS[name], "-f", "json", "--no-color", "--quiet"]
    with tempfile.TemporaryFile() as printed:
        # It opens its streams by number and closes them, so it gets numbers of its own.
        fake_in = SimpleNamespace(fileno=lambda: os.open(os.devnull, os.O_RDONLY))
        fake_out = SimpleNamespace(fileno=lambda: os.dup(printed.fileno()))
        with mock.patch.multiple(sys, argv=command, stdin=fake_in, stdout=fake_out):
            sacrebleu.sacrebleu.main()
            sys.stdout.flush()
        printed.seek(0)
        tested = json.load(printed)[1]
    return float(next(value["p_value"] for key, value in tested.items() if key != "system"))


def compare(paths: dict[str, Path], name: str, trials: int, rounds: int) -> tuple[dict[str, Times], str]:
    """Return the ratios of one metric, of all the work and of the trials alone, and what both say."""
    metric, rows = METRICS[name].name, count(paths, name)
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: run_ours(count(paths, name), name, trials),
        TRIALS: lambda: run_ours(rows, name, trials),
        THEIRS: lambda: run_theirs(paths, name, trials),
        ONE: lambda: run_theirs(paths, name, 1),
    }
    say(f"{metric}: {rounds} rounds")
    # Each round counts the references once, as sacrebleu does.
    times = take_turns(contenders, rounds, {OURS: sacrebleu_metrics._count_references.cache_clear})
    # sacrebleu reads, counts and tests in one go; what it takes with one trial is the reading and counting.
    times[THEIR_TRIALS] = [whole - one for whole, one in zip(times[THEIRS], times[ONE], strict=True)]
    found = {
        f"{metric}, from files to p-value": ratios({key: times[key] for key in (OURS, THEIRS, ONE)}, OURS),
        f"{metric}, trials": ratios({key: times[key] for key in (TRIALS, THEIR_TRIALS)}, TRIALS),
    }
    mine, theirs = run_ours(rows, name, trials), run_theirs(paths, name, trials)
    return found, f"{metric}: p = {mine:.4f} here, {theirs:.4f} by sacrebleu."


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of a significance test.")
    parser.add_argument("--sentences", type=int, default=2_000)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/significance.md and .json")
    options = parser.parse_args()
    lines = [
        f"Time of a paired approximate randomization test relative to ours: {options.trials:,} trials on "
        f"{options.sentences:,} generated sentences. Both count the references only once for the two systems.",
        "",
    ]
    found: dict[str, Times] = {}
    said: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        paths = write_texts(Path(directory), options.sentences)
        for name in ARGUMENTS:
            of_metric, sentence = compare(paths, name, options.trials, options.rounds)
            found |= of_metric
            said.append(sentence)
    for title, one in found.items():
        lines += tabulate(title, one, options.rounds)
    publish("significance", [*lines, " ".join(said), ""], found, options.write)


if __name__ == "__main__":
    main()
