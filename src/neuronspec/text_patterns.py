"""Regular expressions of users, searched for in a text for a limited time."""

from __future__ import annotations

import warnings
from typing import Any, Final

from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import SECONDS

LONGEST: Final = 10_000  # characters of a pattern


class TextPattern:
    """A regular expression that can be searched for in any text.

    Some patterns, such as `(a|aa)+$`, try so many ways to read a text that they never end. The search stops after
    a time that the process spends computing, so that a machine that is busy or asleep changes nothing.

    The library `regex` reads the patterns: all that Python's own `re` reads, with properties of Unicode in addition
    (`\\p{Cyrillic}`).

    Args:
        pattern: Regular expression.

    Raises:
        ValueError: If it is not valid.

    Example:
        >>> TextPattern("www|\\\\p{Greek}").is_in("see www.example.org"), TextPattern("b+$").is_in("abc")
        (True, False)
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > LONGEST:
            raise ValueError(f"not a regular expression of a usual length ({len(pattern):,} characters)")
        import regex  # takes its time, which only patterns need

        try:
            with warnings.catch_warnings(action="ignore"):  # of sets that another version may read in another way
                self._pattern: Any = regex.compile(pattern)
        except (regex.error, OverflowError, RecursionError, MemoryError, ValueError, KeyError, IndexError) as error:
            raise ValueError(f"not a regular expression ({error})") from error

    def is_in(self, text: str) -> bool:
        """Return whether the pattern is found in a text.

        Raises:
            NeuronspecError: If the search takes too long.
        """
        try:
            return self._pattern.search(text, timeout=SECONDS.largest) is not None
        except TimeoutError as error:
            start = self._pattern.pattern[:60]
            raise SECONDS.refuse(
                f"the pattern {start!r} searches a text ({text[:60]!r}) for more than",
                "write it without repeats within repeats, as in (a+)+",
            ) from error
        except MemoryError as error:
            raise NeuronspecError(
                f"the pattern {self._pattern.pattern[:60]!r} needs more memory than there is for a text ({text[:60]!r})"
            ) from error
