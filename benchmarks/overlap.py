"""The cost of analysis with 200 languages and 24 layers of 8,192 neurons, in time and memory, step by step.

OMP_NUM_THREADS=1 python -m benchmarks.overlap --drawn 4 --write
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from benchmarks.rounds import Times, publish, ratios, say, tabulate, take_turns
from neuronspec.analysis.chance import chance_overlap
from neuronspec.analysis.compared_tasks import choose_tasks
from neuronspec.analysis.distances import family_distances
from neuronspec.analysis.measures import analyze
from neuronspec.analysis.resampling import bootstrap_iou
from neuronspec.analysis.reselection import make_selector
from neuronspec.analysis.sentence_states import SentenceStates
from neuronspec.analysis.tree import language_tree
from neuronspec.config.sections import Analysis
from neuronspec.figures.neuron_figures import draw_neuron_figures
from neuronspec.languages import list_languages
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.report.language_cards import LanguageCard, make_language_cards
from neuronspec.report.neuron_cards import NeuronCard, make_neuron_card
from neuronspec.report.page import write_report
from neuronspec.report.page_values import to_json_values
from neuronspec.report.payload import make_payload
from neuronspec.statistics.correlation import mantel
from neuronspec.statistics.separation import separate

WIDTH, NARROW = 8_192, 4_096  # neurons per layer; neurons of the layer whose sentences are resampled
SENTENCES, TASKS = 1_000, 60  # sentences per task; tasks whose sentences are resampled
SHARE = 0.8  # k of the masks
OURS, PDIST, SETS = "NeuronMasks.iou", "scipy's pdist, Jaccard", "Python's sets, pair by pair"
ONE, WHOLE, MEASURE = "IoU", "IoU of all layers", "`measure`, 99 permutations"

Result = TypeVar("Result")


def draw_counts(languages: int, layers: int) -> ActivationCounts:
    """Draw counts that depend in equal parts on all languages, on the family and on the language itself."""
    chosen = [language for language in list_languages() if language.code != "en"][:languages]
    numbers = np.unique([language.family for language in chosen], return_inverse=True)[1]
    generator = np.random.default_rng(0)
    values = {}
    for name in [f"{stack}.{index}" for stack in ("encoder", "decoder") for index in range(layers // 2)]:
        shared, families, own = (generator.random((rows, WIDTH)) for rows in (1, numbers.max() + 1, len(chosen)))
        often = ((shared + families[numbers] + own) / 3) ** 4  # (languages, d_ff): few neurons are active often
        values[name] = torch.from_numpy((SENTENCES * often).astype(np.int64))
    totals = torch.full((len(chosen),), SENTENCES)
    tasks = tuple(language.code for language in chosen)
    return ActivationCounts(tasks, values, {"encoder": totals, "decoder": totals}, "sentence")


def overlap_sets(mask: NDArray[np.bool_]) -> list[float]:
    """Return the IoU of every pair of rows, computed in the most direct way."""
    sets = [set(np.flatnonzero(row).tolist()) for row in mask]
    return [len(a & b) / len(a | b) for number, a in enumerate(sets) for b in sets[number + 1 :]]


def overlap_pdist(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the IoU of every pair of rows with scipy."""
    return np.asarray(1 - squareform(pdist(mask, "jaccard")))


def compare_iou(masks: NeuronMasks, rounds: int) -> Times:
    """Return the seconds for the IoU of all layers; the other ways are timed on one layer and scaled."""
    mask = masks.layer(masks.layers[0]).numpy()
    upper = np.triu_indices(len(mask), k=1)
    for other in (overlap_pdist(mask)[upper], overlap_sets(mask)):
        np.testing.assert_allclose(masks.iou(masks.layers[0])[upper], other)
    contenders: dict[str, Callable[[], object]] = {
        OURS: lambda: [masks.iou(layer) for layer in masks.layers],
        PDIST: lambda: overlap_pdist(mask),
        SETS: lambda: overlap_sets(mask),
    }
    times = take_turns(contenders, rounds)
    for name in (PDIST, SETS):
        times[name] = [len(masks.layers) * seconds for seconds in times[name]]
    return times


def compare_steps(masks: NeuronMasks, resamples: int, rounds: int) -> Times:
    """Return the seconds that single steps of the analysis of one layer take, and those of its IoU."""
    layer = masks.layers[0]
    panel = choose_tasks(masks.tasks, "en", "encoder")
    ordered = masks.reorder(panel.tasks)
    sizes, iou = ordered.layer(layer).sum(1).numpy(), ordered.iou(layer)
    family = family_distances(panel.languages)
    generator = np.random.default_rng(0)
    arrays = {str(task): generator.random((SENTENCES, NARROW)) < generator.random(NARROW) ** 2 for task in range(TASKS)}
    states, select = SentenceStates.from_arrays(arrays), make_selector({"rule": "coverage", "k.encoder": "0.9"}, layer)
    resampling = f"bootstrap, {resamples} resamples, {TASKS} tasks x {SENTENCES:,} sentences x {NARROW:,} neurons"
    contenders: dict[str, Callable[[], object]] = {
        ONE: lambda: [masks.iou(name) for name in masks.layers],
        "language tree": lambda: language_tree(iou, panel.labels),
        "overlap by chance": lambda: chance_overlap(sizes, WIDTH),
        "Mantel test, 999 permutations": lambda: mantel(1 - iou, family, permutations=999),
        "silhouettes of families, 999 permutations": lambda: separate(1 - iou, panel.relatives, permutations=999),
        resampling: lambda: bootstrap_iou(states, select, resamples),
    }
    times = take_turns(contenders, rounds)
    times[ONE] = [seconds / len(masks.layers) for seconds in times[ONE]]  # one layer alone is too fast to time
    return times


