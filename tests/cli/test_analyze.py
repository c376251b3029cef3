"""`neuronspec analyze`: of a run, of counts and masks of any model, and what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from tests.command import run_command
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import neuronspec as ns
from neuronspec.analysis.ablation_metrics import measuring_loss
from neuronspec.models.building import build_model
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline import neuron_analysis
from neuronspec.report.page_values import unpack_fractions

RECIPE = """
name: small
out: run
threads: 1
device: cpu
languages: [de, sv]
data:
  train: [{path: "corpus.{lang}.tsv"}]
  hold_out: {valid: 0.2, test: 0.2}
prepare: {vocabulary: {size: 64}}
model: {preset: tiny}
train: {updates: 0}
"""
LANGUAGES = ("de", "fr", "sv")
FAST = ("analyze.permutations=99", "analyze.resamples=20", "analyze.shares=[0.9]")
TEXTS = tuple(word for code in LANGUAGES for word in ("--text", f"{code}={code}.txt"))
PAIRS = tuple(word for task in ("de-en", "sv-en") for word in ("--text", f"{task}={task}.tsv"))

Call = Callable[..., int]
Said = pytest.CaptureFixture[str]


def write_texts(folder: Path) -> None:
    """Write lines of three languages with words of their own, pairs of two with English, and a recipe."""
    draw = random.Random(0)
    words = {
        code: ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 6))) for _ in range(20)]
        for code in (*LANGUAGES, "en")
    }

    def line(code: str) -> str:
        return " ".join(draw.choices(words[code], k=5))

    for code in LANGUAGES:
        (folder / f"{code}.txt").write_text("".join(f"{line(code)}\n" for _ in range(12)), encoding="utf-8")
        for name, number in ((f"{code}-en.tsv", 8), (f"corpus.{code}.tsv", 40)):
            rows = (f"{line(code)}\t{line('en')}\n" for _ in range(number))
            (folder / name).write_text("".join(rows), encoding="utf-8")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")


def run_offline(*arguments: str) -> int:
    """Call `neuronspec` in this process and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        return run_command(*arguments)


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: PreTrainedTokenizerFast,
    small_model: Callable[..., PreTrainedModel],
) -> Path:
    """Text; the models `translator`, decoder-only `reader` and `narrow`; counts and masks of the first two."""
    folder = tmp_path_factory.mktemp("analyze")
    write_texts(folder)
    size = len(tokenizer)
    save_model(build_model("tiny", tokenizer), folder / "translator", tokenizer)
    save_model(small_model("llama", vocab_size=size).float(), folder / "reader", tokenizer)
    save_model(small_model("llama", vocab_size=size, intermediate_size=16).float(), folder / "narrow", tokenizer)
    kept = ("record.states=true", "record.ignore=[end_of_sentence]")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_offline("record", "--model", "reader", *TEXTS, *kept, "-o", "counts") == 0
        words = (f"--text=reviews in 2020={LANGUAGES[0]}.txt", f"--text=contracts={LANGUAGES[1]}.txt")
        assert run_offline("record", "--model", "reader", *words, "-o", "genres") == 0
        assert run_offline("record", "--model", "translator", *PAIRS, "-o", "pairs") == 0
        assert run_offline("select", "counts", "select.k=0.6", "--to", "masks") == 0
    return folder


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, capsys: Said) -> Call:
    """Call `neuronspec` where text, models, counts and masks are; return its exit code."""
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    return run_command


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures, which take most of the time."""
    monkeypatch.setattr(neuron_analysis, "draw_neuron_figures", lambda *_, **__: {})


def read_found(out: Path | str = "analysis") -> dict[str, Any]:
    """Return the numbers of an analysis."""
    return dict(json.loads((Path(out) / "analyze" / "analysis.json").read_text(encoding="utf-8")))


def assert_complete(out: Path | str = "analysis") -> None:
    """Check that everything was written, and nothing half."""
    places = {path.relative_to(out).as_posix() for path in Path(out).rglob("*")}
    assert {"analyze/report.html", "analyze/tables/overlaps.csv", "analyze/figures/sparsity.svg"} <= places
    assert not [place for place in places if Path(place).name.startswith(".")]


def assert_overlaps(found: dict[str, Any], masks: NeuronMasks) -> None:
    """Check that the report shows the overlaps of these masks."""
    for layer in masks.layers:
        tasks = found["panels"][layer.partition(".")[0]]["tasks"]
        iou = masks.reorder(tasks).iou(layer)
        shown = unpack_fractions(found["iou"][layer]["as selected"])
        assert shown == pytest.approx(np.asarray(iou)[np.triu_indices(len(tasks), k=1)], abs=1e-4)


# Without a run


def test_counts_of_a_decoder_only_model_are_analysed_as_languages(call: Call, capsys: Said) -> None:
    command = ("analyze", "counts", "select.k=0.6", *FAST, "--model", "reader", *TEXTS)
    assert call(*command, "--ablate", "--neuron", "decoder.0:3", "--neuron", "decoder.1:0", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    found = read_found()
    assert said["summary"] == found["summary"]
    assert said["tables"] == found["tables"]["statistics"]
    assert said["report"] == "analysis/analyze/report.html"
    assert found["panels"]["decoder"]["names"] == ["German", "Swedish", "French"]  # by family
    assert_overlaps(found, NeuronMasks.from_pretrained("masks"))  # selected with the same k
    assert found["missing"] == {}
    assert set(found["low"]) == set(found["iou"]) == {"decoder.0", "decoder.1"}
    assert {"Overlap of neurons"} < {table["title"] for table in said["tables"]}
    assert found["ablation"]["decoder"]["switched"] == ["de", "sv", "fr", "random"]
    assert np.shape(found["ablation"]["decoder"]["changes"]) == (3, 4)
    assert any("neurons off, " in line["text"] for line in said["summary"])
    assert_complete()
    assert Path("analysis/analyze/figures/ablation.decoder.csv").is_file()
    _check_neuron(said["neurons"]["decoder.0:3"])
    assert list(said["neurons"]) == ["decoder.0:3", "decoder.1:0"]


def _check_neuron(card: dict[str, Any]) -> None:
    """Compare the card of decoder.0:3 with counts, masks and text."""
    counts, masks = ActivationCounts.load("counts"), NeuronMasks.from_pretrained("masks")
    rates = counts.frequencies("decoder.0")[:, 3].tolist()
    assert card["frequencies"] == pytest.approx(dict(zip(LANGUAGES, rates, strict=True)))
    assert card["owners"] == [task for task in LANGUAGES if masks.mask(task, "decoder.0")[3]]
    assert 0 < len(card["examples"]) <= 5
    values = [one["value"] for one in card["examples"]]
    assert values == sorted(values, reverse=True)
    for one in card["examples"]:
        sentence = "".join(one["tokens"]).replace("▁", " ").removesuffix("</s>").strip()
        assert sentence in Path(f"{one['task']}.txt").read_text(encoding="utf-8").splitlines()
        assert one["tokens"][one["position"]] != "</s>"  # which does not count, as in the counts


@pytest.mark.usefixtures("undrawn")
def test_a_neuron_is_shown_for_people(call: Call, capsys: Said) -> None:
    command = ("analyze", "counts", *FAST, "--model", "reader", *TEXTS, "-o", "found", "--neuron", "decoder.0:3")
    assert call(*command, "analyze.examples=2") == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("decoder.0:3: selected by "))
    assert lines[start + 1].startswith("active: ")
    examples = lines[start + 2 : -1]
    assert len(examples) == 2
    assert all("[" in line and "]" in line for line in examples)
    assert all(line.startswith(("- ", "! ")) for line in lines[: start - 1])
    assert lines[-1] == "Open found/analyze/report.html in a browser; the figures are in found/analyze/figures."
    assert [line["text"] for line in read_found("found")["summary"]] == [line[2:] for line in lines[: start - 1]]


def test_tasks_that_are_no_languages_are_compared_under_their_names(call: Call, capsys: Said) -> None:
    assert call("analyze", "genres", *FAST, "-o", "found", "--neuron", "decoder.1:1") == 0
    said = capsys.readouterr().out
    found = read_found("found")
    assert found["panels"]["decoder"]["names"] == ["reviews in 2020", "contracts"]
    assert found["panels"]["decoder"]["families"] == []
    assert "not named after languages" in found["missing"]["families"]
    assert "no activation counts" not in json.dumps(found["missing"])
    assert "record.states=true" in found["missing"]["intervals"]
    assert {card["label"] for card in found["cards"]["languages"]} == {"reviews in 2020", "contracts"}
    assert "decoder.1:1: selected by " in said
    assert "reviews in 2020 " in said
    assert_complete("found")


def test_masks_alone_are_analysed(call: Call, capsys: Said) -> None:
    assert call("analyze", "masks/neuron_masks.safetensors", *FAST, "--neuron", "decoder.1:2") == 0
    said = capsys.readouterr().out
    found = read_found()
    assert_overlaps(found, NeuronMasks.from_pretrained("masks"))
    assert "there are no activation counts" in found["missing"]["intervals"]
    assert found["title"] == "neuron_masks.safetensors"
    assert "decoder.1:2: selected by " in said
    assert "active:" not in said  # nobody has counted
    assert not Path("analysis/examples").exists()
    assert_complete()


@pytest.mark.usefixtures("undrawn")
def test_masks_of_ones_own_go_with_the_counts(call: Call) -> None:
    masks = NeuronMasks.from_pretrained("masks")
    masks.random(masks, 3).save_pretrained(Path("others"))
    assert call("analyze", "counts", "--masks", "others", *FAST, "analyze.against={selected: masks}") == 0
    found = read_found()
    others = NeuronMasks.from_pretrained("others")
    assert_overlaps(found, others)
    assert others != masks
    assert any("those of selected" in line["text"] for line in found["summary"])


@pytest.mark.usefixtures("undrawn")
def test_directions_of_a_model_that_translates_are_compared_by_stack(call: Call) -> None:
    command = ("analyze", "pairs", *FAST, "--model", "translator", *PAIRS, "--ablate", "analyze.decoder=to")
    assert call(*command, "ablate.draws=1", "analyze.examples=0", "--pivot", "en") == 0
    found = read_found()
    for stack in ("encoder", "decoder"):
        assert found["panels"][stack]["tasks"] == ["de-en", "sv-en"]
        assert found["panels"][stack]["names"] == ["German", "Swedish"]
        assert np.shape(found["ablation"][stack]["changes"]) == (2, 3)
    assert not Path("analysis/examples").exists()


@pytest.mark.usefixtures("undrawn")
def test_tasks_without_text_have_no_examples(call: Call) -> None:
    assert call("analyze", "counts", *FAST, "--model", "reader", "--text", "sv=sv.txt") == 0
    found = read_found()
    assert {sentence["task"] for sentence in found["cards"]["sentences"]} == {"sv"}
    assert "vocabulary" in found["missing"]


@pytest.mark.usefixtures("undrawn")
def test_text_that_is_too_long_for_the_model_is_refused_on_request(call: Call, capsys: Said) -> None:
    Path("long.txt").write_text(" ".join("ab" for _ in range(600)) + "\na b\n", encoding="utf-8")
    words = ("analyze", "counts", *FAST, "--model", "reader", "--text", "sv=long.txt", "--too-long")
    assert_refused(call(*words, "error"), capsys, "1 of 2 is longer than")
    assert call(*words, "skip") == 0
    capsys.readouterr()
    assert len(read_found()["cards"]["sentences"]) == 1
    assert_refused(call("analyze", "small.yaml", "--too-long", "skip"), capsys, "leave these options out")


@pytest.mark.usefixtures("undrawn")
def test_the_seed_decides_what_is_drawn(call: Call) -> None:
    for out, seed in (("one", "1"), ("two", "1"), ("three", "2")):
        assert call("analyze", "counts", "select.k=0.6", *FAST, "--seed", seed, "--out", out) == 0
    first, same, other = (read_found(out) for out in ("one", "two", "three"))
    assert first == same
    assert first["low"] != other["low"]
    assert first["iou"] == other["iou"]


@pytest.mark.usefixtures("undrawn")
def test_an_analysis_is_replaced_with_force_alone_and_other_things_never(call: Call, capsys: Said) -> None:
    assert call("analyze", "masks", *FAST) == 0
    before = Path("analysis/analyze/report.html").read_bytes()
    capsys.readouterr()
    assert_refused(call("analyze", "counts", *FAST), capsys, "analysis exists: choose another --out, or give --force")
    assert Path("analysis/analyze/report.html").read_bytes() == before
    for left in (".examples.tmp", ".analyze.old"):  # as a killed process leaves them
        (Path("analysis") / left).mkdir()
    assert call("analyze", "counts", *FAST, "--force") == 0
    assert Path("analysis/analyze/report.html").read_bytes() != before
    Path("analysis/mine.txt").touch()
    capsys.readouterr()
    assert_refused(call("analyze", "counts", *FAST, "--force"), capsys, "analysis holds something else")
    assert Path("analysis/mine.txt").is_file()


@pytest.mark.usefixtures("undrawn")
def test_given_masks_say_which_neurons_an_ablation_switches_off(call: Call, capsys: Said) -> None:
    """Every cell is the loss of the steered model, minus that of the whole one."""
    model, tokenizer = load_model("reader"), load_tokenizer("reader")
    widths = NeuronMasks.from_pretrained("masks").widths
    numbers = {"de": [1, 2, 3], "fr": [4, 5], "sv": [0, 7, 8, 9]}
    values = {
        layer: torch.stack([torch.isin(torch.arange(width), torch.tensor(numbers[code])) for code in LANGUAGES])
        for layer, width in widths.items()
    }
    given = NeuronMasks(LANGUAGES, values, {"rule": "lape"})
    given.save_pretrained("given")
    command = ("analyze", "counts", "select.k=0.6", *FAST, "analyze.examples=0", "--model", "reader", *TEXTS)
    assert call(*command, "--ablate", "--with", "given", "ablate.draws=1") == 0
    assert "from given masks: lape" in capsys.readouterr().out
    shown = read_found()["ablation"]["decoder"]
    assert "The neurons of given masks are off (lape; on average" in shown["note"]

    lines = {code: Path(f"{code}.txt").read_text(encoding="utf-8").splitlines()[:6] for code in shown["texts"]}
    batches = {code: list(ns.make_batches(model, tokenizer, {code: text})) for code, text in lines.items()}
    everything = NeuronMasks(
        ["all"], {layer: torch.ones(1, width, dtype=torch.bool) for layer, width in widths.items()}
    )
    with measuring_loss(model, everything, batches) as measure:
        for row, text in enumerate(shown["texts"]):
            whole = measure(text, None)
            for column, code in enumerate(shown["switched"][:-1]):
                with ns.steer(model, given.neurons(code), scale=0):
                    assert shown["changes"][row][column] == pytest.approx(measure(text, None) - whole, abs=1e-9)

    refused = {
        "--with": ("--with", "given"),
        "none": ("--ablate", "--with", "none"),
        "ablate.share changes nothing next to ablate.masks": ("--ablate", "--with", "given", "ablate.share=0.1"),
        "so fewer are left to compare with": ("--ablate", "--with", "masks"),
    }
    for message, words in refused.items():
        capsys.readouterr()
        assert_refused(call(*command, "--force", *words), capsys, message)


# Of a run


def test_a_run_is_analysed_and_its_neurons_are_shown(call: Call, capsys: Said) -> None:
    small = ("ablate.sentences=4", "ablate.draws=1")
    command = ("analyze", "small.yaml", *FAST, *small)
    assert call(*command, "--ablate", "--neuron", "encoder.1:4", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    found = read_found("run")
    assert said["summary"] == found["summary"]
    assert said["report"] == "run/analyze/report.html"
    assert set(found["ablation"]) == {"encoder", "decoder"}
    counts = ActivationCounts.load("run/record")
    rates = dict(zip(counts.tasks, counts.frequencies("encoder.1")[:, 4].tolist(), strict=True))
    card = said["neurons"]["encoder.1:4"]
    assert card["frequencies"] == pytest.approx(rates)
    assert len(card["examples"]) == 5 or max(rates.values()) < 0.2
    assert not Path("run/report").exists()  # nothing was translated
    report = Path("run/analyze/report.html")
    stamp = report.stat().st_mtime_ns
    assert call(*command, "--ablate", "--neuron", "encoder.1:4") == 0
    assert report.stat().st_mtime_ns == stamp  # it was done
    assert "encoder.1:4: selected by " in capsys.readouterr().out
    assert_refused(call(*command, "--ablate", "--neuron", "encoder.1:9999"), capsys, "no neuron '9999' in encoder.1")

    # What is refused
    assert call("analyze", "run", "--json") == 0  # a run's directory says itself how it was made
    assert json.loads(capsys.readouterr().out)["summary"] == found["summary"]
    assert report.stat().st_mtime_ns == stamp


def assert_refused(code: int, capsys: Said, found: str) -> None:
    said = capsys.readouterr()
    assert (code, said.out) == (2, ""), said.err
    *stages, last = said.err.splitlines()
    assert last.startswith("error: ")
    assert found in last
    assert not [line for line in stages if not line.endswith(": done before")]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["counts", "--ablate"], "--ablate needs the model and text of its tasks: --model MODEL --text TASK=FILE"),
        (["masks", "--ablate"], "--ablate needs the model and text of its tasks: --model MODEL --text TASK=FILE"),
        (["counts", "--model", "reader"], "give --model and --text together"),
        (["counts", "--text", "de=de.txt"], "give --model and --text together"),
        (["counts", "--model", "reader", "--text", "de.txt"], "expected TASK=FILE"),
        (["counts", "--model", "reader", "--text", "de=missing.txt"], "missing.txt does not exist"),
        (["counts", "--model", "reader", "--text", "xx=de.txt"], "no masks for the task 'xx'; known: de, fr, sv"),
        (["counts", "--model", "reader", "--text", "de=de.txt", "--ablate"], "give --text sv=FILE"),
        (["counts", "--model", "missing/model/of/mine", *TEXTS], "is not a model directory"),
        (["counts", "--model", "narrow", *TEXTS], "24 neurons in decoder.0, the model has 16"),
        (
            ["counts", "--model", "reader", *TEXTS, "--ablate", "ablate.metric=chrf"],
            "a model that does not translate has no chrF++; use loss",
        ),
        (["small.yaml", "--seed", "-1"], "the seed must be a whole number from 0 on, not -1"),
        (["counts", "--seed", "-1"], "the seed must be a whole number from 0 on, not -1"),
        (["pairs", "--pivot", "fr"], "no task is from or to the pivot 'fr'; there are de-en, sv-en"),
        (["counts", "--pivot", "de"], "no task is from or to the pivot 'de'; there are de, fr, sv"),
        (["counts", "--neuron", "decoder.7:3"], "no layer 'decoder.7' (did you mean 'decoder.1'"),
        (["counts", "--neuron", "decoder.0:24"], "no neuron '24' in decoder.0: its neurons are 0 to 23"),
        (["counts", "--neuron", "decoder.0"], "a neuron is written LAYER:NUMBER, as decoder.0:117"),
        (["counts", "--out", "de.txt"], "de.txt exists"),
        (["counts", "--out", "de.txt", "--force"], "de.txt holds something else"),
        (["counts", "--out", "reader", "--force"], "reader holds something else"),
        (["small.yaml", "--masks", "masks"], "a configuration says its masks, model, text and pivot itself"),
        (["small.yaml", "--model", "reader", *TEXTS], "leave these options out"),
        (["small.yaml", "--pivot", "de"], "leave these options out"),
        (["counts", "record.unit=token"], "record.unit changes nothing in counts and masks that are there"),
        (["counts", "--masks", "masks", "select.k=0.5"], "select.k changes nothing"),
        (["small.yaml", "train.update=3"], "unknown key train.update (did you mean 'updates'?)"),
        (["counts", "analyze.distances={trade: missing.csv}"], "missing.csv does not exist"),
        (["counts", "analyze.distances={trade: words.csv}"], "words.csv has no row for 'sv'"),
        (["counts", "analyze.against={seed2: missing}"], "missing does not exist: expected neuron masks"),
        (["counts", "analyze.against={seed2: others}"], "no masks for the task 'fr'; known: de, sv"),
        (["counts", "--masks", "narrower"], "belong to another model or to other tasks than the masks"),
        (["counts", "--masks", "missing"], "missing does not exist: expected neuron masks"),
        (["masks", "--masks", "masks"], "masks holds no activation counts to go with --masks"),
        (["reader"], "neuron_masks.safetensors does not exist"),
        (["missing"], "no configuration 'missing'"),
        (["missing.safetensors"], "missing.safetensors does not exist"),
        (
            ["counts", "train.updates=3"],
            "only record.*, select.*, analyze.*, ablate.*, translate.* can be changed, not train",
        ),
        (["counts", "select.k=auto"], "select.k: auto needs a configuration"),
        (["counts", "analyze.permutation=99"], "unknown key analyze.permutation (did you mean 'permutations'?)"),
        (["counts", "ablate.share=1"], "ablate.share"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_nothing_is_written(
    arguments: list[str], found: str, call: Call, capsys: Said
) -> None:
    Path("words.csv").write_text(",de,fr\nde,0,1\nfr,1,0\n", encoding="utf-8")
    narrow = {"decoder.0": [True] * 8, "decoder.1": [True] * 8}
    NeuronMasks.from_dict(dict.fromkeys(LANGUAGES, narrow)).save_pretrained(Path("narrower"))
    NeuronMasks.from_pretrained("masks").reorder(["de", "sv"]).save_pretrained(Path("others"))
    before = sorted(Path().rglob("*"))
    code = call("analyze", *arguments, *([] if "small.yaml" in arguments else FAST[:2]))
    if "train.update=3" in arguments:  # problems of a configuration are a list below the sentence
        assert code == 2
        assert found in capsys.readouterr().err
    else:
        assert_refused(code, capsys, found)
    assert sorted(Path().rglob("*")) == before


# LAPE's experiment

LAPE = ("analyze", "--lape", "--model", "reader", *TEXTS, "select.options={share: 0.1, bar: 0.6}", "ablate.draws=1")


def test_lape_reads_models_in_half_precision(call: Call) -> None:
    assert call(*LAPE, "--dtype", "bfloat16") == 0
    assert NeuronMasks.from_pretrained("analysis/lape/masks").signature["dtype"] == "bfloat16"


def test_lape_is_one_command(call: Call, capsys: Said) -> None:
    assert call(*LAPE) == 0
    said = capsys.readouterr().out
    assert "neurons off" in said
    assert "texts." in said
    written = {path.relative_to("analysis/lape").as_posix() for path in Path("analysis/lape").rglob("*.*")}
    tables = {f"tables/{name}.{kind}" for name in ("perplexity", "increase") for kind in ("csv", "json", "md", "tex")}
    figures = {f"figures/perplexity.{kind}" for kind in ("csv", "pdf", "png", "svg")}
    assert {"lape.json", "masks/neuron_masks.safetensors"} | tables | figures <= written
    masks = NeuronMasks.from_pretrained("analysis/lape/masks")
    found = json.loads(Path("analysis/lape/lape.json").read_text(encoding="utf-8"))
    assert found["neurons"]["de"] == sum(int(masks.mask("de", layer).sum()) for layer in masks.layers)
    assert {"rule": "lape", "unit": "token", "share": "0.1"}.items() <= masks.signature.items()

    # An earlier result is not replaced by mistake, and JSON has the same numbers
    assert call(*LAPE, "--json") == 2
    assert call(*LAPE, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("analyze",), "give a configuration, a run, counts or masks; or --lape"),
        (("analyze", "--lape"), "--lape needs a model and text"),
        (("analyze", "counts", *LAPE[1:]), "'counts' would not be read"),
        ((*LAPE, "--ablate"), "--ablate: --lape records, selects and measures by itself"),
        ((*LAPE, "select.k=0.9"), "select.k changes nothing with --lape"),
        ((*LAPE, "record.unit=sentence"), "record.unit changes nothing with --lape"),
        ((*LAPE, "select.options={seed: 1}"), "the rule 'lape' has no option 'seed'"),
        ((*LAPE, "train.updates=1"), "without a configuration only record.*, select.*, ablate.* can be changed"),
        ((*LAPE[:6], "select.options={share: 0.1, bar: 0.6}"), "expected two tasks or more"),
        ((*LAPE, "--out", "run"), "run exists"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_lape_refuses_what_would_change_nothing(words: tuple[str, ...], refusal: str, call: Call, capsys: Said) -> None:
    Path("run").mkdir()
    assert call(*words) == 2
    assert refusal in capsys.readouterr().err
    assert not Path("analysis").exists()
