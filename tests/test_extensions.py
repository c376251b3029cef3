"""Whatever docs/extending.md shows how to add works at once: in YAML, on the command line, and in the docs."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.pipeline.conftest import write_project
from tests.processes import COMMAND, Completed, call

from neuronspec.neurons.masks import NeuronMasks

ROOT = Path(__file__).parents[1]
CHANGES = (
    "data.train=[{path: 'corpus.{lang}.bars'}]",  # the format is told by the suffix
    "methods={frozen_encoder: {}, neuron_specialization: {}}",
    "select.rule=frequent",
    "select.k=0.2",
    "score.metrics=[bleu, exact]",
    "score.identifier=mine",
    "train.updates=4",
    "continued.updates=4",
    "analyze.figures=false",
    "analyze.examples=0",
)


def read_snippets() -> list[str]:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A toy project whose corpora have a format of their own, and a module with every example of the page."""
    write_project(tmp_path, 120)
    for path in tmp_path.glob("corpus.*.tsv"):
        text = path.read_text(encoding="utf-8").replace("\t", "|")
        path.with_suffix(".bars").write_text(text, encoding="utf-8")
        path.unlink()
    (tmp_path / "mine.py").write_text("\n\n".join(read_snippets()), encoding="utf-8")
    return tmp_path


def neuronspec(folder: Path, *arguments: str) -> Completed:
    return call([*COMMAND, *arguments], folder)


def test_everything_that_can_be_added_works_from_yaml_and_the_command_line(project: Path) -> None:
    done = neuronspec(project, "--import", "mine", "run", "toy.yaml", *CHANGES)
    assert done.returncode == 0, done.stderr

    text = (project / "run" / "prepare" / "text" / "statistics.json").read_text(encoding="utf-8")
    assert json.loads(text)["sizes"]["train"]["en-de"] > 50  # the format was read

    masks = NeuronMasks.from_pretrained(project / "run" / "select")
    assert masks.signature["rule"] == "frequent"

    with (project / "run" / "report" / "tables" / "directions.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    shown = "\n".join(",".join(row) for row in table)
    assert "frozen_encoder" in shown
    assert "exact match" in shown
    signed = (project / "run" / "score" / "quality.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["identifier"] for line in signed} == {"mine|version:1"}

    # The encoder was frozen: its weights are those before the continued training.
    before, after = (
        load_file(project / "run" / "train" / system / "model" / "model.safetensors")
        for system in ("pretrained", "frozen_encoder")
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("model.encoder.layers") for name in changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("score.metrics=[exact]", "score.metrics.0: unknown metric 'exact'"),
        ("score.identifier=mine", "score.identifier: unknown language identifier 'mine'"),
        ("select.rule=frequent", "select.rule: unknown selection rule 'frequent'"),
        ("methods={frozen_encoder: {}}", "unknown method 'frozen_encoder'"),
        (
            "data.train=[{path: 'corpus.{lang}.bars', format: bars}]",
            "data.train.0.format: unknown corpus format 'bars'",
        ),
        ("model.preset=tiney", "model.preset: unknown preset 'tiney' (did you mean 'tiny'?)"),
        ("translate.engine=ct3", "translate.engine: unknown engine 'ct3'"),
        ("score.correction=holmes", "score.correction: unknown correction 'holmes' (did you mean 'holm'?)"),
    ],
)
def test_what_nobody_registered_is_refused_with_what_is_known(project: Path, change: str, message: str) -> None:
    done = neuronspec(project, "run", "toy.yaml", change)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_a_module_that_is_not_there_is_named(project: Path) -> None:
    done = neuronspec(project, "--import", "yours", "run", "toy.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no module yours" in done.stderr


def test_what_is_registered_appears_in_the_generated_docs(project: Path) -> None:
    for page in ("generate.py", "configuration.md"):
        shutil.copy(ROOT / "docs" / page, project)
    done = call(["-c", "import mine, runpy; runpy.run_path('generate.py', run_name='__main__')"], project)
    assert done.returncode == 0, done.stderr
    page = (project / "configuration.md").read_text(encoding="utf-8")
    for name in ("`exact`", "`frequent`", "`bars`", "methods.frozen_encoder"):
        assert name in page
