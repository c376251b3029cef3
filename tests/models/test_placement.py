"""Models in half precision, on other devices and quantized: loaded, recorded, masked, and told apart."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import PreTrainedModel

import neuronspec
from neuronspec.errors import NeuronspecError
from neuronspec.models import placement
from neuronspec.models.loading import load_model
from neuronspec.models.nonfinite import check_finite
from neuronspec.models.placement import input_device, is_placed, number_facts, place_model
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.recording import record_activations
from neuronspec.specialization.masking import specialize

SmallModel = Callable[..., PreTrainedModel]
SmallBatch = Callable[..., dict[str, torch.Tensor]]

TASKS = ["de-en", "en-fr", "de-en", "en-fr"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def saved(small_model: SmallModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small M2M-100 in float32, in several files."""
    folder: Path = tmp_path_factory.mktemp("saved")
    small_model().float().save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_half_precision_is_loaded_and_written_into_the_signature(
    saved: Path, small_batch: SmallBatch, dtype: Any, expected: torch.dtype
) -> None:
    whole = load_model(saved)
    model = load_model(saved, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {expected}
    assert not is_placed(model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, whole.get_parameter(name).to(expected))

    batch = {**small_batch(), "tasks": TASKS}
    counts = record_activations(model, [batch])
    assert counts.signature["dtype"] == dtype
    assert "dtype" not in record_activations(whole, [batch]).signature
    masks = NeuronMasks.from_counts(counts, k=0.9)
    assert masks.signature["dtype"] == dtype
    specialize(whole, masks)  # told apart, and still of use


def test_auto_keeps_the_numbers_of_the_files(saved: Path, tmp_path: Path) -> None:
    load_model(saved, dtype="bfloat16").save_pretrained(tmp_path)
    assert load_model(tmp_path, dtype="auto").dtype == torch.bfloat16
    assert load_model(tmp_path).dtype == torch.float32  # what training needs


def test_r5_counts_in_bfloat16_are_integers_of_every_token(
    saved: Path, small_batch: SmallBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sum in bfloat16 stops at 256: counts are summed in other numbers."""
    model = load_model(saved, dtype="bfloat16")
    with torch.no_grad():
        model.model.encoder.layers[0].fc1.bias.fill_(100)  # every neuron is active everywhere
    lengths = [(300, 2), (290, 2), (7, 1), (1, 1)]
    model.config.max_position_embeddings = 512
    batch = {**small_batch(lengths), "tasks": TASKS}
    monkeypatch.setattr(type(model.model.encoder.embed_positions), "max_positions", 512, raising=False)
    counts = record_activations(model, [batch], "token")
    assert counts.values["encoder.0"].dtype == torch.int64
    assert counts.values["encoder.0"].tolist() == [[307] * 24, [291] * 24]


def test_a_device_map_places_a_model_that_then_stays_there(saved: Path, small_batch: SmallBatch) -> None:
    """Two layers of it in two places here, since there is one device."""
    batch = {**small_batch(), "tasks": TASKS}
    whole = load_model(saved)
    expected = record_activations(whole, [batch])
    model = load_model(saved, device_map="auto")
    counts = record_activations(model, [batch])
    assert all(torch.equal(counts.values[layer], expected.values[layer]) for layer in expected.layers)

    model.hf_device_map = {"model.encoder": 0, "model.decoder": "cpu", "lm_head": "cpu"}
    assert is_placed(model)
    assert place_model(model, torch.device("meta")) is model
    assert input_device(model) == CPU
    assert not is_placed(whole)
    assert place_model(whole, torch.device("meta")).device.type == "meta"


def test_weights_that_are_kept_elsewhere_are_recorded_and_masked(saved: Path, small_batch: SmallBatch) -> None:
    """accelerate brings them to the device of the layer; without them, the model lies on the meta device."""
    batch = {**small_batch(), "tasks": TASKS}
    whole, away = load_model(saved).eval(), load_model(saved).eval()
    cpu_offload(away, execution_device=CPU)
    assert away.device.type == "meta"
    assert input_device(away) == CPU
    expected, counts = record_activations(whole, [batch]), record_activations(away, [batch])
    assert all(torch.equal(counts.values[layer], expected.values[layer]) for layer in expected.layers)

    masks = NeuronMasks.from_counts(expected, k=0.7)
    with torch.no_grad():
        one, other = (specialize(model, masks)(**small_batch(), tasks=TASKS).logits for model in (whole, away))
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int8"}, "dtype is one of float32, bfloat16, float16, auto, not 'int8'"),
        ({"quantization": "2bit"}, "quantization is one of none, 4bit, 8bit, not '2bit'"),
        ({"device_map": "cuda"}, "device_map is one of none, auto, balanced, sequential, not 'cuda'"),
    ],
)
def test_unknown_ways_to_load_are_refused(saved: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(NeuronspecError, match=said):
        load_model(saved, **options)


def test_several_processes_cannot_share_a_device_map(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "count_processes", lambda: 2)
    with pytest.raises(NeuronspecError, match="launch one process, or leave out the device map"):
        load_model(saved, device_map="auto")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_quantization_names_its_library(saved: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"Quantized loading needs bitsandbytes.*neuronspec\[quantized\]"):
        load_model(saved, quantization="4bit")


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_quantized_models_are_recorded_masked_and_told_apart(
    small_model: SmallModel, small_batch: SmallBatch, tmp_path: Path, bits: Any
) -> None:
    small_model(d_model=64, encoder_ffn_dim=64, decoder_ffn_dim=64).float().save_pretrained(tmp_path)
    model = load_model(tmp_path, quantization=bits)
    assert is_placed(model)
    batch = {**small_batch(), "tasks": TASKS}
    counts = record_activations(model, [batch])
    assert counts.signature["quantization"] == bits
    masks = NeuronMasks.from_counts(counts, k=0.5)
    with torch.no_grad():
        dense = model(**small_batch()).logits
        masked = specialize(model, masks, packed="always")(**small_batch(), tasks=TASKS).logits
    assert masked.isfinite().all()
    assert not torch.equal(masked, dense)
    with pytest.raises(NeuronspecError, match="its matrices are quantized"):
        neuronspec.prune(model, masks, "de-en")


def test_pruned_models_of_their_own_widths_are_not_quantized(
    small_model: SmallModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "import_library", lambda *names: None)
    monkeypatch.setattr(placement, "_describe_bits", lambda loading: None)
    model = small_model()
    widths = {"encoder.0": 24, "encoder.1": 24, "decoder.0": 40, "decoder.1": 40}
    kept = {layer: torch.arange(width) > number for number, (layer, width) in enumerate(widths.items())}
    masks = NeuronMasks(["de-en"], {layer: neurons[None] for layer, neurons in kept.items()})
    neuronspec.prune(model, masks, "de-en").save_pretrained(tmp_path)
    with pytest.raises(NeuronspecError, match=r"cannot quantize .*widths of their own.*widths='stack'"):
        load_model(tmp_path, quantization="8bit")


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"load_in_4bit": True, "quant_method": "bitsandbytes"}, {"quantization": "4bit"}),
        ({"quant_method": "gptq", "bits": 4}, {"quantization": "gptq"}),
    ],
)
def test_the_quantization_of_the_files_is_known_too(
    small_model: SmallModel, settings: dict[str, Any], facts: dict[str, str]
) -> None:
    model = small_model()
    assert number_facts(model) == {}
    model.config.quantization_config = settings
    assert number_facts(model) == facts


class _Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the size in bytes of the largest tensor that an operation makes."""

    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = function(*arguments, **(options or {}))
        given = {leaf.untyped_storage().data_ptr() for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in given:
                self.largest = max(self.largest, leaf.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_follows_reading_copies_no_weight(saved: Path, dtype: Any) -> None:
    model = load_model(saved, dtype=dtype)
    with _Made() as made:  # type: ignore[no-untyped-call]
        check_finite(model)
    assert made.largest <= 8  # the extremes alone
    smallest = min(parameter.nbytes for parameter in model.parameters() if parameter.ndim == 2)
    assert smallest > 100 * made.largest
