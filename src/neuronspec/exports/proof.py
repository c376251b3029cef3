"""The proof of an export (promise R8): read again from disk, it answers as the masked model does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.scoring import score
from neuronspec.exports.answers import open_answers
from neuronspec.exports.formats import Answer, ExportFormat, ExportRequest, Standard
from neuronspec.exports.reference import steer_answers, use_masked
from neuronspec.models.codec import TextCodec

logger = logging.getLogger(__name__)

GREEDY, BEAMS = 1, 5
"""Beam sizes of the proof: greedy search, and that of the paper."""

Ids = Sequence[list[int]]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of an export and the masked model on the sentences of one task, with one beam size.

    Attributes:
        task: Name of the task.
        beams: Beam size; 1 is greedy search.
        sentences: Number of sentences.
        equal: Number of sentences with the same tokens.
        chrf: chrF++ of the export's answers, with those of the masked model as references.
        difference: Number of the first sentence that differs, from 1 on; None if none does.
        changed: Number of sentences whose greedy answer the masks, or a steering, change, compared with the dense
            model. Only these show whether they are in place. None for a beam search, and for a dense export.
    """

    task: str
    beams: int
    sentences: int
    equal: int
    chrf: float
    difference: int | None
    changed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The agreements of an export, and the speed of both sides.

    Attributes:
        agreements: One for each task and beam size.
        masked_speed: Sentences a second of the masked model in transformers, with a beam of 5.
        export_speed: The same of the export, measured right after it on the same machine.
    """

    agreements: tuple[Agreement, ...]
    masked_speed: float
    export_speed: float


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """Answers by task and beam size, and the seconds that those with the larger beam took."""

    ids: Mapping[tuple[str, int], Ids]
    seconds: float


def prove(format: ExportFormat, request: ExportRequest, directory: Path) -> Proof:
    """Compare an export with the masked model, sentence by sentence.

    Args:
        format: Format of the export.
        request: Model, masks and sentences.
        directory: Directory of the export.

    Raises:
        NeuronspecError: If the export does not reach the standard of its format; the message names a sentence.
    """
    # One after the other, so that the export never sees the masks that the model computes with.
    with use_masked(request.model, request.masks) as masked:
        plain = open_answers(masked, request.tokenizer, request.max_tokens)
        answer = steer_answers(plain, masked, request.steerings)
        expected = _collect_answers(answer, request)
    with format.open(request, directory) as answer:
        found = _collect_answers(answer, request)

    changed = _count_changed(request, expected)

    agreements = tuple(
        _compare(
            request,
            task,
            beams,
            expected=expected.ids[task, beams],
            found=found.ids[task, beams],
            changed=changed.get(task) if beams == GREEDY else None,
        )
        for task, beams in expected.ids
    )
    standard = format.standard(request.options)
    for agreement in agreements:
        check_standard(agreement, standard, request.sentences[agreement.task])

    total = sum(len(request.sentences[task]) for task in request.tasks)
    return Proof(agreements=agreements, masked_speed=total / expected.seconds, export_speed=total / found.seconds)


def _collect_answers(answer: Answer, request: ExportRequest) -> _Answers:
    """Return all answers; greedy ones first, which also warm up what is timed."""
    ids: dict[tuple[str, int], Ids] = {}
    seconds = 0.0
    for beams in (GREEDY, BEAMS):
        start = time.perf_counter()
        for task in request.tasks:
            ids[task, beams] = answer(request.sentences[task], task, beams=beams)
        seconds = time.perf_counter() - start
    return _Answers(ids=ids, seconds=seconds)


def _count_changed(request: ExportRequest, expected: _Answers) -> dict[str, int]:
    """Return for each task how many greedy answers differ from those of the dense model; empty for the model itself."""
    if not request.changes:
        return {}

    trim = _find_ends(request)
    changed = {}
    with use_masked(request.model, None) as dense:
        answer = open_answers(dense, request.tokenizer, request.max_tokens)
        for task in request.tasks:
            pairs = zip(answer(request.sentences[task], task, beams=GREEDY), expected.ids[task, GREEDY], strict=True)
            changed[task] = sum(trim(one) != trim(other) for one, other in pairs)

    blind = [task for task, number in changed.items() if not number]
    if blind:
        logger.warning(
            "%s change no greedy answer to the sentences of %s, so that their equality proves little: give more text, "
            "or masks or a steering that change more",
            request.changes,
            ", ".join(blind),
        )
    return changed


def _compare(
    request: ExportRequest, task: str, beams: int, *, expected: Ids, found: Ids, changed: int | None
) -> Agreement:
    if len(found) != len(expected):
        raise NeuronspecError(f"the export gave {len(found)} answers to {len(expected)} sentences of {task}")

    # Equal up to the end of each sentence; what follows is padding
    trim = _find_ends(request)
    pairs = [(trim(one), trim(other)) for one, other in zip(expected, found, strict=True)]
    differing = [number for number, (one, other) in enumerate(pairs, 1) if one != other]

    return Agreement(
        task=task,
        beams=beams,
        sentences=len(pairs),
        equal=len(pairs) - len(differing),
        chrf=_measure_chrf(request, task, pairs) if differing else 100.0,
        difference=differing[0] if differing else None,
        changed=changed,
    )


def _find_ends(request: ExportRequest) -> Callable[[list[int]], list[int]]:
    """Return a function that cuts ids where their sentence ends."""
    settings = request.model.generation_config
    given = settings.eos_token_id if settings is not None else None
    ends = {given} if isinstance(given, int) else set(given or ())
    ends |= {request.tokenizer.eos_token_id, request.tokenizer.pad_token_id}

    def trim(ids: list[int]) -> list[int]:
        end = next((place for place, number in enumerate(ids) if number in ends), len(ids))
        return list(ids[:end])

    return trim


def _measure_chrf(request: ExportRequest, task: str, pairs: Sequence[tuple[list[int], list[int]]]) -> float:
    """Return the chrF++ of the second answers, with the first ones as references."""
    expected, found = (_decode(request, [pair[side] for pair in pairs]) for side in (0, 1))

    # Where the masked model says nothing, there is nothing to compare text with.
    kept = [(one, other) for one, other in zip(expected, found, strict=True) if one.strip()]
    if not kept:
        return 0.0
    references, hypotheses = ([pair[side] for pair in kept] for side in (0, 1))
    (chrf,) = score(hypotheses, references, language=task.rpartition("-")[2] or task, metrics=["chrf"])
    return chrf.value


def _decode(request: ExportRequest, answers: Ids) -> list[str]:
    tokenizer: PreTrainedTokenizerBase = request.tokenizer
    if request.model.config.is_encoder_decoder:
        return TextCodec(tokenizer, request.model.config).decode(answers)
    return [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers]


def check_standard(agreement: Agreement, standard: Standard, sentences: Sequence[str]) -> None:
    """Refuse an export that agrees too little with the masked model.

    Args:
        agreement: Measured agreement.
        standard: Agreement that must be reached.
        sentences: Sentences of the task, for the message.

    Raises:
        NeuronspecError: If it agrees too little.
    """
    needed = standard.greedy if agreement.beams == GREEDY else standard.beam
    is_equal_enough = agreement.equal >= needed * agreement.sentences
    if agreement.difference is None or (is_equal_enough and agreement.chrf >= standard.chrf):
        return

    search = "greedy search" if agreement.beams == GREEDY else f"a beam of {agreement.beams}"
    differ = agreement.sentences - agreement.equal
    where = f"sentence {agreement.difference}, {sentences[agreement.difference - 1]!r:.80}"
    if not is_equal_enough:
        found = f"{differ} of {agreement.sentences} sentences of {agreement.task} get other tokens with {search}"
        raise NeuronspecError(
            f"the export is not published, because it does not equal the masked model: {found}, the first is {where}; "
            f"{100 * needed:g} % must be equal: {standard.remedy}"
        )
    raise NeuronspecError(
        f"the export is not published, because its outputs are too far from the masked model's: chrF++ "
        f"{agreement.chrf:.1f} between the two for {agreement.task} with {search}, expected {standard.chrf:g} or more; "
        f"the first to differ is {where}: {standard.advice}"
    )
