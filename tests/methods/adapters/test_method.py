"""Adapters, trained by the loop: they alone move, in the batches of their tasks, and every bit comes back (R1)."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from tests.processes import call_together
from tests.training import conftest as toys
from transformers import PreTrainedModel

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.sampling import Batch
from neuronspec.errors import NeuronspecError
from neuronspec.files import hash_path
from neuronspec.languages import EC30_LEVELS
from neuronspec.methods import METHODS, make_method
from neuronspec.methods.adapters.method import AdapterTraining
from neuronspec.methods.adapters.model import ADAPTERS_FILE, Adapters, load_adapters
from neuronspec.methods.families import group_by_family
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.specialization.routing import find_router, unspecialize
from neuronspec.training.checkpoints import STATE_DIRECTORY
from neuronspec.training.journal import LOG_FILE, read_log
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources
from neuronspec.training.objective import TranslationLoss, token_losses

toy_corpora, toy_directory, toy_model, toy_tokenizer = (
    getattr(toys, f"toy_{name}") for name in ("corpora", "directory", "model", "tokenizer")
)
TASKS = ("de-en", "en-de")
SHORT = {"updates": 8, "validate_every": 4, "checkpoint_every": 2, "warmup": 2, "learning_rate": 0.02}
CODES = [code for codes in EC30_LEVELS.values() for code in codes]
EC30 = [task for code in CODES for task in (f"en-{code}", f"{code}-en")]


def make(**options: Any) -> AdapterTraining:
    method = make_method("adapters", {"bottleneck": 4, **options})
    assert isinstance(method, AdapterTraining)
    return method


def run(
    directory: Path, corpora: Corpora, out: Path, options: dict[str, Any] | None = None, **given: Any
) -> tuple[Path, AdapterTraining]:
    method = make(**(options or {}))
    path, _ = train(
        load_model(directory / "model"),
        load_tokenizer(directory / "model"),
        corpora,
        method,
        Resources(TASKS, seed=1, sizes=(60, 60)),
        training=Training.model_validate({**SHORT, "select": "last", **given}),
        sampling=Sampling(tokens_per_batch=96),
        directory=out,
        cpu=True,
    )
    return path, method


def fingerprint(checkpoint: Path) -> list[str]:
    return [hash_path(checkpoint / name) for name in (ADAPTERS_FILE, f"{STATE_DIRECTORY}/optimizer.safetensors")]


def test_it_is_registered() -> None:
    assert METHODS["adapters"] is AdapterTraining
    assert (AdapterTraining.name, AdapterTraining.routes, AdapterTraining.uses_masks) == ("adapters", True, False)


@pytest.mark.parametrize(
    "wrong", [{"by": "language"}, {"bottleneck": 0}, {"dropout": 1.0}, {"low_resource": -1}, {"families": {"x x": "A"}}]
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        make_method("adapters", wrong)


def test_training_moves_the_adapters_and_nothing_else(
    toy_directory: Path,
    toy_corpora: Corpora,
    tmp_path: Path,
) -> None:
    path, method = run(toy_directory, toy_corpora, tmp_path)
    before, after = load_model(toy_directory / "model").state_dict(), load_model(path).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    fresh = make()
    fresh.attach(load_model(toy_directory / "model"), Resources(TASKS, seed=1))
    start, end = fresh.adapters.sets.state_dict(), method.adapters.sets.state_dict()
    assert not any(torch.equal(start[name], end[name]) for name in start)  # both directions', every tensor
    moments = load_file(path / STATE_DIRECTORY / "optimizer.safetensors")
    assert {name.partition(".")[2].partition(".")[0] for name in moments} == {"parts"}


def test_training_reduces_the_loss_of_every_task(
    toy_directory: Path,
    toy_corpora: Corpora,
    tmp_path: Path,
) -> None:
    run(toy_directory, toy_corpora, tmp_path, {"bottleneck": 32}, updates=60, validate_every=10, checkpoint_every=None)
    first, *_, last = (entry["valid"]["loss"] for entry in read_log(tmp_path / LOG_FILE))
    assert all(last[name] < first[name] - 0.1 for name in (*TASKS, "all"))


@pytest.mark.parametrize("options", [{}, {"by": "family", "dropout": 0.4}])
@pytest.mark.parametrize("saved", [1, 3])
def test_r1_interrupted_it_resumes_to_the_same_bits(
    toy_directory: Path,
    toy_corpora: Corpora,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    saved: int,
) -> None:
    """With dropout in the model and in the adapters."""
    whole, _ = run(toy_directory, toy_corpora, tmp_path / "whole", options)
    save, calls = AdapterTraining.save, itertools.count()

    def stop(self: AdapterTraining, directory: Path) -> None:
        if next(calls) == saved:
            raise KeyboardInterrupt
        save(self, directory)

    with monkeypatch.context() as patch:
        patch.setattr(AdapterTraining, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(toy_directory, toy_corpora, tmp_path / "halves", options)
    assert (tmp_path / "halves" / "checkpoints" / f"checkpoint-{2 * saved:06d}").is_dir()
    again, _ = run(toy_directory, toy_corpora, tmp_path / "halves", options)
    assert fingerprint(again) == fingerprint(whole)
    assert read_log(tmp_path / "halves" / LOG_FILE)[-1]["valid"] == read_log(tmp_path / "whole" / LOG_FILE)[-1]["valid"]


def test_other_adapters_do_not_go_on_from_a_checkpoint(
    toy_directory: Path, toy_corpora: Corpora, tmp_path: Path
) -> None:
    run(toy_directory, toy_corpora, tmp_path)
    with pytest.raises(NeuronspecError, match="holds other adapters: they were trained with bottleneck"):
        run(toy_directory, toy_corpora, tmp_path, {"bottleneck": 5})


def test_a_checkpoint_loads_for_translation(toy_directory: Path, toy_corpora: Corpora, tmp_path: Path) -> None:
    path, method = run(toy_directory, toy_corpora, tmp_path)
    model = method.adapters.model.eval()
    loaded = load_adapters(load_model(path), path).model.eval()
    batch = toy_corpora.train[Batch(np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3]))]
    assert torch.equal(token_losses(loaded, batch)[0], token_losses(model, batch)[0])
    before = token_losses(unspecialize(loaded), batch)[0]
    assert torch.equal(before, token_losses(load_model(toy_directory / "model").eval(), batch)[0])
    assert not torch.equal(before, token_losses(model, batch)[0])


def test_each_direction_s_adapters_learn_from_its_rows_alone(toy_model: PreTrainedModel, toy_corpora: Corpora) -> None:
    method = make(dropout=0.0)
    method.attach(toy_model.eval(), Resources(TASKS))
    assert method.added_modules is not None
    batch = toy_corpora.train[Batch(np.array([0, 1, 1, 0]), np.array([0, 1, 2, 3]))]
    rows = {name: tensor[batch["tasks"] == 1] for name, tensor in batch.items()}
    TranslationLoss(toy_model, 0.1, method.added_modules)(rows).backward()
    touched = {name for name, parameter in method.added_modules.named_parameters() if parameter.grad is not None}
    assert touched == {name for name, _ in method.added_modules.named_parameters() if name.startswith("1.")}


# Which sets there are


def sharing_of(model: PreTrainedModel, method: AdapterTraining, resources: Resources) -> Any:
    method.attach(model, resources)
    router = find_router(model)
    assert isinstance(router, Adapters)
    return router.settings


def test_by_pair_each_direction_has_a_set(toy_model: PreTrainedModel) -> None:
    sharing = sharing_of(toy_model, make(), Resources(("a", "b")))  # any string names a task
    assert (sharing.sets, sharing.owners) == (["a", "b"], {"encoder": [0, 1], "decoder": [0, 1]})
    assert sharing.dropout == [0.1, 0.1]


def test_by_family_directions_share_a_set(toy_model: PreTrainedModel) -> None:
    tasks = ("de-en", "en-sv", "en-de", "fr-en", "nl-en")
    sharing = sharing_of(toy_model, make(by="family"), Resources(tasks))
    assert sharing.sets == ["Germanic-en", "en-Germanic", "Romance-en"]
    assert sharing.owners == {stack: [0, 1, 1, 2, 0] for stack in ("encoder", "decoder")}
    assert sharing.tasks == list(tasks)


def test_the_families_of_the_paper(toy_model: PreTrainedModel) -> None:
    assert len(set(group_by_family(EC30))) == 12  # as many as the paper's 303.6 M parameters need
    sets = group_by_family(EC30, {"kn": "Indo-Aryan"})
    assert {name.removeprefix("en-") for name in sets if name.startswith("en-")} == {
        "Germanic",
        "Romance",
        "Slavic",
        "Indo-Aryan",
        "Afro-Asiatic",
    }
    assert {sets.count(name) for name in sets} == {6}
    options = make(by="family", families={"kan": "Indo-Aryan"})
    assert len(sharing_of(toy_model, options, Resources(tuple(EC30))).sets) == 10


def test_the_pivot_is_the_language_of_every_direction() -> None:
    assert group_by_family(["fr-de", "de-sv", "en-de"]) == ["Romance-de", "de-Germanic", "Germanic-de"]
    assert group_by_family(["eng_Latn-deu_Latn", "fra_Latn-eng_Latn"]) == ["en-Germanic", "Romance-en"]
    assert group_by_family(["de-en"]) == ["Germanic-en"]


def test_languages_of_unknown_family_share_no_adapters() -> None:
    assert group_by_family(["en-hsb", "en-dsb", "en-de"]) == ["en-hsb", "en-dsb", "en-Germanic"]
    given = {"hsb_Latn": "Slavic"}
    assert group_by_family(["en-hsb", "en-cs", "dsb-en"], given) == ["en-Slavic", "en-Slavic", "dsb-en"]


def test_families_that_cannot_be_told_are_refused(toy_model: PreTrainedModel) -> None:
    with pytest.raises(NeuronspecError, match=r"by family need directions between languages: 'law' is no direction"):
        make(by="family").attach(toy_model, Resources(("de-en", "law")))
    with pytest.raises(NeuronspecError, match=r"one language that every direction has, .*none in de-en, fr-sv"):
        make(by="family").attach(toy_model, Resources(("de-en", "fr-sv")))
    assert find_router(toy_model) is None
    assert all(parameter.requires_grad for parameter in toy_model.parameters())


def test_sets_with_little_data_have_more_dropout(toy_model: PreTrainedModel) -> None:
    tasks, sizes = ("de-en", "sv-en", "lb-en", "fr-en"), (90_000, 110_000, 5_000, 99_999)
    low = {"low_resource": 100_000, "low_resource_dropout": 0.3, "dropout": 0.2}
    assert sharing_of(toy_model, make(**low), Resources(tasks, sizes=sizes)).dropout == [0.3, 0.2, 0.3, 0.3]
    assert sharing_of(toy_model, make(by="family", **low), Resources(tasks, sizes=sizes)).dropout == [0.2, 0.3]
    with pytest.raises(NeuronspecError, match="needs to know how many sentence pairs"):
        make(**low).attach(toy_model, Resources(tasks))


WORKER = """
import sys
from pathlib import Path

