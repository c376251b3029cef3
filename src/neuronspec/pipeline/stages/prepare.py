"""Stage `prepare`: from corpora to clean text, a vocabulary, and encoded text on disk."""

from __future__ import annotations

import functools
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from neuronspec.checking.vocabulary import check_pieces
from neuronspec.data.configured_corpora import list_corpus_files
from neuronspec.data.preparation import prepare_text
from neuronspec.data.store import Encode, build_store
from neuronspec.data.test_sets import read_test_set
from neuronspec.data.texts import Texts
from neuronspec.data.vocabulary import (
    MOST_BYTES,
    learn_vocabulary,
    limit_sample,
    reads_words_alone,
    sample_sentences,
)
from neuronspec.data.word_encoding import SPACE_MARK, WordEncoder
from neuronspec.errors import NeuronspecError
from neuronspec.exports.vocabulary.extending import ExtendedVocabulary
from neuronspec.files import hash_path, publish
from neuronspec.interruption import explained_interruption
from neuronspec.languages import split_direction
from neuronspec.models.building import configure_model
from neuronspec.models.codec import TextCodec
from neuronspec.models.encoding import TextSide
from neuronspec.models.length_limits import announce_too_long
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.models.source_prefixes import SourcePrefix
from neuronspec.pipeline.engine import Stage, choose_settings
from neuronspec.pipeline.extension import extend_codec, open_before, read_language, write_extension
from neuronspec.pipeline.finished_parts import FinishedParts
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.stage_results import describe_text
from neuronspec.progress import show_progress
from neuronspec.translation.sources import check_sources

logger = logging.getLogger(__name__)

RESUMES = "the same command resumes prepare with the blocks of text that are missing"


def plan(run: Run) -> list[Stage]:
    """Return the stage: its settings, inputs and outputs."""
    data, model, layout = run.config.data, run.config.model, run.layout
    corpora = [*data.train, *data.valid, *data.test]

    # All that decides the text and its encoding; the vocabulary is part of `prepare`.
    settings = choose_settings(
        run.config, "pivot", "languages", "tasks", "data", "prepare", "translate.too_long", "seed"
    )

    # Of the model, only what decides how text is encoded: another dropout need not encode it again.
    pretrained: dict[str, Any] = {"pretrained": model.pretrained, "revision": model.revision}
    pretrained["source_prefix"] = model.source_prefix
    if model.extend is not None:
        pretrained["extend"] = choose_settings(run.config, "model.extend")
    return [
        Stage(
            name="prepare",
            execute=functools.partial(execute, run),
            settings=settings | {"model": pretrained},
            inputs=[*list_corpus_files(corpora), *list_local_model(run)],
            outputs=[layout.text, layout.vocabulary, layout.tokens("train"), layout.tokens("valid")],
            workspace=[layout.preparing],
            describe=functools.partial(describe_text, run),
        )
    ]


def list_local_model(run: Run) -> list[Path]:
    """Return the directory of the pretrained model, where it is on this machine."""
    pretrained = run.config.model.pretrained
    return [Path(pretrained)] if pretrained is not None and Path(pretrained).is_dir() else []


def execute(run: Run) -> None:
    """Read the text, learn the vocabulary (or take the pretrained model's), and encode.

    After an interruption, finished blocks of text are not cleaned or encoded again.
    """
    codec = _open_pretrained_codec(run)  # before any work
    before = open_before(run) if run.config.model.extend is not None else None
    with explained_interruption(RESUMES):
        texts = _prepare_text(run)

        # A pretrained model has its vocabulary, with more tokens for new languages; one from a preset learns its own.
        if before is not None:
            extended, codec = extend_codec(run, before, functools.partial(read_language, texts))
            _store_vocabulary(run, codec, extended)
        elif codec is not None:
            _store_vocabulary(run, codec)
        else:
            codec = _open_own_codec(run, texts)

        _encode_texts(run, codec, texts)

    # Sentences that are too long are announced here, once, and not again by every later stage.
    _check_validation_lengths(run, codec)
    _check_test_lengths(run, codec, texts)
    shutil.rmtree(run.layout.preparing, ignore_errors=True)


def _prepare_text(run: Run) -> Texts:
    """Return the clean text, which an interrupted run may have finished."""
    layout = run.layout
    finished = FinishedParts(layout.preparing)
    if finished.hold(layout.text):
        return Texts.load(layout.text)

    shards = layout.preparing / "text"
    texts = prepare_text(run.config, layout.text, shards)
    finished.note(layout.text)
    shutil.rmtree(shards, ignore_errors=True)  # the disk has room for the rest
    return texts


def _open_own_codec(run: Run, texts: Texts) -> TextCodec:
    """Return how a model from a preset reads and writes text, with a vocabulary that is learned unless it is there."""
    preset, vocabulary = run.config.model.preset, run.layout.vocabulary
    assert preset is not None
    finished = FinishedParts(run.layout.preparing)
    if finished.hold(vocabulary):
        tokenizer = load_tokenizer(vocabulary)
        return TextCodec(tokenizer, configure_model(preset, tokenizer))

    tokenizer = _learn_vocabulary(run, texts)
    codec = TextCodec(tokenizer, configure_model(preset, tokenizer))
    _store_vocabulary(run, codec)
    finished.note(vocabulary)
    return codec


def _store_vocabulary(run: Run, codec: TextCodec, extended: ExtendedVocabulary | None = None) -> None:
    """Store the tokenizer before text is encoded: new processes load it from there."""
    with publish(run.layout.vocabulary) as temporary:
        codec.tokenizer.save_pretrained(temporary)
        if extended is not None:
            write_extension(temporary, extended)


