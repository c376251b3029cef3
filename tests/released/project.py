"""The project whose runs are kept of each version: invented text, a very small model, every method, a language more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from tests.pipeline.conftest import DICTIONARY, write_project
from tests.pipeline.test_added_language import GREEK
from tests.pipeline.test_every_method import WAYS

from neuronspec.models.presets import PRESETS, Preset

UPDATES = 6
"""Updates of each training; the checkpoint of the last one but one is kept."""
METHODS = {
    name: options | ({"dropout": 0.0} if name.startswith("adapters") else {})
    for name, options in WAYS.items()
    if name != "ours_enc"
}
"""Every method, with its options; without dropout, for which other versions of transformers draw other numbers."""
RUN, GREEK_RUN = "run", "greek"
"""Directories of the two runs."""


def register_preset() -> None:
    """Register the model of the project, unless that has been done."""
    if "released" not in PRESETS:
        PRESETS.register("released")(Preset(layers=1, heads=2, d_model=16, d_ff=24, dropout=0.0))


def write_recipes(folder: Path) -> None:
    """Write the text and the recipes of both runs: all methods, and a language added to one of their models."""
    write_project(folder, sentences=120)
    values: dict[str, Any] = yaml.safe_load((folder / "toy.yaml").read_text(encoding="utf-8"))
    last = {"validate_every": UPDATES - 1, "keep_checkpoints": 2, "select": "last", "schedule": "constant"}
    values |= {
        **{"name": "released", "out": RUN, "model": {"preset": "released"}, "methods": METHODS, "zero_shot": "all"},
        **{"train": {"updates": 600, "learning_rate": 1.0e-2, "warmup": 20, **last, "validate_every": 599}},
        **{"continued": {"updates": UPDATES, "learning_rate": 2.0e-3, "warmup": 0, **last}},
        **{"analyze": {"figures": False, "permutations": 99, "examples": 2}, "record": {"means": True}},
    }
    values["prepare"]["vocabulary"]["size"] = 80
    (folder / "toy.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")

    # Greek, word for word
    english, greek = DICTIONARY["en"].split(), GREEK.split()
    rows = [[0, 13 + n % 4, 1 + n % 7, 8 + n % 5, 0, 1 + n // 7 % 7] for n in range(100)]
    lines = ["\t".join(" ".join(words[n] for n in row) for words in (english, greek)) for row in rows]
    (folder / "corpus.el.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    model = {"pretrained": f"{RUN}/train/neuron_specialization/model"}
    values |= {
        **{"name": GREEK_RUN, "out": GREEK_RUN, "languages": ["el"], "methods": {"add_language": {}}},
        "model": model | {"extend": {"pieces": 40, "widen": 8, "min_neurons": 4, "sentences": 4}},
    }
    del values["prepare"], values["train"], values["zero_shot"], values["analyze"], values["record"], values["select"]
    (folder / "greek.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def keep_what_matters(folder: Path) -> None:
    """Remove what nobody reads back: pages and figures, and the last checkpoint of each training."""
    for run in (folder / RUN, folder / GREEK_RUN):
        shutil.rmtree(run / "report")
        for page in run.rglob("*.html"):
            page.unlink()
        for checkpoints in run.rglob("checkpoints"):
            *_, newest = sorted(checkpoints.iterdir())
            shutil.rmtree(newest)
