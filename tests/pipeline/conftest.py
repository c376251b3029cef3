"""A small run, made once by the command line in processes of their own, and examined by many tests."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.processes import COMMAND, Completed, Process, finish

from neuronspec.config.loading import load_config
from neuronspec.config.schema import Config
from neuronspec.methods import method_options

# Word for word, in the same order: a toy language of which a few hundred sentences say everything.
DICTIONARY = {
    "en": "the cat dog house tree man woman child sees likes finds takes loves big small old young here there now",
    "de": "das Katze Hund Haus Baum Mann Frau Kind sieht mag findet nimmt liebt groß klein alt jung hier dort jetzt",
    "sv": "den katt hund hus träd man kvinna barn ser gillar hittar tar älskar stor liten gammal ung här där nu",
}
RECIPE = """
name: toy
out: run
threads: 1
device: cpu
languages: [de, sv]
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.1, test: 0.1}
prepare: {vocabulary: {size: 100}}
sampling: {tokens_per_batch: 300}
model: {preset: tiny}
train: {updates: 16, learning_rate: 3.0e-3, warmup: 4, schedule: constant, validate_every: 4, select: last}
select: {k: 0.9}
analyze: {permutations: 99, examples: 2}
continued: {updates: 8, learning_rate: 2.0e-3, warmup: 0, schedule: constant, validate_every: 4, select: last}
methods: {fine_tune: {}, neuron_specialization: {}}
translate: {beams: 1, max_tokens: 8}
score: {trials: 100}
"""
WriteProject = Callable[..., None]


def write_project(folder: Path, sentences: int = 240) -> None:
    """Write a corpus of English with German and Swedish, and a recipe for it."""
    draw = random.Random(0)
    words = {language: text.split() for language, text in DICTIONARY.items()}
    rows = [
        [0, draw.randrange(13, 17), draw.randrange(1, 8), draw.randrange(8, 13), 0, draw.randrange(1, 8), *place]
        for place in ([], [17], [18], [19])
        for _ in range(sentences // 4)
    ]
    for language in ("de", "sv"):
        lines = ("\t".join(" ".join(words[side][n] for n in row) for side in ("en", language)) for row in rows)
        (folder / f"corpus.{language}.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "toy.yaml").write_text(RECIPE, encoding="utf-8")


def start(folder: Path) -> Process:
    """Start `neuronspec run toy.yaml` in `folder`."""
    return Process([*COMMAND, "run", "toy.yaml"], folder)


def load(folder: Path) -> Config:
    """Load the recipe of a project, with its output directory made absolute."""
    return load_config(folder / "toy.yaml", [f"out={folder / 'run'}"], method_options())


@pytest.fixture(name="write_project", scope="session")
def project_writer() -> WriteProject:
    """Write a corpus and the recipe `toy.yaml` into a folder."""
    return write_project


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Completed:
    """The command that made the finished run; `args` ends with its folder."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder)
    done = finish(start(folder))
    assert done.returncode == 0, done.stderr
    done.args = [*done.args, folder]
    return done


@pytest.fixture(scope="session")
def finished(command: Completed) -> Config:
    """The configuration of a run that went through undisturbed; read only."""
    return load(command.args[-1])


@pytest.fixture
def copied(finished: Config, tmp_path: Path) -> Config:
    """The configuration of a copy of the finished run, to do things to."""
    folder = tmp_path / "copy"
    shutil.copytree(finished.out.parent, folder)
    # The paths of corpora are in the records: the copy goes on from the original's corpora.
    recipe = (folder / "toy.yaml").read_text(encoding="utf-8")
    (folder / "toy.yaml").write_text(recipe.replace('"corpus.', f'"{finished.out.parent}/corpus.'), encoding="utf-8")
    return load(folder)


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, list[Completed]]:
    """The same run, commands by Ctrl-C while it trains and killed while it trains on, then gone on with to its end.

    With its configuration, what the three commands said.
    """
    folder = tmp_path_factory.mktemp("interrupted")
    write_project(folder)
    commands = []
    for checkpoint, number in (
        ("pretrained/checkpoints/checkpoint-000004", signal.SIGINT),
        ("fine_tune/checkpoints/checkpoint-000004", signal.SIGKILL),
    ):
        process = start(folder)
        deadline = time.monotonic() + PATIENCE
        while not (folder / "run" / "train" / checkpoint).exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        process.send_signal(number)
        commands.append(finish(process))
    commands.append(finish(start(folder)))
    assert commands[-1].returncode == 0, commands[-1].stderr
    return load(folder), commands
