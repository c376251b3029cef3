"""Answers that both interfaces share."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ErrorAnswer(BaseModel):
    """A request that was refused, or failed."""

    error: str = Field(description="What is wrong, and what to do; it quotes no text.")


class HealthAnswer(BaseModel):
    """State of the service."""

    status: str = Field(description="ok; stopping or stalled with status 503.", examples=["ok"])
