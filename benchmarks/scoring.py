"""The time from files of translations to p-values for a grid of directions, compared with sacrebleu's command line.

python -m benchmarks.scoring --write
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rounds import Times, publish, ratios, say, tabulate

LANGUAGES = (
    *("af", "am", "ar", "be", "bg", "bn", "bs", "cs", "da", "de", "es", "fr", "gu", "ha", "he", "hi", "is", "it"),
    *("kn", "lb", "mr", "mt", "ne", "nl", "oc", "pl", "pt", "ro", "ru", "sv"),
)  # so that 30 languages to and from English are 60 directions
SYSTEMS = {"base": 0.40, "ours": 0.385}  # share of words that each system gets wrong
THEIRS, THEIRS_AT_ONCE = "sacrebleu, one direction after the other", "sacrebleu, two directions at a time"
OURS, ONLY_SCORES = "score and compare", "score --no-quality and compare"
LETTERS = "etaoinshrdlu"


def write_grid(folder: Path, languages: Sequence[str], sentences: int) -> list[str]:
    """Write generated references, and the outputs of two systems that garble them; return the directions."""
    for language in ("en", *languages):
        draw = random.Random(language)
        words = ["".join(draw.choices(LETTERS, k=draw.randint(2, 9))) for _ in range(5_000)]
        weights = [1 / (rank + 1) for rank in range(len(words))]
        text = [draw.choices(words, weights, k=draw.randint(5, 45)) for _ in range(sentences)]
        write_lines(folder / f"refs.{language}", text)

        # The outputs of every direction into the language differ.
        for source in ["en"] if language != "en" else languages:
            for system, share in SYSTEMS.items():
                noise = iter(draw.choices(words, weights, k=100 * sentences))
                garbled = [[next(noise) if draw.random() < share else word for word in line] for line in text]
                write_lines(folder / system / f"{source}-{language}", garbled)
    return sorted(path.name for path in (folder / "base").iterdir())


def write_lines(path: Path, text: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(" ".join(line) + ".\n" for line in text), encoding="utf-8")


def write_commands(folder: Path, tasks: Sequence[str]) -> None:
    """Write a shell script with sacrebleu's command for each direction."""
    program = f"{sys.executable} -m sacrebleu"
    options = "--paired-bs -m bleu chrf --chrf-word-order 2 -w 4 -f text --no-color --quiet"
    lines = [f"{program} refs.{task[3:]} -i base/{task} ours/{task} {options} > printed.{task}" for task in tasks]
    (folder / "commands.sh").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(command: str, folder: Path, cores: int) -> tuple[float, float]:
    """Run a shell command on some cores; return the seconds that passed and those of CPU time."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        preexec_fn=lambda: os.sched_setaffinity(0, chosen),
    )
    passed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def name_commands() -> dict[str, str]:
    """Return the shell command of each contender."""
    ours = f"{sys.executable} -m neuronspec -q"
    score = f"rm -rf scores && {ours} score -t '{{system}}/{{task}}' -r 'refs.{{tgt}}' --out scores"
    compare = f"&& {ours} compare scores --baseline base --format json > tables.json"
    return {
        THEIRS: "sh commands.sh",
        THEIRS_AT_ONCE: "xargs -P 2 -I LINE sh -c LINE < commands.sh",
        OURS: f"{score} {compare}",
        ONLY_SCORES: f"{score} --no-quality {compare}",
    }


def measure(folder: Path, cores: int, rounds: int) -> tuple[Times, Times]:
    """Return the seconds that passed and the CPU seconds of each contender in each round, in turn."""
    commands = name_commands()
    if cores == 1:
        del commands[THEIRS_AT_ONCE]  # which would only be slower
    passed: Times = {name: [] for name in commands}
    used: Times = {name: [] for name in commands}
    for number in range(rounds):
        for name in list(commands)[:: 1 if number % 2 == 0 else -1]:
            seconds, cpu = run(commands[name], folder, cores)
            say(f"{cores} cores, {name}: {seconds:.1f} s, {cpu:.1f} s of CPU time")
            passed[name].append(seconds)
            used[name].append(cpu)
    return passed, used


def read_theirs(path: Path) -> list[tuple[float, float, float]]:
    """Return the scores of both systems and the p-value of each metric, as sacrebleu prints them."""
    text = path.read_text(encoding="utf-8")
    scores = [float(found) for found in re.findall(r"(\d+\.\d+) \(\d+\.\d+ ±", text)]
    values = [float(found) for found in re.findall(r"\(p = (\d+\.\d+)\)", text)]
    return [(scores[place], scores[place + 2], values[place]) for place in range(2)]


def check_equal(folder: Path, tasks: Sequence[str]) -> str:
    """Return a sentence about the differences between both; the numbers are those of the last run of each."""
    from neuronspec.comparison.study import compare_study, make_study
    from neuronspec.evaluation.results import Results

    study = compare_study(make_study(Results.load(folder / "scores"), "base", correction="none"))
    equal, alike, tests = 0, 0, 0
    for task in tasks:
        for metric, (base, ours, p_value) in zip(
            ("BLEU", "chrF++"), read_theirs(folder / f"printed.{task}"), strict=True
        ):
            found = [study.results.score(system, metric, [task]) for system in SYSTEMS]
            equal += all(abs(one - other) < 6e-5 for one, other in zip(found, (base, ours), strict=True))
            test = study.comparison("ours", metric, task)
            assert test is not None
            alike += (test.p_value < 0.05) == (p_value < 0.05)
            tests += 1
    return (
        f"{equal} of {tests} pairs of scores are equal to the four decimals that sacrebleu prints; the two tests agree "
        f"on p < 0.05 in {alike} of {tests} (ours: approximate randomization with 10,000 trials; sacrebleu: paired "
        "bootstrap with 1,000 samples)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure scoring and comparing a grid of directions.")
    parser.add_argument("--languages", type=int, default=30, help="languages to and from English, at most 30")
    parser.add_argument("--sentences", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--write", action="store_true", help="write results/scoring.md and .json")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tasks = write_grid(folder, LANGUAGES[: options.languages], options.sentences)
        write_commands(folder, tasks)
        lines = [
            f"Time from files to p-values relative to `{OURS}`: BLEU and chrF++ of two systems in {len(tasks)} "
            f"directions of {options.sentences:,} generated sentences, each process included. sacrebleu's command line "
            "(`--paired-bs`) runs once for each direction.",
            "",
        ]
        figures: dict[str, Times] = {}
        for cores in options.cores:
            passed, used = measure(folder, cores, options.rounds)
            title = f"{cores} core{'s' * (cores > 1)}"
            for clock, times in (("time that passed", passed), ("CPU time", used)):
                figures[f"{title}, {clock}"] = ratios(times, OURS)
                lines += tabulate(f"{title}, {clock}", ratios(times, OURS), options.rounds)
        lines += [check_equal(folder, tasks), ""]
    publish("scoring", lines, figures, options.write, threads=[1])


if __name__ == "__main__":
    main()
