from __future__ import annotations

import json
import os
import pickle
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
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
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.mask_files import MASKS
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.selection import select_neurons

WIDTHS = {"encoder.0": 11, "encoder.1": 8, "decoder.0": 13}
TASKS = ("de-en", "en-fr", "zh-Hant-en")


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A directory in memory, where there is one, for tests that write thousands of files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as directory:
        yield Path(directory)


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
    _, header = MASKS.load(masks.save_pretrained(tmp_path))
    assert header.version == neuronspec.__version__


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


Table = dict[str, dict[str, list[bool]]]  # task -> layer -> neurons
DIRECTIONS = ("de-en", "sv-en", "en-de", "en-fr")


@st.composite
def tables(draw: st.DrawFn, count: int = 1) -> list[Table]:
    """As many masks of the same tasks, layers and widths as plain lists of booleans, tasks in any order."""
    tasks = draw(st.lists(st.sampled_from(DIRECTIONS), min_size=1, max_size=4, unique=True))
    widths = {layer: draw(st.integers(1, 18)) for layer in ("encoder.0", "decoder.0", "decoder.10")}

    def neurons(width: int) -> st.SearchStrategy[list[bool]]:
        return st.lists(st.booleans(), min_size=width, max_size=width)

    return [
        {task: {layer: draw(neurons(w)) for layer, w in widths.items()} for task in draw(st.permutations(tasks))}
        for _ in range(count)
    ]


def plain(masks: NeuronMasks) -> Table:
    return {task: {layer: masks.mask(task, layer).tolist() for layer in masks.layers} for task in masks.tasks}


def each(operation: Callable[..., bool], *given: Table) -> Table:
    """Apply an operation to the booleans of every neuron, one by one."""
    return {
        task: {
            layer: [operation(*bits) for bits in zip(*(table[task][layer] for table in given), strict=True)]
            for layer in given[0][task]
        }
        for task in given[0]
    }


@settings(max_examples=60)
@given(tables(count=2))
def test_union_intersection_and_complement_are_those_of_booleans(given: list[Table]) -> None:
    one, other = (NeuronMasks.from_dict(table) for table in given)
    assert plain(one.union(other)) == each(lambda a, b: a or b, *given)
    assert plain(one.intersection(other)) == each(lambda a, b: a and b, *given)
    assert plain(one.complement()) == each(lambda a: not a, given[0])
    assert one.union(other).tasks == one.intersection(other).tasks == tuple(given[0])


@settings(max_examples=60)
@given(tables(count=2))
def test_the_laws_of_sets_hold(given: list[Table]) -> None:
    one, other = (NeuronMasks.from_dict(table) for table in given)
    assert one.complement().complement() == one
    assert one.union(one) == one.intersection(one) == one
    assert one.union(other).complement() == one.complement().intersection(other.complement())
    assert one.union(other) == other.union(one).reorder(one.tasks)
    assert one.intersection(one.union(other)) == one


@settings(max_examples=40)
@given(tables())
def test_restrict_reorder_and_concatenate_are_those_of_booleans(given: list[Table]) -> None:
    table = given[0]
    masks = NeuronMasks.from_dict(table)
    for stack in ("encoder", "decoder"):
        on = {
            task: {layer: bits if layer.startswith(stack) else [True] * len(bits) for layer, bits in layers.items()}
            for task, layers in table.items()
        }
        assert plain(masks.restrict(stack)) == on
    assert plain(masks.restrict("both")) == table
    assert masks.restrict("encoder").intersection(masks.restrict("decoder")) == masks
    backwards = list(reversed(table))
    assert list(plain(masks.reorder(backwards)).items()) == [(task, table[task]) for task in backwards]
    assert NeuronMasks.concatenate([masks.reorder([task]) for task in masks.tasks]) == masks


@settings(max_examples=40)
@given(tables())
def test_files_keep_every_width_and_order(given: list[Table]) -> None:
    masks = NeuronMasks.from_dict(given[0])
    with tempfile.TemporaryDirectory() as directory:
        loaded = NeuronMasks.from_pretrained(masks.save_pretrained(directory))
    assert loaded == masks
    assert list(plain(loaded)) == list(given[0])
    assert loaded.layers == masks.layers
    assert repr(loaded) == repr(masks)


