"""The latest updates of a training: their mean loss and speed, as its progress bar shows them."""

from __future__ import annotations

from collections import deque

WINDOW = 100  # updates: the loss of a single one jumps with its batch


class RecentUpdates:
    """Loss and speed of the latest updates.

    Example:
        >>> recent = RecentUpdates()
        >>> recent.add(4.0, tokens=1000, seconds=0.5)
        >>> recent.add(3.0, tokens=3000, seconds=1.5)
        >>> str(recent)
        'loss 3.50, 2,000 tokens/s'
    """

    def __init__(self) -> None:
        self.updates: deque[tuple[float, int, float]] = deque(maxlen=WINDOW)

    def add(self, loss: float, *, tokens: int, seconds: float) -> None:
        """Take up an update.

        Args:
            loss: Loss per target token, in nats.
            tokens: Number of its target tokens.
            seconds: Seconds that it took.
        """
        self.updates.append((loss, tokens, seconds))

    def __str__(self) -> str:
        if not self.updates:  # no loss was read yet
            return ""
        losses, tokens, seconds = zip(*self.updates, strict=True)
        mean = sum(losses) / len(losses)
        speed = sum(tokens) / max(sum(seconds), 1e-9)
        return f"loss {mean:.2f}, {speed:,.0f} tokens/s"
