"""The route that says which neurons fired for a text and its translation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from neuronspec.serving.answers import ErrorAnswer
from neuronspec.serving.engine import Sentence, ServingEngine
from neuronspec.serving.firing import FiredLayer
from neuronspec.serving.refusals import RefusedError

if TYPE_CHECKING:
    from neuronspec.serving.service import Service


@runtime_checkable
class ObservedEngine(ServingEngine, Protocol):
    """An engine whose neurons can be watched."""

    def find_fired(self, row: Sentence, translation: str) -> list[FiredLayer]:
        """Return which neurons fire while the model reads a row and its translation.

        Args:
            row: Sentence with a visible character, which is translated whole.
            translation: Its translation, with a visible character.
        """


class NeuronsRequest(BaseModel, extra="forbid"):
    """A text whose neurons are to be found."""

    text: str = Field(description="Plain text that is translated whole, without being split.", examples=["Hallo."])
    task: str = Field(description="Direction, as GET /v1/tasks lists it.", examples=["de-en"])
    masked: bool = Field(default=True, description="Whether only the neurons of the direction are used.")
    beams: int | None = Field(default=None, ge=1, description="Beam size; by default that of the service.")


class NeuronsAnswer(BaseModel):
    """A translation, and the neurons that fired for it."""

    translation: str
    layers: list[FiredLayer] = Field(description="Layers of the model; none if the text or its translation is empty.")


def make_neurons_router(service: Service, engine: ObservedEngine) -> APIRouter:
    """Return the route, for an engine whose neurons can be watched."""
    router = APIRouter(prefix="/v1", tags=["neuronspec"])
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (400, 401, 413, 422, 503, 504)
    }

    def find_layers(row: Sentence, translation: str) -> list[FiredLayer] | None:
        """Return the layers; None if the text is too long."""
        longest = engine.find_longest(row.task)
        if longest is not None and engine.count_tokens([row])[0] > longest:
            return None
        return engine.find_fired(row, translation)

    @router.post("/neurons", responses=refusals)
    async def find_neurons(request: Request, wanted: NeuronsRequest) -> NeuronsAnswer:
        """Translate a text, and say which neurons fired for it and its translation."""
        beams = wanted.beams or service.options.beams
        row = Sentence(text=wanted.text, task=wanted.task, masked=wanted.masked, beams=beams)
        [translation] = await service.translate(request, [row])
        if not row.text.strip() or not translation.strip():
            return NeuronsAnswer(translation=translation, layers=[])

        layers = await service.batcher.call(lambda: find_layers(row, translation))
        if layers is None:
            raise RefusedError(400, "the text is too long to be translated whole: send a sentence")
        return NeuronsAnswer(translation=translation, layers=layers)

    return router
