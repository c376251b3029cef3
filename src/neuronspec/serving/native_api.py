"""The service's own API: sentences of any mix of directions in one request."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from neuronspec.serving.batching import Batcher
from neuronspec.serving.engine import BEAMS, Sentence, ServingEngine


class Item(BaseModel, extra="forbid"):
    """A text to translate."""

    text: str
    task: str = Field(examples=["en-de"])
    masked: bool = True
    beams: int = Field(default=BEAMS, ge=1)


class TranslationRequest(BaseModel, extra="forbid"):
    """Texts to translate, each with its own direction."""

    items: list[Item] = Field(min_length=1)


def make_router(engine: ServingEngine, batcher: Batcher) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter(prefix="/v1")

    @router.get("/tasks")
    async def list_tasks() -> dict[str, list[str]]:
        """List the directions that can be translated."""
        return {"tasks": list(engine.tasks)}

    @router.post("/translate")
    async def translate(request: TranslationRequest) -> dict[str, list[str]]:
        """Translate texts of any mix of directions."""
        rows = [Sentence(**item.model_dump()) for item in request.items]
        return {"translations": await batcher.translate(rows)}

    return router
