"""The service's own API: texts of any mix of directions in one request, with masks or without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from neuronspec.serving.answers import ErrorAnswer
from neuronspec.serving.engine import Sentence

if TYPE_CHECKING:
    from neuronspec.serving.service import Service


class Item(BaseModel, extra="forbid"):
    """A text to translate."""

    text: str = Field(description="Plain text of any number of lines.", examples=["Guten Morgen."])
    task: str = Field(description="Direction, as GET /v1/tasks lists it.", examples=["de-en"])
    masked: bool = Field(default=True, description="Whether only the neurons of the direction are used.")
    beams: int | None = Field(default=None, ge=1, description="Beam size; by default that of the service.")


class TranslationRequest(BaseModel, extra="forbid"):
    """Texts to translate, each with a direction of its own."""

    items: list[Item] = Field(description="Texts, with any mix of directions.")


class TranslationAnswer(BaseModel):
    """Translations in the order of the texts."""

    translations: list[str] = Field(examples=[["Good morning."]])


class TaskList(BaseModel):
    """Directions that can be translated."""

    tasks: list[str] = Field(examples=[["de-en", "en-de"]])


def make_native_router(service: Service) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter(prefix="/v1", tags=["neuronspec"])
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorAnswer} for status in (400, 401, 413, 422, 503, 504)
    }

    @router.get("/tasks", responses={401: {"model": ErrorAnswer}})
    async def list_tasks() -> TaskList:
        """List the directions that can be translated."""
        return TaskList(tasks=list(service.engine.tasks))

    @router.post("/translate", responses=refusals)
    async def translate(request: Request, wanted: TranslationRequest) -> TranslationAnswer:
        """Translate texts of any mix of directions, with the masks of each or with all neurons."""
        rows = [
            Sentence(text=item.text, task=item.task, masked=item.masked, beams=item.beams or service.options.beams)
            for item in wanted.items
        ]
        return TranslationAnswer(translations=await service.translate(request, rows))

    return router
