"""Every method: strict registration, what it does to a model, what it leaves beside it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import build_store
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.methods import METHODS, find_method, make_method, method_options
from neuronspec.models.building import build_model, count_parameters
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import encode
from neuronspec.models.loading import load_model, save_model
from neuronspec.neurons.filenames import MASKS_FILE
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import get_masks, specialize
from neuronspec.specialization.routing import unspecialize
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources
from neuronspec.training.objective import TranslationLoss

TASKS = ("de-en", "en-de")
WIDTH = 32
MASKED_METHODS = [name for name, kind in METHODS.items() if kind.uses_masks]


@pytest.fixture
def model() -> PreTrainedModel:
    torch.manual_seed(5)
    config = M2M100Config(
        vocab_size=40,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        dropout=0.0,
        attention_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=32,
        init_std=0.3,
    )
    return M2M100ForConditionalGeneration(config)


@pytest.fixture
def masks(model: PreTrainedModel) -> NeuronMasks:
    """Two tasks share neurons 8 to 15; no task uses 24 to 31. In the opposite order of the resources'."""
    layers = find_ffn_layers(model)
    ranges = {"en-de": range(8, 24), "de-en": range(16)}
    return NeuronMasks.from_dict(
        {task: {layer.name: [n in on for n in range(WIDTH)] for layer in layers} for task, on in ranges.items()}
    )


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    torch.manual_seed(6)
    ids = torch.randint(4, 40, (4, 6))
    ones = torch.ones_like(ids)
    return {
        "input_ids": ids,
        "attention_mask": ones,
        "decoder_input_ids": ids.flip(1),
        "decoder_attention_mask": ones,
        "labels": ids.flip(0),
        "tasks": torch.tensor([0, 1, 0, 1]),
    }


def attach(name: str, model: PreTrainedModel, masks: NeuronMasks | None, **options: Any) -> Any:
    method = make_method(name, options)
    method.attach(model, Resources(TASKS, masks=masks, seed=4))
    return method


def gradient_of(module: torch.nn.Module, name: str) -> torch.Tensor:
    gradient = module.get_parameter(name).grad
    assert gradient is not None
    return gradient


def test_the_methods_are_registered_under_their_names() -> None:
    assert {"fine_tune", "neuron_specialization", "random_neurons"} <= set(METHODS)
    assert {name: kind.name for name, kind in METHODS.items()} == {name: name for name in METHODS}
    assert method_options() == {name: kind.Options for name, kind in METHODS.items()}


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NeuronspecError, match=r"unknown method 'finetune' \(did you mean 'fine_tune'\?\)"):
        make_method("finetune")


@pytest.mark.parametrize("name", METHODS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="no_such_option"):
        make_method(name, {"no_such_option": 1})


def test_wrong_values_of_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="stacks"):
        make_method("neuron_specialization", {"stacks": "middle"})


