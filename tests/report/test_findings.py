from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.analysis.planted import (
    BARE,
    DECODER,
    LANGUAGES,
    OPTIONS,
    directions,
    draw_words,
    measure_families,
    plant_families,
    plant_nothing,
    select,
    without_states,
)

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.measures import Measures, analyze
from neuronspec.languages import split_direction
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.report.finding import Finding, join_names
from neuronspec.report.findings import describe_measures
from neuronspec.statistics.correlation import Correlation

CLAIMS = re.compile(r"share more neurons|keep apart more|Overlaps (rise|fall)|are larger than those of random")


def texts(findings: list[Finding], kind: str) -> list[str]:
    return [one.text for one in findings if one.kind == kind]


def find(findings: list[Finding], pattern: str, kind: str) -> str:
    """The one sentence of a kind that has the pattern."""
    found = [text for text in texts(findings, kind) if re.search(pattern, text)]
    assert len(found) == 1, (pattern, findings)
    return found[0]


def make_ablation(panel_tasks: tuple[str, ...], own: float, near: float, seed: int = 0) -> Ablation:
    """Texts that lose `own` without their own neurons, `near` without those of the other half that they are in."""
    size = len(panel_tasks)
    half = np.arange(size) * 2 // size
    harm = np.random.default_rng(seed).uniform(0, 0.1, (size, size))
    harm += near * (half[:, None] == half) + (own - near) * np.eye(size)
    control = np.random.default_rng(seed + 1).uniform(0, 0.1, (size, 2))
    baseline = np.full(size, 2.0)
    values, random = baseline[:, None] + harm, baseline[:, None] + control
    return Ablation("encoder", panel_tasks, "loss", False, 0.05, {"encoder.0": 4}, baseline, values, random)


def test_planted_families_and_trends_are_told() -> None:
    found = describe_measures(measure_families())
    follow = find(found, "^Languages closer in family share more neurons in .*encoder.2", "finding")
    assert "with script, vocabulary and mask size held fixed still in" in follow
    find(found, r"^Families keep apart more than random groups in .*\(most in encoder\.\d: mean IoU", "finding")
    rise = find(found, "^Overlaps rise over the encoder, also when corrected for chance, as in the paper", "finding")
    fall = find(found, "^Overlaps fall over the decoder, also when corrected for chance, as in the paper", "finding")
    for stack, text in (("encoder", rise), ("decoder", fall)):
        trend = measure_families().trends[stack]
        assert f"({trend.slope:+.3f} ({trend.interval[0]:+.3f} to" in text
        assert f"corrected for chance {measure_families().corrected[stack].slope:+.3f}" in text
    for stack, name in (("encoder", "script"), ("decoder", "script"), ("encoder", "vocabulary")):
        find(found, f"^Overlaps do not significantly follow {name} in any layer of the {stack}", "caveat")
    find(found, "^This is one training of one model", "caveat")
    assert find(found, "leave .* neurons off", "finding").startswith("The neurons that cover 90 % of the activation")


def test_every_finding_that_names_layers_names_those_whose_corrected_p_is_small() -> None:
    measures = measure_families()
    for stack, layers in measures.stacks.items():
        p = np.array([one.structure.correlations["family"].p_value for one in layers])
        order = p.argsort()
        corrected = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
        names = [layers[i].layer for i in sorted(order[corrected <= 0.05].tolist())]
        named = join_names(names) if len(names) < len(p) else f"every layer of the {stack}"
        assert any(f"in family share more neurons in {named} (" in one.text for one in describe_measures(measures))


def test_the_numbers_are_those_of_the_measures() -> None:
    measures = measure_families()
    layers = measures.stacks["encoder"]
    text = find(describe_measures(measures), r"In the encoder \(x to en; tasks: 15, layers: 3\),", "caveat")
    z = np.concatenate([one.chance.z(one.iou)[np.triu_indices(15, k=1)] for one in layers])
    assert f"{int((z > 3).sum())} of 315 overlaps are larger than those of random sets" in text
    assert f"mean IoU {np.mean([one.pairs.mean() for one in layers]):.2f}, at random" in text
    off = np.mean([values.mean() for layer, values in measures.masks.sparsity().items() if layer.startswith("enc")])
    assert f"{100 * off:.0f} % of the encoder's" in describe_measures(measures)[0].text


@pytest.mark.parametrize("seed", range(4))
def test_random_masks_overlap_as_random_sets_do(seed: int) -> None:
    masks = NeuronMasks.random(select(plant_families()), seed)
    found = describe_measures(analyze(masks, options=BARE))
    assert sum("overlaps are larger than those of random sets" in text for text in texts(found, "caveat")) == 2
    assert not any("larger than those of random sets" in text for text in texts(found, "finding"))


