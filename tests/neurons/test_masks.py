from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.neurons.counts import ActivationCounts, read_tensors
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.selection import select_neurons
from neuronspec.neurons.storage import MASKS_FILE

WIDTHS = {"encoder.0": 11, "encoder.1": 8, "decoder.0": 13}
TASKS = ("de-en", "en-fr", "zh-Hant-en")


def draw_masks(seed: int = 0, tasks: tuple[str, ...] = TASKS) -> NeuronMasks:
    generator = torch.Generator().manual_seed(seed)
    values = {layer: torch.rand(len(tasks), width, generator=generator) > 0.4 for layer, width in WIDTHS.items()}
    return NeuronMasks(tasks, values, {"rule": "coverage", "k.encoder": "0.95"})


@pytest.fixture
def masks() -> NeuronMasks:
    return draw_masks()


@pytest.mark.parametrize("to_file", [True, False])
def test_comes_back_as_it_was_saved(masks: NeuronMasks, tmp_path: Path, to_file: bool) -> None:
    path = masks.save_pretrained(tmp_path / "new")
    loaded = NeuronMasks.from_pretrained(path if to_file else str(path.parent))
    assert loaded == masks
    assert (loaded.tasks, loaded.layers, loaded.widths) == (TASKS, tuple(WIDTHS), WIDTHS)
    assert loaded.signature == masks.signature
    assert loaded.layer("decoder.0").dtype == torch.bool


def test_the_header_says_which_version_wrote_it(masks: NeuronMasks, tmp_path: Path) -> None:
    _, header = read_tensors(masks.save_pretrained(tmp_path), "neuron masks")
    assert header["version"] == neuronspec.__version__


def test_sixty_tasks_of_mt_big_take_less_than_0_4_mb(tmp_path: Path) -> None:
    layers = [f"{stack}.{index}" for stack in ("encoder", "decoder") for index in range(6)]
    masks = NeuronMasks([f"x{i}-en" for i in range(60)], {layer: torch.rand(60, 4096) > 0.5 for layer in layers})
    path = masks.save_pretrained(tmp_path)
    assert path.stat().st_size < 400_000
    assert NeuronMasks.from_pretrained(path) == masks


