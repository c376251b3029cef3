"""`neuronspec compare` on directories that `score` made: p-values, corrections, seeds, and what is not compared."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.command import run_command

from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.results import SCORES_FILE, TRANSLATIONS, Results, merge_results
from neuronspec.evaluation.scoring import score_task
from neuronspec.statistics.corrections import benjamini_hochberg, holm
from neuronspec.statistics.paired import paired_approximate_randomization

Compare = Callable[..., int]
Said = pytest.CaptureFixture[str]

TASKS = ["en-de", "en-fr", "en-sv", "de-en", "fr-en", "sv-en"]
WORDS = [
    "the",
    "old",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "two",
    "dogs",
    "ran",
    "far",
    "away",
    "from",
    "that",
    "small",
    "house",
    "near",
    "the",
    "river",
]
TRIALS = 300


def make_system(name: str, noise: float, seed: int = 0) -> Results:
    """Return the results of a system that gets words wrong, the more of them the noisier it is."""
    random, text = np.random.default_rng([seed, *name.encode()]), np.random.default_rng(7)
    parts = []
    for task in TASKS:
        references = [" ".join(text.choice(WORDS, 12)) for _ in range(25)]
        hypotheses = [
            " ".join(str(random.choice(WORDS)) if random.random() < noise else word for word in line.split())
            for line in references
        ]
        parts.append(score_task(name, task, hypotheses, references, [METRICS["bleu"]]))
    return merge_results(parts)


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compare:
    """Call `neuronspec compare` in a folder with the result sets `base` and `ours`; return its exit code."""
    for name, noise in (("base", 0.4), ("ours", 0.33)):
        (tmp_path / name).mkdir()
        make_system(name, noise).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> int:
        return run_command("compare", *arguments)

    return call


def read_tests(compare: Compare, capsys: Said, *arguments: object) -> dict[str, dict[str, Any]]:
    """Return the tests of single directions."""
    shown = ("--trials", TRIALS, "--table", "significance.bleu", "-f", "json")
    assert compare("base", "ours", *shown, *arguments) == 0
    rows = json.loads(capsys.readouterr().out)["significance.bleu"]
    return {row["directions"]: row for row in rows if row["family"] == "directions"}


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_the_seed_asked_for_draws_the_trials(compare: Compare, capsys: Said, seed: int) -> None:
    found = read_tests(compare, capsys, "--seed", seed)
    base, ours = (Results.load(Path(name)) for name in ("base", "ours"))
    for number, task in enumerate(base.tasks):
        assert found[task]["seed"] == seed
        if number == 0:  # the draws of a test set follow from its place among all
            theirs, own = base.statistics("base", "BLEU", task), ours.statistics("ours", "BLEU", task)
            direct = paired_approximate_randomization(theirs, own, METRICS["bleu"].score, trials=TRIALS, seed=seed)
            assert found[task]["p"] == direct.p_value
            assert found[task]["difference"] == pytest.approx(direct.difference)


def test_without_a_seed_it_is_0(compare: Compare, capsys: Said) -> None:
    assert read_tests(compare, capsys) == read_tests(compare, capsys, "--seed", 0)


@pytest.mark.parametrize(
    ("correction", "adjust"), [("none", np.asarray), ("holm", holm), ("bh", benjamini_hochberg), (None, holm)]
)
def test_p_values_are_corrected_as_asked(
    compare: Compare, capsys: Said, correction: str | None, adjust: Callable[[list[float]], Any]
) -> None:
    found = read_tests(compare, capsys, *(() if correction is None else ("--correction", correction)))
    adjusted = adjust([row["p"] for row in found.values()])
    assert [row["adjusted p"] for row in found.values()] == pytest.approx(adjusted.tolist())
    assert {row["correction"] for row in found.values()} == {correction or "holm"}


def test_outcomes_are_counted_after_the_correction_asked_for(compare: Compare, capsys: Said) -> None:
    counts = []
    for correction in ("none", "holm"):
        tests = read_tests(compare, capsys, "--correction", correction)
        arguments = ("--trials", TRIALS, "--correction", correction, "--table", "outcomes", "-f", "json")
        assert compare("base", "ours", *arguments) == 0
        outcomes = {row["set"]: row for row in json.loads(capsys.readouterr().out)["outcomes"]}
        counts.append(outcomes["all"]["significantly better"])
        assert counts[-1] == sum(row["adjusted p"] <= 0.05 and row["difference"] > 0 for row in tests.values())
    assert counts[0] > counts[1]


def test_every_format_gives_p_values_and_data_formats_the_interval_too(compare: Compare, capsys: Said) -> None:
    tests = read_tests(compare, capsys)
    said = {}
    for format in ("markdown", "latex", "csv", "json", "terminal"):
        assert compare("base", "ours", "--trials", TRIALS, "--table", "directions", "-f", format) == 0
        said[format] = capsys.readouterr().out
    for text in (said["markdown"], said["latex"]):
        for row in tests.values():
            assert f"(p = {row['adjusted p']:.3g})" in text
        assert "the p-value after Holm's correction; seed 0" in text
    assert "(p = " not in said["terminal"]
    for rows in (json.loads(said["json"])["directions"], list(csv.DictReader(io.StringIO(said["csv"])))):
        for row in rows:
            test = tests[row["direction"]]
            assert float(row["ours p"]) == test["p"]
            assert float(row["ours adjusted p"]) == test["adjusted p"]
            assert float(row["ours difference"]) == test["difference"]
            assert float(row["ours low"]) == test["95 % interval low"] < test["95 % interval high"]
            assert float(row["ours high"]) == test["95 % interval high"]
    assert compare("base", "ours", "--trials", TRIALS, "--p-values") == 0
    shown = capsys.readouterr().out
    assert "(p = " in shown
    assert "BLEU: every test" in shown


def test_bilingual_models_are_tested_against_as_well(compare: Compare, capsys: Said) -> None:
    arguments = ("--bilingual", "ours", "--trials", TRIALS, "--table", "interference.bleu", "-f", "json")
    assert compare("base", "ours", *arguments) == 0
    (_, against), *_ = zip(*[iter(json.loads(capsys.readouterr().out)["interference.bleu"])] * 2, strict=False)
    test = read_tests(compare, capsys)["en-de"]
    assert against["de difference"] == pytest.approx(-test["difference"])
    assert against["de p"] == test["p"]


HEAVY = ("torch", "transformers", "accelerate", "scipy", "matplotlib")
PROBE = """
import sys
from neuronspec.cli.main import main
sys.argv = ["neuronspec", *sys.argv[1:]]
try:
    main()