def test_of_random_masks_hardly_anything_is_claimed() -> None:
    rng = torch.Generator().manual_seed(0)
    claims, told = 0, 0
    for _ in range(8):
        chosen = torch.rand(15, 80, generator=rng).argsort(1) < 40
        masks = NeuronMasks([f"en-{one}" for one in LANGUAGES], {"decoder.0": chosen})
        words = {"decoder": draw_words(15, int(torch.randint(99, (1,), generator=rng)))["decoder"]}
        found = describe_measures(analyze(masks, options=BARE, tokens=words))
        claims += sum(CLAIMS.search(text) is not None for text in texts(found, "finding"))
        told += sum("significantly" in text for text in texts(found, "caveat"))
    assert claims <= 5  # of 32 tests, each wrong in one of twenty
    assert claims + told == 8 * 4  # family, script, vocabulary, and whether families keep apart


def test_planted_neurons_without_families_are_no_families() -> None:
    counts = plant_nothing(list(directions()))
    found = describe_measures(analyze(select(counts), counts, options=OPTIONS, tokens=draw_words(30)))
    assert not any("share more neurons" in text or "keep apart" in text for text in texts(found, "finding"))
    find(found, "^Overlaps do not significantly follow family in any layer of the encoder", "caveat")
    find(found, "^Families do not keep apart significantly .* in any layer of the decoder", "caveat")
    assert sum(text.startswith("The tasks differ in every layer") for text in texts(found, "finding")) == 2


def test_a_trend_that_only_the_sizes_of_masks_show_is_none() -> None:
    rng = torch.Generator().manual_seed(0)
    tasks = [f"en-{one}" for one in LANGUAGES]
    sizes = {f"decoder.{n}": size for n, size in enumerate((70, 60, 50, 40, 30, 20))}  # of 80 neurons, at random
    layers = {layer: torch.rand(15, 80, generator=rng).argsort(1) < size for layer, size in sizes.items()}
    found = describe_measures(analyze(NeuronMasks(tasks, layers), options=BARE))
    find(
        found,
        "^Overlaps fall with the masks' sizes over the decoder; corrected for what masks of these sizes share",
        "caveat",
    )


def test_nothing_is_claimed_of_layers_that_are_hardly_more_than_noise() -> None:
    measures = measure_families()
    layers = {}
    for layer, one in measures.layers.items():
        assert one.resampled is not None
        noisy = replace(one.resampled, halves=replace(one.resampled.halves, correlation=0.2))
        layers[layer] = replace(one, resampled=noisy)
    found = describe_measures(replace(measures, layers=layers))
    find(
        found, "^Languages closer in family .* encoder.2.*; but there the overlaps are hardly more than noise", "caveat"
    )


