"""The errors of neuronspec: problems that a user can fix, described in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuronspecError(Exception):
    """Something the user can fix: bad input, a misspelled name, a file that does not fit.

    The message says what was found, what was expected and how to fix it. The command line prints it
    without a traceback and exits with 2.
    """


class NeuronspecWarning(UserWarning):
    """Something that the user should look at, but that does not stop the work."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known names nearest to `name`.

    Args:
        name: Name that was given.
        known: All valid names.

    Returns:
        `" (did you mean 'de'?)"`, or an empty string where nothing is near.

    Example:
        >>> did_you_mean("sampeling", ["sampling", "seed"])
        " (did you mean 'sampling'?)"
    """
    names = list(known)

    # 0.6 is difflib's own idea of a close match.
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)

    # Another case alone makes short names differ too much to be close: `DE` and `de`.
    if not near:
        near = [candidate for candidate in names if candidate.lower() == name.lower()]
    if not near:
        return ""

    suggested = " or ".join(map(repr, near))
    return f" (did you mean {suggested}?)"


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, or the name of the error if it has no message.

    Example:
        >>> first_line(ValueError("no such thing\\nmore about it")), first_line(KeyError())
        ('no such thing', 'KeyError')
    """
    message = str(error).strip() or type(error).__name__
    return message.splitlines()[0][:1_000]  # some libraries quote what they were given
