"""`neuronspec init`: from files to a configuration, and from there to a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Start
from tests.command import run_command
from tests.proposal.layouts import lines, table, write, write_three_kinds


def test_three_kinds_of_corpora_become_a_run_with_nothing_typed_but_paths(tmp_path: Path, start: Start) -> None:
    write_three_kinds(tmp_path / "corpora")
    written = start(tmp_path, "init", "corpora", "-o", "my.yaml", "--minutes", "0.1")
    assert written.returncode == 0, written.stderr
    assert written.stdout.splitlines()[0].endswith("300 sentence pairs")
    assert "neuronspec run my.yaml" in written.stdout

    done = start(tmp_path, "run", "my.yaml", "analyze.figures=false")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs/my/report/report.html").is_file()
    assert {path.name for path in (tmp_path / "runs/my/train").iterdir()} == {
        "pretrained",
        "fine_tune",
        "neuron_specialization",
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path, {"de.tsv": table("en", "de", count=200), "notes.csv": "a,b\n"})


def test_the_json_has_what_was_found_and_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_command("init", "de.tsv", "notes.csv", "--minutes", "0.05", "--json")
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == "my.yaml"
    assert said["pairs"]["train"] == {"en-de": 200}
    assert said["left_out"] == [{"path": "notes.csv", "reason": said["left_out"][0]["reason"]}]
    assert said["settings"]["train.updates"] == yaml.safe_load(Path("my.yaml").read_text())["train"]["updates"]


def test_a_file_that_exists_is_replaced_only_with_force(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my.yaml").write_text("mine: true\n")
    assert run_command("init", "de.tsv") == 2
    assert "my.yaml exists: choose another -o, or give --force to replace it" in capsys.readouterr().err
    assert Path("my.yaml").read_text() == "mine: true\n"
    assert not run_command("init", "de.tsv", "--minutes", "0.05", "--force")
    assert yaml.safe_load(Path("my.yaml").read_text())["languages"] == ["de"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["notes.csv"], "no parallel text was found in notes.csv (notes.csv: a .csv table"),
        (["nowhere"], "nowhere does not exist"),
        ([], "give your corpora, as in neuronspec init corpora -o my.yaml, or --recipe NAME, not both"),
        (["de.tsv", "--recipe", "iwslt"], "or --recipe NAME, not both"),
        (["--recipe", "nothing"], "no recipe 'nothing'; there are add_language, bilingual, demo"),
        (["de.tsv", "--languages", "nl"], "no text in nl was found, only in de"),
        (["de.tsv", "-o", "missing/my.yaml"], "the folder missing does not exist"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert run_command("init", *arguments) == 2
    [sentence] = capsys.readouterr().err.splitlines()
    assert expected in sentence
    assert not Path("my.yaml").exists()


def test_a_name_that_is_not_utf8_is_reported_by_every_verb(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"x/de.tsv": table("en", "de"), "x/a\udcff.fr-en.tsv": table("fr", "en")})
    assert not run_command("init", "x", "--minutes", "0.05")
    assert "not used: x/a\\udcff.fr-en.tsv: its name is not UTF-8" in capsys.readouterr().err
    assert "its name is not UTF-8" in Path("my.yaml").read_text()
    for options in ([], ["--json"]):
        run_command("check", "x", *options)
        assert "its name is not UTF-8" in capsys.readouterr().out
    assert not run_command("init", "x", "--minutes", "0.05", "--json", "--force")
    assert json.loads(capsys.readouterr().out)["left_out"]


def test_nothing_is_written_that_a_run_would_refuse(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronspec.proposal.proposing.write_recipe", lambda *_, **__: "languages: [de\n")
    assert run_command("init", "de.tsv", "--minutes", "0.05") == 2
    assert "my.yaml is not valid YAML" in capsys.readouterr().err
    assert not [path.name for path in folder.iterdir() if "yaml" in path.name]


def test_a_recipe_is_copied_with_its_comments(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run_command("init", "--recipe", "iwslt")
    assert "iwslt.yaml is a copy of the recipe iwslt" in capsys.readouterr().out
    assert Path("iwslt.yaml").read_text().startswith("# The paper's small experiments")


def test_the_languages_and_the_pivot_are_those_that_are_asked_for(folder: Path) -> None:
    write(folder, {f"x.{code}": lines(code) for code in ("de", "fr")})
    assert not run_command("init", ".", "--pivot", "de", "--languages", "fra", "--minutes", "0.05")
    written = yaml.safe_load(Path("my.yaml").read_text())
    assert (written["pivot"], written["languages"]) == ("de", ["fra"])