def test_from_counts_selects_with_the_k_of_each_stack() -> None:
    values = {"encoder.0": torch.tensor([[9, 1, 0]]), "decoder.0": torch.tensor([[9, 1, 0]])}
    totals = {"encoder": torch.tensor([9]), "decoder": torch.tensor([9])}
    counts = ActivationCounts(("de-en",), values, totals, "sentence", {"model": "abc"})
    masks = NeuronMasks.from_counts(counts, k=0.95)
    assert masks.layer("encoder.0").equal(select_neurons(values["encoder.0"], 0.95))
    assert masks.layer("encoder.0").tolist() == masks.layer("decoder.0").tolist() == [[True, True, False]]
    masks = NeuronMasks.from_counts(counts, encoder_k=0.5, decoder_k=1)
    assert masks.mask("de-en", "encoder.0").tolist() == [True, False, False]
    assert masks.mask("de-en", "decoder.0").tolist() == [True, True, True]
    assert masks.signature == {
        "model": "abc",
        "rule": "coverage",
        "unit": "sentence",
        "ties": "lower index first",
        "k.encoder": "0.5",
        "k.decoder": "1",
    }


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_from_dict_takes_lists_arrays_and_tensors(kind: Any) -> None:
    masks = NeuronMasks.from_dict(
        {"a-b": {"encoder.0": kind([True, False])}, "b-a": {"encoder.0": kind([False, True])}}
    )
    assert masks.layer("encoder.0").tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "masks need tasks"),
        ({"a-b": {}}, "masks need tasks, once each, and layers"),
        ({"a-b": {"encoder.0": [1]}, "b-a": {"decoder.0": [1]}}, "masks of b-a have the layers"),
        ({"a-b": {"encoder.0": [1]}, "b-a": {"encoder.0": [1, 0]}}, "must have the same width"),
        ({"a-b": {"encoder.0": [[1, 0]]}}, r"has the shape \(1, 1, 2\), expected \(1, d_ff\)"),
    ],
)
def test_from_dict_refuses_what_does_not_fit(given: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        NeuronMasks.from_dict(given)


def test_a_task_named_twice_is_refused(masks: NeuronMasks) -> None:
    with pytest.raises(NeuronspecError, match="once each"):
        NeuronMasks(["a-b", "a-b"], {"encoder.0": torch.ones(2, 3)})
    with pytest.raises(NeuronspecError, match="once each"):
        masks.reorder(["de-en", "de-en"])


def test_does_not_change_with_the_tensors_it_was_made_of() -> None:
    values = torch.ones(1, 3, dtype=torch.bool)
    masks = NeuronMasks(["a-b"], {"encoder.0": values})
    values[:] = False
    assert masks.layer("encoder.0").all()


def test_unknown_names_are_refused_with_the_nearest(masks: NeuronMasks) -> None:
    with pytest.raises(
        NeuronspecError, match=r"no masks for the task 'de-em' \(did you mean 'de-en'\?\); known: de-en"
    ):
        masks.task_index("de-em")
    with pytest.raises(NeuronspecError, match=r"no masks for the layer 'encoder\.7'; there are encoder\.0"):
        masks.layer("encoder.7")


def test_compose_takes_one_task_s_encoder_and_another_s_decoder(masks: NeuronMasks) -> None:
    zero_shot = masks.compose(encoder="de-en", decoder="en-fr")
    assert zero_shot.tasks == ("de-fr",)
    for layer in WIDTHS:
        source = "de-en" if layer.startswith("encoder") else "en-fr"
        assert zero_shot.mask("de-fr", layer).equal(masks.mask(source, layer))
    assert zero_shot.signature["composed"] == "de-en + en-fr"
    assert masks.compose("zh-Hant-en", "en-fr").tasks == ("zh-Hant-fr",)
    assert masks.compose("de-en", "en-fr", name="new").tasks == ("new",)
    with pytest.raises(NeuronspecError, match="no masks for the task"):
        masks.compose("de-en", "en-sv")


def test_reorder_moves_and_drops_tasks(masks: NeuronMasks) -> None:
    fewer = masks.reorder(["zh-Hant-en", "de-en"])
    assert fewer.tasks == ("zh-Hant-en", "de-en")
    for task in fewer.tasks:
        assert all(fewer.mask(task, layer).equal(masks.mask(task, layer)) for layer in WIDTHS)
    assert masks.reorder(list(TASKS)) == masks
    with pytest.raises(NeuronspecError, match="no masks for the task 'sv-en'"):
        masks.reorder(["sv-en"])


def test_restrict_leaves_the_other_stack_on(masks: NeuronMasks) -> None:
    encoder = masks.restrict("encoder")
    assert encoder.layer("encoder.1").equal(masks.layer("encoder.1"))
    assert encoder.layer("decoder.0").all()
    decoder = masks.restrict("decoder")
    assert decoder.layer("encoder.0").all()
    assert decoder.layer("decoder.0").equal(masks.layer("decoder.0"))
    assert masks.restrict("both") == masks
    with pytest.raises(NeuronspecError, match="stack must be encoder, decoder or both, not 'middle'"):
        masks.restrict("middle")


def test_random_masks_have_the_same_sizes_and_differ(masks: NeuronMasks) -> None:
    control = NeuronMasks.random(masks, seed=1)
    assert (control.tasks, control.widths) == (masks.tasks, masks.widths)
    for layer in WIDTHS:
        assert control.layer(layer).sum(1).equal(masks.layer(layer).sum(1))
    assert control != masks
    assert control == NeuronMasks.random(masks, seed=1)
    assert control != NeuronMasks.random(masks, seed=2)
    assert control.signature["rule"] == "random, sizes as: coverage"
    assert control.signature["seed"] == "1"


def test_random_masks_favour_no_neuron() -> None:
    like = NeuronMasks([str(i) for i in range(4000)], {"encoder.0": (torch.arange(8) < 2).repeat(4000, 1)})
    share = NeuronMasks.random(like).layer("encoder.0").double().mean(0)
    assert (share - 0.25).abs().max() < 0.04  # more than five standard errors


@settings(max_examples=30)
@given(st.integers(0, 1000))
def test_iou_is_that_of_sets(seed: int) -> None:
    masks = draw_masks(seed)
    for layer in WIDTHS:
        sets = [set(masks.mask(task, layer).nonzero()[:, 0].tolist()) for task in TASKS]
        expected = [[len(a & b) / len(a | b) if a | b else 1.0 for b in sets] for a in sets]
        np.testing.assert_allclose(masks.iou(layer), expected, rtol=0, atol=1e-15)


def test_two_empty_masks_are_equal() -> None:
    masks = NeuronMasks.from_dict({"a-b": {"encoder.0": [0, 0]}, "b-a": {"encoder.0": [0, 0]}})
    assert masks.iou("encoder.0").tolist() == [[1, 1], [1, 1]]


def test_sparsity_and_repr_give_the_share_that_is_off() -> None:
    masks = NeuronMasks.from_dict({"a-b": {"encoder.0": [1, 0, 0, 0], "decoder.0": [1, 1]}})
    assert {layer: share.tolist() for layer, share in masks.sparsity().items()} == {
        "encoder.0": [0.75],
        "decoder.0": [0],
    }
    assert repr(masks) == "NeuronMasks(1 task x 2 layers, sparsity 37.5 %)"


def test_equality_looks_at_tasks_layers_and_values(masks: NeuronMasks) -> None:
    assert masks == draw_masks()
    assert masks != draw_masks(1)
    assert masks != draw_masks(tasks=("x-y", *TASKS[1:]))
    assert masks != "masks"


def write(path: Path, tensors: dict[str, torch.Tensor], header: Any) -> None:
    save_file(tensors, path, {"neuronspec": header if isinstance(header, str) else json.dumps(header)})


GOOD = {"tasks": ["a-b"], "widths": {"encoder.0": 9}, "signature": {}, "version": "0.1.0"}
PACKED = {"encoder.0": torch.zeros(1, 2, dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        (GOOD | {"tasks": "ab"}, PACKED, "tasks are not a list of names"),
        (GOOD | {"tasks": [1]}, PACKED, "tasks are not a list of names"),
        (GOOD | {"tasks": []}, {"encoder.0": torch.zeros(0, 2, dtype=torch.uint8)}, "masks need tasks"),
        (GOOD | {"tasks": ["a-b", "a-b"]}, {"encoder.0": PACKED["encoder.0"].repeat(2, 1)}, "once each"),
        (GOOD | {"tasks": ["a-b", "b-a"]}, PACKED, "9 neurons has a tensor"),
        (GOOD | {"widths": [9]}, PACKED, "not positive whole numbers"),
        (GOOD | {"widths": {"encoder.0": -1}}, PACKED, "not positive whole numbers"),
        (GOOD | {"widths": {"encoder.0": True}}, PACKED, "not positive whole numbers"),
        (GOOD | {"widths": {"encoder.0": 9.0}}, PACKED, "not positive whole numbers"),
        (GOOD | {"widths": {"encoder.0": 17}}, PACKED, "17 neurons has a tensor"),
        (GOOD | {"widths": {"encoder.0": 1 << 60}}, PACKED, "more neurons than any model has"),
        (GOOD | {"widths": {"encoder.0": 9, "decoder.0": 9}}, PACKED, "its header names the layers"),
        (GOOD | {"signature": []}, PACKED, "signature is not a mapping"),
        ({"tasks": ["a-b"]}, PACKED, "'widths'"),
        ([], PACKED, "no 'neuronspec' entry"),
        ("{", PACKED, "damaged"),
        ("[" * 100_000, PACKED, "damaged"),
        (GOOD, {"encoder.0": torch.zeros(1, 2)}, "float32"),
        (GOOD, {"encoder.0": torch.zeros(2, dtype=torch.uint8)}, "shape"),
    ],
)
def test_r7_a_header_that_lies_is_refused(header: Any, tensors: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / MASKS_FILE, PACKED, GOOD)
    assert NeuronMasks.from_pretrained(tmp_path).tasks == ("a-b",)
    write(tmp_path / MASKS_FILE, tensors, header)
    with pytest.raises(NeuronspecError, match=message):
        NeuronMasks.from_pretrained(tmp_path)


def damage(whole: bytes, draw: random.Random) -> bytes:
    data, place = bytearray(whole), draw.randrange(len(whole))
    kind = draw.choice(["cut", "flip", "overwrite", "insert", "delete", "digits"])
    if kind == "cut":
        return bytes(data[:place])
    if kind == "flip":
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "overwrite":
        for _ in range(draw.randint(1, 30)):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == "insert":
        data[place:place] = draw.randbytes(draw.randint(1, 9))
    elif kind == "delete":
        del data[place : place + draw.randint(1, 9)]
    else:  # other numbers in the header: shapes, offsets, widths
        places = [i for i, byte in enumerate(data) if chr(byte).isdigit()]
        for place in draw.sample(places, 3):
            data[place] = draw.choice(b"0123456789")
    return bytes(data)


def test_r7_mangled_files_are_refused_and_never_crash(masks: NeuronMasks, tmp_path: Path) -> None:
    path = masks.save_pretrained(tmp_path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(600):
        mangled = damage(whole, draw)
        path.write_bytes(mangled)
        try:
            NeuronMasks.from_pretrained(path)
        except NeuronspecError:
            refused += 1
        else:
            assert len(mangled) >= len(whole), "a cut file was taken"
    assert refused > 300


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_r10_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / MASKS_FILE, tmp_path / "ran"
    path.write_bytes(pickle.dumps(Bomb(proof)))
    with pytest.raises(NeuronspecError, match="damaged or no safetensors file"):
        NeuronMasks.from_pretrained(path)
    assert not proof.exists()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match="does not exist: expected neuron masks"):
        NeuronMasks.from_pretrained(tmp_path)
