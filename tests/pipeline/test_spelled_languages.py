"""A run of languages in the spelling that the user wrote, among them ones that no table knows."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import pytest
from tests.pipeline.running import run

from neuronspec.cli.main import main
from neuronspec.config.schema import Config
from neuronspec.data.preparation import prepare_text
from neuronspec.evaluation.results import Results
from neuronspec.models.loading import load_tokenizer
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.layout import Layout

LANGUAGES = ["deu_Latn", "gsw-bern"]
TASKS = [f"eng_Latn-{code}" for code in LANGUAGES] + [f"{code}-eng_Latn" for code in LANGUAGES]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    folder = tmp_path_factory.mktemp("spelled")
    for code in ("eng_Latn", *LANGUAGES):
        words = ["".join(pair) for pair in itertools.product("abcdefghij", "klmnopqr")]  # all different without digits
        lines = [f"{code[:2]} {word} {word[::-1]}" for word in words]
        (folder / f"{code}.dev").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    values = {
        **{"out": folder / "run", "device": "cpu", "pivot": "eng_Latn", "languages": LANGUAGES},
        "zero_shot": ["de-gsw-bern"],
        "data": {
            "train": [{"path": f"{folder}/{{lang}}.dev", "format": "lines"}],
            "hold_out": {"valid": 0.2, "test": 0.2},
        },
        **{"prepare": {"vocabulary": {"size": 100}}, "model": {"preset": "tiny"}},
        **{"train": {"updates": 1, "warmup": 1}, "continued": {"updates": 1, "warmup": 1}},
        "methods": {"neuron_specialization": {}},
        **{"translate": {"beams": 1, "max_tokens": 4}, "score": {"trials": 100}},
    }
    return Layout(run(Config.model_validate(values), until="score").out)


def test_texts_tags_masks_and_scores_have_the_names_that_the_user_wrote(layout: Layout) -> None:
    assert {path.name for path in layout.text.glob("test.*")} == {f"test.eng_Latn-{code}.tsv" for code in LANGUAGES}
    tags = [token for token in load_tokenizer(layout.vocabulary).get_vocab() if token.startswith("__")]
    assert sorted(tags) == sorted(f"__{code}__" for code in ("eng_Latn", *LANGUAGES))
    assert NeuronMasks.from_pretrained(layout.masks).tasks == tuple(TASKS)

    results = Results.load(layout.scores)
    assert set(results.tasks) == {*TASKS, "deu_Latn-gsw-bern"}
    assert list(results.zero_shot) == ["deu_Latn-gsw-bern"]


def translate(layout: Layout, monkeypatch: pytest.MonkeyPatch, direction: str) -> object:
    """Translate a sentence by the command line with the run's specialised system; return the exit code."""
    model = str(layout.model("neuron_specialization"))
    words = ["neuronspec", "translate", "--model", model, "--beams", "1", "--json", direction, "en ak ka"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("direction", ["de-en", "eng_Latn-gsw-bern", "gsw_Bern-en", "deu-gsw-bern"])
def test_its_system_translates_directions_in_any_spelling(
    direction: str, layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not translate(layout, monkeypatch, direction)
    assert json.loads(capsys.readouterr().out)["source"] == "en ak ka"


def test_what_its_system_cannot_translate_is_refused_by_the_names_of_its_tasks(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(layout, monkeypatch, "fr-en") == 2
    assert "eng_Latn-deu_Latn" in capsys.readouterr().err


def test_one_run_reads_corpora_that_spell_the_languages_in_their_own_ways(tmp_path: Path) -> None:
    words = [f"{a}{b}" for a, b in itertools.product("abcdefghij", "klmnopqr")]
    for code in ("de", "fra_Latn"):
        (tmp_path / f"{code}.tsv").write_text("".join(f"{word}\t{code} {word}\n" for word in words), encoding="utf-8")
    for code in ("eng_Latn", "deu_Latn", "fra"):
        (tmp_path / f"{code}.dev").write_text("".join(f"{code} {word}\n" for word in words[::2]), encoding="utf-8")
    lines, table = {"path": f"{tmp_path}/{{lang}}.dev"}, {"path": f"{tmp_path}/{{lang}}.tsv"}
    values = {
        **{"out": tmp_path / "run", "languages": ["de", "fr"], "model": {"preset": "tiny"}},
        "data": {"train": [table], "valid": [lines], "test": [lines]},
    }
    texts = prepare_text(Config.model_validate(values), tmp_path / "text")
    assert texts.sizes["train"] == {"en-de": len(words), "en-fr": len(words)}
    assert texts.sizes["test"] == {"en-de": len(words[::2]), "en-fr": len(words[::2])}
