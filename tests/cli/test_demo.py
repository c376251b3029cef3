"""The quick start in small: the same command on a text made here, in a real process."""

from __future__ import annotations

import json
import random
import zipfile
from pathlib import Path

import pytest
from tests.processes import COMMAND, Completed, call

LANGUAGES = ("en", "de", "sv", "es", "pt", "cs", "sk")


def neuronspec(*arguments: str, cwd: Path) -> Completed:
    return call([*COMMAND, *arguments], cwd)


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with catalogs of made-up sentences: every language has its own word for each English one."""
    draw = random.Random(1)
    letters = {code: draw.sample("abcdefghijklmnopqrstuvwxyz", 12) for code in LANGUAGES}
    words = {
        code: ["".join(draw.choices(letters[code], k=draw.randint(2, 6))) for _ in range(60)] for code in LANGUAGES
    }
    sentences = [draw.choices(range(60), k=draw.randint(3, 7)) for _ in range(500)]
    path = tmp_path_factory.mktemp("text") / "catalogs.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for code in LANGUAGES:
            texts = {f"key{n}": " ".join(words[code][word] for word in line) for n, line in enumerate(sentences)}
            archive.writestr(f"homeassistant/components/one/translations/{code}.json", json.dumps({"all": texts}))
    return path


@pytest.fixture(scope="module")
def demo(catalogs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    folder = tmp_path_factory.mktemp("demo")
    changes = ("train.updates=600", "continued.updates=200", "prepare.vocabulary.size=300", "translate.max_tokens=8")
    quick = ("analyze.figures=false", "analyze.resamples=20", "analyze.permutations=99")
    done = neuronspec(
        "demo", *changes, *quick, "--minutes", "0.1", "--text", str(catalogs), "--out", "runs/small", cwd=folder
    )
    return folder, done


def test_demo_prints_its_table_and_what_to_try_next(demo: tuple[Path, Completed]) -> None:
    folder, done = demo
    assert done.returncode == 0, done.stderr
    for row in ("copying the source", "pretrained", "random masks", "fine-tuned", "neuron specialization"):
        assert row in " ".join(done.stdout.split())
    assert "neuronspec translate --model runs/small/train/neuron_specialization/model en-de" in done.stdout
    assert (folder / "runs/small/report/summary.md").is_file()


def test_minutes_scale_the_updates_and_nothing_else(demo: tuple[Path, Completed]) -> None:
    summary = {
        name: json.loads((demo[0] / f"runs/small/train/{name}/summary.json").read_text())
        for name in ("pretrained", "fine_tune", "neuron_specialization")
    }
    assert {name: values["update"] for name, values in summary.items()} == {
        "pretrained": 12,
        "fine_tune": 4,
        "neuron_specialization": 4,
    }
    assert all(values["parameters_added"] == 0 for values in summary.values())


def test_the_command_it_suggests_translates_a_sentence(demo: tuple[Path, Completed]) -> None:
    model = "runs/small/train/neuron_specialization/model"
    done = neuronspec("translate", "--model", model, "en-de", "some words", "others", cwd=demo[0])
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_demo_is_done_when_it_is_asked_again(demo: tuple[Path, Completed], catalogs: Path) -> None:
    changes = ("train.updates=600", "continued.updates=200", "prepare.vocabulary.size=300", "translate.max_tokens=8")
    quick = ("analyze.figures=false", "analyze.resamples=20", "analyze.permutations=99")
    again = neuronspec(
        "demo", *changes, *quick, "--minutes", "0.1", "--text", str(catalogs), "--out", "runs/small", cwd=demo[0]
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout == demo[1].stdout
    assert again.stderr.count("done before") == 16
