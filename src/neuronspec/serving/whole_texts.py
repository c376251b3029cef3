"""Translating the texts of a request whole: plain or HTML, each from its own language, back in their order."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

from neuronspec.errors import NeuronspecError
from neuronspec.serving.detection import Detection
from neuronspec.serving.engine import Sentence
from neuronspec.serving.markup import SplitMarkup, split_markup
from neuronspec.serving.refusals import RefusedError
from neuronspec.serving.service import check_texts
from neuronspec.serving.wanted import AUTO, Wanted

if TYPE_CHECKING:
    from starlette.requests import Request

    from neuronspec.serving.service import Service


async def translate_wanted(service: Service, request: Request, wanted: Wanted) -> dict[str, Any]:
    """Translate the texts of a request and return the answer, as LibreTranslate has it.

    Args:
        service: Service that translates.
        request: Request; when its client closes the connection, its texts are dropped.
        wanted: Fields of the request.

    Raises:
        RefusedError: If a limit is exceeded, a language is unknown, or a text cannot be translated.
    """
    service.check_accepting()
    check_texts(wanted.texts, service.limits)
    splits = await _split_texts(wanted)

    detected = await _detect_sources(service, wanted, splits)
    sources = [found.code for found in detected] or [wanted.source] * len(wanted.texts)
    tasks = [_find_task(service, source, wanted.target) for source in sources]
    translations = await _translate_texts(service, request, wanted.texts, splits=splits, tasks=tasks)

    answer: dict[str, Any] = {"translatedText": translations if wanted.is_list else translations[0]}
    if wanted.source == AUTO:
        shown = list(map(show_detection, detected))
        answer["detectedLanguage"] = shown if wanted.is_list else shown[0]
    if wanted.alternatives:  # the engines keep only the best translation
        answer["alternatives"] = [[] for _ in translations] if wanted.is_list else []
    return answer


def show_detection(found: Detection) -> dict[str, Any]:
    """Return a detected language, as LibreTranslate has it."""
    return {"confidence": found.confidence, "language": found.code}


async def _split_texts(wanted: Wanted) -> list[SplitMarkup | None]:
    """Return the texts between the tags of HTML; None for each plain text."""
    if not wanted.is_markup:
        return [None] * len(wanted.texts)
    # Other requests are answered meanwhile.
    return await asyncio.to_thread(lambda: [split_markup(text) for text in wanted.texts])


async def _translate_texts(
    service: Service,
    request: Request,
    texts: list[str],
    *,
    splits: list[SplitMarkup | None],
    tasks: list[str | None],
) -> list[str]:
    """Return the translations of texts; a text without a direction is its own translation."""
    rows: list[Sentence] = []
    sizes = []
    for text, split, task in zip(texts, splits, tasks, strict=True):
        parts = () if task is None else _list_parts(text, split)
        rows += [Sentence(text=part, task=str(task), beams=service.options.beams) for part in parts]
        sizes.append(len(parts))

    # All parts of all texts are translated together, and go back to their texts.
    found = iter(await service.translate(request, rows))
    translations = []
    for text, split, task, size in zip(texts, splits, tasks, sizes, strict=True):
        own = list(itertools.islice(found, size))
        if task is None:
            translations.append(text)
        else:
            translations.append(own[0] if split is None else split.join(own))
    return translations


def _list_parts(text: str, split: SplitMarkup | None) -> tuple[str, ...]:
    return (text,) if split is None else split.texts


async def _detect_sources(service: Service, wanted: Wanted, splits: list[SplitMarkup | None]) -> list[Detection]:
    """Return the language of each text, if the client leaves it to the service."""
    if wanted.source != AUTO:
        return []
    parts = [_list_parts(text, split) for text, split in zip(wanted.texts, splits, strict=True)]
    try:
        return await service.choose_languages([" ".join(own) for own in parts])
    except NeuronspecError as error:
        raise RefusedError(400, str(error)) from error


def _find_task(service: Service, source: str, target: str) -> str | None:
    """Return the direction from one language to another; None if both are the same.

    Raises:
        RefusedError: If there is none (400).
    """
    languages = service.languages
    try:
        if languages.find(source).code == languages.find(target).code:
            return None
        return languages.find_task(source, target)
    except NeuronspecError as error:
        raise RefusedError(400, str(error)) from error
