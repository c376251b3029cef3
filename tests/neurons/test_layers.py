from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModel, PreTrainedModel, T5EncoderModel
from transformers.pytorch_utils import Conv1D

from neuronspec.errors import NeuronspecError
from neuronspec.neurons.architectures import ARCHITECTURES, Architecture, Form
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers

SmallModel = Callable[..., PreTrainedModel]

GATED = ("mt5", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3")
T5 = {f"{stack}.{index}": 24 for stack in ("encoder", "decoder") for index in range(2)}
# (last part of the path of the first matrices, of the second, of the gate's activation)
PARTS = {
    **dict.fromkeys(("t5",), (("wi",), "wo", None)),
    "mt5": (("wi_0", "wi_1"), "wo", "act"),
    "phi3": (("gate_up_proj",), "down_proj", "activation_fn"),
    **dict.fromkeys(("gpt_neox", "bloom", "falcon"), (("dense_h_to_4h",), "dense_4h_to_h", None)),
    **dict.fromkeys(("gpt2", "gpt_neo"), (("c_fc",), "c_proj", None)),
    **dict.fromkeys(set(GATED) - {"mt5", "phi3"}, (("gate_proj", "up_proj"), "down_proj", "act_fn")),
}


def expected_widths(name: str, model: PreTrainedModel) -> dict[str, int]:
    if name == "nllb-moe":  # every second layer has experts
        experts = range(model.config.num_experts)
        encoder = {"encoder.0": 24, **{f"encoder.1.expert.{expert}": 24 for expert in experts}}
        return encoder | {"decoder.0": 40, **{f"decoder.1.expert.{expert}": 40 for expert in experts}}
    if name in ("t5", "mt5"):
        return T5
    if model.config.is_encoder_decoder:
        return {"encoder.0": 24, "encoder.1": 24, "decoder.0": 40, "decoder.1": 40}
    return dict.fromkeys(("decoder.0", "decoder.1"), 64 if name == "bloom" else 24)


def path_of(model: PreTrainedModel, wanted: torch.nn.Module) -> str:
    path: str
    (path,) = (path for path, module in model.named_modules() if module is wanted)
    return path


def size(matrix: torch.nn.Module) -> tuple[int, int]:
    """(features read, features written), from the weight alone."""
    weight = matrix.weight
    assert isinstance(weight, torch.Tensor)
    read, written = weight.shape if isinstance(matrix, Conv1D) else weight.T.shape
    return read, written


def run(model: PreTrainedModel) -> None:
    ids = torch.tensor([[5, 6, 7]])
    inputs = {"input_ids": ids} | ({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})
    with torch.no_grad():
        model(**inputs, use_cache=False)


def test_finds_every_block_encoder_first(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture)
    layers = find_ffn_layers(model)
    assert {layer.name: layer.width for layer in layers} == expected_widths(any_architecture, model)
    assert [layer.name for layer in layers] == list(expected_widths(any_architecture, model))
    for layer in layers:
        stack, index, *expert = layer.name.split(".")
        assert (layer.stack, layer.index) == (stack, int(index))
        assert layer.expert == (int(expert[1]) if expert else 0)
        assert (layer.experts is not None) == bool(expert)
        assert layer.gated == (any_architecture in GATED)
        assert layer.time_first == (any_architecture == "fsmt")


def test_the_parts_are_those_of_the_architecture(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture)
    first, second, gate = PARTS.get(any_architecture, (("fc1",), "fc2", None))
    seen = set()
    for layer in find_ffn_layers(model):
        paths = [path_of(model, part) for part in (*layer.expansions, layer.projection)]
        assert [path.rpartition(".")[2] for path in paths] == [*first, second]
        assert len({path.rpartition(".")[0] for path in paths}) == 1  # of one FFN
        assert path_of(model, layer.block).endswith(f".{layer.index}")
        assert paths[0].startswith(path_of(model, layer.block) + ".")
        if layer.stack != "decoder" or model.config.is_encoder_decoder:
            assert f"{layer.stack}." in paths[0]
        if gate is None:
            assert layer.activation is None
        else:
            assert layer.activation is model.get_submodule(f"{paths[0].rpartition('.')[0]}.{gate}")
        seen |= set(paths)
    assert len(seen) == len(find_ffn_layers(model)) * (len(first) + 1), "a matrix was named twice"


@pytest.mark.filterwarnings("ignore:this version of transformers sends:neuronspec.errors.NeuronspecWarning")
def test_the_projection_reads_what_the_expansions_write(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture)
    layers = find_ffn_layers(model)
    for layer in layers:
        assert size(layer.projection)[0] == layer.width
        assert sum(size(first)[1] for first in layer.expansions) == layer.width * (2 if layer.gated else 1)
    for layer in layers:  # a feature that the first matrices write as 0 is 0 in the vector of neurons
        for first in layer.expansions:
            with torch.no_grad():
                weight = first.weight.T if isinstance(first, Conv1D) else first.weight
                for start in range(0, size(first)[1], layer.width):
                    weight[start + 3] = 0
                    if first.bias is not None:
                        first.bias[start + 3] = 0
        entered: list[torch.Tensor] = []
        handle = layer.projection.register_forward_pre_hook(
            lambda module, arguments, to=entered: to.append(arguments[0])
        )
        run(model)
        handle.remove()
        assert all(states.shape[-1] == layer.width for states in entered)
        if layer.experts is None or entered:
            (states,) = entered
            off = (states.reshape(-1, layer.width) == 0).all(0)
            assert off[3]
            assert not off.all()


def test_a_model_without_a_head_has_the_same_layers(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture)

    def describe(layers: list[FFNLayer]) -> list[Any]:
        return [(layer.name, layer.width, layer.gated, layer.activation is None) for layer in layers]

    whole = find_ffn_layers(model)
    assert [layer.projection for layer in find_ffn_layers(model.base_model)] == [layer.projection for layer in whole]
    assert describe(find_ffn_layers(AutoModel.from_config(model.config))) == describe(whole)


def test_experts_are_numbered_as_the_model_numbers_them(small_model: SmallModel) -> None:
    model = small_model("nllb-moe", num_experts=5, encoder_sparse_step=1)
    by_name = {layer.name: layer for layer in find_ffn_layers(model)}
    assert [name for name in by_name if name.startswith("encoder")] == [
        f"encoder.{index}.expert.{expert}" for index in range(2) for expert in range(5)
    ]
    holder = model.model.decoder.layers[1].ffn.experts
    for expert in range(5):
        layer = by_name[f"decoder.1.expert.{expert}"]
        assert layer.projection is holder[f"expert_{expert}"].fc2
        assert layer.expansions == (holder[f"expert_{expert}"].fc1,)
        assert (layer.experts, layer.expert) == (holder, expert)


def test_an_architecture_can_be_registered(small_model: SmallModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))
    ARCHITECTURES.register("half")(Architecture({"decoder": ("decoder.layers", "")}, (Form("fc2", ("fc1",)),)))
    model = small_model()
    monkeypatch.setattr(type(model.config), "model_type", "half")
    assert [layer.name for layer in find_ffn_layers(model)] == ["decoder.0", "decoder.1"]


