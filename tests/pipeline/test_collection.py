"""Results of runs and of other systems, brought together and compared: `neuronspec compare`."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

from neuronspec.config.schema import Config
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.results import Results, merge_results
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.collection import collect_shares, gather, load_set, read_levels
from neuronspec.pipeline.layout import Layout

Compare = Callable[..., int]
SYSTEMS = ["source", "pretrained", "pretrained+masks", "pretrained+random", "fine_tune", "neuron_specialization"]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compare:
    """Call `neuronspec compare`; return its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> int:
        return run_command("compare", *arguments)

    return call


@pytest.fixture
def other(finished: Config, tmp_path: Path) -> Path:
    """Another system's results on the same test sets: the fine-tuned one's, kept under another name."""
    results = Results.load(Layout(finished.out).scores).select("fine_tune", "published")
    place = tmp_path / "published"
    place.mkdir()
    results.save(place)
    return place


def test_a_run_is_told_as_its_own_report_tells_it(
    finished: Config, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(finished.out)
    assert compare(finished.out, "--table", "levels.bleu", "--format", "csv") == 0
    said = capsys.readouterr().out
    own = (layout.report / "tables" / "levels.bleu.csv").read_text(encoding="utf-8")
    assert said.strip() == own.strip()
    rows = list(csv.DictReader(io.StringIO(said)))
    assert [next(iter(row.values())) for row in rows][:2] == ["pretrained", "copying the source"]


def test_every_table_is_written_in_every_format(finished: Config, compare: Compare, tmp_path: Path) -> None:
    assert compare(finished.out, "-o", "tables") == 0
    tables = [file for file in (tmp_path / "tables").iterdir() if file.is_file()]
    names = {file.name.rsplit(".", 1)[0] for file in tables}
    assert {"levels.bleu", "levels.chrf++", "languages.bleu", "outcomes", "efficiency", "quality"} <= names
    assert {file.name for file in tables} == {
        f"{name}.{suffix}" for name in names for suffix in ("md", "csv", "tex", "json")
    }
    for file in (tmp_path / "tables").glob("*.json"):
        assert json.loads(file.read_text(encoding="utf-8"))
    assert compare(finished.out, "-o", "tables") == 2
    assert compare(finished.out, "-o", "tables", "--force", "--table", "quality") == 0
    assert len([file for file in (tmp_path / "tables").iterdir() if file.is_file()]) == 4


def test_the_figures_of_systems_are_drawn_beside_the_tables(finished: Config, compare: Compare, tmp_path: Path) -> None:
    assert compare(finished.out, "-o", "tables") == 0
    with (tmp_path / "tables" / "figures" / "gains.bleu.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results = load_set(str(finished.out))[1].results
    titles = {row["system"] for row in rows}
    assert "fine-tuned over pretrained" in titles
    assert not any(title.startswith("copying") for title in titles)
    for row in rows:
        if row["system"] == "fine-tuned over pretrained":
            gain = results.score("fine_tune", "BLEU", [row["task"]]) - results.score(
                "pretrained", "BLEU", [row["task"]]
            )
            assert float(row["gain"]) == pytest.approx(gain)


def test_runs_say_what_their_k_gains(finished: Config, tmp_path: Path) -> None:
    assert collect_shares([str(tmp_path)], "BLEU") == []  # no run
    (point,) = collect_shares([f"mine={finished.out}", str(finished.out)], "BLEU")
    results = load_set(str(finished.out))[1].results
    ours, theirs = (results.score(one, "BLEU", results.tasks) for one in ("neuron_specialization", "fine_tune"))
    assert point.k == finished.select.k
    assert point.gain == pytest.approx(ours - theirs)
    masks = NeuronMasks.from_pretrained(Layout(finished.out).masks)
    assert point.sparsity == {layer: pytest.approx(values.mean()) for layer, values in masks.sparsity().items()}


def test_another_system_is_compared_with_those_of_a_run(
    finished: Config, other: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (f"base={finished.out}:pretrained", f"tuned={finished.out}:fine_tune", other)
    assert compare(*arguments, "--trials", 200, "--format", "json", "--table", "outcomes") == 0
    said = json.loads(capsys.readouterr().out)["outcomes"]
    by_system: dict[str, list[object]] = {}
    for row in said:
        by_system.setdefault(row.pop("system"), []).append(row)
    assert list(by_system) == ["tuned", "published"]
    assert by_system["tuned"] == by_system["published"]  # the same translations


def test_the_tests_of_a_run_are_made_again_with_a_seed_and_corrected_again_without(
    finished: Config, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*arguments: object) -> dict[tuple[str, ...], dict[str, Any]]:
        assert compare(finished.out, "--table", "significance.chrf++", "-f", "json", *arguments) == 0
        rows = json.loads(capsys.readouterr().out)["significance.chrf++"]
        return {tuple(row[key] for key in ("system", "against", "family", "directions")): row for row in rows}

    stored, seeded = read(), {seed: read("--seed", seed) for seed in (0, finished.seed)}
    assert finished.seed != 0
    assert {row["seed"] for row in stored.values()} == {finished.seed}
    assert seeded[finished.seed] == stored
    assert {row["seed"] for row in seeded[0].values()} == {0}
    assert seeded[0].keys() == stored.keys()
    assert any(row["p"] != stored[key]["p"] for key, row in seeded[0].items())
    raw = read("--correction", "none")
    assert {key: row["p"] for key, row in raw.items()} == {key: row["p"] for key, row in stored.items()}
    assert all(row["adjusted p"] == row["p"] for row in raw.values())
    assert any(row["adjusted p"] != row["p"] for row in stored.values())


def test_a_run_is_compared_without_a_library_for_models(finished: Config) -> None:
    code = "import sys; from neuronspec.pipeline.collection import load_set; load_set(sys.argv[1]); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(finished.out)]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert "neuronspec.pipeline.studies" in loaded
    assert not {"torch", "transformers", "accelerate", "matplotlib"} & {*loaded}


def test_sizes_stand_side_by_side(finished: Config, compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(f"big={finished.out}", f"wide={finished.out}", "--models", "--format", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    values = {key: value for key, value in rows[1].items() if "BLEU" in key and "mark" not in key}
    assert len(values) == 2
    assert len(set(values.values())) == 1
    assert compare(str(finished.out), "--models") == 2
    assert "--models needs a name of its own for each directory" in capsys.readouterr().err


def test_interference_against_bilingual_models(
    finished: Config, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(finished.out, "--bilingual", "pretrained", "--table", "interference.bleu", "-f", "latex") == 0
    said = capsys.readouterr().out
    assert r"\begin{table" in said
    assert r"\cellcolor{" in said
    assert compare(finished.out, "--bilingual", "pretraind") == 2
    assert "did you mean 'pretrained'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["nowhere"], "nowhere holds no results: give the output directory of a finished run"),
        (["{run}", "--baseline", "fine"], "no system 'fine' (did you mean 'fine_tune'?)"),
        (["{run}", "--table", "leels"], "no table 'leels'"),
        (["{run}", "--format", "html"], "unknown table format 'html'"),
        (["{run}", "--level", "high"], "'high' is no level: write NAME=CODE,CODE"),
        (["{run}", "--level", "high=germn"], "unknown language 'germn'"),
        (["{run}", "--level", "high=de", "--level", "low=de,sv"], "de is in two levels"),
        (["{run}", "--level", "all=de"], "'all' cannot name a level"),
        (["{run}", "--pivot", "xx"], "unknown language 'xx'"),
        (["{run}", "--pivot", "it"], "no direction is from or to it; the languages are de, en, sv"),
        (["a={run}", "a={run}", "--models"], "--models needs a name of its own"),
        (["a={run}", "b={run}", "--models", "--pivot", "de"], "it takes no baseline, pivot, level or test"),
        (["{run}", "--out", "{run}"], "exists: choose another --out"),
        (["{run}", "--out", "{run}", "--force"], "holds something else, which --force will not replace"),
        (["{run}", "{run}"], "there are two results of pretrained on en-de: give them other names, NAME=DIRECTORY"),
        (["x={run}:nothing"], "no system 'nothing'"),
        (["x={run}:source"], "x: copying the source is no system to compare"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    finished: Config, compare: Compare, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str
) -> None:
    assert compare(*(argument.replace("{run}", str(finished.out)) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert found in said
    assert "Traceback" not in said


def test_names_go_before_the_systems_of_a_set_or_stand_for_its_only_one(finished: Config, other: Path) -> None:
    first, new = load_set(f"first={finished.out}"), load_set(f"new={other}")
    assert (first[0], new[0]) == ("first", "new")
    both = gather([first, new])
    assert both.results.systems == [*(f"first:{system}" for system in SYSTEMS[1:]), "new"]
    assert both.baseline == "first:pretrained"
    assert both.title("first:fine_tune") == "first: fine-tuned"
    assert both.costs["first:fine_tune"].updates == 8
    assert both.title("new") == "new"
    assert both.comparisons == ()
    alone = load_set(str(finished.out))
    plain = gather([alone])
    assert plain.results.systems == SYSTEMS
    assert plain.comparisons == alone[1].comparisons != ()


def test_test_sets_that_differ_are_not_compared(finished: Config, other: Path) -> None:
    results = Results.load(other)
    changed = Results(tuple(replace(score, test_set="0") for score in results.scores), (), results.counted)
    _, run = load_set(str(finished.out))
    with pytest.raises(NeuronspecError, match="different references of en-de"):
        gather([("", run), ("", replace(run, results=changed))])
    assert merge_results([run.results, results]).systems == [*SYSTEMS, "published"]


def test_levels_are_read_from_the_command_line(finished: Config) -> None:
    _, study = load_set(str(finished.out))
    assert dict(study.levels) == {"high": ["de"], "medium": ["sv"]}
    found = gather([("", study)], levels=read_levels(["much=de", "little=sv"]))
    assert dict(found.levels) == {"much": ["de"], "little": ["sv"]}
    assert found.comparisons == ()  # they were of other groups


def test_bilingual_models_of_several_runs_are_one_system(
    finished: Config, tmp_path: Path, compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Results.load(Layout(finished.out).scores).select("fine_tune", "alone")
    for language in ("de", "sv"):
        own = [f"en-{language}", f"{language}-en"]
        (tmp_path / language).mkdir()
        Results(
            tuple(score for score in results.scores if score.task in own),
            (),
            {key: value for key, value in results.counted.items() if key[1] in own},
        ).save(tmp_path / language)
    sets = (finished.out, "two=de", "two=sv:alone")
    assert compare(*sets, "--bilingual", "two", "--table", "interference.bleu", "-f", "csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert next(row["system"] for row in rows if row["section"].startswith("One")) == "two"
    by_system = {row["system"]: row for row in rows if row["section"].startswith("Many")}
    assert float(by_system["two"]["de"]) == pytest.approx(results.score("alone", "BLEU", ["de-en"]))
    assert float(by_system["fine-tuned"]["sv"]) == 0  # the same translations
