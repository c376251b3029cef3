from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import sacrebleu
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.processes import Completed
from tests.stage_lines import list_finished
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from neuronspec.config.schema import Config
from neuronspec.evaluation.results import Results
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.selection import select_neurons
from neuronspec.pipeline import run_results, summary
from neuronspec.pipeline.layout import Layout

TASKS = ["en-de", "en-sv", "de-en", "sv-en"]
SYSTEMS = ["pretrained", "pretrained+masks", "pretrained+random", "fine_tune", "neuron_specialization"]
TRAINED = ["pretrained", "fine_tune", "neuron_specialization"]


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def read_table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(read_lines(path)))


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_lines(path)]


def test_results_are_on_stdout_and_logs_on_stderr(command: Completed) -> None:
    said = command.stdout
    assert "Averages over directions" in said
    assert "Repeat with seed=[1,2,3]" in said
    assert said.rstrip().endswith("run/report/report.html in a browser to explore the neurons.")
    warning, *lines = command.stderr.splitlines()
    assert warning.startswith("prepare.vocabulary.size is 100, but this text gives only ")
    stages = list_finished(lines)
    assert stages[:6] == ["prepare", "train", "record", "select", "examples", "analyze"]
    assert stages[6:] == [
        *("train.fine_tune", "train.neuron_specialization"),
        *(f"translate.{system}" for system in SYSTEMS),
        "score",
        "report",
    ]


@pytest.mark.parametrize("system", TRAINED)
def test_every_model_is_an_ordinary_hugging_face_directory(finished: Config, system: str) -> None:
    directory = Layout(finished.out).model(system)
    model, loading = AutoModelForSeq2SeqLM.from_pretrained(directory, output_loading_info=True)
    assert model.config.model_type == "m2m_100"
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]
    stored = load_file(directory / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in stored.items())
    tokenizer = AutoTokenizer.from_pretrained(directory)
    assert tokenizer.convert_ids_to_tokens(tokenizer("__de__ Hund").input_ids)[::-1][0] == "</s>"
    assert len(tokenizer) == model.get_input_embeddings().num_embeddings
    others = [file.name for file in directory.iterdir() if file.suffix not in (".json", ".safetensors")]
    assert others == ["README.md"]  # its card


def test_the_methods_started_from_the_pretrained_weights_and_went_different_ways(finished: Config) -> None:
    weights = [load_file(Layout(finished.out).model(system) / "model.safetensors") for system in TRAINED]
    base, tuned, specialised = (torch.cat([w[name].flatten() for name in sorted(w)]) for w in weights)
    assert 0 < (tuned - base).norm() < base.norm()
    assert 0 < (specialised - base).norm() < base.norm()
    assert not torch.equal(tuned, specialised)


def test_the_masks_follow_from_the_counts_and_lie_beside_the_specialised_model(finished: Config) -> None:
    layout = Layout(finished.out)
    masks = NeuronMasks.from_pretrained(layout.masks)
    assert masks.tasks == tuple(TASKS)
    with safe_open(layout.counts / "activation_counts.safetensors", "pt") as counts:
        for layer in masks.layers:
            chosen = select_neurons(counts.get_tensor(f"counts.{layer}"), 0.9)
            assert torch.equal(chosen, masks.layer(layer))
    assert NeuronMasks.from_pretrained(layout.model("neuron_specialization")) == masks
    for system in ("pretrained", "fine_tune"):
        assert not (layout.model(system) / "neuron_masks.safetensors").exists()


def test_no_text_is_in_two_parts_and_every_direction_is_translated(finished: Config) -> None:
    layout = Layout(finished.out)
    for language in ("de", "sv"):
        parts = [set(read_lines(layout.text / f"{part}.en-{language}.tsv")) for part in ("train", "valid", "test")]
        assert all(parts)
        assert len(set.union(*parts)) == sum(map(len, parts))
        for task in (f"en-{language}", f"{language}-en"):
            for system in SYSTEMS:
                assert len(read_lines(layout.translations(system) / f"{task}.txt")) == len(parts[2])
    english = {
        part: {
            line.split("\t")[0] for pair in ("de", "sv") for line in read_lines(layout.text / f"{part}.en-{pair}.tsv")
        }
        for part in ("train", "test")
    }
    assert not english["train"] & english["test"]  # across languages too


