"""Reading datasets of the Hugging Face hub and the files that the library `datasets` writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from neuronspec.data.corpus_formats import Pair, register_format
from neuronspec.data.locations import fill_codes, locate
from neuronspec.data.readers.fields import read_row
from neuronspec.data.reading_errors import explain_missing
from neuronspec.errors import NeuronspecError
from neuronspec.libraries import import_library

_HUB = "hub:"


@register_format("datasets", "a dataset of the Hugging Face hub, or on disk", suffixes=(".parquet",), prefix=_HUB)
def read_dataset(template: str, source: str, target: str) -> Iterator[Pair]:
    """Yield the pairs of a dataset, in its order.

    Args:
        template: `hub:NAME[:CONFIG[:SPLIT]]`, a folder, or a Parquet or JSON file, with the placeholders of
            `read_pairs`.
        source: Code of the source language.
        target: Code of the target language.

    Raises:
        NeuronspecError: If the library `datasets` is not installed, if the dataset cannot be loaded, or if a row has
            no two texts.
    """
    datasets = import_library("datasets", f"reading {template}", "hub")

    # Rows are loaded while they are read, so that errors come from both.
    try:
        if template.startswith(_HUB):
            rows, reverse = _load_from_hub(datasets, template.removeprefix(_HUB), source, target)
        else:
            path, reverse = locate(template, source, target)
            rows = _load_from_path(datasets, path)

        for number, row in enumerate(rows, 1):
            yield read_row(row, source, target, reverse=reverse, place=f"{template}:{number}")
    except (OSError, ValueError) as error:
        raise NeuronspecError(f"cannot load {template} for {source}-{target}: {error}") from error


def _load_from_hub(datasets: Any, name: str, source: str, target: str) -> tuple[Iterable[Any], bool]:
    """Open `NAME[:CONFIG[:SPLIT]]`; where the configuration `en-de` is unknown, `de-en` is tried."""

    def load(first: str, second: str) -> Iterable[Any]:
        filled = fill_codes(name, lang=second, source=first, target=second)
        # Parts that the name lacks are empty. Streamed, so that reading can begin at once.
        repository, config, split, *_ = [*filled.split(":"), "", ""]
        rows: Iterable[Any] = datasets.load_dataset(repository, config or None, split=split or "train", streaming=True)
        return rows

    try:
        return load(source, target), False
    except ValueError:  # an unknown configuration
        if "{src}" not in name:  # the other direction has no other name
            raise
        return load(target, source), True


def _load_from_path(datasets: Any, path: Path) -> Iterable[Any]:
    """Open what `save_to_disk` wrote, a folder of data files, or one Parquet or JSON file."""
    if not path.exists():
        raise explain_missing(path)

    # These files mark a directory that `save_to_disk` wrote.
    rows: Any
    if (path / "state.json").exists() or (path / "dataset_dict.json").exists():
        rows = datasets.load_from_disk(str(path))
        return _choose_split(datasets, rows, path)

    # Files of data: a folder of them, or a single one.
    if path.is_dir():
        rows = datasets.load_dataset(str(path), split="train", streaming=True)
    else:
        kind = "parquet" if path.suffix == ".parquet" else "json"
        rows = datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True)
    found: Iterable[Any] = rows
    return found


def _choose_split(datasets: Any, rows: Any, path: Path) -> Iterable[Any]:
    """Return the split `train` of a dataset with several splits, or a dataset without splits as it is."""
    if not isinstance(rows, datasets.DatasetDict):
        chosen: Iterable[Any] = rows
        return chosen
    if "train" not in rows:
        raise NeuronspecError(f"{path} has no split 'train', only {', '.join(rows)}; name one: {path}/SPLIT")
    chosen = rows["train"]
    return chosen
