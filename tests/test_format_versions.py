"""What is written says its format, and a file of a newer format is refused with the version that can read it."""

from __future__ import annotations

from typing import Any

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.format_versions import add_format, check_format, remove_format
from neuronspec.version import __version__


def test_values_come_back_without_their_format() -> None:
    assert add_format({"a": 1}) == {"format_version": 1, "version": __version__, "a": 1}
    assert remove_format(add_format({"a": 1}), "x") == {"a": 1}
    assert remove_format({"a": 1}, "x") == {"a": 1}  # what was written before formats had numbers
    assert remove_format(add_format({"a": 1}, 2), "x", 3) == {"a": 1}  # an older format than the newest


def test_a_newer_format_is_refused_with_the_version_that_reads_it() -> None:
    with pytest.raises(NeuronspecError) as refused:
        check_format({"format_version": 3, "version": "0.4.2"}, "masks.safetensors", 2)
    assert str(refused.value) == (
        f"masks.safetensors has format 3, written by neuronspec 0.4.2; this is neuronspec {__version__}, which reads "
        "formats up to 2: pip install 'neuronspec>=0.4.2'"
    )


@pytest.mark.parametrize("version", [None, 3, "", "0.4'; rm x", "0.4\x1b[2J", "1" * 99, "0.4\n"])
def test_what_is_no_version_goes_into_no_command(version: Any) -> None:
    with pytest.raises(NeuronspecError, match=r"written by a newer one; .*: pip install --upgrade neuronspec$"):
        check_format({"format_version": 2, "version": version}, "x")


@pytest.mark.parametrize("number", ["2", 0, -1, 1.0, True, None, [2], "\x1b" * 200])
def test_what_is_no_number_is_called_damage(number: Any) -> None:
    with pytest.raises(NeuronspecError, match="x is damaged: its format_version is ") as refused:
        check_format({"format_version": number}, "x")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("values", [[], "text", None, 3])
def test_what_has_no_names_is_called_damage(values: Any) -> None:
    with pytest.raises(NeuronspecError, match="x is damaged: it holds a"):
        remove_format(values, "x")
