"""Stage `train`: the model that is specialized, and from it the continued training with each method."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.artifacts.tensor_files import read_tensors
from neuronspec.config.sections import Training
from neuronspec.files import publish, write_json
from neuronspec.interruption import explained_interruption
from neuronspec.methods.saved import list_artifacts
from neuronspec.models.building import build_model, count_parameters
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, save_model
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.extension import make_room, open_before
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.model_notes import write_notes
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_training
from neuronspec.pipeline.stages import search
from neuronspec.pipeline.stages.prepare import list_local_model
from neuronspec.training.checkpoints import STATE_DIRECTORY
from neuronspec.training.journal import LOG_FILE
from neuronspec.training.loop import TrainingState, train
from neuronspec.training.method import Method, Resources

# What decides the batches next to the encoded text.
READING = ("languages", "tasks", "data.too_long")


def plan(run: Run) -> list[Stage]:
    """Return the training of the model that is specialized; those of the methods are `plan_method`'s."""
    layout = run.layout
    return [
        Stage(
            name="train",
            execute=functools.partial(execute, run, PRETRAINED),
            settings=choose_settings(run.config, *READING, "model", "train", "sampling", "seed"),
            inputs=[layout.tokens("train"), layout.tokens("valid"), layout.vocabulary, *list_local_model(run)],
            outputs=[layout.model(PRETRAINED), layout.summary(PRETRAINED)],
            workspace=[layout.training(PRETRAINED)],
            logs=[layout.training(PRETRAINED) / LOG_FILE],
            parallel=True,
            describe=functools.partial(describe_training, run, PRETRAINED),
        )
    ]


def plan_method(run: Run, system: str) -> list[Stage]:
    """Return the continued training with a method, after the search that it makes, if any."""
    layout, kind = run.layout, run.find_method(system)

    # All methods share the settings of the continued training; the options of the method are its own.
    settings = choose_settings(run.config, "pivot", *READING, "continued", "sampling", "seed")
    settings |= {"method": run.config.methods[system]}
    inputs = [layout.model(PRETRAINED), layout.tokens("train"), layout.tokens("valid")]

    # What the method uses in addition: results of its search, or the selected masks
    searches = search.plan(run, system, settings, inputs) if kind.searches else []
    found = [layout.search(system)] if kind.searches else []
    masks = [layout.masks] if kind.uses_masks else []

    # Inputs of the training include them, so that it is redone when they change.
    training = Stage(
        name=f"train.{system}",
        execute=functools.partial(execute, run, system),
        settings=settings,
        inputs=[*inputs, *masks, *found],
        outputs=[layout.model(system), layout.summary(system)],
        workspace=[layout.training(system)],
        logs=[layout.training(system) / LOG_FILE],
        parallel=True,
        describe=functools.partial(describe_training, run, system),
    )
    return [*searches, training]


def execute(run: Run, system: str) -> None:
    """Train the model of the run, or continue its training with the method of a system, and publish the result."""
    tokenizer = run.load_tokenizer()
    if system == PRETRAINED and run.config.model.extend is not None:
        _publish_extended(run, tokenizer)
        return

    if system == PRETRAINED:
        model, method, settings = _open_model(run, tokenizer), Method(), run.config.train
    else:
        model, method, settings = run.load_model(), run.make_method(system), run.config.continued

    # Without updates, the model is published as is.
    if settings.updates:
        _train(run, system, model=model, tokenizer=tokenizer, method=method, settings=settings)
    else:
        save = functools.partial(save_model, model, tokenizer=tokenizer)
        _publish(run, system, save, TrainingState(), parameters=count_parameters(model))


def _publish_extended(run: Run, tokenizer: PreTrainedTokenizerBase) -> None:
    """Publish the pretrained model with room for new languages, and the masks of all of its directions."""
    model = _open_model(run, tokenizer)
    before = open_before(run)
    grown, masks = make_room(run, model, before)

    def save(path: Path) -> None:
        save_model(grown, path, tokenizer)
        masks.save_pretrained(path)

    _publish(run, PRETRAINED, save, TrainingState(), parameters=count_parameters(grown))


def _open_model(run: Run, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Return the pretrained model as it is, or a new one from the preset."""
    wanted = run.config.model
    if wanted.pretrained is not None:
        model = load_model(wanted.pretrained, wanted.revision, translates=True)

        # Stored with the model, so that translating needs no configuration
        if wanted.source_prefix is not None:
            model.config.source_prefix = wanted.source_prefix

        return model

    # The configuration has exactly one of the two.
    assert wanted.preset is not None
    return build_model(
        wanted.preset,
        tokenizer,
        activation=wanted.activation,
        embeddings=wanted.embeddings,
        dropout=wanted.dropout,
        seed=run.config.seed,
    )


def _train(
    run: Run,
    system: str,
    *,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    method: Method,
    settings: Training,
) -> None:
    """Run the loop and publish the model of the checkpoint that it chooses."""
    # Counted before training, while the model has nothing but its own weights
    parameters = count_parameters(model)
    corpora = run.open_corpora(TextCodec(tokenizer, model.config))

    found = run.layout.search(system)
    resources = Resources(
        tasks=tuple(run.config.directions()),
        masks=run.load_masks() if system != PRETRAINED and run.has_masks else None,
        seed=run.seed(system),
        search_directory=found if found.is_dir() else None,
        sizes=tuple(len(lengths) for lengths in corpora.train.lengths()),
        pivot=run.config.pivot,
        base=run.layout.model(PRETRAINED),
        before=open_before(run) if method.extends else None,
    )

    # The loop resumes from the newest checkpoint in its directory, if there is one.
    with explained_interruption(f"the same command resumes the training of {system} at its latest checkpoint, if any"):
        checkpoint, state = train(
            model=model,
            tokenizer=tokenizer,
            corpora=corpora,
            method=method,
            resources=resources,
            training=settings,
            sampling=run.config.sampling,
            directory=run.layout.training(system),
            title=f"training: {system}",
            cpu=run.cpu,
        )

    def copy(path: Path) -> None:
        # The state of optimizer and sampler is for resuming only.
        shutil.copytree(checkpoint, path, ignore=shutil.ignore_patterns(STATE_DIRECTORY))
        method.finish(path)

    added = _count_added(checkpoint) if method.added_modules is not None else 0
    _publish(run, system, copy, state, parameters=parameters + added, added=added)


def _count_added(directory: Path) -> int:
    """Return the number of parameters that a method added to the model in a directory, not always the last one."""
    return sum(tensor.numel() for path in list_artifacts(directory) for tensor in read_tensors(path)[0].values())


def _publish(
    run: Run, system: str, write_model: Callable[[Path], Any], state: TrainingState, *, parameters: int, added: int = 0
) -> None:
    """Publish a trained model and the costs of its training."""
    # Every process has trained; one of them writes.
    if not run.processes.is_main_process:
        return
    with publish(run.layout.model(system)) as temporary:
        write_model(temporary)

    # The summary comes last: it is read only where the model is complete.
    costs = {
        "parameters": parameters,
        "parameters_added": added,
        "extra_bytes": sum(path.stat().st_size for path in list_artifacts(run.layout.model(system))),
    }
    write_json(run.layout.summary(system), asdict(state) | costs)

    # Whoever copies the model before it is scored finds its card, too.
    write_notes(run, system)
