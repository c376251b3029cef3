from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from tests.analysis.planted import BARE, LANGUAGES, OPTIONS, measure_families, plant_families, plant_nothing, select
from tests.report.test_findings import make_ablation

from neuronspec.analysis.layer_measures import measure_overlap
from neuronspec.analysis.measures import Measures, analyze
from neuronspec.neurons.examples import Example
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.token_text import TokenPlace
from neuronspec.report.findings import describe_measures
from neuronspec.report.language_cards import make_language_cards
from neuronspec.report.neuron_cards import NeuronCard, make_neuron_card
from neuronspec.report.page import build_page
from neuronspec.report.page_values import escape_json, to_json_values, unpack_fractions
from neuronspec.report.payload import CHOSEN, make_payload

UPPER = np.triu_indices(15, k=1)
TOLERANCE = 0.5 / 65535 + 1e-12


def read(measures: Measures, **parts: Any) -> Any:
    """The payload as the page reads it."""
    return json.loads(escape_json(to_json_values(make_payload(measures, "Neurons", **parts))))


def floats(text: str) -> Any:

    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def test_the_page_reads_the_numbers_that_were_measured() -> None:
    measures = measure_families()
    payload = read(measures)
    assert payload["ks"] == ["0.5", "0.9", CHOSEN]
    assert payload["k"] == CHOSEN
    for layer, one in measures.layers.items():
        assert one.resampled is not None
        iou = payload["iou"][layer]
        np.testing.assert_allclose(unpack_fractions(iou[CHOSEN]), one.iou[UPPER], atol=TOLERANCE)
        for k, masks in measures.by_share.items():
            np.testing.assert_allclose(
                unpack_fractions(iou[str(k)]), measure_overlap(masks, one.layer, one.compared)[UPPER], atol=TOLERANCE
            )
        np.testing.assert_allclose(
            unpack_fractions(payload["low"][layer]), one.resampled.interval.low[UPPER], atol=TOLERANCE
        )
        np.testing.assert_allclose(
            unpack_fractions(payload["high"][layer]), one.resampled.interval.high[UPPER], atol=TOLERANCE
        )
        np.testing.assert_allclose(floats(payload["z_chance"][layer]), one.chance.z(one.iou)[UPPER], rtol=1e-6)
        np.testing.assert_allclose(floats(payload["z_shuffled"][layer]), one.resampled.null.z[UPPER], rtol=1e-6)
        sparsity = measures.masks.sparsity()[layer]
        assert payload["sparsity"][layer] == {"tasks": [*measures.masks.tasks], "values": pytest.approx([*sparsity])}
        tree, box = one.structure.tree, payload["progression"][layer]
        assert tree is not None
        assert payload["trees"][layer]["newick"] == tree.newick()
        assert sorted(payload["trees"][layer]["order"]) == list(range(15))
        assert len(payload["trees"][layer]["merges"]) == 14
        assert box["mean"] == pytest.approx(one.pairs.mean())
        assert [box["q1"], box["median"], box["q3"]] == pytest.approx(np.quantile(one.pairs, [0.25, 0.5, 0.75]))
    assert payload["summary"] == [{"kind": one.kind, "text": one.text} for one in describe_measures(measures)]
    assert payload["panels"]["decoder"]["labels"] == [*measures.layers["decoder.0"].compared.labels]
    assert [one["name"] for one in payload["layers"]] == [*measures.layers]
    assert payload["signature"]["rule"] == "coverage"
    assert payload["missing"] == {}
    titles = [table["title"] for table in payload["tables"]["statistics"]]
    assert titles[:2] == ["Overlap of neurons", "What the overlaps follow"]


@pytest.mark.parametrize("tasks", [["law"], ["law", "news"], ["de", "nl", "ru"], ["de-en", "nl-en", "en-de"]])
def test_whatever_was_measured_makes_a_page(tasks: list[str]) -> None:
    counts = plant_nothing(tasks)
    for measures in (analyze(select(counts), counts, options=OPTIONS), analyze(select(counts), options=BARE)):
        payload = read(measures)
        assert (payload["panels"]["decoder"]["families"] == []) == ("law" in tasks)
        for layer, one in measures.layers.items():
            assert len(unpack_fractions(payload["iou"][layer][CHOSEN])) == len(one.pairs)
            assert (layer in payload["progression"]) == (layer in payload["trees"]) == (len(one.iou) > 1)
        assert (payload["low"] == {}) == ("intervals" in measures.missing)
        assert payload["cards"] is None
        assert "<title>Neurons</title>" in build_page(make_payload(measures, "Neurons"))


def test_full_masks_which_cannot_differ_make_a_page() -> None:
    masks = NeuronMasks.from_dict({one: {"decoder.0": [1] * 8} for one in ("de", "nl", "ru", "fi")})
    payload = read(analyze(masks, options=BARE))
    assert set(unpack_fractions(payload["iou"]["decoder.0"][CHOSEN])) == {1.0}
    assert np.isnan(floats(payload["z_chance"]["decoder.0"])).all()


def test_cards_and_ablations_are_shown_and_each_sentence_written_once() -> None:
    counts = plant_families(LANGUAGES[:4])
    masks = select(counts)
    measures = analyze(masks, options=BARE)
    languages = make_language_cards(masks, [layers[0].compared for layers in measures.stacks.values()], counts)
    place = TokenPlace(text="Guten </script>", start=3, end=5, role="word")
    sentence = Example("de-en", ["▁Gut", "en", "</script>"], 1, 2.5, place)
    tag = Example("nl-en", ["__nl__", "▁a"], 0, 1.0, TokenPlace(text="a", start=0, end=0, role="tag"))
    names = list(dict.fromkeys(f"{layer}:{neuron}" for card in languages for layer, neuron in card.neurons))
    neurons = [
        NeuronCard(one.layer, one.neuron, one.owners, one.frequencies, [sentence, tag])
        for one in (make_neuron_card(name, masks, counts) for name in names)
    ]
    ablation = make_ablation(measures.layers["encoder.0"].compared.tasks, own=1, near=0.2)
    payload = read(measures, languages=languages, neurons=neurons, ablations={"encoder": ablation})
    cards = payload["cards"]
    assert cards["sentences"] == [
        {"task": "de-en", "text": "Guten </script>"},
        {"task": "nl-en", "text": "a"},
    ]
    assert list(cards["neurons"]) == names
    assert {one["id"] for card in cards["languages"] for one in card["neurons"]} == set(names)
    first = cards["neurons"][names[0]]
    assert first["examples"] == [
        {"sentence": 0, "mark": [0, 5], "token": None, "value": 2.5},
        {"sentence": 1, "mark": [0, 0], "token": "__nl__", "value": 1.0},
    ]
    assert (first["reads"], first["words"]) == ("word", ["Guten"])  # half of the examples are no majority
    assert first["frequencies"] == pytest.approx(dict(neurons[0].frequencies))
    assert cards["languages"][0]["layers"][0] == {
        "layer": "encoder.0",
        "own": languages[0].layer_shares[0].own,
        "exclusive": languages[0].layer_shares[0].exclusive,
        "shared_by_all": languages[0].layer_shares[0].shared,
    }
    shown = payload["ablation"]["encoder"]
    assert shown["switched"] == [*shown["texts"], "random"]
    np.testing.assert_allclose(shown["changes"], ablation.matrix)
    assert "</script>" not in escape_json(
        to_json_values(make_payload(measures, "x", languages=languages, neurons=neurons))
    )