except SystemExit as left:
    assert left.code == 0
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "base", "ours", "--trials", "100"],
        ["compare", "a=base", "b=ours", "--models"],
        ["compare", "--help"],
        ["score", "--help"],
        ["score", "-t", "text", "-r", "text", "-l", "de"],
    ],
    ids=" ".join,
)
def test_comparing_and_scoring_load_no_library_that_they_do_not_need(compare: Compare, arguments: list[str]) -> None:
    Path("text").write_text("Ein Satz.\n", encoding="utf-8")
    command = [sys.executable, "-c", PROBE, *arguments]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()[-1].split()
    assert "neuronspec" in loaded
    assert not {*HEAVY} & {*loaded}


def change_signature(directory: str) -> None:
    path = Path(directory, SCORES_FILE)
    path.write_text(path.read_text(encoding="utf-8").replace("tok:13a", "tok:char"), encoding="utf-8")


@pytest.mark.parametrize("arguments", [("base", "ours"), ("a=base", "b=ours", "--models"), ("a=base:base", "b=ours")])
def test_scores_with_different_signatures_are_not_compared(
    compare: Compare, capsys: Said, arguments: tuple[str, ...]
) -> None:
    change_signature("ours")
    assert compare(*arguments) == 2
    said = capsys.readouterr().err
    assert "were scored in different ways on en-de" in said
    assert "tok:13a" in said
    assert "tok:char" in said


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["base", "ours", "--correction", "hol"], "unknown correction 'hol' (did you mean 'holm'?)"),
        (["a=base", "b=ours", "--models", "--seed", "0"], "it takes no baseline, pivot, level or test"),
        (["a=base", "b=ours", "--models", "--correction", "bh"], "it takes no baseline, pivot, level or test"),
        (["base", "ours", "--table", "significance"], "no table 'significance' (did you mean 'significance.bleu'?)"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    compare: Compare, capsys: Said, arguments: list[str], found: str
) -> None:
    assert compare(*arguments) == 2
    said = capsys.readouterr().err
    assert found in said
    assert "Traceback" not in said