def test_the_algebra_leaves_its_masks_alone(masks: NeuronMasks) -> None:
    other = draw_masks(1)
    for made in (masks.union(other), masks.intersection(other), masks.complement(), masks.restrict("encoder")):
        assert made.signature != masks.signature
    assert masks == draw_masks()
    assert other == draw_masks(1)
    assert masks.signature == {"rule": "coverage", "k.encoder": "0.95"}


def test_the_signature_says_what_was_combined(masks: NeuronMasks) -> None:
    hand = NeuronMasks(masks.tasks, {layer: masks.layer(layer) for layer in masks.layers})
    assert masks.union(hand).signature["rule"] == "union of coverage and by hand"
    assert masks.intersection(masks).signature["rule"] == "intersection of coverage and coverage"
    assert masks.complement().signature["rule"] == "not coverage"
    assert masks.restrict("decoder").signature["stacks"] == "decoder"


@pytest.mark.parametrize("operation", ["union", "intersection"])
def test_masks_that_do_not_fit_are_not_combined(masks: NeuronMasks, operation: str) -> None:
    combine = getattr(masks, operation)
    fewer, more = masks.reorder(["de-en", "en-fr"]), draw_masks(tasks=(*TASKS, "sv-en"))
    with pytest.raises(NeuronspecError, match=f"the {operation} of masks of different tasks: .* has zh-Hant-en$"):
        combine(fewer)
    with pytest.raises(NeuronspecError, match=r"only one of them has sv-en$"):
        combine(more)
    wider = NeuronMasks(TASKS, {layer: torch.ones(3, width + 1) for layer, width in WIDTHS.items()})
    with pytest.raises(NeuronspecError, match=r"different models: encoder\.0 of 11.* and encoder\.0 of 12"):
        combine(wider)
    with pytest.raises(NeuronspecError, match="different models"):
        combine(NeuronMasks(TASKS, {"encoder.0": masks.layer("encoder.0")}))


def test_concatenate_refuses_what_does_not_belong_together(masks: NeuronMasks) -> None:
    with pytest.raises(NeuronspecError, match="once each"):
        NeuronMasks.concatenate([masks, masks.reorder(["de-en"])])
    with pytest.raises(NeuronspecError, match="different models"):
        NeuronMasks.concatenate([masks, NeuronMasks(["sv-en"], {"encoder.0": torch.ones(1, 11)})])
    with pytest.raises(NeuronspecError):
        NeuronMasks.concatenate([])


def test_concatenate_takes_the_layers_in_any_order(masks: NeuronMasks) -> None:
    other = draw_masks(1, tasks=("sv-en",))
    turned = NeuronMasks(other.tasks, {layer: other.layer(layer) for layer in reversed(other.layers)})
    assert NeuronMasks.concatenate([masks, turned]) == NeuronMasks.concatenate([masks, other])
    assert NeuronMasks.concatenate([masks, other]).signature == masks.signature


def test_zero_shot_makes_the_grid_of_all_directions() -> None:
    masks = draw_masks(tasks=("de-en", "fr-en", "sv-en", "en-de", "en-fr", "en-nl"))
    grid = masks.zero_shot()
    assert grid.tasks == ("de-fr", "de-nl", "fr-de", "fr-nl", "sv-de", "sv-fr", "sv-nl")
    for task in grid.tasks:
        source, target = task.split("-")
        composed = masks.compose(f"{source}-en", f"en-{target}")
        assert all(grid.mask(task, layer).equal(composed.mask(task, layer)) for layer in WIDTHS)
    assert grid.signature == {"rule": "coverage", "k.encoder": "0.95", "composed": "x-en + en-y"}


def test_zero_shot_makes_the_directions_asked_for_in_their_order() -> None:
    masks = draw_masks(tasks=("de-en", "fr-en", "en-de", "en-fr"))
    made = masks.zero_shot(["fr-de", "de-fr", "de-de"])
    assert made.tasks == ("fr-de", "de-fr", "de-de")
    assert made.mask("fr-de", "encoder.1").equal(masks.mask("fr-en", "encoder.1"))
    assert made.mask("fr-de", "decoder.0").equal(masks.mask("en-de", "decoder.0"))
    assert masks.zero_shot(["de-fr"]) == masks.compose("de-en", "en-fr")


