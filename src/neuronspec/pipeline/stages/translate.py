"""Stage `translate`: the test text of every direction, trained and zero-shot, with every system."""

from __future__ import annotations

import functools

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.test_sets import read_test_set
from neuronspec.files import write_text
from neuronspec.interruption import explained_interruption
from neuronspec.methods.saved import attach_saved
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_tokenizer
from neuronspec.names import child
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.layout import PRETRAINED
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_translations
from neuronspec.pipeline.systems import MASKED, RANDOM
from neuronspec.progress import show_progress
from neuronspec.specialization.masking import attach_masks
from neuronspec.translation.engines import open_engine


def plan(run: Run) -> list[Stage]:
    """Return a stage for each system."""
    return [_plan_system(run, system) for system in run.systems]


def _plan_system(run: Run, system: str) -> Stage:
    layout = run.layout

    # A system with masks that it was not trained with is the pretrained model.
    masked = system in (MASKED, RANDOM)
    model = [layout.model(PRETRAINED), layout.masks] if masked else [layout.model(system)]
    return Stage(
        name=f"translate.{system}",
        execute=functools.partial(execute, run, system),
        settings=choose_settings(run.config, "pivot", "languages", "tasks", "zero_shot", "translate", "seed"),
        inputs=[*model, layout.text],
        outputs=[layout.translations(system)],
        parallel=True,
        describe=functools.partial(describe_translations, run, system),
    )


def execute(run: Run, system: str) -> None:
    """Translate the test text of every direction with a system.

    Task by task, each file published whole: an interrupted run resumes with the next task. Several processes share
    the tasks.
    """
    directory = run.layout.translations(system)
    own = run.share(run.tested_directions)

    # Translations that an interrupted run has finished are kept.
    missing = [task for task in own if not child(directory, task, ".txt").is_file()]
    with explained_interruption(f"the same command resumes the translation with {system} with the next direction"):
        if missing:
            _translate_tasks(run, system, missing)
    run.processes.wait_for_everyone()


def _translate_tasks(run: Run, system: str, tasks: list[str]) -> None:
    config, directory = run.config, run.layout.translations(system)

    # Only the sources: nothing here may depend on the references.
    texts = run.open_texts()
    sources = {task: read_test_set(texts, task, config.directions(), config.pivot)[0] for task in tasks}

    model, tokenizer = load_system(run, system)

    # All of them together, although they are decoded one after the other: the model must distinguish them.
    TextCodec(tokenizer, model.config).formats(run.tested_directions)

    total = sum(len(sentences) for sentences in sources.values())
    with (
        show_progress(f"translating: {system}", total) as advance,
        open_engine(model, tokenizer, config.translate) as decode,
    ):
        for task, sentences in sources.items():
            translations = decode(sentences, [task] * len(sentences), advance=advance, quiet=True)

            # A translation is one line, whatever the model puts out.
            lines = [" ".join(translation.split()) + "\n" for translation in translations]
            write_text(child(directory, task, ".txt"), "".join(lines))


def load_system(run: Run, system: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a system on the run's device, with its masks or added weights, composed for zero-shot directions."""
    config, layout = run.config, run.layout
    masked = system in (MASKED, RANDOM)
    trained = PRETRAINED if masked else system
    directory = layout.model(trained)
    model, tokenizer = run.load_model(trained), load_tokenizer(directory)
    unseen = run.tested_zero_shot

    # The masks that were selected, or what the method has stored with its model
    if masked:
        masks = run.load_masks()
        # The control: as many neurons in each layer, but random ones
        if system == RANDOM:
            masks = NeuronMasks.random(masks, seed=config.seed)
        attach_masks(model, masks, unseen, config.pivot)
    else:
        attach_saved(model, directory, unseen, config.pivot)

    return model.to(run.device), tokenizer
