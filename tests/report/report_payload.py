"""Payloads of reports: small, large, and with hostile texts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tests.report.sentence_study import build_study

from neuronspec.analysis.tree import language_tree
from neuronspec.comparison.cells import Cell
from neuronspec.comparison.tables import Table
from neuronspec.report.curves_part import show_curves
from neuronspec.report.page_values import pack_floats, pack_fractions
from neuronspec.report.translations import show_translations
from neuronspec.training.curves import TrainingCurve

FAMILIES = (
    "Germanic",
    "Romance",
    "Slavic",
    "Uralic",
    "Turkic",
    "Semitic",
    "Indo-Aryan",
    "Dravidian",
    "Bantu",
    "Austronesian",
)
SVG = "http://www.w3.org/2000/svg"
HOSTILE = (
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
    "${window.hacked=1} {{script}} &lt;\u202e\x00\u2028 javascript:window.hacked=1"
)


def overlap(n: int, rng: np.random.Generator, depth: float) -> Any:
    """(n, n) IoU with families: the first `n // families` languages are alike, and so on."""
    groups = np.arange(n) * min(n, len(FAMILIES)) // n
    near = groups[:, None] == groups[None, :]
    noise = rng.uniform(0, 0.08, (n, n))
    iou = 0.3 + 0.2 * depth + 0.22 * near * (0.4 + depth) + (noise + noise.T) / 2
    np.fill_diagonal(iou, 1)
    return np.clip(iou, 0, 1)


def build_payload(n: int = 6, depth: int = 3, stacks: tuple[str, ...] = ("encoder", "decoder")) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(n, k=1)
    names = [f"{FAMILIES[i * min(n, len(FAMILIES)) // n]}-{i}" for i in range(n)]
    families = [name.split("-")[0] if n > 1 else "" for name in names]
    payload: dict[str, Any] = {
        "title": "Neurons of a demo",
        "subtitle": f"{n} languages, {depth} layers a stack",
        "version": "neuronspec 0.1.0",
        "summary": [
            {"kind": "finding", "text": "Languages of one family share more neurons (IoU 0.61 against 0.42)."},
            {"kind": "finding", "text": "Sharing rises over the encoder and falls over the decoder."},
            {"kind": "caveat", "text": "Counts come from 400 sentences a task: the intervals are wide."},
        ],
        "numbers": [
            {"value": "24.3", "label": "mean BLEU, neuron specialization", "note": "pretrained 20.0, fine-tuned 23.9"},
            {"value": "+0.4", "label": "BLEU over fine-tuned", "note": "95 % interval -0.1 to +0.9, p = 0.08"},
            {"value": "38 %", "label": "of the neurons are selected for a task", "note": "encoder 40 %, decoder 36 %"},
            {"value": "+0.43", "label": "harm without own neurons, decoder", "note": "without others' +0.04; p = 0.01"},
        ],
        "highlights": [{"kind": "caveat", "text": "One seed: `seed=[1,2,3]` says more."}],
        "scores": build_scores(n, rng),
        "panels": {},
        "layers": [],
        "ks": ["0.5", "0.95"],
        "k": "0.95",
        **{part: {} for part in ("iou", "low", "high", "z_chance", "z_shuffled", "sparsity", "trees", "progression")},
        "ablation": {},
    }
    for stack in stacks:
        tasks = [f"l{i}-en" if stack == "encoder" else f"en-l{i}" for i in range(n)]
        panel = {"title": "x to en" if stack == "encoder" else "en to x", "tasks": tasks, "names": names}
        payload["panels"][stack] = {
            **panel,
            "labels": [f"l{i}" for i in range(n)],
            "families": families,
            "scripts": ["Latn"] * n,
        }
        for index in range(depth):
            layer = f"{stack}.{index}"
            place = (index + 1) / depth
            iou = overlap(n, rng, place if stack == "encoder" else 1 - place)
            pairs = iou[first, second]
            tree = language_tree(iou, names)
            payload["layers"].append({"name": layer, "stack": stack, "width": 2048})
            payload["iou"][layer] = {"0.5": pack_fractions(pairs / 2), "0.95": pack_fractions(pairs)}
            payload["low"][layer], payload["high"][layer] = (
                pack_fractions(pairs - 0.02),
                pack_fractions(np.minimum(1, pairs + 0.02)),
            )
            payload["z_chance"][layer], payload["z_shuffled"][layer] = pack_floats(pairs * 100), pack_floats(-pairs)
            payload["sparsity"][layer] = {"tasks": tasks, "values": rng.uniform(0.3, 0.5, n) + 0.1 * place}
            payload["trees"][layer] = {
                "order": tree.leaves,
                "merges": tree.linkage[:, :3],
                "newick": tree.newick(),
                "cophenetic": tree.cophenetic_correlation,
            }
            low, q1, median, q3, high = np.quantile(pairs, [0, 0.25, 0.5, 0.75, 1])
            payload["progression"][layer] = {
                "mean": pairs.mean(),
                "median": median,
                "q1": q1,
                "q3": q3,
                "low": low,
                "high": high,
            }
        changes = rng.uniform(-0.02, 0.1, (n, n + 1)) + np.pad(np.eye(n), ((0, 0), (0, 1))) * 0.4
        payload["ablation"][stack] = {
            "texts": tasks,
            "switched": [*tasks, "random"],
            "changes": changes,
            "metric": "validation loss (nats per token)",
            "note": "5 % of the neurons of each layer are off.",
        }
    cells = [
        [Cell(name), Cell(float(i % 4) + 0.125, decimals=3, mark="↑" if i % 2 else "", bold=i == 1)]
        for i, name in enumerate(names[:8])
    ]
    scores = Table(
        "BLEU by direction",
        ["direction", ("BLEU", "avg")],
        cells,
        notes=["`↑`: better at p < 0.05."],
        sections={0: "To English"},
    )
    payload["tables"] = {
        "scores": [scores],
        "statistics": [
            [{"layer": "encoder.0", "r": 0.5123456, "p": None}, {"layer": "encoder.1", "r": -0.25, "p": 0.01}]
        ],
    }
    payload["cards"] = build_cards(payload, names, stacks)
    with tempfile.TemporaryDirectory() as folder:
        payload["translations"] = show_translations(build_study(), Path(folder) / "translations.jsonl")
    losses = [4 - number / 50 for number in range(100)]
    curve = TrainingCurve(
        updates=[*range(1, 101)],
        losses=losses,
        learning_rates=losses,
        validations=[50, 100],
        valid_losses={"l0-en": [3.0, 2.5]},
        valid_loss=[3.0, 2.5],
        speeds=[1000.0, 1100.0],
    )
    payload["curves"] = show_curves({"pretraining": {"pretrained": curve}})
    payload["figures"] = [
        {
            "title": "Progression",
            "alt": "Boxes over layers",
            "files": {"SVG": "figures/progression.svg", "CSV": "../analyze/figures/a b:c.csv"},
            "svg": f'<svg xmlns="{SVG}" width="300" height="80"><rect width="300" height="80" fill="teal"/></svg>',
        }
    ]
    payload["signature"] = {"model": "demo", "k": 0.95, "unit": "sentence", "layers": {"encoder": depth}}
    payload["methods"] = [
        "A neuron is active in a sentence where its value is above 0 at one token or more.",
        "k = 0.95 of the activation is covered.",
    ]
    payload["citation"] = (
        "@inproceedings{tan2024neuron,\n  title = {Neuron Specialization},\n  booktitle = {EMNLP},\n  year = {2024}\n}"
    )
    return payload


def build_scores(n: int, rng: np.random.Generator) -> dict[str, Any]:
    """Scores of three systems; the last one lacks the last direction."""
    tasks = [*(f"l{i}-en" for i in range(n)), *(f"en-l{i}" for i in range(n))]
    labels = ["mean to en", *tasks]

    rows: list[dict[str, Any]] = []
    for number, label in enumerate(labels):
        first = rng.uniform(10, 30)
        scores: list[Any] = [[first + gain, first + gain - 1, first + gain + 1] for gain in (0, 3, 4)]
        errors = [[100 - score, 100 - high, 100 - low] for score, low, high in scores]
        if number == len(tasks):
            scores[-1] = None
        group = "to en" if number <= n else "from en"
        row = {"label": label, "group": group, "directions": 1 if number else n}
        rows.append({**row, "scores": {"BLEU": scores, "TER": errors}})

    metrics = [{"name": "BLEU", "higher": True}, {"name": "TER", "higher": False}]
    systems = ["pretrained", "fine-tuned", "neuron specialization"]
    colors = [{"light": "#0072b2", "dark": "#5ab4ec"}] * len(systems)
    return {"metrics": metrics, "systems": systems, "colors": colors, "rows": rows, "note": "Lines are intervals."}


def build_cards(payload: dict[str, Any], names: list[str], stacks: tuple[str, ...]) -> dict[str, Any]:
    sentences = [
        {"task": "de-en", "text": "Guten Morgen, Welt"},
        {"task": "ar-en", "text": "صباح الخير يا عالم"},
        {"task": "zh-en", "text": "😀 早上好"},
    ]
    words, tags = [(6, 12), (5, 10), (3, 4)], ["__de__", "__ar__", "</s>"]
    languages, neurons = [], {}
    for stack in stacks:
        tasks = payload["panels"][stack]["tasks"]
        own = [layer["name"] for layer in payload["layers"] if layer["stack"] == stack]
        for i, name in enumerate(names):
            layers = [{"layer": layer, "own": 900 + i, "exclusive": i, "shared_by_all": 300} for layer in own]
            ids = [f"{own[0]}:{i}", f"{own[-1]}:{i + 1000}"]
            languages.append(
                {
                    "name": name,
                    "label": f"l{i}",
                    "stack": stack,
                    "layers": layers,
                    "neurons": [{"id": found} for found in ids],
                }
            )
            for found in ids:
                # The first neuron of the last layer reads tags, all others words
                is_word = found != f"{own[-1]}:1000"
                examples = [
                    {
                        "sentence": number,
                        "mark": words[number] if is_word else ((0, 0), (0, 0), (5, 5))[number],
                        "token": None if is_word else tags[number],
                        "value": 3.1 - number,
                    }
                    for number in range(3)
                ]
                frequencies = {task: 0.9 if j == i else 0.1 + j / 1000 for j, task in enumerate(tasks)}
                neurons[found] = {
                    "owners": [tasks[i]],
                    "frequencies": frequencies,
                    "examples": examples,
                    "reads": "word" if is_word else "tag",
                    "words": ["Morgen", "الخير", "上"] if is_word else [],
                }
    return {"sentences": sentences, "languages": languages, "neurons": neurons}


def poison(value: Any, path: str = "") -> Any:
    """Return a payload with hostile text wherever text is free."""
    kept = (
        "iou",
        "low",
        "high",
        "z_chance",
        "z_shuffled",
        "ks",
        "k",
        "layers",
        "missing",
        "metrics",
        "colors",
        "files",
        "translations",
        "curves",
    )
    if isinstance(value, str):
        return f"{value} {HOSTILE}"
    if isinstance(value, dict):
        return {
            key: item if key in (*kept, "kind", "stack", "layer", "id", "svg", "reads") else poison(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [poison(item) for item in value]
    return value
