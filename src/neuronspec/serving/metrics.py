"""Metrics for Prometheus: counts and times, without a word of any text or a name that clients choose."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """Counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "neuronspec_requests", "Answered requests.", ["route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "neuronspec_request_seconds", "Time of a request.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.refused = Counter(
            "neuronspec_refused", "Requests that a limit or a check refused.", ["reason"], registry=self.registry
        )
        self.texts = Counter("neuronspec_texts", "Translated texts.", registry=self.registry)
        self.in_flight = Gauge("neuronspec_requests_in_flight", "Requests at work.", registry=self.registry)
        self.stopping = Gauge("neuronspec_stopping", "1 while the service stops.", registry=self.registry)
        self._queue = Gauge("neuronspec_queue_texts", "Texts and pieces of texts that wait.", registry=self.registry)
        self._batch_rows = Histogram(
            "neuronspec_batch_rows", "Pieces of texts in a batch.", buckets=_SIZES, registry=self.registry
        )
        self._batch_tokens = Histogram(
            "neuronspec_batch_tokens", "Source tokens in a batch.", buckets=_TOKENS, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "neuronspec_batch_seconds", "Time of a batch.", buckets=_SECONDS, registry=self.registry
        )
        self._repeats = Counter(
            "neuronspec_batch_repeats", "Calls of the engine after one that failed.", registry=self.registry
        )

    def watch_queue(self, count: Callable[[], int]) -> None:
        """Report the length of a queue, which `count` returns."""
        self._queue.set_function(count)

    def note_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def note_batch(self, rows: int, tokens: int, repeats: int, seconds: float) -> None:
        """Count a batch.

        Args:
            rows: Number of pieces of texts.
            tokens: Number of source tokens.
            repeats: Number of further calls of the engine.
            seconds: Time that it took.
        """
        if rows:
            self._batch_rows.observe(rows)
            self._batch_tokens.observe(tokens)
            self._batch_seconds.observe(seconds)
        self._repeats.inc(repeats)

    def write(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self.registry)
