from __future__ import annotations

from collections.abc import Mapping

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.registry import Registry, list_registering_modules


@pytest.fixture
def colours() -> Registry[int]:
    registry = Registry[int]("colour")
    registry.register("red")(1)
    registry.register("blue")(2)
    return registry


def test_it_is_a_mapping_in_the_order_of_registration(colours: Registry[int]) -> None:
    assert isinstance(colours, Mapping)
    assert dict(colours) == {"red": 1, "blue": 2}
    assert list(colours) == ["red", "blue"]
    assert len(colours) == 2


def test_the_decorator_gives_back_what_it_files() -> None:
    registry = Registry[type]("shape")

    @registry.register("square")
    class Square:
        pass

    assert registry["square"] is Square
    assert Square.__name__ == "Square"


def test_a_name_is_taken_once(colours: Registry[int]) -> None:
    with pytest.raises(NeuronspecError, match="the colour 'red' is registered already"):
        colours.register("red")(3)
    assert colours["red"] == 1


def test_an_unknown_name_is_refused_with_the_nearest_one(colours: Registry[int]) -> None:
    with pytest.raises(NeuronspecError) as caught:
        colours["bleu"]
    assert str(caught.value) == "unknown colour 'bleu' (did you mean 'blue'?); known: red, blue"


def test_asking_whether_a_name_is_known_raises_nothing(colours: Registry[int]) -> None:
    assert "red" in colours
    assert "bleu" not in colours


def test_a_default_takes_the_place_of_an_unknown_name(colours: Registry[int]) -> None:
    assert (colours.get("red"), colours.get("green"), colours.get("green", 0)) == (1, None, 0)


def test_modules_that_register_are_known_to_those_who_need_the_same_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronspec.registry._registries", [])
    registry = Registry[int]("number")
    registry.register("one")(1)
    assert list_registering_modules() == [__name__]
    del registry._entries["one"]
    assert list_registering_modules() == []
