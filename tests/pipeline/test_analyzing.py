"""The stages examples, ablate and analyze: what they write, when they are redone, and what a kill leaves."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.pipeline.running import run
from tests.processes import call
from tests.stage_lines import reasons_of

from neuronspec.analysis import ablation_masks
from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.ablation_metrics import measuring_loss
from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.methods import method_options
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.pipeline import neuron_ablation, neuron_analysis
from neuronspec.pipeline.analysis_inputs import AnalysisInputs, open_run_inputs
from neuronspec.pipeline.analysis_target import AnalysisTarget, open_target
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.neuron_ablation import ablate, load_ablations
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stages import ablate as ablate_stage
from neuronspec.report.page_values import unpack_fractions

FAST = ("methods={}", "train.updates=0", "analyze.permutations=99", "analyze.shares=[0.9]")
# `neuronspec analyze` that is killed by SIGKILL, not to be caught, in the middle of what it writes.
KILLED = """
import os, signal, sys
from neuronspec.cli.main import main
from neuronspec.pipeline import neuron_analysis

moment, *words = sys.argv[1:]

def killed(_, place, *arguments, **options):
    (place if moment == "draw_neuron_figures" else place.parent).joinpath("half").write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)

setattr(neuron_analysis, moment, killed)
sys.argv = ["neuronspec", "analyze", *words]
main()
"""

Analyze = Callable[..., dict[str, str]]


def load(folder: Path, *changes: str) -> Config:
    return load_config(folder / "toy.yaml", [f"out={folder / 'run'}", *FAST, *changes], method_options())


def read_found(layout: Layout) -> dict[str, Any]:
    """Return the numbers of an analysis."""
    return dict(json.loads((layout.analysis / "analysis.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory: pytest.TempPathFactory, write_project: Callable[..., None]) -> Path:
    """A project with a run whose untrained model is analysed. Read only."""
    folder = tmp_path_factory.mktemp("analyzing")
    write_project(folder, sentences=80)
    run(load(folder), until="analyze")
    return folder


@pytest.fixture
def project(analyzed: Path, tmp_path: Path) -> Path:
    """A copy of the run, with the original's corpora."""
    shutil.copytree(analyzed / "run", tmp_path / "run")
    recipe = (analyzed / "toy.yaml").read_text(encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(recipe.replace('"corpus.', f'"{analyzed}/corpus.'), encoding="utf-8")
    return tmp_path


@pytest.fixture
def analyze(project: Path, caplog: pytest.LogCaptureFixture) -> Analyze:
    """Analyse the copy with changes; return the stages that ran, each with the reason."""
    caplog.set_level("INFO", logger="neuronspec")

    def call(*changes: str, until: str = "analyze") -> dict[str, str]:
        caplog.clear()
        run(load(project, *changes), until=until)
        return reasons_of(caplog.messages)

    return call


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take most of the time."""
    monkeypatch.setattr(neuron_analysis, "draw_neuron_figures", lambda *_, **__: {})


# What is written


def test_a_run_leaves_numbers_tables_figures_examples_and_a_report(finished: Config) -> None:
    layout = Layout(finished.out)
    assert {path.name for path in layout.analysis.iterdir()} == {"analysis.json", "figures", "report.html", "tables"}
    assert {path.suffix for path in (layout.analysis / "tables").iterdir()} == {".md", ".csv", ".tex", ".json"}
    places = {"figures", "report.html", "summary.md", "tables", "translations.jsonl"}
    assert {path.name for path in layout.report.iterdir()} == places
    assert {path.stem for path in (layout.report / "figures").iterdir()} == {"gains.bleu", "gains.chrf++", "training"}
    assert [path.name for path in layout.examples.iterdir()] == ["activation_examples.safetensors"]
    assert (layout.figures / "iou.encoder.0.svg").is_file()
    assert not layout.ablation.exists()  # it was not asked for
    assert not list(layout.out.rglob(".*"))


def test_the_numbers_are_those_of_the_masks_and_the_counts(finished: Config) -> None:
    layout = Layout(finished.out)
    found, masks = read_found(layout), NeuronMasks.from_pretrained(layout.masks)
    assert found["title"] == "toy"
    assert found["panels"]["encoder"]["tasks"] == ["de-en", "sv-en"]
    assert found["panels"]["decoder"]["tasks"] == ["en-de", "en-sv"]
    for layer in masks.layers:
        first, second = (masks.mask(task, layer) for task in found["panels"][layer.partition(".")[0]]["tasks"])
        iou = float((first & second).sum() / (first | second).sum())
        assert unpack_fractions(found["iou"][layer]["as selected"]) == pytest.approx([iou], abs=1e-4)
        assert np.ravel(found["sparsity"][layer]["values"]) == pytest.approx(1 - masks.layer(layer).double().mean(1))
    assert "vocabulary" not in found["missing"]  # a run has the text to count words in
    assert "record.states=true" in found["missing"]["intervals"]


def test_the_examples_are_sentences_of_the_validation_text(finished: Config) -> None:
    layout = Layout(finished.out)
    examples, found = Examples.load(layout.examples), read_found(layout)
    assert examples.top == finished.analyze.examples
    assert set(examples.tasks) == {"en-de", "en-sv", "de-en", "sv-en"}
    texts: dict[str, set[str]] = {}
    for pair in ("en-de", "en-sv"):
        lines = (layout.text / f"valid.{pair}.tsv").read_text(encoding="utf-8").splitlines()
        columns = list(zip(*(line.split("\t") for line in lines), strict=True))
        texts |= {pair: set(columns[1]), "-".join(reversed(pair.split("-"))): set(columns[0])}
    shown = {"decoder": 0, "encoder": 0}
    for name, neuron in found["cards"]["neurons"].items():
        stack = name.partition(".")[0]
        for example in neuron["examples"] if stack == "decoder" else ():
            sentence = found["cards"]["sentences"][example["sentence"]]
            assert sentence["text"] in texts[sentence["task"]]  # what the decoder writes
        shown[stack] += len(neuron["examples"])
    assert shown["decoder"] > 0


@pytest.mark.usefixtures("undrawn")
def test_states_give_intervals(analyze: Analyze, project: Path) -> None:
    assert list(analyze("record.states=true", "analyze.resamples=20")) == ["record", "select", "analyze"]
    found = read_found(Layout(project / "run"))
    assert "intervals" not in found["missing"]
    for layer, packed in found["low"].items():
        assert unpack_fractions(packed) <= unpack_fractions(found["high"][layer])
    assert set(found["z_shuffled"]) == set(found["low"]) == set(found["iou"])


# When it is redone


def test_what_is_analysed_is_not_analysed_again(analyze: Analyze) -> None:
    assert analyze() == {}


def test_permutations_decide_the_analysis_alone(analyze: Analyze, project: Path) -> None:
    figures = Layout(project / "run").figures / "iou.encoder.0.csv"
    before = figures.read_bytes()
    assert analyze("analyze.permutations=120") == {"analyze": "analyze.permutations: 99 -> 120"}
    assert figures.read_bytes() == before


@pytest.mark.usefixtures("undrawn")
def test_another_number_of_examples_finds_them_again(analyze: Analyze, project: Path) -> None:
    layout = Layout(project / "run")
    before = Examples.load(layout.examples).top
    ran = analyze("analyze.examples=3")
    assert ran["examples"] == f"analyze.examples: {before} -> 3"
    assert list(ran) == ["examples", "analyze"]
    assert Examples.load(layout.examples).top == 3
    assert list(analyze("analyze.examples=0")) == ["analyze"]
    found = read_found(layout)
    assert all(not neuron["examples"] for neuron in found["cards"]["neurons"].values())  # though they are still there


@pytest.mark.usefixtures("undrawn")
def test_a_switched_off_share_decides_the_ablation_and_the_analysis(analyze: Analyze, project: Path) -> None:
    layout = Layout(project / "run")
    few = ("ablate.sentences=3", "ablate.draws=1")
    assert list(analyze("ablate=true", *few)) == ["ablate", "analyze"]
    first = load_ablations(layout.ablation)
    assert set(first) == {"encoder", "decoder"} == set(read_found(layout)["ablation"])
    ran = analyze("ablate=true", *few, "ablate.share=0.2")
    assert ran["ablate"] == "ablate.share: 0.05 -> 0.2"
    assert list(ran) == ["ablate", "analyze"]
    second = load_ablations(layout.ablation)
    for stack, ablation in second.items():
        assert ablation.share == pytest.approx(0.2, abs=0.01)
        assert first[stack].share < 0.06
        assert ablation.baseline == pytest.approx(first[stack].baseline)  # nothing is off there
        matrix = np.array(read_found(layout)["ablation"][stack]["changes"])
        assert matrix == pytest.approx(np.array(ablation.matrix))
    assert list(analyze()) == ["analyze"]
    assert not read_found(layout)["ablation"]  # of what is no longer asked for nothing is said


@pytest.mark.usefixtures("undrawn")
def test_given_masks_decide_the_ablation(analyze: Analyze, project: Path) -> None:
    layout = Layout(project / "run")
    masks = NeuronMasks.from_pretrained(layout.masks)
    few = {layer: torch.zeros(len(masks.tasks), width, dtype=torch.bool) for layer, width in masks.widths.items()}
    for values in few.values():
        values[:, :5] = True
    NeuronMasks(masks.tasks, few, {"rule": "lape"}).save_pretrained(project / "few")
    changes = ("ablate.sentences=3", "ablate.draws=1", f"ablate.masks={project / 'few'}")
    assert list(analyze(*changes)) == ["ablate", "analyze"]
    found = load_ablations(layout.ablation)
    assert {one.given for one in found.values()} == {"lape"}
    assert all(set(one.neurons.values()) == {5} for one in found.values())
    assert analyze(*changes) == {}

    # Other masks in the same place
    few["encoder.0"][:, 5] = True
    NeuronMasks(masks.tasks, few, {"rule": "lape"}).save_pretrained(project / "few")
    assert list(analyze(*changes)) == ["ablate", "analyze"]
    assert load_ablations(layout.ablation)["encoder"].neurons["encoder.0"] == 6
    assert list(analyze()) == ["analyze"]


@pytest.mark.usefixtures("undrawn")
def test_another_k_selects_again_and_the_examples_stay(analyze: Analyze) -> None:
    assert analyze("select.k=0.5") == {"select": "select.k: 0.9 -> 0.5", "analyze": "select has changed"}


@pytest.mark.usefixtures("undrawn")
def test_the_files_of_the_analysis_decide_it(analyze: Analyze, project: Path) -> None:
    masks = NeuronMasks.from_pretrained(project / "run" / "select")
    trade = project / "trade.csv"
    trade.write_text(",de,sv\nde,0,1\nsv,1,0\n", encoding="utf-8")
    masks.random(masks, 1).save_pretrained(project / "seed2")
    changes = (f"analyze.distances={{trade: {trade}}}", f"analyze.against={{seed2: {project / 'seed2'}}}")
    assert list(analyze(*changes)) == ["analyze"]
    assert analyze(*changes) == {}
    trade.write_text(",de,sv\nde,0,2\nsv,2,0\n", encoding="utf-8")
    assert analyze(*changes) == {"analyze": f"{trade} has changed"}
    masks.random(masks, 2).save_pretrained(project / "seed2")
    assert analyze(*changes) == {"analyze": f"{project / 'seed2'} has changed"}


def test_a_report_that_was_edited_is_written_again(analyze: Analyze, project: Path) -> None:
    layout = Layout(project / "run")
    report = layout.analysis / "report.html"
    before = report.read_bytes()
    report.write_text("mine", encoding="utf-8")
    assert analyze() == {"analyze": f"{layout.analysis} was changed"}
    assert report.read_bytes() == before


# The causal check


@pytest.mark.usefixtures("undrawn")
def test_switching_neurons_off_changes_the_loss_unless_they_say_nothing(project: Path, analyze: Analyze) -> None:
    layout = Layout(project / "run")
    few = ("ablate=true", "ablate.sentences=3", "ablate.draws=2")
    analyze(*few)
    usual = load_ablations(layout.ablation)["decoder"]
    assert usual.metric == "validation loss (nats per token)"
    assert np.any(usual.matrix != 0)
    path = layout.model("pretrained") / "model.safetensors"
    weights = load_file(path)
    for name, tensor in weights.items():
        if name.startswith("model.decoder") and "fc2.weight" in name:
            weights[name] = torch.zeros_like(tensor)
    save_file(weights, path, {"format": "pt"})
    config = load(project, *few)
    ablate_stage.execute(Run(config))
    silent = load_ablations(layout.ablation)["decoder"]
    assert silent.matrix == pytest.approx(np.zeros_like(usual.matrix), abs=1e-6)  # neurons that say nothing


@pytest.fixture
def target(project: Path) -> AnalysisTarget:
    config = load(project, "ablate.sentences=3", "ablate.draws=1")
    return open_target(Run(config))


@pytest.fixture
def inputs(project: Path) -> AnalysisInputs:
    config = load(project)
    return open_run_inputs(Run(config))


def test_the_inputs_of_a_run_knows_its_parts(inputs: AnalysisInputs, project: Path) -> None:
    layout = Layout(project / "run")
    for task, size in inputs.sizes.items():
        pair = "-".join(sorted(task.split("-"), key=lambda code: code != "en"))
        rows = [line.split("\t") for line in (layout.text / f"valid.{pair}.tsv").read_text("utf-8").splitlines()]
        assert size == inputs.size(task) == len(rows)
        columns = rows if task == pair else [row[::-1] for row in rows]
        sources, references = inputs.read_pairs(task, slice(2, 5))
        assert list(zip(sources, references, strict=True)) == [tuple(row) for row in columns[2:5]]
        assert sum(len(batch["tasks"]) for batch in inputs.read(task, slice(2, 5))) == 3
    with pytest.raises(NeuronspecError, match=r"no text of en-dx .*give --text en-dx=FILE"):
        inputs.size("en-dx")


def test_chosen_on_other_sentences_than_measured(
    target: AnalysisTarget, inputs: AnalysisInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Own neurons are chosen by what was counted on the rest of the text, and harm is measured on its beginning."""
    chosen: list[ActivationCounts] = []
    usual = ablation_masks.choose_own_neurons

    def choose(counts: ActivationCounts, *arguments: Any) -> NeuronMasks:
        chosen.append(counts)
        return usual(counts, *arguments)

    monkeypatch.setattr(neuron_ablation, "choose_own_neurons", choose)
    found = ablate(target, inputs)
    rest = {task: slice(3, None) for task in inputs.tasks}
    batches = (batch for task in chosen[0].tasks for batch in inputs.read(task, rest[task]))
    expected = record_activations(inputs.model, batches, "sentence", activity=inputs.activity)
    assert set(chosen[0].tasks) == set(inputs.tasks)
    assert all(torch.equal(chosen[0].values[layer], expected.values[layer]) for layer in expected.layers)
    off = NeuronMasks.from_dict({"x": {layer: torch.ones(width) for layer, width in target.masks.widths.items()}})
    measured = {task: list(inputs.read(task, slice(3))) for task in inputs.tasks}
    with measuring_loss(inputs.model, off, measured) as harm:
        for ablation in found.values():
            assert ablation.baseline == pytest.approx([harm(task, None) for task in ablation.tasks])
    again = ablate(replace(target, counts=None), inputs)  # the counts of a selection are not looked at
    assert {stack: one.as_dict() for stack, one in again.items()} == {s: one.as_dict() for s, one in found.items()}


def test_a_small_text_is_halved_and_one_sentence_refused(target: AnalysisTarget, inputs: AnalysisInputs) -> None:
    read: dict[str, set[int]] = {}

    def shorten(size: int) -> AnalysisInputs:
        def part(task: str, part: slice) -> Any:
            numbers = range(size)[part]
            read.setdefault(task, set()).add(len(numbers))
            return inputs.read(task, slice(numbers.start, numbers.stop))

        return replace(inputs, sizes=dict.fromkeys(inputs.sizes, size), read=part)

    ablate(target, shorten(5))
    assert set(read) == set(inputs.tasks)
    assert all(sizes == {3, 2} for sizes in read.values())  # chosen on three, measured on two
    with pytest.raises(NeuronspecError, match=r"found 1 sentences of .*expected two or more: .* give more text"):
        ablate(target, shorten(1))


def test_chrf_is_measured_where_it_is_asked_for(project: Path, analyze: Analyze) -> None:
    few = ("ablate.sentences=2", "ablate.draws=1", "translate.max_tokens=4")
    ran = analyze("ablate=true", "ablate.metric=chrf", *few)
    assert list(ran) == ["ablate", "analyze"]
    ablations = load_ablations(Layout(project / "run").ablation)
    assert {one.metric for one in ablations.values()} == {"chrF++"}
    assert all(isinstance(one, Ablation) and one.higher_is_better for one in ablations.values())
    assert all(0 <= value <= 100 for one in ablations.values() for value in np.ravel(one.values))
    figure = Layout(project / "run").figures / "ablation.encoder.csv"
    assert "de-en" in figure.read_text(encoding="utf-8")
    ran = analyze("ablate=true", "ablate.metric=chrf", *few[:2], "translate.max_tokens=5")
    assert ran["ablate"] == "translate.max_tokens: 4 -> 5"  # how it translates decides chrF++


# Interruption


@pytest.mark.parametrize("moment", ["draw_neuron_figures", "write_report"])
def test_r3_killed_while_it_writes_an_analysis_leaves_nothing_half_written_and_goes_on(
    project: Path, analyze: Analyze, analyzed: Path, moment: str
) -> None:
    layout = Layout(project / "run")
    command = ["toy.yaml", f"out={layout.out}", *FAST, "name=other", "--force"]  # it replaces what is finished
    killed = call(["-c", KILLED, moment, *command], project)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not layout.analysis.exists()  # figures, tables and report appear together or not at all
    undisturbed = {path.name for path in Layout(analyzed / "run").figures.iterdir()}
    assert list(layout.out.rglob("half"))  # it did die in the middle
    assert analyze("name=other") == {"analyze": ""}  # gone on with
    assert not list(layout.out.rglob("half"))
    assert not [path for path in layout.out.iterdir() if path.name.startswith(".")]
    assert {path.name for path in layout.figures.iterdir()} == undisturbed
    before, after = read_found(Layout(analyzed / "run")), read_found(layout)
    assert after == before | {"title": "other"}
    assert analyze("name=other") == {}
