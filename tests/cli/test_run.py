from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.command import run_command
from tests.patience import PATIENCE
from tests.processes import COMMAND, Completed, Process
from tests.stage_lines import list_finished, read_stages

from neuronspec.files import hash_path

RECIPE = """
name: small
out: run
threads: 1
device: cpu
languages: [de]
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.2, test: 0.2}
prepare: {vocabulary: {size: 64}}
model: {preset: tiny}
train: {updates: 0}
analyze: {figures: false, resamples: 0, permutations: 99}
translate: {beams: 1, max_tokens: 4}
score: {trials: 100}
"""
ENGLISH = ["one", "two", "three", "four", "five", "six", "seven"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"]

Call = Callable[..., int]
Start = Callable[..., Completed]


def write_project(folder: Path) -> None:
    lines = (
        f"{a} and {b}\t{x} und {y}"
        for a, x in zip(ENGLISH, GERMAN, strict=True)
        for b, y in zip(ENGLISH, GERMAN, strict=True)
    )
    (folder / "corpus.de.tsv").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")


@pytest.fixture(scope="module")
def finished(start: Start, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Completed]:
    """A project with a run that was made in a process of its own, and what the process said."""
    folder = tmp_path_factory.mktemp("small")
    write_project(folder)
    return folder, start(folder, "run", "small.yaml", "--json")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Call `neuronspec` in a fresh project; return its exit code."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        return run_command(*arguments)

    return run


def test_results_are_json_on_stdout_and_logs_on_stderr(
    finished: tuple[Path, Completed],
) -> None:
    done = finished[1]
    assert done.returncode == 0, done.stderr
    systems = [row["system"] for row in json.loads(done.stdout)["averages"]]
    assert systems == ["copying the source", "pretrained", "+ specialized masks", "+ random masks"]
    warning, *stages = done.stderr.splitlines()
    assert list_finished(stages)[:3] == ["prepare", "train", "record"]
    assert warning.startswith("prepare.vocabulary.size is 64, but this text gives only ")


def test_a_fault_is_told_on_stderr_and_the_process_exits_with_2(start: Start, finished: tuple[Path, Completed]) -> None:
    done = start(finished[0], "run", "small.yaml", "sede=3", "--out", "other")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: small.yaml does not fit:\n  - unknown key sede (did you mean 'seed' or 'select'?)"
    )
    assert not (finished[0] / "other").exists()


