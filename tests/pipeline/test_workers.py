"""What the workers of a real cluster do is what one process does, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.command import run_command
from tests.dask_cluster import Cluster, start_cluster

from neuronspec.config.schema import Config
from neuronspec.data import tasks
from neuronspec.evaluation import task_scoring
from neuronspec.files import hash_path, write_text
from neuronspec.pipeline.stages import translate
from neuronspec.translation import resumable_files

GRID = ("en-de", "sv-en", "de-sv")
SENTENCES = {"en": "the cat sees the dog\nthe small house\n" * 3, "sv": "den katt ser den hund\n", "de": "das Haus\n"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def grid(finished: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bytes]]:
    """Translates a grid in small windows with some options, and returns its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resumable_files, "WINDOW", 4)
    for language, text in SENTENCES.items():
        Path(f"input.{language}").write_text(text, encoding="utf-8")

    def call(*options: object) -> list[bytes]:
        model = finished.out / "train" / "neuron_specialization" / "model"
        files = ["--input", "input.{src}", "--to", "out/{task}.txt", "--beams", "2", "--threads", "1"]
        assert run_command("translate", "--model", model, *GRID, *files, *options) == 0
        return [Path(f"out/{task}.txt").read_bytes() for task in GRID]

    return call


def test_a_grid_is_the_same_on_a_cluster(cluster: Cluster, grid: Callable[..., list[bytes]]) -> None:
    alone = grid()
    assert [text.count(b"\n") for text in alone] == [6, 1, 1]
    assert grid("--force", "--cluster", cluster.file) == alone

    # Finished files are left alone, an unfinished one resumes.
    before = Path("out/sv-en.txt").stat().st_mtime_ns
    Path("out/en-de.txt").unlink()
    assert grid("--cluster", cluster.file) == alone
    assert Path("out/sv-en.txt").stat().st_mtime_ns == before


def test_a_run_that_loses_a_worker_is_that_of_one_process(
    cluster: Cluster, copied: Config, finished: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.out.parent)
    shutil.rmtree(copied.out / "translate")
    shutil.rmtree(copied.out / "score")
    monkeypatch.setattr(tasks, "DONE_HERE", 0)
    monkeypatch.setattr(task_scoring, "BYTES_PER_WORKER", 1)
    monkeypatch.delattr(task_scoring, "score_task")  # nothing is scored here
    killed: list[Path] = []

    def kill_and_write(path: Path, text: str) -> None:
        if not killed:
            cluster.workers[0].kill()
        killed.append(path)
        write_text(path, text)

    monkeypatch.setattr(translate, "write_text", kill_and_write)
    assert run_command("score", "toy.yaml", "--cluster", cluster.file) == 0
    assert len(killed) > 10
    assert run_command("prepare", "toy.yaml", "--out", "again", "--cluster", cluster.file) == 0
    for stage in ("translate", "score", "prepare"):
        place = Path("again") if stage == "prepare" else copied.out
        assert hash_path(place / stage) == hash_path(finished.out / stage), stage
