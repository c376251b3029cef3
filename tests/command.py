"""The command line, called in the process of the tests."""

from __future__ import annotations

import sys

import pytest

from neuronspec.cli.main import main


def run_command(*arguments: object) -> int:
    """Call `neuronspec` with some arguments and return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["neuronspec", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
    assert isinstance(left.value.code, int)
    return left.value.code
