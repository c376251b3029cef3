"""The token that requests must carry: read from the environment or a file, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import read_bytes

VARIABLE = "NEURONSPEC_TOKEN"
SHORTEST = 16  # characters
_ADVICE = "make one: python -c 'import secrets; print(secrets.token_urlsafe())'"


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the token of a service; None if anybody may ask.

    It never comes from the command line, which all users of a machine can read.

    Args:
        file: File that holds the token and nothing else.
        environment: Variables of the process, of which `NEURONSPEC_TOKEN` may hold the token.

    Raises:
        NeuronspecError: If there are two tokens, the file cannot be read, or the token is too short.
    """
    variable = environment.get(VARIABLE)
    if file is None and variable is None:
        return None
    if file is not None and variable is not None:
        raise NeuronspecError(f"the token comes from --token-file and from {VARIABLE}: unset one of them")

    place = str(file) if file is not None else VARIABLE
    try:
        text = (read_bytes(file).decode("ascii") if file is not None else str(variable)).strip()
    except (OSError, ValueError) as error:
        raise NeuronspecError(f"cannot read a token from {place}: expected a file with one line of ASCII") from error

    # It travels in a header, and is not to be guessed.
    if len(text) < SHORTEST or not text.isascii() or not text.isprintable() or " " in text:
        raise NeuronspecError(
            f"the token in {place} has {len(text)} characters; expected at least {SHORTEST} letters, digits or signs "
            f"without spaces: {_ADVICE}"
        )
    return text


class TokenCheck:
    """Compares tokens with the one of the service, in a time that shows nothing about it.

    Args:
        token: Token of the service; None accepts everything.

    Example:
        >>> check = TokenCheck("sesame-sesame-sesame")
        >>> check.accepts("sesame-sesame-sesame"), check.accepts("sesame"), check.accepts(None)
        (True, False, False)
    """

    def __init__(self, token: str | None) -> None:
        self._digest = None if token is None else _digest(token)

    @property
    def is_needed(self) -> bool:
        """Whether requests need a token."""
        return self._digest is not None

    def accepts(self, token: str | None) -> bool:
        """Return whether a request with this token may be answered."""
        if self._digest is None:
            return True
        # Digests have one length, so that the comparison does not depend on that of the token.
        return token is not None and hmac.compare_digest(_digest(token), self._digest)

    def accepts_header(self, header: str | None) -> bool:
        """Return whether a request with this `Authorization` header may be answered."""
        scheme, _, token = (header or "").partition(" ")
        return self.accepts(token.strip() if scheme.lower() == "bearer" else None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
