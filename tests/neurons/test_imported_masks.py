from __future__ import annotations

import io
import os
import pickle
import random
import struct
import tempfile
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.imported_masks import import_lape_neurons, import_released_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.reading_limits import TENSORS

MODEL_SIZE = 4
NAME = "encoder.layers.0.fc1.weight"
PAIR = {NAME: torch.ones(3, 2, dtype=torch.bool)}


def released(rows: dict[str, list[int]], size: int = MODEL_SIZE) -> dict[str, torch.Tensor]:
    """Masks as the released code writes them: the row of a neuron is one boolean, as often as the model is wide."""
    return {name: torch.tensor(row, dtype=torch.bool)[:, None].expand(-1, size).clone() for name, row in rows.items()}


def save(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "masks.pt"


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A file in memory, where there is one, for tests that write it thousands of times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory) / "masks.pt"


def test_released_masks_are_read_a_row_a_neuron(tmp_path: Path) -> None:
    one = {"encoder.layers.0.fc1.weight": [1, 0, 1], "decoder.layers.0.fc1.weight": [0, 0, 1, 1]}
    two = {"encoder.layers.0.fc1.weight": [0, 0, 0], "decoder.layers.0.fc1.weight": [1, 1, 1, 1]}
    masks = import_released_masks(
        {"de-en": save(released(one), tmp_path / "a.pt"), "en-fr": str(save(released(two), tmp_path / "b.pt"))}
    )
    assert masks == NeuronMasks.from_dict(
        {
            "de-en": {"encoder.0": [1, 0, 1], "decoder.0": [0, 0, 1, 1]},
            "en-fr": {"encoder.0": [0, 0, 0], "decoder.0": [1, 1, 1, 1]},
        }
    )
    assert masks.signature == {"rule": "imported", "bias": "kept"}
    assert masks.keeps_bias


@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_released_layers_are_in_the_order_of_their_numbers(path: Path, prefix: str) -> None:
    names = [f"{prefix}{stack}.layers.{index}.fc1.weight" for stack in ("decoder", "encoder") for index in range(12)]
    random.Random(0).shuffle(names)
    rows = {name: [int(bit) for bit in f"{position:06b}"] for position, name in enumerate(names)}
    masks = import_released_masks({"de-en": save(OrderedDict(released(rows)), path)})
    assert masks.layers == tuple(f"{stack}.{index}" for stack in ("encoder", "decoder") for index in range(12))
    for layer in masks.layers:
        stack, index = layer.split(".")
        assert masks.mask("de-en", layer).int().tolist() == rows[f"{prefix}{stack}.layers.{index}.fc1.weight"]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.float16])
def test_released_masks_of_any_type_are_booleans(path: Path, dtype: torch.dtype) -> None:
    content = {name: mask.to(dtype) for name, mask in released({NAME: [1, 0, 1]}).items()}
    assert import_released_masks({"de-en": save(content, path)}).layer("encoder.0").tolist() == [[True, False, True]]


def test_masks_of_single_weights_are_refused(path: Path) -> None:
    content = released({NAME: [1, 0, 1]})
    content[NAME][1, 2] = True
    with pytest.raises(NeuronspecError, match=f"masks.pt: {NAME} masks single weights, not whole neurons"):
        import_released_masks({"de-en": save(content, path)})


@pytest.mark.parametrize(
    "name",
    [
        "encoder.layers.0.fc2.weight",
        "encoder.layers.0.fc1.bias",
        "encoder.layers.x.fc1.weight",
        "encoder.layers.0.fc1.weight.mask",
        "xencoder.layers.0.fc1.weight",
        "middle.layers.0.fc1.weight",
        "encoder.0",
        7,
    ],
)
def test_other_keys_are_refused(path: Path, name: Any) -> None:
    content = {**PAIR, name: torch.ones(3, 2, dtype=torch.bool)}
    with pytest.raises(NeuronspecError, match=f"masks.pt: {name!r} is no mask of a first FFN matrix"):
        import_released_masks({"de-en": save(content, path)})


