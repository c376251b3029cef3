"""The numbers of a project's runs, read with the package as it is now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tests.released.project import GREEK_RUN, RUN, register_preset

from neuronspec.artifacts.tensor_files import read_tensors
from neuronspec.config.sections import Translation
from neuronspec.methods.saved import attach_saved, list_artifacts
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.run import Run, open_run
from neuronspec.pipeline.run_results import load_results, tabulate
from neuronspec.pipeline.stages import train
from neuronspec.translation.beam_search import translate_sentences

SENTENCES = {
    "en-de": ["the small cat sees the dog", "the man likes the old house"],
    "sv-en": ["den liten katt ser den hund", "den man gillar den gammal hus"],
}
ADDED = {"en-el": ["the small cat sees the dog"], **SENTENCES}


def open_released(folder: Path, name: str) -> Run:
    """Open a run of a project in a folder, wherever the project was when the run was made."""
    register_preset()
    base = folder / RUN / "train" / "neuron_specialization" / "model"
    return open_run(folder / name, [f"model.pretrained={base}"] if name == GREEK_RUN else [], out=folder / name)


def list_systems(folder: Path) -> list[tuple[str, str]]:
    """Return each trained model of a project: its run and its system."""
    return [(name, path.name) for name in (RUN, GREEK_RUN) for path in sorted((folder / name / "train").iterdir())]


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def read_masks(folder: Path) -> dict[str, Any]:
    masks = NeuronMasks.from_pretrained(folder / RUN / "select")
    return {
        "tasks": list(masks.tasks),
        "widths": masks.widths,
        "signature": masks.signature,
        "bits": hash_tensors({layer: masks.layer(layer) for layer in masks.layers}),
    }


def read_counts(folder: Path) -> dict[str, Any]:
    counts = ActivationCounts.load(folder / RUN / "record")
    groups = {"counts": counts.values, "totals": counts.totals, "means": counts.means}
    return {
        **{"tasks": list(counts.tasks), "layers": list(counts.layers), "unit": counts.unit},
        **{name: hash_tensors(tensors) for name, tensors in groups.items()},
        "signature": counts.signature,
    }


def read_examples(folder: Path) -> dict[str, Any]:
    examples = Examples.load(folder / RUN / "examples")
    groups = ("values", "sentences", "positions", "lengths", "tokens")
    return {"tasks": list(examples.tasks)} | {name: hash_tensors(getattr(examples, name)) for name in groups}


def read_models(folder: Path) -> dict[str, Any]:
    """Return the hash of each model's weights, and of what its method left next to it."""
    found = {}
    for name, system in list_systems(folder):
        directory = folder / name / "train" / system / "model"
        added = {path.name: hash_tensors(read_tensors(path)[0]) for path in list_artifacts(directory)}
        found[f"{name}.{system}"] = {"weights": hash_tensors(load_model(directory).state_dict()), **added}
    return found


def read_translations(folder: Path) -> dict[str, Any]:
    """Return what each model says, with what its method left."""
    found = {}
    for name, system in list_systems(folder):
        directory = folder / name / "train" / system / "model"
        model, tokenizer = load_model(directory).eval(), load_tokenizer(directory)
        attach_saved(model, directory)
        given = ADDED if name == GREEK_RUN else SENTENCES
        tasks = [task for task, sentences in given.items() for _ in sentences]
        sources = [sentence for sentences in given.values() for sentence in sentences]
        options = Translation(beams=2, max_tokens=8)
        found[f"{name}.{system}"] = translate_sentences(model, tokenizer, sources, tasks, options)
    return found


def read_results(folder: Path) -> dict[str, Any]:
    """Return all scores and tests of the first run; its tables are made, too."""
    run = open_released(folder, RUN)
    results = load_results(run.config, run.layout)
    scores, comparisons = results.study.results.scores, results.study.comparisons
    return {
        "scores": {f"{one.system} {one.task} {one.metric}": [one.score, one.signature] for one in scores},
        "tests": {
            f"{one.system} {one.baseline} {one.tasks} {one.metric}": [one.difference, one.p_value, one.adjusted_p_value]
            for one in comparisons
            if one.metric == "chrF++"
        },
        "tables": sorted(tabulate(results)),
    }


def continue_training(folder: Path) -> dict[str, Any]:
    """Make the last update of each training from its checkpoint; return the losses in training and validation."""
    found = {}
    for name, system in list_systems(folder):
        run = open_released(folder, name)
        if not (run.layout.training(system) / "checkpoints").exists():
            continue  # a model that was taken as it is
        train.execute(run, system)
        found[f"{name}.{system}"] = read_last_losses(run.layout.training(system))
    return found


def read_last_losses(training: Path) -> dict[str, float]:
    """Return what the last line of a training's log says."""
    entry = json.loads((training / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    return {"update": entry["update"], "train": entry["train"]["loss"], "valid": entry["valid"]["loss"]["all"]}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    **{"masks": read_masks, "counts": read_counts, "examples": read_examples, "models": read_models},
    **{"translations": read_translations, "results": read_results},
    "continued": continue_training,  # the last one, since it changes the directory
}
"""What reads each kind of file, and returns numbers that no version may change."""
