"""The thorough check of a run: its text, vocabulary and tags on a sample, and a few updates of its training."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from neuronspec.checking.estimate import count_trainings, estimate_run
from neuronspec.checking.problem import Problem
from neuronspec.checking.tags import check_tags, find_tags, name_tags
from neuronspec.checking.text import check_text
from neuronspec.checking.text_sample import PairText, read_text
from neuronspec.checking.tokens import (
    EncodedText,
    check_lengths,
    check_passes,
    check_unknown,
    count_passes,
    encode_text,
)
from neuronspec.checking.vocabulary import check_pieces
from neuronspec.config.schema import Config
from neuronspec.data.normalization import comparison_form, hash_forms, normalize_text
from neuronspec.data.test_sets import describe_untested
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.errors import NeuronspecError
from neuronspec.languages import split_direction
from neuronspec.models.building import configure_model
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_configuration, load_tokenizer
from neuronspec.pipeline.checkup import Checkup
from neuronspec.pipeline.extension import extend_codec, open_before
from neuronspec.pipeline.plan import plan_stages
from neuronspec.pipeline.run import Run
from neuronspec.pipeline.run_check import check_plan, list_pairs
from neuronspec.progress import show_progress
from neuronspec.training.speed import configure, count_model, measure_speed

_LEARNED = 40_000  # sentences that a vocabulary is learned from, to see how many pieces they give


def check_run(run: Run, name: str, *, limit: int | None = None, seconds: float = 0.0) -> Checkup:
    """Check everything about a run that can be known before it.

    Args:
        run: The run.
        name: Name of its configuration.
        limit: Number of sentence pairs to read of each part of each pair of languages.
        seconds: Seconds for which updates are measured; 0 for none.
    """
    config = run.config
    result = Checkup(kind="configuration", name=name)
    result.facts = {
        "directions": config.directions(),
        "zero-shot": config.zero_shot_directions(),
        "out": str(config.out),
    }
    result.found += check_plan(run, plan_stages(run), everything=True)

    with show_progress("checking the text", 3) as advance:
        result.texts, unread = read_text(
            config.data, list_pairs(run), config.pivot, limit=limit, cleaning=config.prepare
        )
        result.found += unread
        advance()
        result.found += check_text(
            result.texts, drops_held_out=config.prepare.drop_held_out, identifier=config.score.identifier
        )
        result.found += _check_zero_shot(config, result.texts)
        advance()
        encoded = _check_model_text(run, result)
        advance()

    _estimate(config, result, encoded, seconds=seconds)
    return result


def check_runs(runs: Mapping[str, Run], name: str, *, limit: int | None = None, seconds: float = 0.0) -> Checkup:
    """Check the first of several runs that differ in some settings, and the settings of all of them.

    Args:
        runs: The runs, by what distinguishes them.
        name: Name of their configuration.
        limit: Number of sentence pairs to read of each part of each pair of languages.
        seconds: Seconds for which updates are measured; 0 for none.
    """
    first, *others = runs.values()
    result = check_run(first, name, limit=limit, seconds=seconds)
    result.facts = {"runs": list(runs)} | result.facts
    for run in others:
        result.found += check_plan(run, plan_stages(run), everything=True)
    return result


def _check_model_text(run: Run, result: Checkup) -> list[EncodedText]:
    """Check the text as the model of a run reads it; return its tokens, empty if they cannot be known."""
    config = run.config
    try:
        codec = _open_codec(run, result)
    except NeuronspecError as error:
        result.found.append(Problem(level="error", subject="model", message=str(error)))
        return []
    if codec is None:
        return []

    # A vocabulary that is learned here has all tags, and all characters that it is meant to have.
    tasks = config.tested_directions()
    result.facts["vocabulary"] = codec.vocabulary_size
    if config.model.pretrained:
        problems = list(check_tags(codec, tasks, training=config.trains))
        result.found += problems
        usable = [task for task in tasks if not any(one.subject == task and one.level == "error" for one in problems)]
        result.facts["tags"] = name_tags(codec.tokenizer, find_tags(codec.tokenizer, usable))
        fix = "choose a model whose vocabulary has this script"
    else:
        usable = tasks
        fix = "raise prepare.vocabulary.character_coverage or prepare.vocabulary.size"

    trained = [task for task in config.directions() if task in usable]
    encoded = list(encode_text(codec, result.texts, trained, config.pivot))
    result.found += check_unknown(encoded, fix)
    result.found += check_lengths(
        encoded, config.sampling, too_long=config.data.too_long, max_output=config.translate.max_tokens
    )
    for key, section in (("train", config.train), ("continued", config.continued)):
        if key == "train" or config.methods:
            passes = count_passes(section, config.sampling, encoded, result.texts, config.pivot)
            result.found += check_passes(section, key, passes)
    return encoded


def _open_codec(run: Run, result: Checkup) -> TextCodec | None:
    """Return the codec of the run's model, with tokens for new languages if it gets some."""
    if run.config.model.extend is not None:
        read = functools.partial(_read_sample, result.texts)
        return extend_codec(run, open_before(run), read, quiet=True)[1]
    return _open_pretrained(run.config) if run.config.model.pretrained else _open_preset(run, result)