from neuronspec.config.sections import Sampling, Training
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import TokenStore
from neuronspec.methods.adapters.method import AdapterTraining
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.models.codec import TextCodec
from neuronspec.training.loop import train
from neuronspec.training.method import Corpora, Resources

source, out, tasks = Path(sys.argv[1]), Path(sys.argv[2]), ("de-en", "en-de")
for homogeneous in (False, True):
    model, tokenizer = load_model(source / "model"), load_tokenizer(source / "model")
    for module in model.modules():  # so that only the data decide
        for name in ("dropout", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    formats = [TextCodec(tokenizer, model.config).format(task) for task in tasks]
    data = [TaskData(task, "de-en", side, formats[side]) for side, task in enumerate(tasks)]
    train(
        model,
        tokenizer,
        Corpora(*(BatchDataset(TokenStore(source / part), data) for part in ("train", "valid"))),
        AdapterTraining(AdapterTraining.Options(bottleneck=4, dropout=0.0)),
        Resources(tasks, seed=1),
        training=Training(updates=6, batches_per_update=4, validate_every=6, warmup=0, learning_rate=0.01),
        sampling=Sampling(tokens_per_batch=64, homogeneous=homogeneous),
        directory=out / str(homogeneous),
        cpu=True,
    )
"""


@pytest.mark.slow
def test_r2_two_processes_train_what_one_does(toy_directory: Path, tmp_path: Path) -> None:
    """With batches of any mix, and with batches of one direction, of which an update has some of either."""
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    for name, processes in (("alone", 1), ("together", 2)):
        for done in call_together([worker, toy_directory, tmp_path / name], processes=processes):
            assert done.returncode == 0, done.stderr
    for homogeneous in ("False", "True"):
        last = Path(homogeneous, "checkpoints", "checkpoint-000006", ADAPTERS_FILE)
        alone, together = load_file(tmp_path / "alone" / last), load_file(tmp_path / "together" / last)
        assert alone.keys() == together.keys()
        for name, tensor in alone.items():
            assert torch.allclose(tensor, together[name], rtol=0, atol=1e-4), name
