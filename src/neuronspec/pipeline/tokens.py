"""Turning the text of a run into tokens, as its model wants them."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from transformers import PretrainedConfig

from neuronspec.config.schema import Config
from neuronspec.data.batches import BatchDataset, TaskData
from neuronspec.data.store import Encode, TokenStore, build_store
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts, assign_pairs
from neuronspec.errors import NeuronspecError
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import Side
from neuronspec.models.length_limits import announce_too_long
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.pipeline.layout import Layout
from neuronspec.translation.sources import check_sources


def open_pretrained_codec(config: Config) -> TextCodec | None:
    """Return how the pretrained model of a run wants its text; None for a model that is built from a preset.

    Raises:
        NeuronspecError: It does not translate, cannot do a direction of the run, or cannot tell its directions apart.
    """
    if config.model.pretrained is None:
        return None
    model = load_configuration(config.model.pretrained, config.model.revision, translates=True)
    tokenizer = load_tokenizer(config.model.pretrained, config.model.revision)
    codec = TextCodec(tokenizer, model, config.model.source_prefix)
    codec.formats(config.directions(), training=config.trains)
    codec.formats(config.tested_directions())
    return codec


def encode_texts(codec: TextCodec, texts: Texts, layout: Layout) -> None:
    """Encode the training and the validation text with the vocabulary of a run."""
    make = functools.partial(_make_encoder, layout.vocabulary, codec.source_prefix)
    for part in ("train", "valid"):
        files = {pair: texts.path(part, pair) for pair in texts.sizes[part]}
        build_store(
            layout.tokens(part),
            files,
            functools.partial(make, "source"),
            codec.vocabulary_size,
            None if codec.encodes_sides_alike else functools.partial(make, "target"),
        )


def open_dataset(config: Config, layout: Layout, part: str, codec: TextCodec) -> BatchDataset:
    """Open the encoded text of a part of a run, `train` or `valid`, as its model reads it."""
    formats = codec.formats(config.directions(), training=config.trains)
    tasks = [
        TaskData(task, pair, side, formats[task])
        for task, (pair, side) in assign_pairs(config.directions(), config.pivot).items()
    ]
    return BatchDataset(TokenStore(layout.tokens(part)), tasks, skips_too_long=config.data.too_long == "skip")


def announce_lengths(config: Config, layout: Layout, texts: Texts, codec: TextCodec) -> None:
    """Say once which sentences of the validation and the test text are longer than the model can read.

    Raises:
        NeuronspecError: There are some, and the configuration asks to stop then; or to leave them out, and a task has
            no other validation text.
    """
    valid = open_dataset(config, layout, "valid", codec)
    for task, too_long in zip(valid.tasks, valid.find_too_long(), strict=True):
        numbers = np.flatnonzero(too_long) + 1
        limits = [limit for limit in (task.format.longest_source, task.format.longest_target) if limit is not None]
        if len(numbers):
            name = f"validation text of {task.name}"
            announce_too_long(
                numbers.tolist(),
                total=len(too_long),
                limit=min(limits),
                too_long=config.data.too_long,
                name=name,
            )
        if valid.skips_too_long and len(too_long) and too_long.all():
            raise NeuronspecError(
                f"nothing is left of the validation text of {task.name}: give shorter sentences as data.valid, or "
                "choose data.too_long=cut"
            )

    for task_name in config.tested_directions():
        sources, _ = read_test_set(texts, task_name, config.directions(), config.pivot)
        tasks = [task_name] * len(sources)
        check_sources(codec, sources, tasks, config.translate.too_long, f"test text of {task_name}")


def _make_encoder(vocabulary: Path, source_prefix: SourcePrefix | None, side: Side) -> Encode:
    codec = TextCodec(load_tokenizer(vocabulary), PretrainedConfig(), source_prefix)
    return codec.encode_sources if side == "source" else codec.encode_targets