def test_the_first_form_whose_parts_are_there_is_taken(
    small_model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ARCHITECTURES, "_entries", dict(ARCHITECTURES))
    forms = (Form("fc2", ("absent",)), Form("fc2", ("fc1",)), Form("fc1", ("fc2",)))
    ARCHITECTURES.register("many")(Architecture({"encoder": ("encoder.layers", "")}, forms))
    model = small_model()
    monkeypatch.setattr(type(model.config), "model_type", "many")
    assert [layer.width for layer in find_ffn_layers(model)] == [24, 24]


@pytest.fixture
def mbart(small_model: SmallModel) -> PreTrainedModel:
    return small_model("mbart")


def test_missing_parts_are_refused_with_what_was_found(mbart: PreTrainedModel) -> None:
    block = mbart.model.decoder.layers[1]
    block.linear_in = block.fc1
    del block.fc1
    with pytest.raises(NeuronspecError) as refused:
        find_ffn_layers(mbart)
    message = str(refused.value)
    assert "this 'mbart' model is not built as its architecture says" in message
    assert "decoder.1: expected fc1, fc2; found self_attn" in message
    assert "linear_in" in message
    assert "fc2, " in message
    assert "ARCHITECTURES.register(model_type)(Architecture(stacks, forms))" in message


def test_every_form_is_named_where_none_is_there(small_model: SmallModel) -> None:
    model = small_model("mt5")
    del model.encoder.block[0].layer[1].DenseReluDense.wi_1
    with pytest.raises(NeuronspecError, match=r"encoder\.0: expected wi, wo or wi_0, wi_1, act, wo; found .*wi_0"):
        find_ffn_layers(model)


def test_a_missing_stack_is_refused(small_model: SmallModel) -> None:
    model = T5EncoderModel(small_model("t5").config)
    with pytest.raises(NeuronspecError, match=r"this 't5' model is not built as its architecture says .*decoder"):
        find_ffn_layers(model)


def test_a_part_that_is_no_matrix_is_refused(mbart: PreTrainedModel) -> None:
    mbart.model.encoder.layers[0].fc1 = torch.nn.Identity()
    with pytest.raises(NeuronspecError, match=r"encoder\.0: fc1, fc2 must be Linear or Conv1D"):
        find_ffn_layers(mbart)


@pytest.mark.parametrize("written", [23, 12, 72])
def test_matrices_that_do_not_fit_together_are_refused(mbart: PreTrainedModel, written: int) -> None:
    mbart.model.encoder.layers[1].fc1 = torch.nn.Linear(16, written)
    with pytest.raises(NeuronspecError, match=rf"encoder\.1: fc2 reads 24 features, fc1 write {written}"):
        find_ffn_layers(mbart)


def test_a_gated_form_must_write_twice_what_is_read(small_model: SmallModel) -> None:
    model = small_model("llama")
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(16, 12)
    with pytest.raises(NeuronspecError, match=r"decoder\.0: down_proj reads 24 features, gate_proj, up_proj write 36"):
        find_ffn_layers(model)


def test_finding_changes_nothing(any_architecture: str, small_model: SmallModel) -> None:
    model = small_model(any_architecture).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    find_ffn_layers(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert all(module.training for module in model.modules())