@pytest.mark.parametrize("mask", [torch.ones(3), torch.ones(3, 2, 1), torch.tensor(1.0), [[1, 0]], None, "mask"])
def test_what_is_no_matrix_is_refused(path: Path, mask: Any) -> None:
    with pytest.raises(NeuronspecError, match="is no mask of a first FFN matrix"):
        import_released_masks({"de-en": save({NAME: mask}, path)})


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(3, 0),
        torch.ones(0, 3),
        torch.ones(3, 2).to_sparse(),
        torch.ones(3, 2).to_sparse_csr(),
        torch.ones(3, 2, device="meta"),
    ],
    ids=["no columns", "no rows", "sparse", "csr", "meta"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_matrices_of_an_odd_kind_are_refused(path: Path, mask: torch.Tensor) -> None:
    with pytest.raises(NeuronspecError):
        import_released_masks({"de-en": save({NAME: mask}, path)})


def test_a_matrix_that_claims_more_than_its_file_is_refused(path: Path) -> None:
    whole = torch.ones(1, 1).expand(1 << 40, 1 << 20)  # four bytes on disk
    with pytest.raises(NeuronspecError):
        import_released_masks({"de-en": save({NAME: whole}, path)})


def test_a_layer_named_twice_is_refused(path: Path) -> None:
    content = released({f"a.{NAME}": [1, 0], f"b.{NAME}": [0, 1]})
    with pytest.raises(NeuronspecError, match="fc1"):
        import_released_masks({"de-en": save(content, path)})


@pytest.mark.parametrize("content", [[PAIR], torch.ones(2, 2), "text", 1, None, (1, 2)])
def test_what_is_no_mapping_is_refused(path: Path, content: Any) -> None:
    with pytest.raises(NeuronspecError, match=r"masks\.pt holds no mapping from weights to masks"):
        import_released_masks({"de-en": save(content, path)})


def test_directions_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one = save(released({NAME: [1, 0, 1]}), tmp_path / "one.pt")
    wider = save(released({NAME: [1, 0, 1, 1]}), tmp_path / "wider.pt")
    deeper = save(released({NAME: [1, 0, 1], NAME.replace("0", "1"): [1, 0, 1]}), tmp_path / "deeper.pt")
    with pytest.raises(NeuronspecError, match="same width"):
        import_released_masks({"de-en": one, "en-fr": wider})
    with pytest.raises(NeuronspecError, match="masks of en-fr have the layers"):
        import_released_masks({"de-en": one, "en-fr": deeper})
    for empty in ({}, {"de-en": save({}, tmp_path / "empty.pt")}):
        with pytest.raises(NeuronspecError, match="masks need tasks"):
            import_released_masks(empty)


LAPE_WIDTHS = {"decoder.0": 5, "decoder.1": 5, "decoder.2": 3}


def test_lape_lists_are_read_a_language_a_row(path: Path) -> None:
    found = [
        [torch.tensor([0, 4]), torch.tensor([], dtype=torch.int64), torch.tensor([2])],
        [[1], [], torch.tensor([0, 1, 2], dtype=torch.int32)],
    ]
    masks = import_lape_neurons(save(found, path), ["en", "de"], LAPE_WIDTHS)
    assert masks.tasks == ("en", "de")
    assert masks.widths == LAPE_WIDTHS
    assert masks.signature == {"rule": "imported from LAPE"}
    on = {layer: [row.nonzero()[:, 0].tolist() for row in masks.layer(layer)] for layer in masks.layers}
    assert on == {"decoder.0": [[0, 4], [1]], "decoder.1": [[], []], "decoder.2": [[2], [0, 1, 2]]}
    assert not masks.keeps_bias


def test_lape_lists_of_masks_come_back(path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    values = {layer: torch.rand(4, width, generator=draw) > 0.5 for layer, width in LAPE_WIDTHS.items()}
    found = [[values[layer][row].nonzero()[:, 0] for layer in LAPE_WIDTHS] for row in range(4)]
    tasks = ["en", "de", "fr", "zh"]
    assert import_lape_neurons(save(found, path), tasks, LAPE_WIDTHS) == NeuronMasks(tasks, values)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([[[0], [0], [0]]], "should hold a list for each of the 2 tasks"),
        ([[[0], [0], [0]]] * 3, "should hold a list for each of the 2 tasks"),
        ({"en": [[0], [0], [0]], "de": [[0], [0], [0]]}, "should hold a list for each of the 2 tasks"),
        (torch.zeros(2, 3), "should hold a list for each of the 2 tasks"),
        ([[[0], [0], [0]], [[0], [0]]], "de should have a list for each of the 3 layers"),
        ([[[0], [0], [0]], 5], "de should have a list for each of the 3 layers"),
        ([[[0], [0], [3]], [[0], [0], [0]]], r"en, decoder\.2: a neuron's number is not in 0\.\.2"),
        ([[[0], [0], [0]], [[-1], [0], [0]]], r"de, decoder\.0: a neuron's number is not in 0\.\.4"),
        ([[["x"], [0], [0]]] * 2, r"en, decoder\.0: expected numbers of neurons"),
        ([[[[0], [1, 2]], [0], [0]]] * 2, r"en, decoder\.0: expected numbers of neurons"),
        ([[None, [0], [0]]] * 2, r"en, decoder\.0: expected numbers of neurons"),
        ([[[2**70], [0], [0]]] * 2, r"en, decoder\.0: expected numbers of neurons"),
    ],
)
def test_lape_lists_that_do_not_fit_are_refused(path: Path, found: Any, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        import_lape_neurons(save(found, path), ["en", "de"], LAPE_WIDTHS)


@pytest.mark.parametrize(
    "indices",
    [
        [0.7],
        torch.tensor([True, False, True, False, True]),
        torch.ones(2, dtype=torch.int64).to_sparse(),
        torch.ones(2, dtype=torch.int64, device="meta"),
        torch.ones(1, dtype=torch.int64).expand(1 << 60),
    ],
    ids=["fractions", "booleans", "sparse", "meta", "huge"],
)
def test_lape_indices_of_an_odd_kind_are_refused(path: Path, indices: Any) -> None:
    with pytest.raises(NeuronspecError):
        import_lape_neurons(save([[indices, [0], [0]]], path), ["en"], LAPE_WIDTHS)


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def read_both(path: Path) -> None:
    """Both readers refuse the file."""
    with pytest.raises(NeuronspecError, match=r"masks\.pt"):
        import_released_masks({"de-en": path})
    with pytest.raises(NeuronspecError, match=r"masks\.pt"):
        import_lape_neurons(path, ["en"], {"decoder.0": 3})


@pytest.mark.parametrize("zipped", [True, False])
def test_r10_a_malicious_pickle_is_refused_and_not_run(path: Path, tmp_path: Path, zipped: bool) -> None:
    proof = tmp_path / "ran"
    for content in (Bomb(proof), {NAME: Bomb(proof)}, [[Bomb(proof)]], {**PAIR, "x": Bomb(proof)}):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        read_both(path)
        assert not proof.exists()


def test_r10_the_bomb_goes_off_where_nobody_is_on_guard(path: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    torch.load(save(Bomb(proof), path), weights_only=False)
    assert proof.exists(), "the tests beside this one prove nothing"


def test_r10_bare_pickles_are_refused_and_not_run(path: Path, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    read_both(path)
    with zipfile.ZipFile(path, "w") as archive:  # no PyTorch archive, but its pickle
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(proof)))
        archive.writestr("archive/version", "3\n")
    read_both(path)
    assert not proof.exists()


def test_r10_whole_modules_are_refused(path: Path) -> None:
    read_both(save(torch.nn.Linear(2, 2), path))


def test_r10_torchscript_archives_are_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"archive/{name}", pickle.dumps({}))
    read_both(path)


