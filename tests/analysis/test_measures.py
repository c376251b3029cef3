from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.analysis.planted import (
    BARE,
    DECODER,
    ENCODER,
    LANGUAGES,
    OPTIONS,
    K,
    directions,
    draw_words,
    measure_families,
    plant_families,
    plant_nothing,
    select,
    without_states,
)

from neuronspec.analysis.chance import chance_overlap
from neuronspec.analysis.layer_measures import measure_overlap
from neuronspec.analysis.measures import Measures, analyze
from neuronspec.config.sections import Analysis
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.statistics.correlation import correlate

FEW = plant_families(LANGUAGES[:5])


def brute_iou(masks: NeuronMasks, layer: str, first: str, second: str) -> float:
    one, other = ({*masks.mask(task, layer).nonzero().flatten().tolist()} for task in (first, second))
    return len(one & other) / len(one | other)


def test_overlaps_and_chance_are_those_of_the_panels_masks() -> None:
    measures = measure_families()
    assert list(measures.layers) == [*ENCODER, *DECODER]
    assert [[one.layer for one in layers] for layers in measures.stacks.values()] == [[*ENCODER], [*DECODER]]
    for layer, one in measures.layers.items():
        tasks = one.compared.tasks
        assert all(task.startswith("en-") == layer.startswith("decoder") for task in tasks)
        for i, j in ((0, 1), (3, 11), (14, 2)):
            assert one.iou[i, j] == pytest.approx(brute_iou(measures.masks, layer, tasks[i], tasks[j]))
        sizes = [int(measures.masks.mask(task, layer).sum()) for task in tasks]
        np.testing.assert_array_equal(one.chance.mean, chance_overlap(sizes, 80).mean)
        assert one.pairs.tolist() == [one.iou[i, j] for i in range(15) for j in range(i + 1, 15)]


def test_planted_families_and_trends_are_found() -> None:
    measures = measure_families()
    assert measures.missing == {}
    for one in measures.layers.values():
        if one.layer not in ("encoder.0", "decoder.1"):  # there the least is shared
            assert one.structure.correlations["family"].p_value <= 0.01
            assert one.structure.partial["family"].p_value <= 0.01
        assert one.resampled is not None
        assert one.resampled.null.p_value <= 0.05
        assert bool((one.resampled.interval.low <= one.iou).all() and (one.iou <= one.resampled.interval.high).all())
    rise, fall = measures.trends["encoder"], measures.trends["decoder"]
    assert rise.slope > 0 > fall.slope
    assert max(rise.p_value, fall.p_value) < 0.01
    assert rise.units == fall.units == 15


def test_random_masks_show_no_families_more_often_than_promised() -> None:
    like = select(plant_families())
    found = [
        one.structure.correlations[name].p_value
        for seed in range(6)
        for one in analyze(NeuronMasks.random(like, seed), options=BARE).layers.values()
        for name in ("family", "script")
    ]
    assert sum(p <= 0.05 for p in found) <= 10  # of 60, where 3 are expected


def test_the_same_seed_measures_the_same_and_every_layer_is_announced() -> None:
    calls: list[None] = []
    counts = FEW
    first, second = (
        analyze(select(counts), counts, options=OPTIONS, seed=3, advance=lambda: calls.append(None)) for _ in range(2)
    )
    assert len(calls) == 2 * 5
    for layer, one in first.layers.items():
        other = second.layers[layer]
        assert one.structure.correlations == other.structure.correlations
        assert one.resampled is not None
        assert other.resampled is not None
        np.testing.assert_array_equal(one.resampled.interval.low, other.resampled.interval.low)


def test_other_k_select_again_from_the_same_counts() -> None:
    measures = measure_families()
    counts = plant_families()
    assert list(measures.by_share) == [0.5, 0.9]
    for k, masks in measures.by_share.items():
        assert masks == NeuronMasks.from_counts(counts, k)
    for one in measures.layers.values():
        assert one.shares[K] == pytest.approx(1)
        np.testing.assert_array_equal(measure_overlap(measures.by_share[K], one.layer, one.compared), one.iou)
        assert one.shares[0.5] == pytest.approx(
            correlate(one.iou, measure_overlap(measures.by_share[0.5], one.layer, one.compared))
        )
        assert one.shares[0.5] < 1