def test_zero_shot_takes_another_pivot() -> None:
    masks = draw_masks(tasks=("de-fr", "sv-fr", "fr-de", "de-en"))
    assert masks.zero_shot(pivot="fr").tasks == ("sv-de",)
    assert masks.zero_shot(["sv-de"], pivot="fr").signature["composed"] == "x-fr + fr-y"
    with pytest.raises(NeuronspecError, match="there is nothing to compose: no tasks x-en and en-y"):
        masks.zero_shot(pivot="en")  # nothing is translated from English


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (["nl-fr"], "no masks for the task 'nl-en'"),
        (["de-nl"], "no masks for the task 'en-nl'"),
        (["de-fr", "de-sv"], "no masks for the task 'en-sv'"),
        (["defr"], "no masks for the task"),
        ([], "masks need tasks"),
        (["de-fr", "de-fr"], "once each"),
    ],
)
def test_zero_shot_refuses_what_it_has_no_tasks_for(directions: list[str], message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        draw_masks(tasks=("de-en", "en-de", "en-fr")).zero_shot(directions)


def test_zero_shot_knows_languages_with_a_hyphen_as_compose_does() -> None:
    masks = draw_masks(tasks=("zh-Hant-en", "de-en", "en-fr", "en-zh-Hant"))
    assert masks.zero_shot().tasks == ("zh-Hant-fr", "de-fr", "de-zh-Hant")


@pytest.mark.parametrize(
    ("direction", "parts"), [("zh-Hant-fr", ("zh-Hant-en", "en-fr")), ("de-zh-Hant", ("de-en", "en-zh-Hant"))]
)
def test_zero_shot_finds_directions_with_a_hyphen(direction: str, parts: tuple[str, str]) -> None:
    masks = draw_masks(tasks=("zh-Hant-en", "de-en", "en-fr", "en-zh-Hant"))
    assert masks.zero_shot([direction]) == masks.compose(*parts)


def test_layers_of_no_stack_are_refused() -> None:
    with pytest.raises(NeuronspecError, match=r"a layer is called encoder\.N or decoder\.N, not 'layers\.0'"):
        NeuronMasks.from_dict({"de-en": {"layers.0": [1, 0]}})


def test_a_kept_bias_stays_with_the_masks(masks: NeuronMasks, tmp_path: Path) -> None:
    kept = masks.keep_bias()
    assert (masks.keeps_bias, kept.keeps_bias) == (False, True)
    assert kept == masks, "only the signature differs"
    assert kept.signature == {**masks.signature, "bias": "kept"}
    assert NeuronMasks.from_pretrained(kept.save_pretrained(tmp_path)).keeps_bias
    whole = kept.reorder(["en-fr", "de-en"])
    for made in (kept.complement(), kept.restrict("encoder"), kept.union(kept), kept.intersection(masks), whole):
        assert made.keeps_bias
    assert kept.compose("de-en", "en-fr").keeps_bias
    assert NeuronMasks.random(kept).keeps_bias
    assert kept.keep_bias().signature == kept.signature


@pytest.mark.parametrize(
    ("tasks", "layers", "expected"),
    [
        (1, 1, "NeuronMasks(1 task x 1 layer, sparsity 50.0 %)"),
        (2, 1, "NeuronMasks(2 tasks x 1 layer, sparsity 50.0 %)"),
        (1, 3, "NeuronMasks(1 task x 3 layers, sparsity 50.0 %)"),
    ],
)
def test_repr_counts_tasks_and_layers(tasks: int, layers: int, expected: str) -> None:
    values = {f"encoder.{index}": torch.tensor([[1, 0]] * tasks) for index in range(layers)}
    assert repr(NeuronMasks([f"x{row}-en" for row in range(tasks)], values)) == expected


def test_masks_are_not_hashable(masks: NeuronMasks) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(masks)


@pytest.mark.parametrize("mask", [[[1], [1, 0]], ["x"], [None]])
def test_from_dict_refuses_what_is_no_list_of_booleans(mask: Any) -> None:
    with pytest.raises(NeuronspecError):
        NeuronMasks.from_dict({"a-b": {"encoder.0": mask}})


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


def test_r7_mangled_files_are_refused_and_never_crash(masks: NeuronMasks, fast_path: Path) -> None:
    path = masks.save_pretrained(fast_path)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(2000):
        mangled = damage(whole, draw)
        path.write_bytes(mangled)
        try:
            NeuronMasks.from_pretrained(path)
        except NeuronspecError:
            refused += 1
        else:
            assert len(mangled) >= len(whole), "a cut file was taken"
    assert refused > 1000


HEADERS = [
    None,
    True,
    -1,
    0,
    1,
    1.5,
    1 << 31,
    1 << 62,
    1 << 64,
    10**30,
    "",
    "a-b",
    "U8",
    [],
    [1],
    ["a-b"],
    {},
    {"a": 1},
]
DTYPES = ["U8", "I8", "BOOL", "F4", "F6_E2M3", "F8_E4M3", "F8_E8M0", "C64", "I64", "BF16", "u8", "X", ""]


def rewrite(whole: bytes, draw: random.Random) -> bytes:
    """Write another value somewhere in the header, at any depth, of safetensors or of ours."""
    size = int.from_bytes(whole[:8], "little")
    outer = json.loads(whole[8 : 8 + size])
    ours = json.loads(outer["__metadata__"]["neuronspec"])
    inside = draw.random() < 0.5
    node: Any = ours if inside else outer
    while True:
        key = draw.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or not node[key] or draw.random() < 0.4:
            break
        node = node[key]
    kind = draw.randrange(4)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[draw.choice(["encoder.9", "", "tasks", "dtype", "__metadata__"])] = node[key]
    else:
        node[key] = draw.choice(DTYPES if key == "dtype" else HEADERS)
    if inside:
        outer["__metadata__"]["neuronspec"] = json.dumps(ours)
    header = json.dumps(outer).encode()
    length = len(header) if draw.random() < 0.95 else draw.choice([0, 1, size - 1, 1 << 20, 1 << 40, (1 << 64) - 1])
    return length.to_bytes(8, "little") + header + whole[8 + size :]


def test_r7_ten_thousand_mangled_files_load_whole_or_are_refused(masks: NeuronMasks, fast_path: Path) -> None:
    path = masks.save_pretrained(fast_path)
    whole, draw, loaded = path.read_bytes(), random.Random(7), 0
    for _ in range(8000):  # and 2,000 in the test before
        path.write_bytes(rewrite(whole, draw) if draw.random() < 0.5 else damage(whole, draw))
        try:
            found = NeuronMasks.from_pretrained(path)
        except NeuronspecError:
            continue
        loaded += 1
        assert 0 < sum(found.widths.values()) <= 8 * len(whole)
        for layer, width in found.widths.items():
            assert found.layer(layer).dtype == torch.bool
            assert found.layer(layer).shape == (len(found.tasks), width)
        assert all(isinstance(word, str) for pair in found.signature.items() for word in pair)
        assert repr(found).startswith("NeuronMasks(")
    assert 100 < loaded < 4000


@pytest.mark.parametrize("width", [1 << 30, (1 << 33) + 1, 1 << 62])
def test_r7_a_header_that_claims_huge_widths_is_refused_without_allocating(width: int, tmp_path: Path) -> None:
    path = tmp_path / MASKS_FILE
    write(path, PACKED, GOOD | {"widths": {"encoder.0": width}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NeuronspecError, match="damaged"):
        NeuronMasks.from_pretrained(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


@pytest.mark.parametrize("shape", [[1 << 40, 2], [1 << 32, 1 << 32], [1 << 63, 2]])
def test_r7_a_tensor_that_claims_more_than_its_file_is_refused_without_allocating(
    shape: list[int], tmp_path: Path
) -> None:
    size = shape[0] * shape[1]
    ours = json.dumps(GOOD | {"widths": {"encoder.0": 8 * shape[1]}})
    tensor = {"dtype": "U8", "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"neuronspec": ours}, "encoder.0": tensor}).encode()
    path = tmp_path / MASKS_FILE
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NeuronspecError, match="damaged or no safetensors file"):
        NeuronMasks.from_pretrained(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB


@pytest.mark.parametrize("content", [b"", b"\0", bytes(8), b"\xff" * 8, b"\xff" * 400, b"{}", b"PK\3\4"])
def test_r7_what_is_no_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MASKS_FILE).write_bytes(content)
    with pytest.raises(NeuronspecError, match="damaged or no safetensors file"):
        NeuronMasks.from_pretrained(tmp_path)


def test_r7_mangled_counts_files_load_whole_or_are_refused(fast_path: Path) -> None:
    values = {layer: torch.arange(3 * width).view(3, width) for layer, width in WIDTHS.items()}
    totals = {stack: torch.tensor([3, 4, 5]) for stack in ("encoder", "decoder")}
    path = ActivationCounts(TASKS, values, totals, "token", {"model": "abc"}).save(fast_path)
    whole, draw, loaded = path.read_bytes(), random.Random(3), 0
    for _ in range(3000):
        path.write_bytes(rewrite(whole, draw) if draw.random() < 0.5 else damage(whole, draw))
        try:
            found = ActivationCounts.load(path)
        except NeuronspecError:
            continue
        loaded += 1
        for layer in found.layers:
            assert found.values[layer].dtype == torch.int64
            assert len(found.values[layer]) == len(found.tasks)
    assert 30 < loaded < 2000


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


SPELLED = [
    "eng_Latn-deu_Latn",
    "deu_Latn-eng_Latn",
    "eng_Latn-zh-Hant",
    "zh-Hant-eng_Latn",
    "eng_Latn-x-foo",
    "x-foo-eng_Latn",
]


def make_spelled() -> NeuronMasks:
    layers = ("encoder.0", "decoder.0")
    drawn = np.random.default_rng(0).integers(0, 2, (len(SPELLED), len(layers), 16))
    return NeuronMasks.from_dict(
        {task: dict(zip(layers, rows, strict=True)) for task, rows in zip(SPELLED, drawn, strict=True)}
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [("de-en", "deu_Latn-eng_Latn"), ("eng-zh_TW", "eng_Latn-zh-Hant"), ("en_XX-x-foo", "eng_Latn-x-foo")],
)
def test_a_task_is_found_in_any_spelling(asked: str, found: str) -> None:
    masks = make_spelled()
    assert masks.task_index(asked) == SPELLED.index(found)
    assert torch.equal(masks.mask(asked, "decoder.0"), masks.mask(found, "decoder.0"))


@pytest.mark.parametrize("asked", ["fr-en", "de", "en-zh", "en-pt-BR", "law", "de-en-", ""])
def test_a_task_of_another_language_is_not_found(asked: str) -> None:
    with pytest.raises(NeuronspecError, match="no masks for the task"):
        make_spelled().task_index(asked)


@pytest.mark.parametrize("pivot", ["en", "eng_Latn", "eng-US"])
def test_unseen_directions_are_composed_in_any_spelling(pivot: str) -> None:
    masks = make_spelled()
    exact = masks.zero_shot(["deu_Latn-zh-Hant"], "eng_Latn")
    for direction in ("de-zho_Hant", "deu-zh_TW"):
        composed = masks.zero_shot([direction], pivot)
        assert composed.tasks == (direction,)
        for layer in masks.layers:
            assert torch.equal(composed.layer(layer), exact.layer(layer))
    assert set(masks.zero_shot(None, pivot).tasks) == {
        *("deu_Latn-zh-Hant", "zh-Hant-deu_Latn", "deu_Latn-x-foo", "x-foo-deu_Latn", "zh-Hant-x-foo", "x-foo-zh-Hant")
    }


def test_a_composed_direction_is_named_after_its_languages() -> None:
    masks = make_spelled()
    assert masks.compose("zh-Hant-eng_Latn", "eng_Latn-x-foo").tasks == ("zh-Hant-x-foo",)
    assert masks.compose("eng_Latn-zh-Hant", "zh-Hant-eng_Latn", name="back").tasks == ("back",)
