"""Sentences side by side: every number equals what others compute, and sentences that were not scored are refused."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from tests.report.sentence_study import BASELINE, REFERENCES, SOURCES, SYSTEM, build_study

from neuronspec.comparison.ngrams import compare_ngrams, match_ngrams
from neuronspec.comparison.side_by_side import SideBySide, lay_side_by_side
from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.metrics import METRICS
from neuronspec.evaluation.outputs import Outputs
from neuronspec.evaluation.quality import BROKEN_KINDS
from neuronspec.evaluation.results import merge_results
from neuronspec.evaluation.scoring import score_task
from neuronspec.evaluation.writing import split_words

TASKS = list(REFERENCES)


def lay(task: str, *metrics: str) -> SideBySide:
    side = lay_side_by_side(build_study(*metrics).results, task)
    assert side is not None
    return side


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metric", ["chrf", "bleu"], ids=["counted by the scoring", "counted now"])
def test_the_chrf_of_a_sentence_is_that_of_sacrebleu(task: str, metric: str) -> None:
    side = lay(task, metric)
    for system, texts in (("base", BASELINE), ("ours", SYSTEM)):
        expected = [
            sacrebleu.sentence_chrf(hypothesis, [reference], word_order=2).score
            for hypothesis, reference in zip(texts[task], REFERENCES[task], strict=True)
        ]
        assert side.systems[system].scores == pytest.approx(expected)


@pytest.mark.parametrize("task", TASKS)
def test_broken_sentences_are_those_that_the_table_counts(task: str) -> None:
    results, side = build_study().results, lay(task)
    for quality in results.qualities:
        if quality.task == task:
            broken = side.systems[quality.system].broken
            for kind in BROKEN_KINDS:
                share = getattr(quality, kind)
                weight = quality.identified if kind == "off_target" else quality.sentences
                assert (kind in broken) == (share is not None)
                assert share is None or broken[kind].sum() == round(share * weight)


def test_every_kind_is_found_in_its_sentence() -> None:
    german, arabic = lay("de-en").systems, lay("en-ar").systems
    assert german["base"].list_broken(0) == ["off_target", "copied"]
    assert german["base"].list_broken(1) == ["empty"]
    assert german["ours"].list_broken(1) == ["copied"]
    assert "repeated" in arabic["base"].list_broken(1)
    assert arabic["ours"].list_broken(1) == ["over_long"]
    assert german["ours"].list_broken(0) == []


def test_rows_hold_the_texts_as_they_are() -> None:
    for task in TASKS:
        rows = list(lay(task).rows())
        assert [row["source"] for row in rows] == list(SOURCES[task])
        assert [row["reference"] for row in rows] == list(REFERENCES[task])
        assert [row["translations"]["base"] for row in rows] == list(BASELINE[task])
        assert [row["translations"]["ours"] for row in rows] == list(SYSTEM[task])
        assert [row["sentence"] for row in rows] == list(range(1, len(rows) + 1))


def test_the_rarest_word_is_counted_where_it_is_asked_for() -> None:
    results = build_study().results
    own, counted = lay_side_by_side(results, "de-en"), lay_side_by_side(results, "de-en", {"A": 9, "dog": 4, "sees": 9})
    assert own is not None
    assert counted is not None
    assert own.rarest[2] == 1  # "dog", once in these references
    assert counted.rarest[2] == 0  # "the" is in no training text
    assert own.lengths[2] == len(split_words(SOURCES["de-en"][2])) == 5


def test_a_system_without_translations_is_left_out() -> None:
    results = build_study().results
    outputs = {key: found for key, found in results.outputs.items() if key != ("ours", "de-en")}
    side = lay_side_by_side(replace(results, outputs=outputs), "de-en")
    assert side is not None
    assert list(side.systems) == ["base"]
    assert lay_side_by_side(replace(results, outputs={}), "de-en") is None


def test_sentences_that_were_not_scored_are_refused() -> None:
    results = build_study().results
    for hypotheses, references, message in (
        (SYSTEM["de-en"], REFERENCES["de-en"][::-1], "the sentences of ours on de-en are not those that were scored"),
        (SYSTEM["de-en"][:1], REFERENCES["de-en"][:1], "the sentences of ours on de-en are not those that were scored"),
        (BASELINE["de-en"], REFERENCES["de-en"], "the translations of ours for de-en are not those that were scored"),
    ):
        changed = results.outputs | {("ours", "de-en"): Outputs(tuple(hypotheses), tuple(references))}  # type: ignore[operator]
        with pytest.raises(NeuronspecError, match=message):
            lay_side_by_side(replace(results, outputs=changed), "de-en")


# N-grams


def make_side(references: list[str], base: list[str], ours: list[str], task: str = "de-en") -> SideBySide:
    parts = []
    for name, texts in (("a", base), ("b", ours)):
        parts.append(score_task(name, task, texts, references, [METRICS["chrf"]]))
    side = lay_side_by_side(merge_results(parts), task)
    assert side is not None
    return side


def count(words: list[str], ngram: tuple[str, ...]) -> int:
    return sum(tuple(words[i : i + len(ngram)]) == ngram for i in range(len(words)))


WORDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=8).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6))
def test_ngrams_are_counted_where_only_one_system_has_those_of_the_reference(rows: list[tuple[str, str, str]]) -> None:
    references, base, ours = ([row[i] for row in rows] for i in range(3))
    side = make_side(references, base, ours)
    for one in compare_ngrams(side, match_ngrams(side), "a", "b"):
        ngram = tuple(one.text.split())
        wins, places = Counter[str](), {"a": [], "b": []}  # type: ignore[var-annotated]
        for number, texts in enumerate(rows):
            wanted, *found = (count(text.split(), ngram) for text in texts)
            theirs, own = (min(wanted, times) for times in found)
            wins.update(a=max(0, theirs - own), b=max(0, own - theirs))
            places["b"] += [number] * (own > theirs)
            places["a"] += [number] * (theirs > own)
        assert (one.baseline, one.system) == (wins["a"], wins["b"])
        assert one.score == (wins["b"] + 1) / (wins["a"] + wins["b"] + 2)
        assert one.sentences == places["b" if one.system > one.baseline else "a"][: len(one.sentences)]
        assert max(one.baseline, one.system) >= 2


def test_the_longest_ngram_stands_for_its_parts() -> None:
    found = {one.text: one for one in compare_ngrams(lay("de-en"), match_ngrams(lay("de-en")), "base", "ours")}
    one = found["sees the old cat"]
    assert (one.system, one.baseline, one.sentences) == (2, 0, [2, 3])
    assert not {"old", "old cat", "the old cat"} & set(found)


def test_letters_of_scripts_without_spaces_are_joined_again() -> None:
    references = ["我喜欢大猫", "他喜欢大狗"]
    side = make_side(references, ["我", "他"], references, task="en-zh")
    assert [one.text for one in compare_ngrams(side, match_ngrams(side), "a", "b")] == ["喜欢大"]