def test_masks_are_compared_with_those_of_other_runs_whatever_the_order_of_their_tasks() -> None:
    masks = select(FEW)
    order = list(range(len(masks.tasks)))[::-1]
    turned = NeuronMasks([masks.tasks[i] for i in order], {layer: masks.layer(layer)[order] for layer in masks.layers})
    random = NeuronMasks.random(masks)
    against = analyze(masks, options=BARE, against={"same": turned, "chance": random}).against
    assert [*against["same"].values()] == pytest.approx([1.0] * 5)
    assert max(map(abs, against["chance"].values())) < 0.95
    with pytest.raises(NeuronspecError, match="no masks for the task"):
        analyze(masks, options=BARE, against={"other": select(plant_families(["ja", "ko"]))})


def test_nothing_is_resampled_without_what_it_takes() -> None:
    masks, bare = select(FEW), without_states(FEW)
    token = replace(bare, unit="token")
    restricted = NeuronMasks(
        masks.tasks, {layer: masks.layer(layer) & (torch.arange(80) < 60) for layer in masks.layers}, masks.signature
    )
    by_hand = NeuronMasks.from_dict({t: {layer: masks.mask(t, layer) for layer in masks.layers} for t in masks.tasks})
    composed = NeuronMasks(masks.tasks, {layer: masks.layer(layer) for layer in masks.layers}, masks.signature)
    composed.signature["composed"] = "de-en + en-nl"
    lape = NeuronMasks.from_counts(FEW, rule="lape", share=0.3)
    none = "no activation counts"
    cases = {
        "no counts": (masks, None, OPTIONS, none, none),
        "no states": (masks, bare, OPTIONS, "record with record.states=true", None),
        "tokens": (NeuronMasks.from_counts(token, K), token, OPTIONS, "'token' cannot be resampled", None),
        "restricted": (restricted, FEW, OPTIONS, "not what their signature selects", None),
        "by hand": (by_hand, FEW, OPTIONS, "'by hand'", "'by hand' has no k to vary"),
        "random": (NeuronMasks.random(masks), FEW, OPTIONS, "random, sizes as: coverage", "has no k to vary"),
        "composed": (composed, FEW, OPTIONS, "not as they were selected", None),
        "lape": (lape, FEW, OPTIONS, "'lape'", "'lape' has no k to vary"),
        "off": (masks, FEW, BARE, "analyze.resamples=0", None),
    }
    for name, (these, counts, options, intervals, shares) in cases.items():
        measures = analyze(these, counts, options=options)
        assert intervals in measures.missing["intervals"], name
        assert all(one.resampled is None for one in measures.layers.values()), name
        if shares is None:
            assert "shares" not in measures.missing, name
            assert list(measures.by_share) == options.shares, name
        else:
            assert shares in measures.missing["shares"], name
            assert not measures.by_share, name


def test_counts_of_other_tasks_or_another_model_are_refused() -> None:
    masks = select(plant_families(["de", "ja"]))
    for counts in (plant_families(["de"]), plant_nothing(masks.tasks, ["encoder.0"])):
        with pytest.raises(NeuronspecError, match="give those that the masks were selected from"):
            analyze(masks, counts, options=BARE)


def test_counts_of_more_tasks_than_the_masks_in_another_order_will_do() -> None:
    all_masks = select(FEW)
    tasks = ["en-sv", "en-de", "de-en", "sv-en", "en-nl"]
    rows = [all_masks.task_index(task) for task in tasks]
    masks = NeuronMasks(tasks, {one: all_masks.layer(one)[rows] for one in all_masks.layers}, all_masks.signature)
    measures = analyze(masks, FEW, options=OPTIONS)
    assert measures.missing.keys() == {"vocabulary"}
    assert measures.layers["decoder.0"].compared.labels == ("de", "nl", "sv")
    np.testing.assert_array_equal(
        measure_overlap(measures.by_share[K], "decoder.0", measures.layers["decoder.0"].compared),
        measures.layers["decoder.0"].iou,
    )


@pytest.mark.parametrize("tasks", [["law"], ["law", "news"], ["de-en", "en-de"], ["de-en", "nl-en"]])
def test_one_and_two_tasks_are_measured_as_far_as_they_go(tasks: list[str]) -> None:
    counts = plant_nothing(tasks)
    measures = analyze(select(counts), counts, options=OPTIONS, tokens=draw_words(len(tasks)))
    for one in measures.layers.values():
        size = len(one.compared.tasks)
        assert one.iou.shape == (size, size)
        assert len(one.pairs) == size * (size - 1) // 2
        assert (one.structure.tree is None) == (size == 1)
    assert all(math.isnan(trend.p_value) for trend in measures.trends.values())