def test_files_of_old_torch_are_refused(path: Path) -> None:
    torch.save(PAIR, path, _use_new_zipfile_serialization=False)
    with pytest.raises(NeuronspecError, match=r"no PyTorch archive \(files of torch < 1\.6 are not read\)"):
        import_released_masks({"de-en": path})


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "masks.pt", tmp_path):
        with pytest.raises(NeuronspecError, match="does not exist"):
            import_released_masks({"de-en": path})
        with pytest.raises(NeuronspecError, match="does not exist"):
            import_lape_neurons(path, ["en"], {"decoder.0": 3})


def test_archives_that_are_too_large_are_refused_unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(PAIR, path)
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    monkeypatch.setenv(TENSORS.variable, str(size))
    import_released_masks({"de-en": path})

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("it was opened")

    monkeypatch.setenv(TENSORS.variable, str(size - 1))
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(NeuronspecError, match=r"would unpack to .* GiB, more than .* NEURONSPEC_MAX_TENSORS"):
        import_released_masks({"de-en": path})


def test_an_archive_that_packs_much_into_little_is_refused_unread(path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    data = bytearray(content.getvalue())
    for mark, place in ((b"PK\1\2", 24), (b"PK\3\4", 22)):  # both say that it unpacks to 4 GiB - 2
        struct.pack_into("<I", data, data.find(mark) + place, 0xFFFFFFFE)
    start = data.find(b"PK\1\2")
    entry, end = bytes(data[start : data.find(b"PK\5\6")]), data[data.find(b"PK\5\6") :]
    struct.pack_into("<HHI", end, 8, 2, 2, 2 * len(entry))  # twice the same entry
    path.write_bytes(bytes(data[:start]) + 2 * entry + bytes(end))
    with pytest.raises(NeuronspecError, match=r"would unpack to 8\.0 GiB, more than 4 GiB"):
        import_released_masks({"de-en": path})


def damage(whole: bytes, draw: random.Random) -> bytes:
    data, place = bytearray(whole), draw.randrange(len(whole))
    kind = draw.choice(["cut", "overwrite", "insert", "delete", "directory", "pickle"])
    if kind == "cut":
        return bytes(data[:place])
    if kind == "overwrite":
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == "insert":
        data[place:place] = draw.randbytes(draw.randint(1, 9))
    elif kind == "delete":
        del data[place : place + draw.randint(1, 9)]
    elif kind == "directory":  # the zip archive's table of contents
        data[draw.randrange(whole.find(b"PK\1\2"), len(data))] = draw.randrange(256)
    else:
        start = whole.find(b"\x80\x02}")
        data[draw.randrange(start, start + 200)] = draw.randrange(256)
    return bytes(data)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch, of odd protocols
def test_r7_mangled_released_masks_are_refused_and_never_crash(fast_path: Path) -> None:
    whole = save(released({NAME: [1, 0, 1, 1], "decoder.layers.0.fc1.weight": [0, 1]}), fast_path).read_bytes()
    draw, seen, wrong = random.Random(0), Counter[str](), Counter[str]()
    for _ in range(3000):
        fast_path.write_bytes(damage(whole, draw))
        try:
            seen[type(import_released_masks({"de-en": fast_path})).__name__] += 1
        except NeuronspecError:
            seen["refused"] += 1
        except Exception as error:
            wrong[type(error).__name__] += 1
    assert not wrong
    assert seen["refused"] > 1000


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch, of odd protocols
def test_r7_mangled_lape_lists_are_refused_and_never_crash(fast_path: Path) -> None:
    whole = save([[torch.tensor([0, 2]), torch.tensor([1])], [[3], torch.tensor([0])]], fast_path).read_bytes()
    draw, seen, wrong = random.Random(1), Counter[str](), Counter[str]()
    for _ in range(1500):
        fast_path.write_bytes(damage(whole, draw))
        try:
            seen[type(import_lape_neurons(fast_path, ["en", "de"], {"decoder.0": 4, "decoder.1": 4})).__name__] += 1
        except NeuronspecError:
            seen["refused"] += 1
        except Exception as error:
            wrong[type(error).__name__] += 1
    assert not wrong
    assert seen["refused"] > 400
