"""LaSS: a mask for each task is searched, by fine-tuning and pruning, and trained with."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.processes import call_together
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import TokenStore, build_store
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.methods.lass import method as lass
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, WeightMasks, keep_largest
from neuronspec.methods.lass.method import Lass, set_dropout
from neuronspec.methods.lass.model import load_weight_masks
from neuronspec.methods.layer_matrices import find_layer_matrices
from neuronspec.models.building import build_model, count_parameters
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import encode
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.training import loop
from neuronspec.training.journal import LOG_FILE
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Method, Resources, SearchResources

TASKS = ("de-en", "en-de")
SAMPLING = Sampling(tokens_per_batch=64)
TRAINING = Training(updates=8, warmup=2, learning_rate=0.01, validate_every=2, patience=None, precision="fp32")
OPTIONS = {"search_updates": 4}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `model`, an untrained one with its tokenizer, and `tokens`, a store of one pair."""
    folder = tmp_path_factory.mktemp("toy")
    draw = np.random.default_rng(5)
    words = [" ".join("".join(draw.choice([*"abcdefgh"], 3)) for _ in range(4)) for _ in range(60)]
    lines = [f"{one}\t{other}\n" for one, other in zip(words, words[::-1], strict=True)]
    (folder / "text").write_text("".join(lines), encoding="utf-8")
    tokenizer = learn_vocabulary(iter(words), 64, ["de", "en"])
    encoder = functools.partial(encode, tokenizer, "source")
    build_store(folder / "tokens", {"de-en": folder / "text"}, lambda: encoder, len(tokenizer))
    save_model(build_model("tiny", tokenizer), folder / "model", tokenizer)
    return folder


