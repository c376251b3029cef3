"""Stage `translate`: the test text of every direction, trained and zero-shot, with every system."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.data.test_sets import read_test_set
from neuronspec.executors import current_workers, keep_open, map_ordered, open_executor
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
from neuronspec.processes import join_processes
from neuronspec.progress import Advance, show_progress
from neuronspec.specialization.masking import attach_masks
from neuronspec.translation.engines import Decode, open_engine
from neuronspec.translation.system import describe_files

Texts = Mapping[str, Sequence[str]]  # sentences of each direction


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
            _translate_tasks(run, system, missing, with_workers=_has_workers(run))
    run.processes.wait_for_everyone()


def _has_workers(run: Run) -> bool:
    """Return whether workers translate: they do if they were chosen, and this process would translate on the CPU."""
    alone = run.processes.num_processes == 1
    return alone and run.device.type == "cpu" and current_workers().are_chosen


def _translate_tasks(run: Run, system: str, tasks: list[str], *, with_workers: bool) -> None:
    config, directory = run.config, run.layout.translations(system)

    # Only the sources: nothing here may depend on the references.
    texts = run.open_texts()
    sources = {task: read_test_set(texts, task, config.directions(), config.pivot)[0] for task in tasks}

    total = sum(len(sentences) for sentences in sources.values())
    translate = _translate_with_workers if with_workers else _translate_here
    with show_progress(f"translating: {system}", total) as advance:
        for task, translations in zip(sources, translate(run, system, sources, advance), strict=True):
            # A translation is one line, whatever the model puts out.
            lines = [" ".join(translation.split()) + "\n" for translation in translations]
            write_text(child(directory, task, ".txt"), "".join(lines))


def _translate_here(run: Run, system: str, sources: Texts, advance: Advance) -> Iterator[list[str]]:
    """Yield the translations of each direction."""
    with _open_decoder(run, system) as decode:
        for task, sentences in sources.items():
            yield decode(sentences, [task] * len(sentences), advance=advance, quiet=True)


def _translate_with_workers(run: Run, system: str, sources: Texts, advance: Advance) -> Iterator[list[str]]:
    """Yield the translations of each direction, which workers make."""
    # The bits of sums depend on the number of threads.
    work = functools.partial(_translate_as_worker, run, system, torch.get_num_threads())
    with open_executor() as executor:
        for translations in map_ordered(executor, work, sources.items()):
            advance(len(translations))
            yield translations


def _translate_as_worker(run: Run, system: str, threads: int, text: tuple[str, Sequence[str]]) -> list[str]:
    """Return the translations of a direction, with a model that stays open while its files are the same."""
    join_processes(cpu=True)
    torch.set_num_threads(threads)
    files = describe_files([run.layout.model(PRETRAINED), run.layout.model(system), run.layout.masks])
    key = json.dumps([run.config.model_dump(mode="json"), system, threads, files])
    decode = keep_open(key, functools.partial(_open_decoder, run, system))

    task, sentences = text
    return decode(sentences, [task] * len(sentences), quiet=True)


@contextmanager
def _open_decoder(run: Run, system: str) -> Iterator[Decode]:
    """Open what translates with a system."""
    model, tokenizer = load_system(run, system)

    # All of them together, although they are decoded one after the other: the model must distinguish them.
    TextCodec(tokenizer, model.config).formats(run.tested_directions)
    with open_engine(model, tokenizer, run.config.translate) as decode:
        yield decode


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
