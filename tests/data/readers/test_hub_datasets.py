"""Datasets of the hub and on disk."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.data.reading import texts

from neuronspec.errors import NeuronspecError


def test_without_the_library_datasets_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(NeuronspecError, match=r"pip install 'neuronspec\[hub\]'"):
        texts("hub:someone/corpus", "en", "de")


class HubWithOneConfiguration:
    """Stands in for the library: it knows `de-en` only and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, str]] = []

    def load_dataset(self, name: str, config: str | None, split: str, streaming: bool) -> list[dict[str, Any]]:
        assert streaming
        self.asked.append((name, config, split))
        if config not in (None, "de-en"):
            raise ValueError(f"BuilderConfig {config!r} not found")
        return [{"translation": {"de": "eins", "en": "one"}}]


def test_a_hub_name_may_hold_configuration_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = HubWithOneConfiguration()
    monkeypatch.setitem(sys.modules, "datasets", hub)
    assert texts("hub:org/opus:{src}-{tgt}:test", "en", "de") == [("one", "eins")]
    assert texts("hub:org/opus", "en", "de") == [("one", "eins")]
    assert hub.asked == [
        ("org/opus", "en-de", "test"),
        ("org/opus", "de-en", "test"),
        ("org/opus", None, "train"),
    ]


def test_an_unknown_configuration_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", HubWithOneConfiguration())
    with pytest.raises(NeuronspecError, match="cannot load hub:org/opus:xx for en-de: BuilderConfig 'xx' not found"):
        texts("hub:org/opus:xx", "en", "de")


ROWS = [{"translation": {"en": "one", "de": "eins"}}, {"translation": {"en": "two", "de": "zwei"}}]


@pytest.mark.parametrize("kind", ["saved", "saved splits", "folder", "parquet", "json"])
def test_a_local_dataset_is_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    data = datasets.Dataset.from_list(ROWS)
    if kind == "saved":
        data.save_to_disk(tmp_path / "en-de")
    elif kind == "saved splits":
        datasets.DatasetDict({"train": data}).save_to_disk(tmp_path / "en-de")
    elif kind == "folder":
        data.to_parquet(tmp_path / "en-de" / "train.parquet")
    elif kind == "parquet":
        data.to_parquet(tmp_path / "en-de.parquet")
    else:
        (tmp_path / "en-de.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    template = tmp_path / ("{src}-{tgt}" + {"parquet": ".parquet", "json": ".json"}.get(kind, ""))
    format = "datasets" if kind == "json" else "auto"
    assert texts(template, "en", "de", format=format) == [("one", "eins"), ("two", "zwei")]
    assert texts(template, "de", "en", format=format) == [("eins", "one"), ("zwei", "two")]


def test_a_saved_dataset_without_a_train_split_is_refused(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)}).save_to_disk(tmp_path / "corpus")
    with pytest.raises(NeuronspecError, match=r"has no split 'train', only test"):
        texts(tmp_path / "corpus", "en", "de")
    assert texts(tmp_path / "corpus" / "test", "en", "de") == [("one", "eins"), ("two", "zwei")]


def test_a_damaged_dataset_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "de.parquet").write_bytes(b"PAR1 but no more than that")
    with pytest.raises(NeuronspecError, match=r"cannot load .*parquet for en-de"):
        texts(tmp_path / "{lang}.parquet", "en", "de")
    with pytest.raises(NeuronspecError, match=r"fr\.parquet does not exist"):
        texts(tmp_path / "{lang}.parquet", "en", "fr")
