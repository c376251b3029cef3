"""Names of neurons in files: the cards of a report, what `analyze --json` prints, and plain lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.neuron_choice import parse_neuron, read_choice
from neuronspec.neurons.neuron_lists import read_neurons

GERMAN = {
    "label": "de",
    "name": "German",
    "stack": "encoder",
    "neurons": [{"id": "encoder.0:3"}, {"id": "encoder.1:1"}],
}
WRITTEN = {"label": "de", "name": "German", "stack": "decoder", "neurons": [{"id": "decoder.0:7"}]}
SWEDISH = {"label": "sv", "name": "Swedish", "stack": "encoder", "neurons": [{"id": "encoder.0:3"}]}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The numbers of a report, in the directory of a run."""
    path = tmp_path / "run" / "analyze" / "analysis.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cards": {"languages": [GERMAN, WRITTEN, SWEDISH], "neurons": {}}}))
    return path


def test_neurons_are_read_from_the_cards_of_a_report(report: Path) -> None:
    everything = ["encoder.0:3", "encoder.1:1", "decoder.0:7"]
    for place in (report, report.parent, report.parent.parent):
        assert read_neurons(place) == everything
    assert read_neurons(report, "de") == read_neurons(report, "German") == everything
    assert read_neurons(report, "de", stack="decoder") == ["decoder.0:7"]
    assert read_neurons(report, "sv") == ["encoder.0:3"]
    assert list(read_choice(read_neurons(report))) == ["encoder.0", "encoder.1", "decoder.0"]


def test_neurons_are_read_from_a_list_and_from_what_analyze_prints(tmp_path: Path) -> None:
    printed = tmp_path / "printed.json"
    printed.write_text(json.dumps({"summary": [], "neurons": {"decoder.0:7": {}, "decoder.3.expert.1:2": {}}}))
    assert read_neurons(printed) == ["decoder.0:7", "decoder.3.expert.1:2"]
    listed = tmp_path / "neurons.txt"
    listed.write_text("# mine\n\ndecoder.0:7\nencoder.1:4  # why\ndecoder.0:7\n")
    assert read_neurons(listed) == ["decoder.0:7", "encoder.1:4"]
    assert read_neurons(listed, stack="encoder") == ["encoder.1:4"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("decoder.0\n", {}, "neurons.txt: found the neuron 'decoder.0': a neuron is written LAYER:NUMBER"),
        ("../../x:1\n", {}, "neurons.txt: a layer is called"),
        ("\n# none\n", {}, "neurons.txt names no neurons: expected names such as"),
        ("decoder.0:1\n", {"stack": "encoder"}, "names no neurons of the encoder"),
        ("decoder.0:1\n", {"language": "de"}, "a list of neurons without languages: leave out 'de'"),
    ],
)
def test_lists_that_name_no_neurons_are_refused(
    text: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "neurons.txt"
    path.write_text(text)
    with pytest.raises(NeuronspecError, match=message):
        read_neurons(path, **options)


@pytest.mark.parametrize(
    "value", [[], {}, None, {"cards": None}, {"cards": {"languages": [{"label": "de"}]}}, {"cards": []}]
)
def test_files_without_cards_are_refused(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "analysis.json"
    path.write_text(json.dumps(value))
    with pytest.raises(NeuronspecError, match="holds no cards of neurons"):
        read_neurons(path)


def test_places_without_neurons_are_refused(report: Path, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"it has no analysis\.json, which neuronspec analyze writes"):
        read_neurons(tmp_path)
    with pytest.raises(NeuronspecError, match="it does not exist"):
        read_neurons(tmp_path / "none.txt")
    with pytest.raises(NeuronspecError, match=r"no card of 'Germn' \(did you mean 'German'\?\); .* of de, sv"):
        read_neurons(report, "Germn")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(NeuronspecError, match="cannot read neurons from"):
        read_neurons(tmp_path / "bytes.txt")
    with pytest.raises(NeuronspecError, match="LAYER:NUMBER"):
        parse_neuron("decoder.0:1234567890")