@pytest.mark.parametrize("name", ["fine_tune", *MASKED_METHODS])
def test_no_parameter_and_no_key_is_added(name: str, model: PreTrainedModel, masks: NeuronMasks) -> None:
    keys, parameters = list(model.state_dict()), count_parameters(model)
    attach(name, model, masks)
    assert (list(model.state_dict()), count_parameters(model)) == (keys, parameters)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_fine_tune_leaves_the_model_and_its_directory_alone(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    before = TranslationLoss(model, 0.1)(batch)
    method = attach("fine_tune", model, masks)
    method.save(tmp_path)
    assert get_masks(model) is None
    assert torch.equal(TranslationLoss(model, 0.1)(batch), before)
    assert list(tmp_path.iterdir()) == []


def test_neuron_specialization_computes_with_the_masks_of_each_row(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    dense = TranslationLoss(model, 0.0)(batch).item()
    attach("neuron_specialization", model, masks)
    attached = TranslationLoss(model, 0.0)(batch).item()
    specialize(model, masks)  # whose order of tasks is the other one
    by_name = TranslationLoss(model, 0.0)(batch | {"tasks": 1 - batch["tasks"]}).item()
    assert attached == by_name
    assert abs(attached - dense) > 1e-3


@pytest.mark.parametrize("name", MASKED_METHODS)
def test_masks_are_saved_beside_the_model_in_the_order_of_the_tasks(
    name: str, model: PreTrainedModel, masks: NeuronMasks, tmp_path: Path
) -> None:
    method = attach(name, model, masks)
    save_model(model, tmp_path)
    method.save(tmp_path)
    saved = NeuronMasks.from_pretrained(tmp_path)
    assert (tmp_path / MASKS_FILE).is_file()
    assert saved == get_masks(model)
    assert saved.tasks == TASKS


@pytest.mark.parametrize("name", MASKED_METHODS)
@pytest.mark.parametrize("stacks", ["encoder", "decoder", "both"])
def test_stacks_says_where_neurons_are_masked(
    name: str, stacks: str, model: PreTrainedModel, masks: NeuronMasks
) -> None:
    attached = attach(name, model, masks, stacks=stacks).masks
    for layer in attached.layers:
        expected = 16 if stacks in ("both", layer.partition(".")[0]) else WIDTH
        assert attached.layer(layer).sum(1).tolist() == [expected, expected], layer


@pytest.mark.parametrize("name", MASKED_METHODS)
def test_without_masks_or_with_anothers_the_reason_is_told(
    name: str, model: PreTrainedModel, masks: NeuronMasks
) -> None:
    with pytest.raises(NeuronspecError, match=f"{name} needs neuron masks: run record and select first"):
        attach(name, model, None)
    with pytest.raises(NeuronspecError, match="no masks for the task 'de-en'"):
        attach(name, model, masks.reorder(["en-de"]))
    narrow = NeuronMasks(TASKS, {layer: masks.layer(layer)[:, 1:] for layer in masks.layers})
    with pytest.raises(NeuronspecError, match=r"31 neurons in encoder\.0, the model has 32"):
        attach(name, model, narrow)


def test_random_neurons_have_the_same_sizes_and_follow_from_the_seed(
    model: PreTrainedModel, masks: NeuronMasks
) -> None:
    drawn = attach("random_neurons", model, masks).masks
    ordered = masks.reorder(TASKS)
    for layer in masks.layers:
        assert torch.equal(drawn.layer(layer).sum(1), ordered.layer(layer).sum(1))
        assert not torch.equal(drawn.layer(layer), ordered.layer(layer))
    assert attach("random_neurons", model, masks).masks == drawn
    other = make_method("random_neurons")
    other.attach(model, Resources(TASKS, masks=masks, seed=5))
    assert get_masks(model) != drawn


def test_r9_no_gradient_reaches_neurons_that_no_task_of_the_batch_uses(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    """A real update by plain gradient descent: what has no gradient stays, bit by bit; the rest moves."""
    attach("neuron_specialization", model, masks)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one_task = {name: tensor[batch["tasks"] == 0] for name, tensor in batch.items()}  # de-en: neurons 0 to 15
    TranslationLoss(model, 0.1)(one_task).backward()
    layers = find_ffn_layers(model)
    for layer in layers:
        expansion = layer.expansions[0]
        for gradient in (
            gradient_of(expansion, "weight"),
            gradient_of(expansion, "bias"),
            gradient_of(layer.projection, "weight").T,
        ):
            per_neuron = gradient.reshape(WIDTH, -1).abs().sum(1)
            assert not per_neuron[16:].any()
            assert per_neuron[:16].any()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    after = model.state_dict()
    for layer in layers:
        block = f"model.{layer.stack}.layers.{layer.index}"
        for name in ("fc1.weight", "fc1.bias"):
            key = f"{block}.{name}"
            assert torch.equal(after[key][16:], before[key][16:])
            assert not torch.equal(after[key][:16], before[key][:16])
        assert torch.equal(after[f"{block}.fc2.weight"][:, 16:], before[f"{block}.fc2.weight"][:, 16:])


def test_r9_a_mixed_batch_gives_each_neuron_the_gradient_of_its_own_tasks(
    model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    attach("neuron_specialization", model, masks)
    layer = find_ffn_layers(model)[-1]
    gradients = []
    for tasks in ([0, 1], [0], [1]):
        model.zero_grad()
        rows = torch.isin(batch["tasks"], torch.tensor(tasks))
        TranslationLoss(model, 0.0)({name: tensor[rows] for name, tensor in batch.items()}).backward()
        gradients.append(gradient_of(layer.expansions[0], "weight").clone())
    mixed, first, second = gradients
    assert not mixed[24:].any()  # masked by all
    assert torch.allclose(mixed[:8], first[:8], atol=1e-6)  # of the first task only
    assert torch.allclose(mixed[16:24], second[16:24], atol=1e-6)
    assert torch.allclose(mixed[8:16], (first + second)[8:16], atol=1e-6)


def forward(model: PreTrainedModel, batch: dict[str, torch.Tensor], **options: Any) -> torch.Tensor:
    inputs = {name: tensor for name, tensor in batch.items() if name not in ("labels", "tasks")}
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(**inputs, **options).logits
    return logits


def give_biases(model: PreTrainedModel) -> None:
    """Give the FFN biases of a size that shows, as training does: they start at zero."""
    torch.manual_seed(8)
    with torch.no_grad():
        for layer in find_ffn_layers(model):
            layer.expansions[0].get_parameter("bias").uniform_(0.5, 1.5)


@pytest.mark.parametrize("name", MASKED_METHODS)
def test_released_leaves_the_bias_of_masked_neurons_also_in_a_system_that_was_saved(
    name: str, model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    give_biases(model)
    tasks = [TASKS[number] for number in batch["tasks"]]
    removed = attach(name, model, masks).masks
    without = forward(model, batch, tasks=tasks)
    kept = attach(name, model, masks, released=True)
    released = forward(model, batch, tasks=tasks)
    assert not removed.keeps_bias
    assert kept.masks.keeps_bias
    assert kept.masks.signature["bias"] == "kept"
    assert kept.masks == removed  # the same neurons
    assert not torch.allclose(released, without, atol=1e-3)

    # By hand: what is masked of the first matrix's product, and its bias added after that.
    unspecialize(model)
    handles = []
    for layer in find_ffn_layers(model):
        on = kept.masks.layer(layer.name)[batch["tasks"]][:, None]  # (batch, 1, d_ff)
        bias = layer.expansions[0].get_parameter("bias")

        def mask(
            _module: Any, _inputs: Any, output: torch.Tensor, on: torch.Tensor = on, bias: torch.Tensor = bias
        ) -> torch.Tensor:
            return on * (output - bias) + bias

        handles.append(layer.expansions[0].register_forward_hook(mask))
    by_hand = forward(model, batch)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(released, by_hand, rtol=1e-4, atol=1e-5)

    save_model(model, tmp_path)
    kept.save(tmp_path)
    found = NeuronMasks.from_pretrained(tmp_path)
    assert found.keeps_bias
    loaded = specialize(load_model(tmp_path), found)
    assert torch.equal(forward(loaded, batch, tasks=tasks), released)


@pytest.mark.parametrize("name", MASKED_METHODS)
@pytest.mark.parametrize(("packed", "computed"), [("always", 64), ("never", 128)])
def test_packed_says_how_batches_of_one_task_are_computed_and_not_what(
    name: str, packed: str, computed: int, model: PreTrainedModel, batch: dict[str, torch.Tensor]
) -> None:
    shape = model.config.to_dict() | {"encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    model = M2M100ForConditionalGeneration(M2M100Config(**shape))  # neurons are packed by multiples of 64
    names = [layer.name for layer in find_ffn_layers(model)]
    masks = NeuronMasks(TASKS, {name: torch.arange(128).expand(2, 128) % 3 == 0 for name in names})
    one_task = {key: tensor[batch["tasks"] == 0] for key, tensor in batch.items()}
    tasks = [TASKS[0]] * 2
    attach(name, model, masks, packed="never")
    expected = forward(model, one_task, tasks=tasks)
    attach(name, model, masks, packed=packed)
    widths: dict[str, int] = {}
    for layer in find_ffn_layers(model):
        activation = model.get_submodule(f"model.{layer.stack}.layers.{layer.index}.activation_fn")

        def note(_module: Any, _inputs: Any, output: torch.Tensor, name: str = layer.name) -> None:
            widths[name] = output.shape[-1]

        activation.register_forward_hook(note)
    torch.testing.assert_close(forward(model, one_task, tasks=tasks), expected, rtol=1e-4, atol=1e-5)
    assert widths == dict.fromkeys(masks.layers, computed)


def test_what_packed_may_be(model: PreTrainedModel, masks: NeuronMasks) -> None:
    assert (
        make_method("neuron_specialization").options
        == make_method(
            "neuron_specialization", {"stacks": "both", "released": False, "hold_absent": False, "packed": "auto"}
        ).options
    )
    for wrong in ({"packed": "sometimes"}, {"hold_absent": "perhaps"}, {"released": 3}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            make_method("neuron_specialization", wrong)


def absent_neurons(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the weights of the neurons that the task de-en does not use."""
    return [
        tensor.detach().clone()
        for layer in find_ffn_layers(model)
        for tensor in (
            layer.expansions[0].get_parameter("weight")[16:],
            layer.expansions[0].get_parameter("bias")[16:],
            layer.projection.get_parameter("weight")[:, 16:],
        )
    ]


@pytest.mark.parametrize("name", MASKED_METHODS)
@pytest.mark.parametrize("hold_absent", [True, False])
def test_hold_absent_keeps_neurons_of_other_tasks_where_momentum_would_move_them(
    name: str, hold_absent: bool, model: PreTrainedModel, masks: NeuronMasks, batch: dict[str, torch.Tensor]
) -> None:
    method = attach(name, model, masks, hold_absent=hold_absent, released=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    method.watch(model, optimizer)
    objective = TranslationLoss(model, 0.1)

    def update(*tasks: int) -> None:
        rows = torch.isin(batch["tasks"], torch.tensor(tasks))
        objective({key: tensor[rows] for key, tensor in batch.items()}).backward()
        optimizer.step()
        optimizer.zero_grad()

    def weights() -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of each layer, the first matrix and which neurons de-en does not use."""
        return [
            (layer.expansions[0].get_parameter("weight").detach().clone(), ~method.masks.mask("de-en", layer.name))
            for layer in find_ffn_layers(model)
        ]

    update(0, 1)  # now there is momentum everywhere
    before = weights()
    update(0)
    for (old, absent), (new, _) in zip(before, weights(), strict=True):
        assert torch.equal(old[absent], new[absent]) == hold_absent
        assert not torch.equal(old[~absent], new[~absent])


def test_r9_hold_absent_in_a_training_leaves_absent_neurons_bit_equal(tmp_path: Path) -> None:
    """The loop itself, on one task while another has masks too: what only the other uses stays as it was."""
    for hold_absent in (True, False):
        folder = tmp_path / str(hold_absent)
        before, after = train_one_task(folder, hold_absent)
        assert all(itertools.starmap(torch.equal, zip(before, after, strict=True))) == hold_absent


def train_one_task(folder: Path, hold_absent: bool) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Train three updates; return de-en's absent neurons before and after."""
    folder.mkdir()
    letters = ["ab cd", "ef gh ab", "cd", "gh ef cd ab", "ab ab", "ef", "gh gh cd", "cd ef"]
    (folder / "text").write_text("".join(f"{a}\t{b}\n" for a, b in zip(letters, letters[::-1], strict=True)))
    tokenizer = learn_vocabulary(iter(letters * 4), 64, ["de", "en"])
    store = build_store(
        folder / "store", {"de-en": folder / "text"}, lambda: lambda lines: encode(tokenizer, "source", lines), 100
    )
    model = build_model("tiny", tokenizer)
    give_biases(model)
    data = BatchDataset(store, [TaskData("de-en", "de-en", 0, TextCodec(tokenizer, model.config).format("de-en"))])
    widths = {layer.name: layer.width for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(
        {
            "de-en": {name: [n < 16 for n in range(width)] for name, width in widths.items()},
            "en-de": {name: [n >= 8 for n in range(width)] for name, width in widths.items()},
        }
    )
    before = absent_neurons(model)
    train(
        model,
        tokenizer,
        Corpora(data, data),
        make_method("neuron_specialization", {"hold_absent": hold_absent}),
        Resources(("de-en",), masks=masks),
        training=Training(updates=3, warmup=0, schedule="constant", weight_decay=0.1, validate_every=3),
        sampling=Sampling(tokens_per_batch=64),
        directory=folder / "training",
        cpu=True,
    )
    return before, absent_neurons(model)


def test_one_method_has_several_names() -> None:
    made = make_method("ours_enc", {"method": "neuron_specialization", "stacks": "encoder"})
    assert (made.name, made.options.stacks) == ("neuron_specialization", "encoder")  # type: ignore[attr-defined]
    assert find_method("fine_tune").name == "fine_tune"
    with pytest.raises(NeuronspecError, match=r"unknown method 'ours_enc'"):
        make_method("ours_enc")


def test_random_masks_of_a_share_have_that_share_in_every_layer(model: PreTrainedModel, masks: NeuronMasks) -> None:
    method = attach("random_neurons", model, masks, masked=0.3)
    assert {float(value) for values in method.masks.sparsity().values() for value in values} == {10 / 32}
    rows = [method.masks.layer(layer) for layer in method.masks.layers]
    assert not all(torch.equal(row[0], row[1]) for row in rows)  # each task its own
    with pytest.raises(ValidationError, match="masked"):
        make_method("random_neurons", {"masked": 30})