def test_the_terminal_shows_averages_and_outcomes_unless_more_is_asked_for(compare: Compare, capsys: Said) -> None:
    assert compare("base", "ours", "--trials", TRIALS) == 0
    said = capsys.readouterr()
    assert "Averages over directions" in said.out
    assert "Directions that are better or worse than with base" in said.out
    assert "Every direction" not in said.out
    assert "more with --all, or one with --table: languages.bleu" in said.err

    assert compare("base", "ours", "--trials", TRIALS, "--all") == 0
    said = capsys.readouterr()
    for title in ("Averages over directions", "Every direction", "Translations that are broken", "BLEU: every test"):
        assert title in said.out
    assert "--all" not in said.err


def test_averages_are_the_means_of_each_group(compare: Compare, capsys: Said) -> None:
    assert compare("base", "ours", "--trials", TRIALS, "--table", "averages", "-f", "json") == 0
    rows = {row["system"]: row for row in json.loads(capsys.readouterr().out)["averages"]}
    for name in ("base", "ours"):
        results = Results.load(Path(name))
        for group, tasks in (("from en", TASKS[:3]), ("to en", TASKS[3:])):
            assert rows[name][f"BLEU {group}"] == pytest.approx(results.score(name, "BLEU", tasks))


def test_the_page_shows_tables_findings_and_translations(compare: Compare, capsys: Said) -> None:
    shown = ("--trials", TRIALS, "--html", "page.html")
    assert compare("base", "ours", *shown) == 0
    assert "the page is page.html" in capsys.readouterr().err
    payload = json.loads(Path("page.html").read_text(encoding="utf-8").split('id="payload">')[1].split("</script>")[0])
    assert payload["title"] == "ours against base"
    assert payload["tables"]["scores"][0]["title"] == "Averages over directions"
    assert [system["name"] for system in payload["translations"]["systems"]] == ["base", "ours"]
    assert "against base: BLEU" in payload["summary"][-1]["text"]
    lines = Path("page.translations.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 25 * len(TASKS)

    # It may be written again, but nothing else is replaced unless that is asked for.
    assert compare("base", "ours", *shown) == 0
    Path("page.html").write_text("mine", encoding="utf-8")
    assert compare("base", "ours", *shown) == 2
    assert "page.html exists and is no page of a comparison" in capsys.readouterr().err
    assert Path("page.html").read_text(encoding="utf-8") == "mine"
    assert compare("base", "ours", *shown, "--force") == 0
    Path("page.html").unlink()
    assert compare("base", "ours", *shown) == 2
    assert "page.translations.jsonl exists" in capsys.readouterr().err


def test_scores_alone_make_a_page_that_says_what_is_missing(compare: Compare, capsys: Said) -> None:
    for name in ("base", "ours"):
        shutil.rmtree(Path(name) / TRANSLATIONS)
    assert compare("base", "ours", "--trials", TRIALS, "--html", "page.html") == 0
    assert "There are scores but no translations to show" in Path("page.html").read_text(encoding="utf-8")
    assert not Path("page.translations.jsonl").exists()


def test_a_page_is_not_written_into_a_run_nor_over_a_directory(compare: Compare, capsys: Said) -> None:
    assert compare("base", "ours", "--html", "base") == 2
    assert "base is a directory: name the page to write" in capsys.readouterr().err
    assert compare("base", "ours", "--force") == 2
    assert capsys.readouterr().err == "error: --force changes nothing without --out or --html\n"
