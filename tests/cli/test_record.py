"""`neuronspec record`: of a run, and of any model on text files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from tests.command import run_command
from tests.processes import Completed
from tests.stage_lines import list_finished
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from neuronspec.files import hash_path
from neuronspec.models.building import build_model
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.models.text_batches import make_batches
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import COUNTS_FILE
from neuronspec.neurons.recording import record_activations

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
"""
PAIRS = [("abc def", "gh"), ("a", "bcd efg hij klm"), ("mno pab cde", "f"), ("lop", "ponm")]
LINES = ["abc def", "", "ghi", "   ", "jkl mno p"]
ENGLISH = ["one", "two", "three", "four", "five", "six", "seven"]
GERMAN = ["eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben"]
LAYERS = {"translator": ["encoder.0", "encoder.1", "decoder.0", "decoder.1"], "reader": ["decoder.0", "decoder.1"]}

Call = Callable[..., int]
Start = Callable[..., Completed]


def write_texts(folder: Path) -> None:
    """Write the same pairs as TSV and as two aligned files, lines, and a recipe with its corpus."""
    files = {
        "news.tsv": "".join(f"{source}\t{target}\n" for source, target in PAIRS),
        "news.de": "".join(f"{source}\n" for source, _ in PAIRS),
        "news.en": "".join(f"{target}\n" for _, target in PAIRS),
        "scored.tsv": "".join(f"0.{n}\t{source}\t{target}\n" for n, (source, target) in enumerate(PAIRS)),
        "talk.de-en.tsv": "".join(f"{source}\t{target}\n" for source, target in PAIRS),
        "talk.de-en.de": "".join(f"{source}\n" for source, _ in PAIRS),
        "talk.de-en.en": "".join(f"{target}\n" for _, target in PAIRS),
        "de.txt": "".join(f"{line}\n" for line in LINES),
        "sv.txt": "bed fade\n",
        "blank.txt": "\n  \n",
        "empty.tsv": "",
        "small.yaml": RECIPE,
        "corpus.de.tsv": "".join(
            f"{a} and {b}\t{x} und {y}\n"
            for a, x in zip(ENGLISH, GERMAN, strict=True)
            for b, y in zip(ENGLISH, GERMAN, strict=True)
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.tsv").write_bytes("Tür\tdoor\n".encode("latin-1"))


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: PreTrainedTokenizerFast,
    small_model: Callable[..., PreTrainedModel],
) -> Path:
    """A folder with text and two models: `translator` and, decoder-only, `reader`. Read only."""
    folder = tmp_path_factory.mktemp("record")
    write_texts(folder)
    save_model(build_model("tiny", tokenizer), folder / "translator", tokenizer)
    save_model(small_model("llama", vocab_size=len(tokenizer)).float(), folder / "reader", tokenizer)
    return folder


@pytest.fixture(scope="module")
def recorded(start: Start, folder: Path) -> tuple[Path, Completed]:
    """A run up to its counts, made in a process of its own, and what the process said."""
    return folder, start(folder, "record", "small.yaml", "--json")


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> Call:
    """Call `neuronspec` where the text and the models are; return its exit code."""
    for entry in folder.iterdir():
        if entry.name != "run":
            (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def run(*arguments: str) -> int:
        return run_command(*arguments)

    return run


def record_by_hand(model: str, texts: dict[str, Any], **options: Any) -> ActivationCounts:
    loaded = load_model(model)
    return record_activations(loaded, make_batches(loaded, load_tokenizer(model), texts), **options)


def assert_same(one: ActivationCounts, other: ActivationCounts) -> None:
    assert (one.tasks, one.layers, one.unit) == (other.tasks, other.layers, other.unit)
    for name in ("values", "totals", "means", "states"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine), name


def assert_refused(code: int, capsys: pytest.CaptureFixture[str], found: str) -> None:
    said = capsys.readouterr()
    assert (code, said.out) == (2, ""), said.err
    assert said.err.startswith("error: ")
    assert found in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_the_counts_of_a_run_are_json_on_stdout(recorded: tuple[Path, Completed]) -> None:
    folder, done = recorded
    assert done.returncode == 0, done.stderr
    warning, *stages = done.stderr.splitlines()
    assert list_finished(stages) == ["prepare", "train", "record"]
    assert warning.startswith("prepare.vocabulary.size is 64, but this text gives only ")
    said = json.loads(done.stdout)
    counts = ActivationCounts.load(folder / "run" / "record")
    assert counts.tasks == ("en-de", "de-en")
    assert said["unit"] == counts.unit == "sentence"
    assert said["signature"] == counts.signature
    assert said["signature"]["model"] == hash_path(folder / "run/train/pretrained/model/model.safetensors")
    assert said["sentences"] == {
        stack: {task: counts.totals[stack][n] for n, task in enumerate(counts.tasks)} for stack in counts.totals
    }
    assert list(said["active"]) == LAYERS["translator"]
    for layer, shares in said["active"].items():
        assert list(shares) == list(counts.tasks)
        assert list(shares.values()) == pytest.approx(counts.frequencies(layer).mean(1).tolist())
        assert all(0 < share < 1 for share in shares.values())


def test_without_json_a_run_says_the_same_for_people(
    recorded: tuple[Path, Completed], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, done = recorded
    shutil.copytree(folder / "run", "run")
    assert call("record", str(folder / "small.yaml")) == 0
    first, *layers, last = capsys.readouterr().out.splitlines()
    assert first == "2 tasks, unit sentence; mean share of sentences that activate a neuron:"
    assert last == "the activation counts are in run/record"
    shares = json.loads(done.stdout)["active"]
    assert layers == [f"{name}: {50 * sum(by_task.values()):.1f} %" for name, by_task in shares.items()]


def test_a_run_is_recorded_again_with_force_only(
    recorded: tuple[Path, Completed], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, done = recorded
    shutil.copytree(folder / "run", "run")
    file = Path("run/record") / COUNTS_FILE
    before, stamp = file.read_bytes(), file.stat().st_mtime_ns
    assert call("record", str(folder / "small.yaml"), "--json") == 0
    assert capsys.readouterr().out == done.stdout
    assert file.stat().st_mtime_ns == stamp
    assert call("record", str(folder / "small.yaml"), "--json", "--force") == 0
    assert capsys.readouterr().out == done.stdout
    assert file.stat().st_mtime_ns != stamp
    assert file.read_bytes() == before
    assert call("record", str(folder / "small.yaml"), "record.unit=token", "--json") == 2
    refused = "record.unit: sentence -> token would replace finished results in run (record): give --out DIR"
    assert refused in capsys.readouterr().err
    assert file.read_bytes() == before
    assert call("record", str(folder / "small.yaml"), "record.unit=token", "--json", "--force") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["unit"] == "token"
    assert said["tokens"]["encoder"]["en-de"] == int(ActivationCounts.load(file).totals["encoder"][0])


def test_any_translation_model_is_recorded_on_pairs(start: Start, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "counts"
    texts = ("--text", "de-en=news.tsv", "--text", "en-de=news.{lang}")
    done = start(folder, "record", "--model", "translator", *texts, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["sentences"] == {stack: {"de-en": 4, "en-de": 4} for stack in ("encoder", "decoder")}
    assert list(said["active"]) == LAYERS["translator"]
    assert said["signature"]["model"] == hash_path(folder / "translator" / "model.safetensors")
    backward = [(target, source) for source, target in PAIRS]
    expected = record_by_hand(str(folder / "translator"), {"de-en": PAIRS, "en-de": backward})
    assert_same(ActivationCounts.load(out), expected)


def test_any_language_model_is_recorded_on_lines(start: Start, folder: Path, tmp_path: Path) -> None:
    """In a process of its own, into `counts` where nothing else is said; the last word names the place."""
    for name in ("reader", "de.txt", "sv.txt"):
        (tmp_path / name).symlink_to(folder / name)
    done = start(tmp_path, "record", "--model", "reader", "--text", "de=de.txt", "--text", "sv=sv.txt")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 tasks, unit sentence")
    assert [line.partition(":")[0] for line in lines[1:-1]] == LAYERS["reader"]
    assert lines[-1] == "the activation counts are in counts"
    texts = {"de": [line for line in LINES if line.strip()], "sv": ["bed fade"]}
    assert_same(ActivationCounts.load(tmp_path / "counts"), record_by_hand(str(folder / "reader"), texts))


def test_pairs_are_read_in_the_direction_of_the_task(call: Call) -> None:
    """A TSV is the source and the target; of the two files of a template each knows its language."""
    for out, text in (("tsv", "news.tsv"), ("template", "news.{lang}")):
        assert call("record", "--model", "translator", "--text", f"de-en={text}", "--out", out) == 0
    assert_same(ActivationCounts.load("tsv"), ActivationCounts.load("template"))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("talk.de-en.{lang}", []),  # named as OPUS and fairseq do, for both directions
        ("talk.{tgt}-{src}.{lang}", []),
        ("talk.{src}-{tgt}.tsv", []),
        ("scored.tsv", ["--columns", "3,2"]),
    ],
)
def test_placeholders_and_columns_settle_the_sides_whatever_a_file_is_called(
    text: str, options: list[str], call: Call
) -> None:
    assert call("record", "--model", "translator", "--text", f"en-de={text}", *options) == 0
    backward = [(target, source) for source, target in PAIRS]
    assert_same(ActivationCounts.load("counts"), record_by_hand("translator", {"en-de": backward}))


def test_every_text_can_have_a_format_and_columns_of_its_own(call: Call) -> None:
    lines = [json.dumps({"de": source, "en": target}) for source, target in PAIRS]
    Path("pairs.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    texts = ["--text", "en-de=scored.tsv", "--text", "de-en=pairs.txt"]
    own = ["--columns", "en-de=3,2", "--format", "de-en=jsonl"]
    assert call("record", "--model", "translator", *texts, *own) == 0
    backward = [(target, source) for source, target in PAIRS]
    assert_same(ActivationCounts.load("counts"), record_by_hand("translator", {"en-de": backward, "de-en": PAIRS}))


@pytest.mark.parametrize("model", ["translator", "reader"])
def test_overrides_say_how_to_count(model: str, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    text, pairs = ("de-en=news.tsv", PAIRS) if model == "translator" else ("de=de.txt", ["abc def", "ghi", "jkl mno p"])
    keys = ("unit=token", "threshold=0.1", "means=true", "states=true", "ignore=[tags, end_of_sentence]")
    overrides = [f"record.{key}" for key in keys]
    assert call("record", "--model", model, "--text", text, *overrides, "record.tokens_per_batch=10", "--json") == 0
    said, tokenizer = json.loads(capsys.readouterr().out), load_tokenizer(model)
    tags = [tokenizer.convert_tokens_to_ids(tag) for tag in ("__de__", "__en__")] if model == "translator" else []
    ignored = sorted([*tags, tokenizer.eos_token_id])
    assert said["unit"] == "token"
    assert said["signature"]["threshold"] == "0.1"
    assert said["signature"]["ignored"] == " ".join(map(str, ignored))
    counts = ActivationCounts.load("counts")
    expected = record_by_hand(
        model, {text.partition("=")[0]: pairs}, unit="token", threshold=0.1, ignore=ignored, means=True, states=True
    )
    assert counts.means.keys() == counts.states.keys() == counts.values.keys()
    for layer in counts.layers:
        assert torch.equal(counts.values[layer], expected.values[layer])
        assert torch.equal(counts.states[layer], expected.states[layer])
        torch.testing.assert_close(counts.means[layer], expected.means[layer], rtol=1e-4, atol=1e-6)
    sides = zip(*pairs, strict=True) if model == "translator" else [pairs]
    tokens = [sum(len(ids) for ids in tokenizer(list(side), add_special_tokens=False)["input_ids"]) for side in sides]
    assert [list(by_task.values()) for by_task in said["tokens"].values()] == [[number] for number in tokens]


def test_counts_that_are_there_stay_unless_one_insists(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("record", "--model", "reader", "--text", "de=de.txt")
    assert call(*command) == 0
    capsys.readouterr()
    file = Path("counts") / COUNTS_FILE
    before = file.read_bytes()
    assert_refused(call(*command, "record.unit=token"), capsys, f"{file} exists: choose another --out, or --force")
    assert file.read_bytes() == before
    assert call(*command, "record.unit=token", "--out", "other") == 0
    assert call(*command, "record.unit=token", "--force") == 0
    assert file.read_bytes() == (Path("other") / COUNTS_FILE).read_bytes() != before


def test_the_signature_tells_other_text_apart(call: Call) -> None:
    """Of files named by a template too: it is their content that counts."""
    for text in ("news.tsv", "news.{lang}"):
        names = ["news.tsv"] if text == "news.tsv" else ["news.de", "news.en"]
        signatures = []
        for out in ("first", "second"):
            assert call("record", "--model", "translator", "--text", f"de-en={text}", "--out", out, "--force") == 0
            signatures.append(ActivationCounts.load(out).signature)
            for name in names:
                Path(name).unlink()
                Path(name).write_text("ab\tcd\n" if text == "news.tsv" else "ab\n", encoding="utf-8")
        assert signatures[0]["model"] == signatures[1]["model"]
        assert signatures[0]["data"] != signatures[1]["data"], text


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "give a configuration, or --model MODEL --text TASK=FILE"),
        (["small.yaml", "--text", "de-en=news.tsv"], "give a configuration, or --model MODEL --text TASK=FILE"),
        (["missing.yaml"], "no configuration 'missing.yaml'"),
        (["small.yaml", "record.unit=word"], "record.unit"),
        (["small.yaml", "record.ignore=[tags, tags]"], "record.ignore: tags given more than once"),
        (["--model", "translator"], "give --text TASK=FILE, once for each task"),
        (["--model", "translator", "--text", "de-en=news.tsv", "--text", "de-en=news.tsv"], "once for each task"),
        (["--model", "translator", "--text", "news.tsv"], "cannot read --text 'news.tsv': expected TASK=FILE"),
        (["--model", "translator", "--text", "=news.tsv"], "expected TASK=FILE"),
        (["--model", "translator", "--text", "de-en="], "expected TASK=FILE"),
        (["--model", "translator", "--text", "de-en=newz.tsv"], "newz.tsv does not exist (did you mean 'news.tsv'?)"),
        (["--model", "reader", "--text", "de=dee.txt"], "dee.txt does not exist (did you mean 'de.txt'"),
        (["--model", "translator", "--text", "pl-en=news.tsv"], "the model's vocabulary has no tag for Polish (pl)"),
        (["--model", "translator", "--text", "xx-en=news.tsv"], "no tag for xx; its tags"),
        (["--model", "translator", "--text", "de=news.tsv"], "'de'"),
        (["--model", "translator", "--text", "de-en=de.txt"], "cannot tell the format of de.txt from its name"),
        (["--model", "translator", "--text", "de-en=latin.tsv"], "latin.tsv:1 is not UTF-8"),
        (["--model", "translator", "--text", "de-en=empty.tsv"], "there is no text for the task de-en"),
        (["--model", "translator", "--text", "de-en=scored.tsv"], "column 1 of scored.tsv holds numbers"),
        (["--model", "translator", "--text", "de-en=scored.tsv", "--columns", "2"], "cannot read --columns '2'"),
        (["--model", "translator", "--text", "de-en=scored.tsv", "--columns", "2,4"], "scored.tsv:1 has 3 columns"),
        (["--model", "reader", "--text", "de=scored.tsv", "--columns", "2,3"], "--columns is for pairs of texts"),
        (["--model", "reader", "--text", "de=de.txt", "--format", "tsv"], "--format is for pairs of texts"),
        (
            ["--model", "translator", "--text", "de-en=news.tsv", "--format", "tvs"],
            "unknown corpus format 'tvs' (did you mean 'tsv'",
        ),
        (
            ["--model", "translator", "--text", "de-en=news.tsv", "--columns", "de-fr=2,3"],
            "--columns de-fr=2,3: there is no --text de-fr=FILE (did you mean 'de-en'?)",
        ),
        (
            ["--model", "translator", "--text", "de-en=news.tsv", "--columns", "1,2", "--columns", "2,3"],
            "--columns is given twice for all tasks: write TASK=2,3 for a single one",
        ),
        (
            ["--model", "translator", "--text", "de-en=news.tsv", "--format", "de-en=tsv", "--format", "de-en=tmx"],
            "--format is given twice for de-en: tsv and tmx",
        ),
        (["small.yaml", "--columns", "2,3"], "give a configuration, or --model MODEL --text TASK=FILE"),
        (["--model", "translator", "--text", "en-de=talk.de-en.tsv"], "is named as text of de-en, not of en-de"),
        (["--model", "translator", "--text", "de-en=news.{language}"], "unknown placeholder {language}"),
        (["--model", "reader", "--text", "de=blank.txt"], "there is no text for the task de"),
        (["--model", "reader", "--text", "de=latin.tsv"], "latin.tsv:1 is not UTF-8"),
        (["--model", "./nowhere", "--text", "de=de.txt"], "nowhere is not a model directory"),
        (["--model", "run.yaml/x/y", "--text", "de=de.txt"], "is not a model directory"),
        (["--model", "nowhere", "--text", "de=de.txt"], "cannot load 'nowhere'"),
        (["--model", "de.txt", "--text", "de=de.txt"], "de.txt is not a model directory"),
        (["--model", "reader", "--text", "de=de.txt", "small.yaml"], "cannot read the override 'small.yaml'"),
        (["--model", "reader", "--text", "de=de.txt", "train.updates=3"], "only record.* can be changed"),
        (["--model", "reader", "--text", "de=de.txt", "record.unti=token"], "(did you mean 'unit'?)"),
        (["--model", "reader", "--text", "de=de.txt", "record.unit=word"], "record.unit"),
        (["--model", "reader", "--text", "de=de.txt", "record"], "cannot read the override 'record'"),
        (["--model", "reader", "--text", "de=de.txt", "record=5"], "record"),
        (["--model", "reader", "--text", "de=de.txt", "--out", "de.txt"], "a part of this path is a file"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_nothing_is_written(
    arguments: list[str], found: str, call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().iterdir())
    code = call("record", *arguments)
    if "small.yaml" in arguments and "--model" not in arguments and "--text" not in arguments:
        said = capsys.readouterr()  # problems of a configuration are a list below the sentence
        assert (code, said.out) == (2, "")
        assert found in said.err
        assert "Traceback" not in said.err
    else:
        assert_refused(code, capsys, found)
    assert sorted(Path().iterdir()) == before


def test_a_tokenizer_without_an_end_of_sentence_has_none_to_ignore(
    call: Call, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "reader", "endless")
    tokenizer = load_tokenizer("endless")
    tokenizer.eos_token = None
    tokenizer.save_pretrained("endless")
    assert load_tokenizer("endless").eos_token_id is None
    code = call("record", "--model", "endless", "--text", "de=de.txt", "record.ignore=[end_of_sentence]")
    assert code in (0, 2), capsys.readouterr().err


def test_a_text_longer_than_the_model_can_read_is_cut_or_refused(
    call: Call,
    small_model: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_model(small_model("gpt2", vocab_size=len(tokenizer)).float(), Path("short"), tokenizer)  # 64 positions
    Path("long.txt").write_text("abc def ghi " * 40 + "\n", encoding="utf-8")
    code = call("record", "--model", "short", "--text", "de=long.txt")
    assert code in (0, 2), capsys.readouterr().err


def test_half_a_character_is_no_text(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    Path("halves.jsonl").write_text('{"de": "a \\ud800 b", "en": "c"}\n', encoding="utf-8")
    assert call("record", "--model", "translator", "--text", "de-en=halves.jsonl") == 2
    assert "holds bytes that are not UTF-8, or half a character" in capsys.readouterr().err


def test_a_model_in_half_precision_is_recorded_and_its_counts_say_so(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("record", "--model", "reader", "--text", "de=de.txt", "--dtype", "bfloat16", "--json")
    assert call(*arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["signature"]["dtype"] == "bfloat16"
    loaded = load_model("reader", dtype="bfloat16")
    lines = [line for line in LINES if line.strip()]
    expected = record_activations(loaded, make_batches(loaded, load_tokenizer("reader"), {"de": lines}))
    assert_same(ActivationCounts.load("counts"), expected)


@pytest.mark.parametrize("option", [("--dtype", "float16"), ("--device-map", "auto"), ("--quantize", "4bit")])
def test_a_run_is_recorded_in_the_numbers_that_it_was_trained_in(
    option: tuple[str, str], call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(call("record", "small.yaml", *option), capsys, f"{option[0]}: these options need --model")
