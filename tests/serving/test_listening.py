from __future__ import annotations

import os
import socket

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.serving import listening
from neuronspec.serving.listening import open_listener

GIVEN = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}


def test_a_free_port_is_chosen_and_named() -> None:
    listener = open_listener("127.0.0.1", 0, {})
    with listener.socket:
        assert not listener.is_inherited
        assert listener.host == "127.0.0.1"
        assert listener.address == f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


def test_a_given_socket_goes_before_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        monkeypatch.setattr(listening, "_FIRST_GIVEN", os.dup(given.fileno()))
        environment = dict(GIVEN)
        listener = open_listener("192.0.2.1", 1, environment)
        with listener.socket:
            assert listener.is_inherited
            assert listener.socket.getsockname() == given.getsockname()
        assert environment == {}  # no process started from here takes it for its own


def test_a_socket_for_another_process_is_left_alone() -> None:
    listener = open_listener("127.0.0.1", 0, {**GIVEN, "LISTEN_PID": "1"})
    with listener.socket:
        assert not listener.is_inherited


def test_something_else_than_one_socket_for_tcp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        monkeypatch.setattr(listening, "_FIRST_GIVEN", os.dup(other.fileno()))
        with pytest.raises(NeuronspecError, match="expected one socket for TCP"):
            open_listener("127.0.0.1", 0, dict(GIVEN))
    reading, writing = os.pipe()
    monkeypatch.setattr(listening, "_FIRST_GIVEN", reading)
    with pytest.raises(NeuronspecError, match="LISTEN_FDS announces a socket"):
        open_listener("127.0.0.1", 0, dict(GIVEN))
    os.close(reading)
    os.close(writing)
