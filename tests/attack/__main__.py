"""Kills and power cuts through whole runs with every method, for as long as you like.

    python -m tests.attack [--minutes 10] [--seed N] [--only kills|cuts] [--to FILE]

`make attack` runs it; power cuts need strace (`make strace`). Each run has to end with the same weights, moments,
counts, masks, translations, scores and tables as one that nobody disturbs; if one does not, the exit code is 1. The
same seed makes the same choices.
"""

from __future__ import annotations

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.attack import kills, power_cuts, project
from tests.attack.kills import Chain, Target, Whole
from tests.attack.power_cuts import Cuts

from neuronspec.methods import METHODS

# All methods on one process, the same on two, and a language added to the model of the first
RUNS = ("methods", "processes", "language")


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill whole runs, and cut the power.")
    parser.add_argument("--minutes", type=float, default=10.0, help="time after which no new attack begins")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices")
    parser.add_argument("--only", choices=["kills", "cuts"], help="only one kind of attack")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="runs to kill")
    parser.add_argument("--to", type=Path, help="Markdown file of the report; printed otherwise")
    options = parser.parse_args()

    ends, draw = time.monotonic() + 60 * options.minutes, random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        chains = attack_kills(Path(folder), options.runs, draw, ends) if options.only != "cuts" else {}
        cuts = attack_power(Path(folder), draw, ends) if options.only != "kills" and shutil.which("strace") else None

    report = describe(chains, cuts, seed=options.seed)
    if options.to is not None:
        options.to.write_text(report, encoding="utf-8")
    print(report)
    problems = [line for each in chains.values() for chain in each for line in chain.problems]
    sys.exit(bool(problems or (cuts is not None and cuts.problems)))


def attack_kills(folder: Path, chosen: Sequence[str], draw: random.Random, ends: float) -> dict[str, list[Chain]]:
    """Kill runs in turn until the time is over, and return the chains of each."""
    targets = {name: target for name, target in make_targets(folder).items() if name in chosen}
    chains: dict[str, list[Chain]] = {name: [] for name in targets}
    wholes: dict[str, Whole] = {}

    # Each run is killed in all of its stages once in any case.
    for name, target in targets.items():
        say(f"{name}: a whole run")
        whole = wholes[name] = kills.make_whole(target)
        say(f"{name}: {sum(whole.calls.values())} disk calls in {len(whole.calls)} stages, {whole.seconds:.0f} s")
        chains[name].append(kills.attack_calls(target, whole, draw))
        say(f"{name}: {chains[name][-1]}")

    # As often as the time allows, at random instants
    for name in itertools.cycle(targets):
        if time.monotonic() > ends:
            return chains
        chains[name].append(kills.attack_instants(targets[name], wholes[name], draw, most=25))
        say(f"{name}: {chains[name][-1]}")
    return chains


def make_targets(folder: Path) -> dict[str, Target]:
    """Return the runs to attack: with all methods on one process and on two, and one that adds a language to it."""
    methods = project.list_methods()
    targets: dict[str, Target] = {}
    for name, processes in (("methods", 1), ("processes", 2)):
        place = folder / name
        place.mkdir()
        batches = {"batches_per_update": processes}
        project.write(place, methods, train=batches, continued=batches)
        targets[name] = Target(place, ("run", "toy.yaml"), processes)

    # A method that adds languages starts from a finished run.
    base = targets["methods"].out / "train" / "neuron_specialization" / "model"
    place = folder / "language"
    place.mkdir()
    project.write_extension(place, base)
    targets["language"] = Target(place, ("run", "toy.yaml"))
    return targets


def attack_power(folder: Path, draw: random.Random, ends: float) -> Cuts:
    """Cut the power of a recorded run until the time is over."""
    place = folder / "power"
    place.mkdir()
    project.write(place, {"neuron_specialization": {}})
    target = Target(place, ("train", "toy.yaml", "--method", "neuron_specialization"))
    say("power cuts: a recorded run")
    expected = power_cuts.record_run(target, place / "calls")
    seconds = max(60.0, ends - time.monotonic())
    return power_cuts.attack(target, place / "calls", expected, draw=draw, seconds=seconds)


def describe(chains: dict[str, list[Chain]], cuts: Cuts | None, *, seed: int) -> str:
    """Return the report as Markdown: kills by stage, and what differed."""
    lines = [f"Seed {seed}; methods: {', '.join(sorted(METHODS))}.", ""]
    if chains:
        lines += ["| run | processes | kills before a disk call | at a random instant | files compared | different |"]
        lines += ["|---|---|---|---|---|---|"]
    for name, each in chains.items():
        by_way = Counter({way: sum(sum(one.kills.values()) for one in each if one.way == way) for way in WAYS})
        problems = sum(len(one.problems) for one in each)
        files = sum(one.files for one in each)
        lines.append(
            f"| {name} | {each[0].processes} | {by_way['call']} | {by_way['instant']} | {files} | {problems} |"
        )

    total = Counter[str]()
    for each in chains.values():
        for chain in each:
            total += chain.kills
    if total:
        lines += ["", "| stage | kills |", "|---|---|", *(f"| {stage} | {n} |" for stage, n in sorted(total.items()))]
    if cuts is not None:
        lines += ["", f"Power cuts: {cuts.calls} moments, {sum(cuts.states.values())} different states of the disk, "]
        lines[-1] += f"{len(cuts.problems)} problems."
        lines += ["", "| stage | states |", "|---|---|", *(f"| {stage} | {n} |" for stage, n in cuts.states.items())]

    found = [line for each in chains.values() for chain in each for line in chain.problems]
    found += [] if cuts is None else cuts.problems
    return "\n".join([*lines, "", *(f"- {line}" for line in found[:50]), ""])


WAYS = ("call", "instant")


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
