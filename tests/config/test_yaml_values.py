"""YAML that grows without end, or that takes forever: refused with a sentence."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from neuronspec.config.loading import load_config
from neuronspec.config.plain_values import make_plain
from neuronspec.config.sweeps import list_points
from neuronspec.config.yaml_values import parse_yaml, read_yaml
from neuronspec.errors import NeuronspecError
from neuronspec.reading_limits import VALUES

LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
MERGES = "a0: &a0 {x0: 1, y0: 1}\n" + "".join(
    f"a{n + 1}: &a{n + 1}\n  <<: [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9)
)
RECIPE = """
languages: [de]
data: {{train: [{{path: "{{lang}}.tsv"}}], hold_out: {{valid: 0.1, test: 0.1}}}}
model: {{preset: tiny}}
{more}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "my.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    return path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "holds more than 5,000 values"),
        (MERGES, "holds more than 5,000 values"),
        ("a: &a [*a]", "nested too deeply"),
        ("a: &a {b: *a}", "nested too deeply"),
        ("[" * 2_000, "nested too deeply"),
        ("a: " + "{b: " * 2_000, "nested too deeply"),
        ("a: " + ":".join(["1"] * 5_000), "a number has 9,999 characters"),
        ("a: 0x" + "f" * 5_000, "a number has 5,002 characters"),
        ("a: " + "1" * 5_000, "a number has 5,000 characters"),
        ("a: " + "1" * 200 + ".5", "a number has 202 characters"),
        ("- x\n" * 5_001, "holds more than 5,000 values"),
        ("#" * (5 << 20), "is larger than 4 MiB: .* NEURONSPEC_MAX_CONFIGURATION"),
        ("a: \ud800", "no text in UTF-8"),
        ("a: \0", "line|special characters|unacceptable"),
        ("? [1, 2]\n: x", "unhashable|mapping"),
        ("a: 1\nb: 2\na: 3", "the key 'a' is given twice"),
    ],
)
def test_yaml_that_never_ends_is_refused(
    text: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VALUES.variable, "5000")
    start = time.process_time()
    with pytest.raises(NeuronspecError, match=problem) as refused:
        read_yaml(write(tmp_path, text))
    assert len(str(refused.value)) < 1_000
    assert time.process_time() - start < 30


def test_an_override_that_never_ends_is_refused() -> None:
    text = "[" + "&a0 [1]," + "".join(f"&a{n + 1} [{','.join([f'*a{n}'] * 10)}]," for n in range(9)) + "]"
    with pytest.raises(NeuronspecError, match=r"cannot read it: .*|it holds more than 100,000 values"):
        parse_yaml(text, "cannot read it")


def test_a_value_of_a_program_is_limited_too() -> None:
    with pytest.raises(NeuronspecError, match="holds more than 100,000 values"):
        make_plain(range(10**12))


@pytest.mark.parametrize(
    "more",
    [
        "zero_shot: [{tasks}]",
        "tasks: [{tasks}]",
        "score: {{levels: {{high: [{codes}], low: [{codes}]}}}}",
        "score: {{metrics: [{codes}]}}",
        "method: [{codes}]",
        "methods: {{{keys}}}",
        "{lines}",
        "select: {{k: [{numbers}]}}",
        "seed: [{numbers}]",
    ],
)
def test_thousands_of_values_take_seconds_and_problems_are_summed_up(more: str, tmp_path: Path) -> None:
    names = [f"x{number:04}" for number in range(2_000)]
    text = more.format(
        tasks=", ".join(f"en-{name}" for name in names),
        codes=", ".join(names),
        keys=", ".join(f"{name}: {{}}" for name in names),
        lines="\n".join(f"{name}: 1" for name in names),
        numbers=", ".join(str(number / 2_000) for number in range(2_000)),
    )
    start = time.process_time()
    with pytest.raises(NeuronspecError) as refused:
        load_config(write(tmp_path, RECIPE.format(more=text)), method_options={})
    assert time.process_time() - start < 15
    assert len(str(refused.value)) < 10_000


def test_thousands_of_languages_take_seconds(tmp_path: Path) -> None:
    codes = [f"q{number:04}" for number in range(1_000)]
    path = write(tmp_path, RECIPE.format(more="").replace("[de]", f"[{', '.join(codes)}]"))
    start = time.process_time()
    assert len(load_config(path, warns=False).directions()) == 2_000
    assert time.process_time() - start < 15
    path.write_text(path.read_text() + "zero_shot: all\n")
    with pytest.raises(NeuronspecError, match=r"zero_shot: all are about 1,000,000 directions, at most 100,000"):
        load_config(path)


def test_a_grid_of_millions_of_runs_is_refused() -> None:
    with pytest.raises(NeuronspecError, match="a, b make 1,000,000 runs, at most 10,000"):
        list_points({"a": list(range(1_000)), "b": list(range(1_000))})
