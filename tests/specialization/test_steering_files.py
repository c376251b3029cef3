"""Files of steerings: every source of neurons, and what is said about a mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.steering_files import read_steerings

CARD = {"label": "de", "name": "German", "stack": "encoder", "neurons": [{"id": "encoder.0:2"}, {"id": "decoder.0:3"}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a report and masks next to the file of steerings."""
    (tmp_path / "analysis.json").write_text(json.dumps({"cards": {"languages": [CARD]}}))
    masks = {"encoder.0": [0, 1, 1, 0], "decoder.0": [1, 0, 0, 0]}
    NeuronMasks.from_dict({"de-en": masks, "en-de": masks}).save_pretrained(tmp_path / "masks")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "steering.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_has_one_steering_or_several(folder: Path) -> None:
    (one,) = read_steerings(write(folder, "neurons: {decoder.0: 3}\nscale: 0\n"))
    assert one.as_dict() == {"neurons": {"decoder.0": [3]}, "scale": {"decoder.0": [0.0]}, "tasks": None}

    text = """
    - {neurons: {decoder.0: [3, 1]}, to: [0.5, 2], tasks: [en-de]}
    - {neurons: ["decoder.0:1", "encoder.0:2"], scale: {decoder.0: 3, encoder.0: [4]}}
    - {cards: analysis.json, language: de, stack: encoder, scale: 0.5}
    - {masks: masks, task: deu-eng, to: 1}
    - {neurons: {encoder.0: [false, true, true]}, scale: -1}
    """
    found = read_steerings(write(folder, text))
    assert [steering.as_dict() for steering in found] == [
        {"neurons": {"decoder.0": [3, 1]}, "to": {"decoder.0": [0.5, 2.0]}, "tasks": ["en-de"]},
        {
            "neurons": {"decoder.0": [1], "encoder.0": [2]},
            "scale": {"decoder.0": [3.0], "encoder.0": [4.0]},
            "tasks": None,
        },
        {"neurons": {"encoder.0": [2]}, "scale": {"encoder.0": [0.5]}, "tasks": None},
        {
            "neurons": {"encoder.0": [1, 2], "decoder.0": [0]},
            "to": {"encoder.0": [1.0, 1.0], "decoder.0": [1.0]},
            "tasks": None,
        },
        {"neurons": {"encoder.0": [1, 2]}, "scale": {"encoder.0": [-1.0, -1.0]}, "tasks": None},
    ]
    # What a steering says of itself is an entry again, also as JSON.
    again = read_steerings(write(folder, json.dumps([steering.as_dict() for steering in found])))
    assert [steering.as_dict() for steering in again] == [steering.as_dict() for steering in found]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an entry such as neurons: .* found None"),
        ("[]", "holds no steering: expected an entry such as"),
        ("[3]", "entry 1: expected an entry such as .* found 3"),
        ("scale: 0", "give one of neurons, cards, masks; found none of them"),
        ("{neurons: {decoder.0: 1}, cards: a, scale: 0}", "found neurons and cards"),
        ("{neurons: {decoder.0: 1}}", "give scale= .* found neither of them"),
        ("{neurons: {decoder.0: 1}, scale: 0, scale: 1}", "the key 'scale' is given twice"),
        ("{neurons: {decoder.0: 1}, scal: 0}", "scal cannot be 0: Extra inputs are not permitted"),
        ("{neurons: {decoder.0: 1}, scale: .nan}", "scale.* cannot be nan"),
        ("{neurons: {decoder.0: 1}, scale: much}", "scale.* cannot be 'much'"),
        ("{neurons: {decoder.0: 1}, scale: 0, task: de-en}", "task changes nothing next to neurons: leave it out"),
        ("{cards: analysis.json, task: de-en, scale: 0}", "task changes nothing next to cards"),
        ("{cards: analysis.json, language: sv, scale: 0}", "no card of 'sv'; it has cards of de"),
        ("{masks: masks, scale: 0}", "masks needs a task whose neurons to take"),
        ("{masks: masks, task: sv-en, scale: 0}", "no masks for the task 'sv-en'"),
        ("{masks: none, task: de-en, scale: 0}", "none"),
        ("- {neurons: {decoder.0: 1}, scale: 0}\n- {neurons: {decoder.x: 1}, scale: 0}", r"steering\.yaml, entry 2: a"),
        ("{neurons: [", "is not valid YAML: line 1"),
    ],
)
def test_mistakes_in_a_file_are_one_sentence(folder: Path, text: str, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        read_steerings(write(folder, text))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"there is no file of steerings .*none\.yaml: write one such as neurons"):
        read_steerings(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NeuronspecError, match="no text in UTF-8; expected YAML"):
        read_steerings(tmp_path / "bytes.yaml")