def test_scores_are_sacrebleus(finished: Config) -> None:
    layout = Layout(finished.out)
    scores = read_json_lines(layout.scores / "scores.jsonl")
    assert len(scores) == len(TASKS) * (len(SYSTEMS) + 1) * 2
    for row in scores:
        pair, side = ("-".join(sorted(row["task"].split("-"), key="en".__ne__)), row["task"].startswith("en-"))
        columns = [line.split("\t") for line in read_lines(layout.text / f"test.{pair}.tsv")]
        sources, references = [[column[n] for column in columns] for n in ((0, 1) if side else (1, 0))]
        copied = row["system"] == "source"
        translations = sources if copied else read_lines(layout.translations(row["system"]) / f"{row['task']}.txt")
        metric = {"BLEU": sacrebleu.BLEU(), "chrF++": sacrebleu.CHRF(word_order=2)}[row["metric"]]
        assert row["score"] == pytest.approx(metric.corpus_score(translations, [references]).score, abs=1e-9)
        assert row["signature"] == str(metric.get_signature())
        assert row["sentences"] == len(references)


def test_the_tables_hold_the_scores(finished: Config) -> None:
    layout = Layout(finished.out)
    scores = {
        (row["system"], row["metric"], row["task"]): row["score"]
        for row in read_json_lines(layout.scores / "scores.jsonl")
    }
    averages = read_table(layout.report / "tables" / "averages.csv")
    assert [row["system"] for row in averages][::5] == ["copying the source", "neuron specialization"]
    for row, system in zip(averages, ["source", *SYSTEMS], strict=True):
        for metric in ("BLEU", "chrF++"):
            from_english = fmean(scores[system, metric, task] for task in TASKS[:2])
            assert float(row[f"{metric} from en"]) == pytest.approx(from_english)
            assert float(row[f"{metric} to en"]) == pytest.approx(fmean(scores[system, metric, t] for t in TASKS[2:]))
    directions = read_table(layout.report / "tables" / "directions.csv")
    assert [(row["direction"], row["metric"]) for row in directions] == [
        (task, metric) for task in TASKS for metric in ("BLEU", "chrF++")
    ]
    for line in directions:
        assert float(line["fine-tuned"]) == pytest.approx(scores["fine_tune", line["metric"], line["direction"]])
    as_json = json.loads((layout.report / "tables" / "averages.json").read_text(encoding="utf-8"))
    names = [row["system"].removeprefix("'") for row in averages]  # "+ masks" would be a formula in CSV
    assert [row["system"] for row in as_json] == names


def test_sparsity_and_costs_stand_where_they_belong(finished: Config) -> None:
    masks = NeuronMasks.from_pretrained(Layout(finished.out).masks)
    off = 100 * fmean(1 - float(masks.layer(layer).double().mean()) for layer in masks.layers)
    rows = read_table(Layout(finished.out).report / "tables" / "averages.csv")
    for row, system in zip(rows, ["source", *SYSTEMS], strict=True):
        masked = system not in ("source", "pretrained", "fine_tune")
        assert (float(row["sparsity %"]) if row["sparsity %"] else None) == (pytest.approx(off) if masked else None)
    costs = run_results.load_results(finished, Layout(finished.out)).study.costs
    assert list(costs) == ["pretrained", "fine_tune", "neuron_specialization", "pretrained+masks"]
    assert [costs[system].updates for system in TRAINED] == [16, 8, 8]
    assert [costs[system].parameters_added for system in TRAINED] == [0, 0, 0]
    size = (Layout(finished.out).model("neuron_specialization") / "neuron_masks.safetensors").stat().st_size
    assert [costs[system].extra_bytes for system in TRAINED] == [0, 0, size]
    seconds = [json.loads(Layout(finished.out).record(s).read_text())["seconds"] for s in ("record", "select")]
    assert [costs[system].search_seconds for system in TRAINED] == [None, None, pytest.approx(sum(seconds))]
    # both methods saw the same batches
    assert costs["fine_tune"].target_tokens == costs["neuron_specialization"].target_tokens


