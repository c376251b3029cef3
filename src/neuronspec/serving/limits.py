"""Limits: how much a service accepts, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from neuronspec.errors import NeuronspecError


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """Limits of a service; each is answered with a status of its own.

    Attributes:
        body: Bytes of a request's body; more is refused with 413.
        bodies: Bytes of the bodies of all requests at a time; a request that does not fit is refused with 503.
        sentences: Texts of a request; more are refused with 400.
        characters: Characters of all texts of a request together; more are refused with 400.
        beams: Largest beam size that a request may ask for; a larger one is refused with 400.
        queue: Texts that wait, of all requests together; a request that does not fit is refused with 503.
        queue_characters: Characters of all requests that wait or are at work; likewise.
        connections: Connections at a time; others are refused with 503.
        request_seconds: Time until a request is answered; then 504.
        read_seconds: Time for the headers of a request, and again for its body; then 408.
        idle_seconds: Time that a connection may wait for its next request.
        stop_seconds: Time for the answers to accepted requests when the service stops.
        batch_tokens: Source tokens of a batch, times beams.
        batch_rows: Texts of which a batch is chosen.
        gather_seconds: Time after a batch within which the next one waits for the clients that were just answered.
    """

    body: int = 1_000_000
    bodies: int = 100_000_000
    sentences: int = 1_000
    characters: int = 200_000
    beams: int = 10
    queue: int = 10_000
    queue_characters: int = 5_000_000
    connections: int = 1_000
    request_seconds: float = 120.0
    read_seconds: float = 20.0
    idle_seconds: float = 30.0
    stop_seconds: float = 120.0
    batch_tokens: int = 2_048
    batch_rows: int = 256
    gather_seconds: float = 0.005

    def check(self) -> None:
        """Refuse limits that would refuse everything.

        Raises:
            NeuronspecError: If there is less room than a request may need.
        """
        if self.bodies < self.body:
            raise NeuronspecError(
                f"{self.bodies} bytes for all bodies have no room for one of {self.body}: allow smaller bodies"
            )
        if self.queue_characters < self.characters:
            raise NeuronspecError(
                f"a queue of {self.queue_characters} characters has no room for a request of {self.characters}: allow "
                "fewer characters in a request"
            )
        if self.queue < self.sentences:
            raise NeuronspecError(
                f"a queue of {self.queue} texts has no room for a request of {self.sentences}: make the "
                "queue larger, or allow fewer texts in a request"
            )
