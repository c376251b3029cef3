"""A sweep is a run for each value; they share what does not depend on it, and are reported together."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.command import run_command

import neuronspec as ns
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, read_json
from neuronspec.pipeline import sweeps
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.plan import execute_stages
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.sweeps import open_sweep

WriteProject = Callable[..., None]

SMALL = {
    **{"train.updates": 4, "continued.updates": 2, "analyze.figures": False, "analyze.examples": 0},
    **{"analyze.resamples": 0, "translate.max_tokens": 4, "score.metrics": ["bleu"]},
}
MASKED = ("pretrained+masks", "pretrained+random", "neuron_specialization")
MADE_BY_K = [
    *("select", "analyze", "train.neuron_specialization", "score", "report"),
    *(f"translate.{system}" for system in MASKED),
]


def count_made(out: Path) -> list[str]:
    """The stages of a run that it has made itself."""
    records = sorted((out / "stages").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [path.stem for path in records if "shared_from" not in read_json(path)]


@pytest.fixture(scope="module")
def project(write_project: WriteProject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a finished sweep over two k and, from scratch, a run of one of them."""
    folder = tmp_path_factory.mktemp("sweeps")
    write_project(folder)
    ns.sweep(folder / "toy.yaml", {**SMALL, "select.k": [0.9, 0.6]}, out=folder / "ks")
    ns.run(folder / "toy.yaml", {**SMALL, "select.k": 0.9}, out=folder / "scratch")
    return folder


def test_a_point_has_the_bits_of_a_run_from_scratch(project: Path) -> None:
    names = ["record", "select", "translate", "score/scores.jsonl", "score/comparisons.jsonl"]
    systems = ("pretrained", "fine_tune", "neuron_specialization")
    for name in (*names, *(f"train/{system}/model" for system in systems), "report/tables/averages.csv"):
        assert hash_path(project / "ks" / "select.k=0.9" / name) == hash_path(project / "scratch" / name), name


def test_points_share_what_does_not_depend_on_the_key(project: Path) -> None:
    assert len(count_made(project / "ks" / "select.k=0.6")) == len(count_made(project / "scratch"))  # the first one
    assert sorted(count_made(project / "ks" / "select.k=0.9")) == sorted(MADE_BY_K)


def test_every_point_is_an_ordinary_run(project: Path) -> None:
    for k in (0.6, 0.9):
        out = project / "ks" / f"select.k={k}"
        run = ns.run(out)
        assert (run.config.select.k, run.config.out) == (k, out)
        signature = run.load_masks().signature
        assert {float(value) for key, value in signature.items() if key.startswith("k.")} == {k}


def test_the_report_has_a_row_for_each_point_and_system(project: Path) -> None:
    tables = project / "ks" / "report" / "tables"
    assert {path.suffix for path in tables.iterdir()} == {".md", ".csv", ".tex", ".json"}
    gains = read_json(tables / "differences.json")
    assert [(row["select.k"], row["system"]) for row in gains] == [
        (k, system)
        for k in (0.6, 0.9)
        for system in ("+ specialized masks", "+ random masks", "fine-tuned", "neuron specialization")
    ]
    averages = read_json(tables / "averages.json")
    score = {(row["select.k"], row["system"]): row["BLEU from en"] for row in averages}
    for row in gains:
        own = score[row["select.k"], row["system"]] - score[row["select.k"], row["baseline"]]
        assert row["BLEU from en"] == pytest.approx(own)
        assert 0 <= row["BLEU from en adjusted p"] <= 1
    sparse = [row["sparsity %"] for row in gains if row["system"] == "neuron specialization"]
    assert sparse[0] > sparse[1] > 0
    assert {row["system"] for row in read_json(tables / "efficiency.json")} >= {"pretrained", "fine-tuned"}

    # The tests are those that each run has made itself.
    own = read_json(project / "scratch" / "report" / "tables" / "averages.json")
    assert [row for row in averages if row.pop("select.k") == 0.9] == own
    summary = (project / "ks" / "report" / "summary.md").read_text(encoding="utf-8")
    assert "p-values are corrected within a point" in summary
    assert "other test text" not in summary


