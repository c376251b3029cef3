"""What released versions wrote loads with equal numbers, and what later versions write is refused by name (R11).

Each folder of `tests/fixtures` is a version: two small runs with every method, made by `python -m tests.released.make`.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tests.released.make import ARCHIVE, FIXTURES, NUMBERS, compare, unpack
from tests.released.numbers import READERS, open_released
from tests.released.project import GREEK_RUN, RUN

import neuronspec as ns
from neuronspec.artifacts.container import HEADER, Container
from neuronspec.data.store import TokenStore
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path, read_json, write_json
from neuronspec.methods import METHODS
from neuronspec.methods.adapters.model import ADAPTERS
from neuronspec.methods.lass.masks import WEIGHT_MASKS
from neuronspec.methods.lora.model import LORA
from neuronspec.methods.parameter_differentiation.model import BRANCHES
from neuronspec.models.presets import PRESETS
from neuronspec.neurons.count_files import COUNTS
from neuronspec.neurons.example_files import EXAMPLES
from neuronspec.neurons.mask_files import MASKS
from neuronspec.pipeline.plan import examine_run
from neuronspec.pipeline.run_results import load_results
from neuronspec.training.checkpoints import STATE_DIRECTORY, Checkpoints

VERSIONS = sorted(path.parent.name for path in FIXTURES.glob(f"*/{NUMBERS}"))
CONTAINERS: dict[str, Container[Any]] = {
    one.file: one for one in (MASKS, COUNTS, EXAMPLES, ADAPTERS, LORA, WEIGHT_MASKS, BRANCHES)
}
NEWER = {"format_version": 99, "version": "9.9.0"}
REFUSAL = (
    r"has format 99, written by neuronspec 9\.9\.0; .*, which reads formats up to 1: pip install 'neuronspec>=9\.9\.0'"
)


@pytest.fixture(scope="module", autouse=True)
def presets() -> Iterator[None]:
    """The presets as they were, once these tests are done: their project registers one of its own."""
    before = dict(PRESETS)
    yield
    PRESETS._entries = before


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def released(version: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both runs of a version; read only."""
    folder = tmp_path_factory.mktemp(version)
    unpack(FIXTURES / version / ARCHIVE, folder)
    return folder


@pytest.fixture(scope="module")
def numbers(version: str) -> Mapping[str, Any]:
    return dict(read_json(FIXTURES / version / NUMBERS))


@pytest.mark.parametrize("kind", [kind for kind in READERS if kind != "continued"])
def test_r11_what_a_version_wrote_loads_with_equal_numbers(
    released: Path, numbers: Mapping[str, Any], kind: str
) -> None:
    assert compare(numbers[kind], READERS[kind](released)) == []


def test_r11_a_training_continues_from_the_checkpoint_of_a_version(
    released: Path, numbers: Mapping[str, Any], tmp_path: Path
) -> None:
    """One update with the optimizer's state, the position in the data and what each method keeps: the same loss."""
    folder = shutil.copytree(released, tmp_path / "copy")
    kept = [path.name for place in folder.rglob("checkpoints") for path in place.iterdir()]
    assert sorted(kept) == [*["checkpoint-000005"] * (len(numbers["continued"]) - 1), "checkpoint-000599"]
    assert compare(numbers["continued"], READERS["continued"](folder)) == []


def test_r11_a_run_of_a_version_says_what_is_done(released: Path) -> None:
    """With another version, stages are redone, and each says so; nothing is called damaged."""
    for name in (RUN, GREEK_RUN):
        states = [one.as_dict() for one in examine_run(open_released(released, name))]
        assert len(states) > 5
        assert all("damaged" not in json.dumps(state) for state in states)


def test_the_runs_of_the_newest_version_have_every_kind_of_file(tmp_path: Path) -> None:
    newest = max(VERSIONS, key=lambda name: [int(number) for number in name.split(".")])
    unpack(FIXTURES / newest / ARCHIVE, tmp_path)
    found = {path.name for path in tmp_path.rglob("*.safetensors")}
    assert found >= CONTAINERS.keys()
    if ns.__version__.startswith(f"{newest}."):
        assert found >= {method.artifact for method in METHODS.values() if method.artifact}


def change_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Replace the header of a file of tensors."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()[HEADER])
    save_file(load_file(path), path, {HEADER: json.dumps(change(header))})


def rename(field: str, header: dict[str, Any]) -> dict[str, Any]:
    return {key if key != field else f"{field}_names": value for key, value in header.items()}


def find_copy(released: Path, name: str, folder: Path) -> Path:
    return Path(shutil.copy(next(released.rglob(name)), folder / name))


@pytest.mark.parametrize("name", CONTAINERS)
def test_r11_a_newer_format_is_refused_with_the_version_that_reads_it(
    released: Path, name: str, tmp_path: Path
) -> None:
    path = find_copy(released, name, tmp_path)
    change_header(path, lambda header: header)
    CONTAINERS[name].load(path)
    change_header(path, lambda header: header | NEWER)
    with pytest.raises(NeuronspecError, match=rf"{name} {REFUSAL}"):
        CONTAINERS[name].load(path)


@pytest.mark.parametrize("name", CONTAINERS)
def test_r11_a_field_with_another_name_is_missed(released: Path, name: str, tmp_path: Path) -> None:
    """A format whose fields have other names must have another number; one that has not is refused nevertheless."""
    path = find_copy(released, name, tmp_path)
    kept = path.read_bytes()
    needed = [field for field, about in CONTAINERS[name].header.model_fields.items() if about.is_required()]
    assert needed
    for field in needed:
        path.write_bytes(kept)
        change_header(path, functools.partial(rename, field))
        with pytest.raises(NeuronspecError, match=f"'{field}' is missing in its header; ") as refused:
            CONTAINERS[name].load(path)
        assert CONTAINERS[name].remedy in str(refused.value)


def test_r11_a_checkpoint_of_a_newer_format_is_refused(released: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(released / RUN / "train" / "fine_tune" / "checkpoints", tmp_path / "checkpoints")
    checkpoints = Checkpoints(folder, keep=2)
    found = checkpoints.newest(pytest.fail)
    assert found is not None

    state = found[0] / STATE_DIRECTORY / "state.json"
    manifest = state.with_name("manifest.json")
    write_json(state, read_json(state) | NEWER)
    write_json(manifest, read_json(manifest) | {f"{STATE_DIRECTORY}/state.json": hash_path(state)})
    with pytest.raises(NeuronspecError, match=REFUSAL):
        checkpoints.newest(pytest.fail)


def test_r11_a_token_store_of_a_newer_format_is_refused(released: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(released / RUN / "prepare" / "tokens" / "valid", tmp_path / "valid")
    assert TokenStore(folder).pairs
    write_json(folder / "store.json", read_json(folder / "store.json") | NEWER)
    with pytest.raises(NeuronspecError, match=REFUSAL):
        TokenStore(folder)


def test_r11_results_with_unknown_fields_are_refused(released: Path, tmp_path: Path) -> None:
    run = open_released(shutil.copytree(released, tmp_path / "copy"), RUN)
    path = run.layout.scores / "scores.jsonl"
    first, *others = path.read_text(encoding="utf-8").splitlines()
    lines = [json.dumps(json.loads(first) | {"variance": 0.1}), *others]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    message = r"scores\.jsonl:1 is damaged: 'variance' is unknown to neuronspec .*, pip install --upgrade neuronspec"
    with pytest.raises(NeuronspecError, match=message):
        load_results(run.config, run.layout)