def load(toy: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    return load_model(toy / "model"), load_tokenizer(toy / "model")


def make_search(toy: Path, directory: Path) -> SearchResources:
    model, tokenizer = load(toy)
    tasks = [
        TaskData(task, "de-en", side, TextCodec(tokenizer, model.config).format(task))
        for side, task in enumerate(TASKS)
    ]
    data = BatchDataset(TokenStore(toy / "tokens"), tasks)
    return SearchResources(
        directory=directory,
        load=lambda: load(toy),
        corpora=Corpora(data, data),
        tasks=TASKS,
        training=TRAINING,
        sampling=SAMPLING,
        seed=3,
        cpu=True,
    )


def make_method(**options: Any) -> Lass:
    return Lass(Lass.Options.model_validate({**OPTIONS, **options}))


@pytest.fixture(scope="module")
def found(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an uninterrupted search left its masks."""
    directory = tmp_path_factory.mktemp("found")
    make_method().search(make_search(toy, directory))
    return directory


def continue_training(toy: Path, found: Path, out: Path, updates: int = 4) -> tuple[Path, PreTrainedModel]:
    model, tokenizer = load(toy)
    checkpoint, _ = train(
        model,
        tokenizer,
        make_search(toy, out).corpora,
        make_method(),
        Resources(TASKS, search_directory=found, seed=3),
        training=TRAINING.model_copy(update={"updates": updates, "select": "last"}),
        sampling=SAMPLING,
        directory=out,
        cpu=True,
    )
    return checkpoint, model


# Options


def test_options() -> None:
    options = Lass().options
    assert (options.pruned, options.parts, options.search_dropout) == (0.7, ("attention", "ffn"), 0.3)
    assert make_method(parts=["ffn"]).options.parts == ("ffn",)
    wrong: list[dict[str, Any]] = [{"pruned": 1.0}, {"parts": ["embeddings"]}, {"parts": []}, {"search_updates": 0}]
    for options_given in wrong:
        with pytest.raises(ValidationError, match=next(iter(options_given))):
            make_method(**options_given)


@pytest.mark.parametrize("architecture", ["m2m_100", "bart", "t5", "mt5", "fsmt"])
def test_dropout_is_set_everywhere_but_at_activations(
    architecture: str, small_model: Callable[..., PreTrainedModel]
) -> None:
    model = small_model(architecture)
    set_dropout(model, 0.25)
    config = model.config
    names = {"dropout", "attention_dropout", "dropout_rate"} & {*vars(config)}
    assert names
    assert all(getattr(config, name) == 0.25 for name in names)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            assert module.p == 0.25
        if isinstance(rate := getattr(module, "dropout", 0.25), float):
            assert rate == 0.25
        if isinstance(rate := getattr(module, "activation_dropout", 0.0), float):
            assert rate == 0.0
    fresh = type(model)(config).train()
    ids = torch.arange(4, 14)[None]
    torch.manual_seed(0)
    with torch.no_grad():
        one, other = (fresh(input_ids=ids, decoder_input_ids=ids).logits for _ in range(2))
    assert not torch.equal(one, other)


# Searching


def test_masks_are_the_largest_weights_after_fine_tuning_on_each_task_alone(
    toy: Path, found: Path, tmp_path: Path
) -> None:
    masks = WeightMasks.load(found / WEIGHT_MASKS_FILE)
    assert (masks.tasks, masks.pruned) == (TASKS, 0.7)
    search = make_search(toy, tmp_path)
    for number, task in enumerate(TASKS):
        model, tokenizer = search.load()
        model.config.update({"dropout": 0.3, "attention_dropout": 0.3})
        model = _rebuild(model, tmp_path / "again")
        data = BatchDataset(search.corpora.train.store, [search.corpora.train.tasks[number]])
        checkpoint, _ = train(
            model,
            tokenizer,
            Corpora(data, data),
            Method(),
            Resources((task,), seed=3),
            training=TRAINING.model_copy(update={"updates": 4}),
            sampling=SAMPLING,
            directory=tmp_path / task,
            cpu=True,
        )
        tuned = find_layer_matrices(load_model(checkpoint))
        start = find_layer_matrices(search.load()[0])
        assert masks.shapes.keys() == tuned.keys()
        for name, place in tuned.items():
            assert torch.equal(masks.mask(task, name), keep_largest(place.matrix.weight, 0.7))
            assert not torch.equal(place.matrix.weight, start[name].matrix.weight)
    assert any(not torch.equal(masks.mask("de-en", name), masks.mask("en-de", name)) for name in masks.shapes)


def _rebuild(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The same weights under a changed configuration, as another program would load them."""
    save_model(model, folder)
    return load_model(folder)


def test_after_the_search_only_masks_and_logs_are_left(found: Path) -> None:
    files = {path.relative_to(found).as_posix() for path in found.rglob("*") if path.is_file()}
    assert files == {WEIGHT_MASKS_FILE, *(f"fine_tuning/{task}/{LOG_FILE}" for task in TASKS)}


@pytest.mark.parametrize("where", ["between tasks", "in the middle", "before pruning", "before the end"])
def test_r1_an_interrupted_search_ends_with_the_same_masks(
    where: str, toy: Path, found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates, pruned = [0], [0]
    update, prune, join = loop.TrainingRun.update, WeightMasks.from_model, Lass._join

    def stop_update(run: Any) -> None:
        if updates[0] == {"between tasks": 4, "in the middle": 7}.get(where, -1):
            raise KeyboardInterrupt
        updates[0] += 1
        update(run)

    def stop_pruning(*arguments: Any) -> WeightMasks:
        if pruned[0] == 1 and where == "before pruning":
            raise KeyboardInterrupt
        pruned[0] += 1
        return prune(*arguments)

    def stop_joining(method: Lass, search: SearchResources) -> None:
        if where == "before the end":
            raise KeyboardInterrupt
        join(method, search)

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "update", stop_update)
        patch.setattr(WeightMasks, "from_model", stop_pruning)
        patch.setattr(Lass, "_join", stop_joining)
        with pytest.raises(KeyboardInterrupt):
            make_method().search(make_search(toy, tmp_path))
    assert not (tmp_path / WEIGHT_MASKS_FILE).is_file()

    done: list[int] = []

    def count(run: Any) -> None:
        done.append(run.state.update)
        update(run)

    monkeypatch.setattr(loop.TrainingRun, "update", count)
    make_method().search(make_search(toy, tmp_path))
    left = {"between tasks": [0, 1, 2, 3], "in the middle": [2, 3]}
    assert done == left.get(where, [])
    assert (tmp_path / WEIGHT_MASKS_FILE).read_bytes() == (found / WEIGHT_MASKS_FILE).read_bytes()
    test_after_the_search_only_masks_and_logs_are_left(tmp_path)


def test_a_finished_search_does_nothing(toy: Path, found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lass, "train", None)
    before = (found / WEIGHT_MASKS_FILE).read_bytes()
    make_method().search(make_search(toy, found))
    assert (found / WEIGHT_MASKS_FILE).read_bytes() == before


def test_damaged_and_foreign_parts_are_searched_for_again(
    toy: Path, found: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = WeightMasks.load(found / WEIGHT_MASKS_FILE)
    damaged, foreign = (tmp_path / "fine_tuning" / task / WEIGHT_MASKS_FILE for task in TASKS)
    replace(whole.reorder(TASKS[1:]), pruned=0.5).save(foreign)
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"nothing")
    make_method().search(make_search(toy, tmp_path))
    assert "searching for them again" in caplog.text
    assert (tmp_path / WEIGHT_MASKS_FILE).read_bytes() == (found / WEIGHT_MASKS_FILE).read_bytes()


def test_the_search_has_its_own_updates_and_rate(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Training, dict[str, Any], float]] = []
    real = train

    def watch(model: PreTrainedModel, *arguments: Any, **options: Any) -> Any:
        seen.append((options["training"], options, model.config.dropout))
        return real(model, *arguments, **options)

    monkeypatch.setattr(lass, "train", watch)
    search = replace(make_search(toy, tmp_path), training=TRAINING.model_copy(update={"keep_checkpoints": 3}))
    make_method(search_updates=2, search_learning_rate=0.5, search_dropout=0.1, parts=["ffn"]).search(search)
    changes = {"updates": 2, "learning_rate": 0.5, "keep_checkpoints": 1}
    assert [training for training, _, _ in seen] == [TRAINING.model_copy(update=changes)] * 2
    assert [dropout for _, _, dropout in seen] == [0.1, 0.1]
    assert [options["title"] for _, options, _ in seen] == ["lass: de-en (1 of 2)", "lass: en-de (2 of 2)"]
    masks = WeightMasks.load(tmp_path / WEIGHT_MASKS_FILE)
    assert masks.parts == ("ffn",)
    assert all("fc" in name for name in masks.shapes)


def test_a_model_that_does_not_fit_is_refused_before_the_work(
    toy: Path, tmp_path: Path, small_model: Callable[..., PreTrainedModel]
) -> None:
    tokenizer = load_tokenizer(toy / "model")
    search = replace(make_search(toy, tmp_path), load=lambda: (small_model("nllb-moe"), tokenizer))
    with pytest.raises(NeuronspecError, match="has experts"):
        make_method().search(search)


PROGRAM = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.methods.lass import test_method as test_lass
search = test_lass.make_search(Path(sys.argv[2]), Path(sys.argv[3]))
training = search.training.model_copy(update={"batches_per_update": 2})
test_lass.make_method(search_dropout=0.0).search(dataclasses.replace(search, training=training))
"""


def test_r2_two_processes_find_what_one_does(toy: Path, tmp_path: Path) -> None:
    """Without dropout, which each process draws for itself; what is left is the order in which floats are added."""
    (tmp_path / "program.py").write_text(PROGRAM)
    found = []
    for name, processes in (("alone", 1), ("together", 2)):
        words = [tmp_path / "program.py", Path(__file__).parents[3], toy, tmp_path / name]
        for done in call_together(words, processes=processes):
            assert done.returncode == 0, done.stderr
        found.append(WeightMasks.load(tmp_path / name / WEIGHT_MASKS_FILE))
        test_after_the_search_only_masks_and_logs_are_left(tmp_path / name)
    one, other = found
    assert one.tasks == other.tasks == TASKS
    for name in one.shapes:
        for task in TASKS:
            assert (one.mask(task, name) == other.mask(task, name)).double().mean() > 0.995, name


# Training


def test_the_pretrained_model_is_trained_with_masks_and_nothing_is_added(
    toy: Path, found: Path, tmp_path: Path
) -> None:
    plain = load(toy)[0]
    checkpoint, model = continue_training(toy, found, tmp_path)
    assert count_parameters(model) == count_parameters(plain)
    assert list(model.state_dict()) == list(plain.state_dict())
    masks = WeightMasks.load(found / WEIGHT_MASKS_FILE)
    trained = AutoModelForSeq2SeqLM.from_pretrained(checkpoint)  # an ordinary model directory
    before, after = (dict(m.base_model.named_parameters()) for m in (plain, trained))
    for name in masks.shapes:
        weight = f"{name}.weight"
        unused = ~(masks.mask("de-en", name) | masks.mask("en-de", name))
        assert unused.any()
        assert torch.equal(before[weight][unused], after[weight][unused])  # pruned by both tasks
        assert not torch.equal(before[weight][~unused], after[weight][~unused])
    for name, tensor in before.items():  # biases, norms and embeddings are everyone's
        if name.removesuffix(".weight") not in masks.shapes and "k_proj" not in name:
            assert not torch.equal(tensor, after[name]), name
    saved = WeightMasks.load(checkpoint / WEIGHT_MASKS_FILE)
    assert saved.tasks == TASKS
    assert all(torch.equal(saved.bits[name], masks.bits[name]) for name in masks.bits)


def test_a_saved_system_translates_as_the_trained_one(toy: Path, found: Path, tmp_path: Path) -> None:
    checkpoint, model = continue_training(toy, found, tmp_path)
    loaded = load_model(checkpoint)
    load_weight_masks(loaded, checkpoint).add_zero_shot([], "en")
    ids = torch.randint(4, 60, (3, 6), generator=torch.Generator().manual_seed(1))
    tasks = ["en-de", "de-en", "en-de"]
    one, other = (
        m.eval().generate(input_ids=ids, tasks=tasks, num_beams=3, max_new_tokens=6).tolist() for m in (model, loaded)
    )
    assert one == other
    with torch.no_grad():
        found_logits = loaded(input_ids=ids, decoder_input_ids=ids, tasks=tasks).logits
        assert torch.equal(found_logits, model(input_ids=ids, decoder_input_ids=ids, tasks=tasks).logits)
        turned = loaded(input_ids=ids, decoder_input_ids=ids, tasks=["de-en", "en-de", "de-en"]).logits
    assert not torch.allclose(found_logits, turned)


def test_r1_an_interrupted_training_ends_with_the_same_weights(
    toy: Path, found: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = continue_training(toy, found, tmp_path / "whole", 6)
    update = loop.TrainingRun.update

    def stop(run: Any) -> None:
        if run.state.update == 3:
            raise KeyboardInterrupt
        update(run)

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            continue_training(toy, found, tmp_path / "parts", 6)
    resumed, _ = continue_training(toy, found, tmp_path / "parts", 6)
    for name in ("model.safetensors", WEIGHT_MASKS_FILE):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes()


def test_masks_come_in_the_order_of_the_tasks_or_the_reason_is_told(toy: Path, found: Path, tmp_path: Path) -> None:
    model = load(toy)[0]
    method = make_method()
    method.attach(model, Resources(("en-de", "de-en"), search_directory=found))
    method.save(tmp_path)
    assert WeightMasks.load(tmp_path / WEIGHT_MASKS_FILE).tasks == ("en-de", "de-en")
    for nowhere in (None, tmp_path / "nowhere"):
        with pytest.raises(NeuronspecError, match="lass needs the weight masks of its search"):
            method.attach(copy.deepcopy(model), Resources(TASKS, search_directory=nowhere))
    with pytest.raises(NeuronspecError, match="no weight masks for the task 'fr-en'"):
        method.attach(model, Resources(("fr-en",), search_directory=found))