def test_equal_tasks_are_said_to_hardly_differ() -> None:
    counts = plant_families(LANGUAGES[:6])
    same = {layer: states[: len(states) // 12].repeat(12, 1) for layer, states in counts.states.items()}
    values = {layer: row[:1].repeat(12, 1) for layer, row in counts.values.items()}
    counts = replace(counts, states=same, values=values)
    found = describe_measures(analyze(select(counts), counts, options=OPTIONS))
    find(found, "^The tasks do not differ significantly in any layer of the encoder", "caveat")
    find(found, "^Family was not tested .encoder.: .* overlaps are equal", "caveat")


def test_few_languages_are_called_too_few() -> None:
    found = describe_measures(analyze(select(plant_families(["de", "nl", "ru"])), options=OPTIONS))
    text = find(found, "^3 languages are too few to test whether overlaps follow family in the encoder", "caveat")
    assert re.search(r"no corrected p-value could be below (0\.\d+|1) ", text)
    assert not any(CLAIMS.search(text) for text in texts(found, "finding") if "random sets" not in text)


@pytest.mark.parametrize("languages", [["de", "nl"], ["de", "ru"]])
def test_two_languages_are_one_pair(languages: list[str]) -> None:
    counts = plant_families(languages)
    masks = select(counts)
    found = describe_measures(analyze(masks, counts, options=OPTIONS, against={"another seed": masks}))
    find(found, "^Family was not tested .encoder.: the test needs 3 languages of known family", "caveat")
    find(found, "^The trend over the decoder was not tested: the test needs 2 layers and 3 tasks", "caveat")
    find(found, "^The encoder's overlaps were not compared with those of another seed", "caveat")
    assert not any("nan" in one.text for one in found)


def test_one_task_is_compared_with_nothing() -> None:
    masks = NeuronMasks.from_dict({"law": {"encoder.0": [1, 1, 0, 0]}})
    found = describe_measures(analyze(masks, options=BARE))
    assert found[0].text == "The selected neurons (by hand) leave 50 % of the encoder's neurons off."
    assert found[1] == Finding("caveat", "The encoder has one task, so there is nothing to compare.")


def test_tasks_without_languages_have_no_families_but_words() -> None:
    counts = plant_nothing(["law", "news", "talks", "mail"])
    masks = select(counts)
    found = describe_measures(analyze(masks, without_states(counts), options=OPTIONS, tokens=draw_words(4)))
    find(found, "^Families and scripts were not tested: the tasks are not named after languages", "caveat")
    find(found, "^The overlaps have no confidence intervals.*record with record.states=true", "caveat")
    find(found, "follow vocabulary in (any layer of )?the encoder", "caveat")
    assert not any("anguages" in one.text and "not named after languages" not in one.text for one in found)
    assert not any("cript" in one.text and "Families and scripts" not in one.text for one in found)
    assert not any("in the paper" in one.text for one in found)


def test_the_paper_is_named_only_where_it_compares_the_same_tasks() -> None:
    measures = measure_families()
    decoder = {layer: one for layer, one in measures.layers.items() if one.compared.stack == "decoder"}
    others = {
        layer: replace(one, compared=replace(one.compared, title="all tasks")) if layer in decoder else one
        for layer, one in measures.layers.items()
    }
    found = describe_measures(replace(measures, layers=others))
    assert "paper" not in find(found, "^Overlaps fall over the decoder", "finding")
    raw, above = (dict.fromkeys(measures.stacks, kind["decoder"]) for kind in (measures.trends, measures.corrected))
    against = describe_measures(replace(measures, trends=raw, corrected=above))
    find(
        against,
        "^Overlaps fall over the encoder, also when corrected for chance, whereas in the paper they rise",
        "finding",
    )


def test_masks_of_other_runs_are_named() -> None:
    masks = select(plant_families())
    measures = analyze(masks, options=BARE, against={"seed 2": masks, "chance": NeuronMasks.random(masks)})
    found = describe_measures(measures)
    assert (
        f"{find(found, 'encoder.*seed 2', 'finding')}"
        == "The encoder's overlaps correlate with those of seed 2 at r = 1.00."
    )
    find(
        found,
        "^The decoder's overlaps correlate with those of chance at r = .*: the differences are not due to the lang",
        "caveat",
    )
    assert not any("One training" in one.text for one in found)


def test_what_other_explanations_leave_is_said() -> None:
    measures = measure_families()
    no = replace(measures.layers["encoder.0"].structure.correlations["family"], p_value=0.5)
    none = replace(no, r=math.nan, p_value=math.nan)

    def change(partial: Correlation) -> Measures:
        layers = {
            layer: replace(one, structure=replace(one.structure, partial=dict.fromkeys(("family", "script"), partial)))
            for layer, one in measures.layers.items()
        }
        return replace(measures, layers=layers)

    for partial, rest in (
        (no, ", but not significantly with script held fixed."),
        (none, "; with script held fixed, nothing is left to test."),
    ):
        assert find(describe_measures(change(partial)), "closer in family .* encoder", "finding").endswith(rest)


def test_own_neurons_and_those_of_relatives_are_told_apart_from_chance() -> None:
    tasks = tuple(f"{one}-en" for one in ("de", "nl", "sv", "da", "ru", "cs", "pl", "bg"))
    measures = analyze(select(plant_families(["de", "nl", "sv", "da", "ru", "cs", "pl", "bg"])), options=BARE)
    found = describe_measures(measures, {"encoder": make_ablation(tasks, own=1.0, near=0.3)})
    text = find(found, "hurts that language most, for 8 of 8 languages", "finding")
    assert text.startswith("Removing a language's own neurons (5 % of the encoder)")
    find(found, "own neurons of related languages also hurts more than", "finding")
    found = describe_measures(measures, {"encoder": make_ablation(tasks, own=1.0, near=0.0)})
    find(found, "own neurons of related languages does not hurt significantly more", "caveat")
    found = describe_measures(measures, {"encoder": make_ablation(tasks, own=0.0, near=0.0)})
    find(found, "does not hurt that language significantly more than removing other neurons", "caveat")
    assert not any("related languages" in one.text for one in found)


def test_a_decoder_only_model_is_told_of_its_decoder_alone() -> None:
    counts = plant_nothing(LANGUAGES, DECODER)
    found = describe_measures(analyze(select(counts), counts, options=OPTIONS))
    assert not any("encoder" in one.text.replace("decoder", "") for one in found)
    find(found, "follow family in (any layer of )?the decoder", "caveat")


def test_every_text_is_one_clean_sentence() -> None:
    for one in describe_measures(measure_families()):
        assert re.fullmatch(r"[A-Z].*[^.]\.", one.text)
        assert "  " not in one.text
        assert "nan" not in one.text.split()
        assert "\n" not in one.text


def test_languages_of_unknown_family_are_named() -> None:
    masks = measure_families().masks
    renamed = dict(zip(LANGUAGES, ("hsb", "x-foo"), strict=False))
    names = {task: "-".join(renamed.get(code, code) for code in split_direction(task)) for task in masks.tasks}
    unknown = {name: {layer: masks.mask(task, layer) for layer in masks.layers} for task, name in names.items()}
    found = describe_measures(analyze(NeuronMasks.from_dict(unknown), options=BARE))
    for stack in ("encoder", "decoder"):
        left_out = find(
            found, f"^The family of .* is unknown: tests of families in the {stack} leave them out", "caveat"
        )
        assert "hsb and x-foo" in left_out