def run_steps(languages: int, layers: int, drawn: int) -> list[dict[str, Any]]:
    """Run the whole analysis once, in this process; return the time of each step and the memory at its end.

    Args:
        languages: Number of tasks.
        layers: Number of layers, of encoder and decoder together.
        drawn: Number of layers whose figures are drawn.
    """
    counts = draw_counts(languages, layers)
    masks = NeuronMasks.from_counts(counts, SHARE)
    found: list[dict[str, Any]] = []

    def clock(step: str, run: Callable[[], Result]) -> Result:
        started = time.process_time()
        result = run()
        found.append({"step": step, "seconds": time.process_time() - started, "peak": _peak()})
        return result

    def describe() -> tuple[list[LanguageCard], list[NeuronCard]]:
        panels = [ones[0].compared for ones in measures.stacks.values()]
        cards = make_language_cards(masks, panels, counts, 3)  # as in a report with this many tasks
        names = dict.fromkeys(f"{layer}:{neuron}" for card in cards for layer, neuron in card.neurons)
        return cards, [make_neuron_card(name, masks, counts) for name in names]

    def report() -> float:
        payload = make_payload(measures, "scale", languages=cards[0], neurons=cards[1])
        return write_report(to_json_values(payload), out / "report.html").stat().st_size / 1e6

    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        clock(WHOLE, lambda: [masks.iou(layer) for layer in masks.layers])
        measures = clock(MEASURE, lambda: analyze(masks, counts, options=Analysis(permutations=99)))
        cards = clock("cards of languages and neurons", describe)
        size = clock("payload and report", report)
        if drawn:
            names = masks.layers[:: layers // drawn][:drawn]
            part = replace(measures, layers={name: measures.layers[name] for name in names})
            clock(f"figures, {drawn} layers drawn", lambda: draw_neuron_figures(part, out))
            found[-1]["seconds"] *= layers / drawn
    found[3]["size"] = size
    return found


def tabulate_steps(found: list[dict[str, Any]]) -> list[str]:
    """Return a table of the steps: their time relative to that of the IoU, and their memory."""
    lines = ["| step, in this order | time relative to the IoU | peak memory so far, MB |", "|---|---:|---:|"]
    lines += [f"| {one['step']} | {one['seconds'] / found[0]['seconds']:.1f} | {one['peak']:,.0f} |" for one in found]
    size = next(one["size"] for one in found if "size" in one)
    return [*lines, "", f"The IoU took {found[0]['seconds']:.2f} s here. The report is {size:.1f} MB in size.", ""]


def start_steps(languages: int, layers: int, drawn: int) -> list[dict[str, Any]]:
    """Run `run_steps` in a separate process, so that its memory can be measured."""
    numbers = ["--languages", str(languages), "--layers", str(layers), "--drawn", str(drawn)]
    command = [sys.executable, "-m", "benchmarks.overlap", "--steps", *numbers]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def _peak() -> float:
    """Return the peak memory of this process, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what analysis costs.")
    parser.add_argument("--languages", type=int, default=200)
    parser.add_argument("--layers", type=int, default=24, help="layers of encoder and decoder together")
    parser.add_argument(
        "--drawn", type=int, default=2, help="layers whose figures are drawn; the time is scaled to all"
    )
    parser.add_argument("--resamples", type=int, default=200, help="resamples of the bootstrap")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", action="store_true", help="only run the whole analysis once and print JSON")
    parser.add_argument("--write", action="store_true", help="write results/overlap.md and .json")
    options = parser.parse_args()
    languages, layers = options.languages, options.layers
    options.drawn = min(options.drawn, layers)
    if options.steps:
        print(json.dumps(run_steps(languages, layers, options.drawn)))
        return
    say("the whole analysis, once")  # first, because a process inherits the peak of its parent
    steps = start_steps(languages, layers, options.drawn)
    masks = NeuronMasks.from_counts(draw_counts(languages, layers), SHARE)
    on = 1 - float(np.mean(list(masks.sparsity().values())))
    say(f"{options.rounds} rounds")
    found = {
        f"IoU of all layers, time relative to {OURS}": ratios(compare_iou(masks, options.rounds), OURS),
        f"one layer, time relative to its IoU, {WIDTH:,} neurons": ratios(
            compare_steps(masks, options.resamples, options.rounds), ONE
        ),
    }
    lines = [
        f"{languages} languages, {layers} layers of {WIDTH:,} neurons, {100 * on:.0f} % of them on. In the "
        f"first table, the other two ways were timed on one layer and scaled by {layers}. All three results are equal.",
        "",
    ]
    for title, one in found.items():
        lines += tabulate(title, one, options.rounds)
    drawn = (
        f"; figures were drawn for {options.drawn} layers and their time is scaled" if options.drawn < layers else ""
    )
    lines += [
        f"The whole analysis once, in a separate process: masks, counts, and six other values of k{drawn}.",
        "",
    ]
    lines += tabulate_steps(steps)
    publish("overlap", lines, found | {"analysis": steps}, options.write)


if __name__ == "__main__":
    main()