def test_marks_follow_from_the_comparisons(finished: Config) -> None:
    comparisons = {
        (row["system"], row["baseline"], row["tasks"], row["metric"]): row
        for row in read_json_lines(Layout(finished.out).scores / "comparisons.jsonl")
    }
    baselines = dict.fromkeys(SYSTEMS[1:4], "pretrained") | {"neuron_specialization": "fine_tune"}
    rows = read_table(Layout(finished.out).report / "tables" / "averages.csv")
    seen = set()
    for row, system in zip(rows[2:], SYSTEMS[1:], strict=True):
        for group in ("from en", "to en"):
            for metric in ("BLEU", "chrF++"):
                one = comparisons[system, baselines[system], group, metric]
                better = "↑" if one["difference"] > 0 else "↓"
                mark = better if one["adjusted_p_value"] <= 0.05 else ""
                assert row.get(f"{metric} {group} mark", "") == mark
                assert one["adjusted_p_value"] >= one["p_value"] >= 1 / 101
                seen.add(mark)
    assert len(seen) > 1  # some difference is significant here, and some is not


def test_the_summary_says_what_was_done_and_what_it_does_not_show(finished: Config) -> None:
    summary = (Layout(finished.out).report / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("# toy\n")
    for part in (
        "for 4 translation directions between 3 languages, trained for 16 updates",
        "trained for 8 more updates, from the same weights and with the same batches, in 2 ways",
        "**Averages over directions**",
        "**Every direction**",
        "cover 90 % of the activation",
        "Families show most",
        "One seed and one test set",
        "version:",
    ):
        assert (part in summary) == (not part.startswith("Families"))  # German and Swedish are of one family
    train, test = (
        sum(len(read_lines(Layout(finished.out).text / f"{part}.en-{x}.tsv")) for x in ("de", "sv"))
        for part in ("train", "test")
    )
    assert f"on {train:,} sentence pairs, of which it saw about " in summary
    assert f", and tested on {test:,} other pairs." in summary
    assert "nan" not in summary


@pytest.mark.parametrize(("trained", "loses"), [(8.9, True), (9.0, True), (9.1, False), (float("nan"), False)])
def test_models_that_do_not_beat_copying_the_source_are_named_first(
    finished: Config, monkeypatch: pytest.MonkeyPatch, trained: float, loses: bool
) -> None:
    found = run_results.load_results(finished, Layout(finished.out))
    monkeypatch.setattr(Results, "score", lambda self, system, metric, tasks: 9.0 if system == "source" else trained)
    first = summary.describe_scores(found)[0]
    assert first.startswith("No system translates better than copying the source does (BLEU)") == loses


def test_every_figure_has_its_picture_its_drawing_and_its_numbers(finished: Config) -> None:
    figures = Layout(finished.out).figures
    layers = [f"{stack}.{number}" for stack in ("encoder", "decoder") for number in (0, 1)]
    kinds = ("iou.{}", "iou.{}.by-tree", "tree.{}")
    stems = ["progression", "sparsity", "shares", *(kind.format(layer) for kind in kinds for layer in layers)]
    assert sorted(file.name for file in figures.iterdir()) == sorted(
        f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "pdf", "png", "svg")
    )
    masks = NeuronMasks.from_pretrained(Layout(finished.out).masks)
    rows = read_table(figures / "iou.decoder.1.csv")
    first, second = (masks.mask(f"en-{row['label']}", "decoder.1") for row in rows)
    assert float(rows[0][rows[1]["label"]]) == pytest.approx(float((first & second).sum() / (first | second).sum()))


def test_findings_speak_of_chance_where_it_could_be_chance(finished: Config) -> None:
    layout = Layout(finished.out)
    told = run_results.load_results(finished, layout)
    findings = summary.describe_findings(told, layout)
    for system, title in (("fine_tune", "fine-tuned"), ("neuron_specialization", "neuron specialization")):
        for group in ("from en", "to en"):
            [line] = [
                f for f in findings if f.startswith(f"Translating {group}") and re.search(rf"(between |: ){title}", f)
            ]
            one = told.study.comparison(system, "BLEU", group, told.baseline(system))
            assert one is not None
            assert ("no significant difference" in line) == (one.adjusted_p_value > 0.05)
            difference = f"{one.difference:+.1f}"
            unsigned = "0.0" if difference in ("+0.0", "-0.0") else difference
            assert f"({unsigned} BLEU" in line


def test_the_trainings_are_logged_and_the_loss_falls(finished: Config) -> None:
    log = read_json_lines(Layout(finished.out).training("pretrained") / "log.jsonl")
    assert [entry["update"] for entry in log] == [4, 8, 12, 16]
    losses = [entry["valid"]["loss"]["all"] for entry in log]
    assert losses[-1] < losses[0] < math.log(110)  # better than guessing
    assert set(log[0]["valid"]["loss"]) == {*TASKS, "all"}