def test_tasks_that_stand_for_no_languages_have_no_families() -> None:
    counts = plant_nothing(["news", "law", "talks", "mail"])
    measures = analyze(select(counts), counts, options=OPTIONS, tokens=draw_words(4))
    assert measures.missing == {
        "families": "the tasks are not named after languages, so there are no families to compare"
    }
    for one in measures.layers.values():
        assert one.compared.tasks == counts.tasks
        assert one.structure.families is None
        assert list(one.structure.correlations) == ["vocabulary", "mask size"]


def test_a_decoder_only_model_compares_languages_by_their_names() -> None:
    counts = plant_nothing(LANGUAGES[:6], DECODER)
    words = {"decoder": draw_words(6)["decoder"]}
    measures = analyze(select(counts), counts, options=OPTIONS, tokens=words)
    assert measures.missing == {}
    assert list(measures.stacks) == ["decoder"]
    for one in measures.layers.values():
        assert sorted(one.compared.tasks) == sorted(LANGUAGES[:6])
        assert list(one.structure.correlations) == ["family", "script", "vocabulary", "mask size"]
        assert one.structure.families is not None


def test_tasks_in_the_codes_of_nllb_have_families() -> None:
    tasks = directions(["deu_Latn", "nld_Latn", "rus_Cyrl"], "eng_Latn")
    measures = analyze(select(plant_nothing(list(tasks))), pivot="eng_Latn", options=BARE)
    for one in measures.layers.values():
        assert one.compared.labels == ("deu_Latn", "nld_Latn", "rus_Cyrl")
        assert one.structure.within == pytest.approx(one.iou[0, 1])
        assert one.structure.across == pytest.approx((one.iou[0, 2] + one.iou[1, 2]) / 2)


def test_options_choose_the_side_and_own_distances(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    names = LANGUAGES[:5]
    rows = [",".join([one, *(str(abs(i - j)) for j in range(5))]) for i, one in enumerate(names)]
    own.write_text("\n".join([",".join(["", *names]), *rows]), encoding="utf-8")
    options = Analysis(encoder="from", permutations=99, resamples=0, shares=[], distances={"own": own})
    measures: Measures = analyze(select(FEW), FEW, options=options)
    assert {one.compared.title for one in measures.layers.values()} == {"en to x"}
    assert all(-1 <= one.structure.correlations["own"].r <= 1 for one in measures.layers.values())
    assert measures.by_share == {}


def test_words_are_those_of_the_panels_tasks() -> None:
    masks = select(FEW)
    words = draw_words(len(masks.tasks))
    words["encoder"][masks.task_index("en-de")] = 0  # not in the encoder's panel: nobody looks at it
    assert analyze(masks, options=BARE, tokens=words).missing.keys() == {"shares", "intervals"}
    words["encoder"][masks.task_index("de-en")] = 0
    with pytest.raises(NeuronspecError, match="has no tokens"):
        analyze(masks, options=BARE, tokens=words)


# Measures are printed as a table.


def test_printed_measures_are_a_table_of_the_layers() -> None:
    measures = measure_families()
    blocks = str(measures).split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        f"{stack}, {layers[0].compared.title}: {len(layers[0].compared.tasks)} tasks"
        for stack, layers in measures.stacks.items()
    ]
    for block, layers in zip(blocks, measures.stacks.values(), strict=True):
        _, header, *rows = block.splitlines()
        assert header.split() == ["layer", "sparsity", "IoU", "chance", "lowest", "z", "family", "r", "p"]
        assert len({len(line) for line in [header, *rows]}) == 1
        for row, one in zip(rows, layers, strict=True):
            name, sparsity, iou, chance, z, r, p = row.split()
            assert name == one.layer
            mask = measures.masks.layer(name)[[measures.masks.task_index(task) for task in one.compared.tasks]]
            assert float(sparsity) == pytest.approx(1 - mask.double().mean().item(), abs=0.0051)
            assert float(iou) == pytest.approx(one.pairs.mean(), abs=0.0051)
            assert float(chance) == pytest.approx(one.chance.mean[np.triu_indices(len(one.iou), 1)].mean(), abs=0.0051)
            assert float(z) == pytest.approx(np.nanmin(one.chance.z(one.iou)), abs=0.051)
            assert float(r) == pytest.approx(one.structure.correlations["family"].r, abs=0.0051)
            assert one.structure.correlations["family"].p_value - 0.0005 <= float(p) <= 1


def test_printed_measures_of_one_task_have_no_overlap() -> None:
    measures = analyze(NeuronMasks.from_dict({"news": {"decoder.0": [1, 0, 0, 0]}}))
    assert str(measures).splitlines()[2].split() == ["decoder.0", "0.75", "-", "-", "-", "-", "-"]