def test_the_gain_over_k_is_drawn_with_the_sparsity(project: Path) -> None:
    figures = project / "ks" / "report" / "figures"
    assert sorted(path.name for path in figures.iterdir()) == [
        f"gain_over_select.k.{kind}" for kind in ("csv", "pdf", "png", "svg")
    ]
    rows = [line.split(",") for line in (figures / "gain_over_select.k.csv").read_text().splitlines()[1:]]
    assert {(row[1], row[2]) for row in rows} == {
        (k, line)
        for k in ("0.6", "0.9")
        for line in (
            *("fine-tuned - pretrained", "neuron specialization - fine-tuned"),
            *("sparsity of the encoder", "sparsity of the decoder"),
        )
    }


def test_another_value_makes_one_run_more_and_the_directory_stands_for_the_configuration(
    project: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = (path for path in (project / "ks").glob("select.k=*/**/*") if path.is_file())
    kept = ("config.yaml", "hashes")  # what was just written before is read once more, and its hash kept then
    stamps = {path: path.stat().st_mtime_ns for path in results if path.name not in kept}
    caplog.set_level(logging.INFO, logger="neuronspec")
    more = ns.sweep(project / "ks", {"select.k": [0.9, 0.8, 0.6]})
    assert [*more.runs] == ["select.k=0.6", "select.k=0.8", "select.k=0.9"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert sorted(count_made(project / "ks" / "select.k=0.8")) == sorted(MADE_BY_K)
    gains = read_json(more.report / "tables" / "differences.json")
    assert list(dict.fromkeys(row["select.k"] for row in gains)) == [0.6, 0.8, 0.9]

    # All three are in the directory's configuration now.
    caplog.clear()
    assert [*ns.sweep(project / "ks").runs] == [*more.runs]
    assert {message.partition(": ")[2] for message in caplog.messages if ": " in message} == {"done before"}
    shared = ns.sweep(project / "ks", {"select.k": [0.8]}, out=tmp_path / "other")
    assert count_made(shared.runs["select.k=0.8"].layout.out) == []


def test_an_interrupted_sweep_resumes_and_no_order_matters(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[object] = []

    def interrupt(run: Run, **options: Any) -> Layout:
        if done:
            raise KeyboardInterrupt
        done.append(run.config.select.k)
        return execute_stages(run, **options)

    changes = {**SMALL, "select.k": [0.9, 0.6]}
    monkeypatch.setattr(sweeps, "execute_stages", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ns.sweep(project / "toy.yaml", changes, out=tmp_path / "ks", share_from=project / "ks" / "select.k=0.9")
    assert not (tmp_path / "ks" / "report").exists()
    monkeypatch.undo()
    resumed = ns.sweep(project / "toy.yaml", {**changes, "select.k": [0.6, 0.9]}, out=tmp_path / "ks")
    for name in ("differences.csv", "averages.csv"):
        rows = [(folder / "tables" / name).read_text() for folder in (resumed.report, project / "ks" / "report")]
        assert set(rows[0].splitlines()) <= set(rows[1].splitlines())
    for k in (0.6, 0.9):
        place = Path(f"select.k={k}", "train", "neuron_specialization", "model")
        assert hash_path(tmp_path / "ks" / place) == hash_path(project / "ks" / place)


def test_a_point_that_fails_does_not_stop_the_others_and_is_named(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project / "ks", tmp_path / "ks")

    def fail(run: Run, **options: Any) -> Layout:
        if run.config.select.k == 0.6:
            raise NeuronspecError("the loss is nan at update 3: lower the learning rate")
        return execute_stages(run, **options)

    monkeypatch.setattr(sweeps, "execute_stages", fail)
    assert run_command("run", str(tmp_path / "ks"), "select.k=[0.6,0.9]") == 2
    said = capsys.readouterr()
    assert "0.9" in said.out
    assert "select.k=0.6 failed and is missing: the loss is nan at update 3" in " ".join(said.out.split())
    assert "error: 1 of 2 points failed; the report of the others is in" in said.err
    assert "  - select.k=0.6: the loss is nan at update 3: lower the learning rate" in said.err

    tables = tmp_path / "ks" / "report" / "tables"
    for name in ("differences", "averages", "efficiency"):
        assert {row["select.k"] for row in read_json(tables / f"{name}.json")} == {0.9}
        assert "select.k=0.6 failed and is missing" in (tables / f"{name}.md").read_text(encoding="utf-8")

    # Where all fail, nothing is reported; the next call tries again.
    opened = open_sweep(tmp_path / "ks", ["select.k=[0.6,0.9]"])
    first = opened.points[0].run
    monkeypatch.setattr(sweeps, "execute_stages", lambda run, **options: fail(first))
    with pytest.raises(NeuronspecError, match=r"2 of 2 points failed; the same command keeps what is done"):
        sweeps.execute_sweep(opened)
    monkeypatch.undo()
    assert sweeps.execute_sweep(opened) == {}
    assert "failed" not in (tables / "averages.md").read_text(encoding="utf-8")


def test_a_point_may_extend_its_own_sweep(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "ks", tmp_path / "ks")
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "ks").glob("select.k=*/*/**/*.safetensors")}
    extended = ns.sweep(tmp_path / "ks" / "select.k=0.9", {"select.k": [0.9, 0.6]}, out=tmp_path / "ks")
    assert [*extended.runs] == ["select.k=0.6", "select.k=0.9"]
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_a_grid_over_methods_and_words(project: Path, tmp_path: Path) -> None:
    changes = {
        **{**SMALL, "method": ["fine_tune", "adapters"], "methods.adapters.bottleneck": [4, 8]},
        **{"sampling.homogeneous": [False, True], "train.updates": 0},
    }
    grid = ns.sweep(project / "toy.yaml", changes, out=tmp_path / "grid")
    assert [*grid.runs] == [
        f"methods.adapters.bottleneck={size},sampling.homogeneous={order}"
        for size in (4, 8)
        for order in ("false", "true")
    ]
    rows = read_json(grid.report / "tables" / "differences.json")
    assert {(row["methods.adapters.bottleneck"], row["sampling.homogeneous"]) for row in rows} == {
        (size, order) for size in (4, 8) for order in ("false", "true")
    }
    # Only numbers have an axis; the other key makes a line each.
    figures = sorted(path.name for path in (grid.report / "figures").glob("*.csv"))
    assert figures == ["gain_over_methods.adapters.bottleneck.csv"]
    lines = {line.split(",", 2)[2] for line in (grid.report / "figures" / figures[0]).read_text().splitlines()[1:]}
    assert any("sampling.homogeneous=true" in line for line in lines)
    assert "train.fine_tune" not in count_made(grid.runs[[*grid.runs][2]].layout.out)


def test_a_sweep_and_a_run_do_not_share_a_directory(project: Path) -> None:
    with pytest.raises(NeuronspecError, match="ks holds the runs of a sweep: give the directory of one of them"):
        ns.run(project / "toy.yaml", SMALL, out=project / "ks")
    with pytest.raises(NeuronspecError, match=r"such as .*select\.k=0\.6"):
        ns.run(project / "ks")
    with pytest.raises(NeuronspecError, match="scratch holds a run: choose another --out for the sweep; --from"):
        ns.sweep(project / "toy.yaml", {**SMALL, "select.k": [0.9, 0.6]}, out=project / "scratch")
    with pytest.raises(NeuronspecError, match=r"several values \(0.6, 0.9\): .*neuronspec.sweep"):
        ns.run(project / "toy.yaml", {**SMALL, "select.k": [0.9, 0.6]}, out=project / "new")
    with pytest.raises(NeuronspecError, match=r"no key of .* has several values"):
        ns.sweep(project / "toy.yaml", SMALL, out=project / "new")
    assert not (project / "new").exists()


def test_what_one_point_cannot_do_is_refused_before_the_work_of_another(project: Path, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="torch sees none"):
        ns.sweep(project / "toy.yaml", {**SMALL, "device": ["cpu", "mps"]}, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_corpora_to_choose_from_are_found_from_everywhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [[{"path": "corpus.{lang}.tsv"}], [{"path": "other.{lang}.tsv"}]]
    sweep = open_sweep(project / "toy.yaml", changes={"data.train": several}, out=tmp_path / "texts")
    described = json.loads(json.dumps(sweeps._describe(sweep)))
    paths = [one["path"] for corpora in described["data"]["train"] for one in corpora]
    assert paths == [str(project / f"{name}.{{lang}}.tsv") for name in ("corpus", "other")]


def test_a_section_of_corpora_to_choose_from_is_stored_with_all_its_values(project: Path, tmp_path: Path) -> None:
    shares = {"valid": 0.1, "test": 0.1}
    several = [{"train": [{"path": f"{name}.{{lang}}.tsv"}], "hold_out": shares} for name in ("corpus", "other")]
    sweep = open_sweep(project / "toy.yaml", changes={"data": several}, out=tmp_path / "texts")
    described = json.loads(json.dumps(sweeps._describe(sweep)))
    paths = [data["train"][0]["path"] for data in described["data"]]
    assert paths == [str(project / f"{name}.{{lang}}.tsv") for name in ("corpus", "other")]
