"""The generation configuration of models that were built here: how they decode where nothing else is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import GenerationConfig, PretrainedConfig, PreTrainedModel

from neuronspec.config.sections import Translation
from neuronspec.files import write_text
from neuronspec.models.codec import TextCodec
from neuronspec.models.directories import GENERATION_FILE, is_built_here
from neuronspec.models.loading import load_configuration, load_tokenizer


def set_search(model: PreTrainedModel, options: Translation) -> None:
    """Let a model that was built here decode as a run translates; any other stays as it is.

    Args:
        model: Model, changed in place.
        options: Beam size and lengths.
    """
    # As in `is_built_here`
    if getattr(model.config, "embeddings", None) is not None:
        model.generation_config = _configure(model.config, options)


def write_generation_config(directory: Path, options: Translation, tasks: Iterable[str]) -> None:
    """Write how plain transformers decodes with a model that was built here; any other keeps its own file.

    A single target language is forced. Of several, only the user knows which one is wanted.

    Args:
        directory: Directory of the model and its tokenizer.
        options: Beam size and lengths.
        tasks: All directions that the model is for.

    Raises:
        NeuronspecError: If the directory is damaged.
    """
    if not is_built_here(directory):
        return

    # The tags that the decoder starts with, after the token that it always starts with
    config = load_configuration(directory)
    codec = TextCodec(load_tokenizer(directory), config)
    tags = {tuple(codec.format(task).decoding_start[1:]) for task in tasks}

    generation = _configure(config, options)
    if len(tags) == 1:
        (generation.forced_bos_token_id,) = tags.pop()

    # A file that says the same stays: its time tells whether anything has changed.
    path, text = directory / GENERATION_FILE, generation.to_json_string()
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _configure(config: PretrainedConfig, options: Translation) -> GenerationConfig:
    """Return the special tokens of a model with the search of a run."""
    generation = GenerationConfig(
        bos_token_id=config.bos_token_id,
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        num_beams=options.beams,
        max_new_tokens=options.max_tokens,
    )

    # Transformers refuses to save settings of a beam search without beams.
    if options.beams > 1:
        generation.length_penalty = options.length_penalty
        generation.early_stopping = options.early_stopping
    return generation
