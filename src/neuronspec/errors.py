"""The errors of neuronspec: what a user can mend, said in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuronspecError(Exception):
    """Something the user can mend: bad input, a misspelt name, a file that does not fit.

    The message says what was found, what was expected and how to mend it. The command line prints it
    without a traceback and exits with 2.
    """


class NeuronspecWarning(UserWarning):
    """Something the user should look at, but which does not stop the work."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the known names nearest to `name`.

    Args:
        name: what was given.
        known: every valid name.

    Returns:
        `" (did you mean 'de'?)"`, or an empty string where nothing is near.

    Example:
        >>> did_you_mean("sampeling", ["sampling", "seed"])
        " (did you mean 'sampling'?)"
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    if not near:
        near = [candidate for candidate in names if candidate.lower() == name.lower()]
    if not near:
        return ""
    return f" (did you mean {' or '.join(repr(candidate) for candidate in near)}?)"


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, or its name where it says nothing.

    Example:
        >>> first_line(ValueError("no such thing\\nmore about it")), first_line(KeyError())
        ('no such thing', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