def test_verbs_print_what_is_done_already(
    finished: tuple[Path, Completed], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, done = finished
    shutil.copytree(folder / "run", "run")
    recipe = str(folder / "small.yaml")  # its corpora are the ones in the records
    for verb in ("run", "report"):
        assert call(verb, recipe, "--json") == 0
        assert capsys.readouterr().out == done.stdout
    assert call("select", recipe, "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["sparsity"]["decoder.1"]) == {"en-de", "de-en"}
    for verb, place in (("prepare", "run"), ("train", "train"), ("record", "record")):
        assert call(verb, recipe) == 0
        assert (
            capsys.readouterr()
            .out.rstrip()
            .endswith(f"{'run/' if place != 'run' else ''}{place}" + ("/pretrained/model" if verb == "train" else ""))
        )
    assert call("score", recipe) == 0
    assert (
        capsys.readouterr()
        .out.rstrip()
        .endswith("the results are in run/score; neuronspec compare makes tables of them")
    )
    assert call("score", recipe, "--json") == 0
    assert {row["metric"] for row in json.loads(capsys.readouterr().out)} == {"BLEU", "chrF++"}


def test_the_seed_and_the_place_are_options(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("prepare", "small.yaml", "--seed", "7", "--out", "elsewhere") == 0
    assert capsys.readouterr().out == "text, vocabulary and tokens are in elsewhere\n"
    assert "seed: 7" in Path("elsewhere/stages/config.yaml").read_text(encoding="utf-8")
    assert not Path("run").exists()


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """Content and time of every file, without the memory of hashes, which those who only read complete as well."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parts[-2:] != ("stages", "hashes"))
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["translate", "run", "translate.beams=2"], "translate.beams: 1 -> 2 would replace finished results in run ("),
        (["score", "run", "score.trials=200"], "score.trials: 100 -> 200 would replace finished results in run (score"),
        (
            ["report", "run", "name=other"],
            "name: small -> other would replace finished results in run (analyze, report",
        ),
        (["analyze", "run", "analyze.permutations=199"], "analyze.permutations: 99 -> 199 would replace finished"),
        (["train", "run", "--seed", "2"], "seed: 1 -> 2 would replace finished results in run (prepare, train): give"),
        (["prepare", "run", "prepare.vocabulary.size=70"], "prepare.vocabulary.size: 64 -> 70 would replace finished"),
    ],
)
def test_a_look_at_a_finished_run_replaces_nothing(
    finished: tuple[Path, Completed],
    call: Call,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    found: str,
) -> None:
    shutil.copytree(finished[0] / "run", "run")
    before = snapshot(Path("run"))
    assert call(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {found}")
    assert said.endswith("give --out DIR for a run of its own, which shares all else, or --force to change this one\n")
    assert snapshot(Path("run")) == before


def test_a_look_without_a_change_of_results_leaves_the_configuration(
    finished: tuple[Path, Completed], call: Call
) -> None:
    shutil.copytree(finished[0] / "run", "run")
    before = snapshot(Path("run"))
    assert call("translate", "run", "record.tokens_per_batch=999", "threads=2") == 0
    assert snapshot(Path("run")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["select", "run", "name=other"],
        ["select", "run", "score.metrics=[bleu]"],
        ["record", "run", "translate.beams=2"],
        ["translate", "run", "analyze.permutations=199"],
    ],
)
def test_what_a_verb_does_not_need_is_not_in_its_way(
    finished: tuple[Path, Completed], call: Call, arguments: list[str]
) -> None:
    shutil.copytree(finished[0] / "run", "run")
    before = snapshot(Path("run"))
    assert call(*arguments) == 0
    assert snapshot(Path("run")) == before

    # A stage that is left would store the changes, for all stages.
    Path("run/stages/record.json").unlink()
    shutil.rmtree("run/record")
    assert call("record", "run", "translate.beams=2") == 2


def test_a_verb_keeps_what_the_command_line_added_until_the_file_is_edited(
    finished: tuple[Path, Completed],
    call: Call,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = finished[0]
    shutil.copytree(folder / "run", "run")
    recipe = str(folder / "small.yaml")  # older than the run
    assert call("analyze", recipe, "--ablate") == 0
    assert call("report", "run") == 0
    before = snapshot(Path("run"))

    capsys.readouterr()
    for arguments in (["report", recipe], ["analyze", recipe], ["report", recipe, "threads=2"]):
        assert call(*arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ablate: {")
        assert "-> None would replace finished results in run (analyze" in said
        assert ("give run to keep them" in said) == ("threads=2" not in arguments)
        assert snapshot(Path("run")) == before
    assert call("translate", recipe) == 0
    assert call("report", "run") == 0
    assert snapshot(Path("run")) == before

    # An edited file says what the run should be.
    caplog.set_level("INFO", logger="neuronspec")
    text = RECIPE.replace('"corpus.', f'"{folder}/corpus.').replace("permutations: 99", "permutations: 199")
    Path("small.yaml").write_text(text, encoding="utf-8")
    assert call("analyze", "small.yaml") == 0
    assert read_stages(caplog.messages)[-2].startswith("analyze again: analyze.permutations: 99 -> 199")


def test_a_look_can_make_a_run_of_its_own_or_add_what_is_not_there(
    finished: tuple[Path, Completed], call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(finished[0] / "run", "run")
    before = snapshot(Path("run"))
    caplog.set_level("INFO", logger="neuronspec")
    assert call("translate", "run", "translate.beams=2", "--out", "wider") == 0
    made = list_finished(caplog.messages)
    assert made == [f"translate.{system}" for system in ("pretrained", "pretrained+masks", "pretrained+random")]
    assert snapshot(Path("run")) == before

    caplog.clear()
    assert call("analyze", "run", "--ablate") == 0
    assert list_finished(caplog.messages) == ["ablate", "analyze"]
    assert "ablate:" in Path("run/stages/config.yaml").read_text(encoding="utf-8")


def test_several_values_are_a_run_each_and_other_verbs_ask_for_one(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "small.yaml", "select.k=[0.9,0.6]", "--out", "ks", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["runs"] == {f"select.k={k}": f"ks/select.k={k}" for k in (0.6, 0.9)}
    assert {row["select.k"] for row in said["averages"]} == {0.6, 0.9}
    assert call("run", "ks") == 0
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("Tables and figures of all points are in ks/report; each point is a run in ks.")
    assert "Differences to the baseline" in shown
    assert call("select", "ks/select.k=0.6") == 0
    capsys.readouterr()

    for verb in ("select", "analyze", "prepare", "train", "record", "translate", "score", "report"):
        assert call(verb, "small.yaml", "select.k=[0.9,0.6]") == 2
        assert (
            "error: select.k has several values (0.6, 0.9): choose one, as in select.k=0.6" in capsys.readouterr().err
        )
        assert call(verb, "ks") == 2
        assert "give the directory of one of them, such as ks/select.k=0.6" in capsys.readouterr().err


def test_a_sweep_that_was_killed_resumes_with_the_same_command(
    start: Start, tmp_path: Path, finished: tuple[Path, Completed]
) -> None:
    write_project(tmp_path)
    words = ["run", "small.yaml", "select.k=[0.6,0.9]", "--out", "ks"]
    process = Process([*COMMAND, *words], tmp_path)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "ks/select.k=0.9/stages/train.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()

    done = start(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert "select.k=0.9 (2 of 2)" in done.stderr
    stages = read_stages(done.stderr.splitlines())
    assert [line for line in stages if line.startswith("prepare")] == ["prepare: done before"] * 2
    assert not list((tmp_path / "ks").rglob(".*"))
    for name in ("train/pretrained/model", "record"):
        first, second = (hash_path(tmp_path / f"ks/select.k={k}" / name) for k in (0.6, 0.9))
        assert first == second == hash_path(finished[0] / "run" / name)


@pytest.mark.parametrize(
    "arguments",
    [
        ["select", "run/record"],
        ["analyze", "run/record"],
        ["record", "--model", "m", "--text", "en-de=corpus.de.tsv"],
        ["translate", "--model", "m", "en-de", "one"],
        ["score", "-t", "a", "-r", "b", "-l", "de"],
    ],
)
def test_only_runs_share(
    finished: tuple[Path, Completed],
    call: Call,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    shutil.copytree(finished[0] / "run", "run")
    assert call(*arguments, "--from", "run") == 2
    assert "--from: only a run shares stages" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["missing.yaml"], "error: no configuration 'missing.yaml'"),
        (["small.yaml", "train.update=3"], "unknown key train.update (did you mean 'updates'?)"),
        (["small.yaml", "languages=[de, sv]"], "corpus.sv.tsv does not exist (did you mean 'corpus.de.tsv'?)"),
        (["small.yaml", "data.train=[{path: 'text.{lang}', format: lines}]"], "text.en has 2 lines, but "),
        (["small.yaml", "prepare.min_words=9"], "error: en-de has no train pairs: 49 were read, 0 kept"),
        (["small.yaml", "data.train=[{path: 'empty.{lang}.tsv'}]"], "error: en-de has no train pairs: 0 were read"),
        (["small.yaml", "prepare.vocabulary.size=9999", "prepare.vocabulary.sample=100"], None),
        (["small.yaml", "--out", "small.yaml"], "error: cannot write small.yaml: a part of this path is a file"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_nothing_is_left_half_written(
    call: Call, capsys: pytest.CaptureFixture[str], arguments: list[str], found: str | None
) -> None:
    Path("text.en").write_text("one\ntwo\n", encoding="utf-8")
    Path("text.de").write_text("eins\n", encoding="utf-8")
    Path("empty.de.tsv").touch()
    code = call("prepare" if found is None else "run", *arguments)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if found is None:  # a vocabulary that is smaller than asked for is no fault
        assert code == 0
        return
    assert (code, said.out) == (2, "")
    assert found in said.err
    assert said.err.count("error: ") == 1
    # What was asked for, and that it was not done; the folder of the stage is empty. Blocks of text that were cleaned
    # whole are kept for the next time.
    left = {path.relative_to("run").as_posix() for path in Path("run").rglob("*")}
    blocks = {name for name in left if re.fullmatch(r"\.prepare(/text(/en-de\.train\.0\.0\.safetensors)?)?", name)}
    assert left - blocks <= {"stages", "stages/config.yaml", "stages/prepare.json", "prepare"}
    assert not [path for path in Path().rglob("*") if path.suffix in (".tmp", ".old")]