def _open_pretrained_codec(run: Run) -> TextCodec | None:
    """Return how the pretrained model reads and writes text; None for one from a preset, or with new languages.

    Raises:
        NeuronspecError: If it does not translate, lacks a direction of the run, or cannot tell its directions apart.
    """
    config = run.config
    if config.model.pretrained is None or config.model.extend is not None:
        return None

    # The configuration and the tokenizer are enough here; the weights are loaded by `train`.
    model = load_configuration(config.model.pretrained, config.model.revision, translates=True)
    tokenizer = load_tokenizer(config.model.pretrained, config.model.revision)

    # A direction without a tag, or two that cannot be distinguished, raise an error in `formats`.
    codec = TextCodec(tokenizer, model, config.model.source_prefix)
    codec.formats(config.directions(), training=config.trains)
    codec.formats(config.tested_directions())
    return codec


def _learn_vocabulary(run: Run, texts: Texts) -> PreTrainedTokenizerBase:
    # Every language has its column in the files of its pairs.
    files: dict[str, list[tuple[Path, int]]] = {}
    sizes: dict[str, int] = {}
    for pair, size in texts.sizes["train"].items():
        for column, language in enumerate(split_direction(pair)):
            files.setdefault(language, []).append((texts.path("train", pair), column))
            sizes[language] = sizes.get(language, 0) + size

    # Languages with little text are drawn more often, as the temperature says.
    wanted = run.config.prepare.vocabulary
    with show_progress("learning the vocabulary", 1) as advance:
        count = limit_sample(files, sizes, wanted.temperature, wanted.sample)
        if count < wanted.sample:
            logger.info("the vocabulary is learned from %d sentences, which are %d MiB", count, MOST_BYTES >> 20)
        sample = sample_sentences(files, sizes, temperature=wanted.temperature, count=count, seed=run.config.seed)
        tokenizer = learn_vocabulary(sample, wanted.size, sorted(sizes), wanted.character_coverage, wanted.threads or 1)
        advance()

    for problem in check_pieces(len(tokenizer) - len(sizes), wanted.size):
        logger.warning("%s", problem)
    return tokenizer


def _encode_texts(run: Run, codec: TextCodec, texts: Texts) -> None:
    """Encode the training and the validation text."""
    # Every process that encodes calls this for itself: it loads the tokenizer instead of being sent one.
    make_encoder = functools.partial(_make_encoder, run.layout.vocabulary, codec.source_prefix)
    encode_targets = None if codec.encodes_sides_alike else functools.partial(make_encoder, "target")

    finished, fingerprint = FinishedParts(run.layout.preparing), hash_path(run.layout.vocabulary)
    for part in ("train", "valid"):
        if finished.hold(run.layout.tokens(part)):
            continue
        blocks = run.layout.preparing / "tokens" / part
        build_store(
            run.layout.tokens(part),
            {pair: texts.path(part, pair) for pair in texts.sizes[part]},
            make_encoder=functools.partial(make_encoder, "source"),
            vocabulary_size=codec.vocabulary_size,
            make_target_encoder=encode_targets,
            workspace=blocks,
            fingerprint=fingerprint,
        )
        finished.note(run.layout.tokens(part))
        shutil.rmtree(blocks, ignore_errors=True)


def _make_encoder(vocabulary: Path, source_prefix: SourcePrefix | None, side: TextSide) -> Encode:
    """Return what encodes one side; made anew in each process that encodes."""
    codec = TextCodec(load_tokenizer(vocabulary), PretrainedConfig(), source_prefix)
    encode = codec.encode_sources if side == "source" else codec.encode_targets

    # Words after a prefix are not alone.
    if source_prefix is not None or not reads_words_alone(codec.tokenizer):
        return encode
    pieces = codec.tokenizer.get_vocab()
    return WordEncoder(encode, [number for piece, number in pieces.items() if piece.startswith(SPACE_MARK)])


def _check_validation_lengths(run: Run, codec: TextCodec) -> None:
    """Announce once which sentences of the validation text are longer than the model can read.

    Raises:
        NeuronspecError: If there are some and the configuration asks to stop then, or if none is left for a task.
    """
    valid = run.open_dataset("valid", codec)
    for task, too_long in zip(valid.tasks, valid.find_too_long(), strict=True):
        # Sentences are numbered from 1 on, as editors number lines.
        numbers = np.flatnonzero(too_long) + 1
        limits = [limit for limit in (task.format.longest_source, task.format.longest_target) if limit is not None]
        name = f"validation text of {task.name}"

        if len(numbers):
            announce_too_long(
                numbers.tolist(), total=len(too_long), limit=min(limits), too_long=run.config.data.too_long, name=name
            )

        # A task without any sentence could be neither validated nor recorded.
        if valid.skips_too_long and len(too_long) and too_long.all():
            raise NeuronspecError(
                f"nothing is left of the {name}: give shorter sentences as data.valid, or choose data.too_long=cut"
            )


def _check_test_lengths(run: Run, codec: TextCodec, texts: Texts) -> None:
    """Announce once which sentences of the test text are longer than the model can read.

    Raises:
        NeuronspecError: If there are some and the configuration asks to stop then.
    """
    config = run.config
    for task in run.tested_directions:
        # Zero-shot directions have sources of their own, joined over the pivot.
        sources, _ = read_test_set(texts, task, config.directions(), config.pivot)
        tasks = [task] * len(sources)
        check_sources(codec, sources, tasks, config.translate.too_long, f"test text of {task}")
