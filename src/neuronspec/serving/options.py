"""Options of a service: who may use it, and how it translates by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from neuronspec.errors import NeuronspecError
from neuronspec.serving.engine import BEAMS
from neuronspec.serving.origins import OriginCheck, is_loopback


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """Who may use a service, and how it translates by default.

    Attributes:
        host: Address that it listens on.
        hosts: Further names of it, for the header Host.
        origins: Origins of other pages that may use it.
        token: Token that requests must carry; None if anybody may ask.
        beams: Beam size of requests that name none.
    """

    host: str = "127.0.0.1"
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()
    token: str | None = None
    beams: int = BEAMS

    def make_origin_check(self) -> OriginCheck:
        """Return what refuses requests from wrong places.

        Raises:
            NeuronspecError: If an origin is not written as browsers send it.
        """
        return OriginCheck(self.host, self.hosts, self.origins)

    def check(self) -> None:
        """Refuse to let other machines use a service that needs no token, before a model is loaded.

        Raises:
            NeuronspecError: If the address is not one of this machine alone and there is no token, or an origin is
                not written as browsers send it.
        """
        self.make_origin_check()
        if self.token is None and not is_loopback(self.host):
            raise NeuronspecError(
                f"other machines can reach {self.host}, and anybody could use this service: give it a token "
                "(NEURONSPEC_TOKEN, --token-file), or listen on 127.0.0.1"
            )