def _read_sample(texts: Sequence[PairText], language: str) -> list[str]:
    """Return the training sentences in a language that were read."""
    sentences = []
    for text in texts:
        if language in text.languages:
            column = text.languages.index(language)
            sentences += [normalize_text(sides[column]) for sides in text.parts["train"]]
    return sentences


def _open_pretrained(config: Config) -> TextCodec:
    assert config.model.pretrained is not None
    model = load_configuration(config.model.pretrained, config.model.revision, translates=True)
    tokenizer = load_tokenizer(config.model.pretrained, config.model.revision)
    return TextCodec(tokenizer, model, config.model.source_prefix)


def _open_preset(run: Run, result: Checkup) -> TextCodec | None:
    """Return the codec of a preset's model, with a vocabulary learned from the sample; None if there is no text."""
    assert run.config.model.preset is not None
    sentences = list(itertools.islice(_alternate_sentences(result.texts), _LEARNED))
    if not sentences:
        return None

    tokenizer = _learn_vocabulary(run.config, sentences)
    whole = all("train" in text.whole for text in result.texts if text.parts["train"])
    everything = sum(2 * len(text.parts["train"]) for text in result.texts)
    pieces = len(tokenizer) - len(_list_languages(run.config))

    # What a part of the text does not give, the whole may.
    if whole and everything == len(sentences):
        result.found += check_pieces(pieces, run.config.prepare.vocabulary.size)
    return TextCodec(tokenizer, configure_model(run.config.model.preset, tokenizer))


def _learn_vocabulary(config: Config, sentences: list[str]) -> PreTrainedTokenizerBase:
    wanted = config.prepare.vocabulary
    return learn_vocabulary(iter(sentences), wanted.size, _list_languages(config), wanted.character_coverage)


def _list_languages(config: Config) -> list[str]:
    return sorted({code for task in config.directions() for code in split_direction(task)})


def _alternate_sentences(texts: Sequence[PairText]) -> Iterator[str]:
    """Yield the training sentences of all pairs of languages in turns."""
    rows = itertools.zip_longest(*(text.parts["train"] for text in texts))
    for row in rows:
        for sides in row:
            if sides is not None:
                yield from (normalize_text(side) for side in sides)


def _check_zero_shot(config: Config, texts: Sequence[PairText]) -> Iterator[Problem]:
    """Yield a warning about zero-shot directions without shared test text, where all test text is known."""
    if not all("test" in text.whole for text in texts):
        return

    # The pivot's sentences that each language is tested with
    shared: dict[str, set[int]] = {}
    for text in texts:
        for side, code in enumerate(text.languages):
            if text.languages[1 - side] == config.pivot:
                forms = (comparison_form(normalize_text(sides[1 - side])) for sides in text.parts["test"])
                shared.setdefault(code, set()).update(map(hash_forms, forms))

    untested = []
    for task in config.zero_shot_directions():
        source, target = split_direction(task)
        if shared.get(source, set()).isdisjoint(shared.get(target, set())):
            untested.append(task)
    if untested:
        yield Problem(level="warning", subject="zero_shot", message=describe_untested(untested, config.pivot))


def _estimate(config: Config, result: Checkup, encoded: Sequence[EncodedText], *, seconds: float) -> None:
    """Estimate what the run takes, and add problems of memory."""
    wanted = config.prepare.vocabulary.size + len(_list_languages(config))
    vocabulary = int(result.facts.get("vocabulary", wanted))
    try:
        parameters = count_model(configure(config.model, vocabulary))
    except NeuronspecError:
        return  # a problem of the model already

    result.facts["parameters"] = parameters
    speed, measured = None, 0.0
    if seconds and sum(count_trainings(config)):
        started = time.monotonic()
        first = config.train if config.train.updates else config.continued
        lengths = [text.lengths for text in encoded if text.part == "train"]
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        try:
            with show_progress("measuring the speed of training", 1) as advance:
                speed = measure_speed(
                    config.model,
                    vocabulary,
                    training=first,
                    sampling=config.sampling,
                    seconds=seconds,
                    cpu=config.device == "cpu",
                    lengths=np.concatenate(lengths) if lengths else None,
                )
                advance()
        except NeuronspecError as error:
            result.found.append(Problem(level="error", subject="memory", message=str(error)))
        measured = time.monotonic() - started

    result.estimate = estimate_run(config, parameters, speed, measured)
