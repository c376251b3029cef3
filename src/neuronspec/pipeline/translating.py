"""Translating the test text of a run: every system, trained and zero-shot directions, shared by processes."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.config.schema import Config
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.files import write_text
from neuronspec.methods.saved import attach_masks, attach_saved
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model, load_tokenizer
from neuronspec.names import child
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import PRETRAINED, Layout
from neuronspec.pipeline.systems import MASKED, RANDOM
from neuronspec.pipeline.work import to_device
from neuronspec.processes import join_processes
from neuronspec.progress import show_progress
from neuronspec.translation.engines import open_engine


def translate_test(config: Config, layout: Layout, system: str) -> None:
    """Translate the test text of every task with a system: the trained directions, and the zero-shot ones.

    Task by task, each file published whole: an interrupted run goes on with the next task. Several processes share
    the tasks.
    """
    texts = Texts.load(layout.text)
    tasks = share_tasks(config)
    directory = layout.translations(system)
    missing = [task for task in tasks if not child(directory, task, ".txt").is_file()]
    if missing:
        trained = config.directions()
        sources = {task: read_test_set(texts, task, trained, config.pivot)[0] for task in missing}
        model, tokenizer = load_system(config, layout, system)
        # All of them together, although they are decoded one after the other: the model must tell them apart.
        TextCodec(tokenizer, model.config).formats(config.tested_directions())
        with (
            show_progress(f"translating: {system}", sum(map(len, sources.values()))) as advance,
            open_engine(model, tokenizer, config.translate) as decode,
        ):
            for task, sentences in sources.items():
                lines = decode(sentences, [task] * len(sentences), advance=advance, quiet=True)
                # However many lines a model puts out for a sentence, it gets one.
                write_text(child(directory, task, ".txt"), "".join(f"{' '.join(line.split())}\n" for line in lines))
    join_processes(config.device == "cpu").wait_for_everyone()


def share_tasks(config: Config) -> list[str]:
    """Return the tested directions that are this process' part."""
    processes = join_processes(config.device == "cpu")
    return config.tested_directions()[processes.process_index :: processes.num_processes]


def load_system(config: Config, layout: Layout, system: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a system of a run, with its masks or parts in place, those of zero-shot directions composed."""
    directory = layout.model(PRETRAINED if system in (MASKED, RANDOM) else system)
    model, tokenizer = load_model(directory), load_tokenizer(directory)
    unseen = config.zero_shot_directions()
    if system in (MASKED, RANDOM):
        masks = NeuronMasks.from_pretrained(layout.masks)
        attach_masks(
            model, masks if system == MASKED else NeuronMasks.random(masks, seed=config.seed), unseen, config.pivot
        )
    else:
        attach_saved(model, directory, unseen, config.pivot)
    return to_device(model, config), tokenizer
