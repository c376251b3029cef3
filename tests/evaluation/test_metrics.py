from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER

from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.evaluation.metrics import METRICS, Score, evaluate

# What sacrebleu itself says, without any of our code.
SACREBLEU: dict[str, Any] = {"bleu": BLEU(), "chrf": CHRF(word_order=2), "ter": TER()}
WORDS = {
    "latin": "the a cat sat on mat, dog ran (far) away . Over it's U.S. 3.14 ?",
    "cyrillic": "кошка сидела на коврике , собака убежала . «далеко» !",
    "arabic": "القطة جلست على السجادة ، الكلب ركض بعيدا .",
    "devanagari": "बिल्ली चटाई पर बैठी थी , कुत्ता भागा ।",
    "han": "猫坐在垫子上。 狗跑远了, 他说: hello 世界",
}


def make_corpus(script: str, sentences: int, seed: int, noise: float = 0.3) -> tuple[list[str], list[str]]:
    draw, words = random.Random(seed), WORDS[script].split()
    references = [" ".join(draw.choices(words, k=draw.choice([0, 1, 3, 8, 20]))) for _ in range(sentences)]
    hypotheses = []
    for reference in references:
        garbled = [draw.choice(words) if draw.random() < noise else w for w in reference.split()]
        hypotheses.append(" ".join(w for w in garbled if draw.random() > noise / 2))
    return hypotheses, references


def score_corpus(name: str, hypotheses: list[str], references: list[str], language: str = "de") -> float:
    metric = METRICS[name]
    return float(metric.score(metric.statistics(hypotheses, references, language).sum(axis=0)))


EDGES: dict[str, tuple[list[str], list[str]]] = {
    "perfect": (["the cat sat on the mat ."], ["the cat sat on the mat ."]),
    "one sentence": (["the cat sat on a mat ."], ["the cat sat on the mat ."]),
    "one word": (["cat"], ["cat"]),
    "no match": (["x y z w v"], ["a b c d e f"]),
    "no bigram match": (["a x b y c z"], ["a b c d e f"]),
    "smoothing in two orders": (["a b x c d y", "q r"], ["a b c d e f", "q r"]),
    "shorter than four words": (["a b c"], ["a b c"]),
    "every hypothesis empty": (["", "", ""], ["a b", "c", "d e f"]),
    "every reference empty": (["a", "b c"], ["", ""]),
    "everything empty": (["", ""], ["", ""]),
    "some empty": (["", "the cat sat on the mat"], ["a dog", "the cat sat on a mat"]),
    "only spaces": (["   ", "a b c d"], ["\t", "a b c d"]),
}


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("corpus", EDGES.values(), ids=EDGES)
def test_score_equals_sacrebleu_on_edge_cases(name: str, corpus: tuple[list[str], list[str]]) -> None:
    hypotheses, references = corpus
    golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
    assert score_corpus(name, hypotheses, references) == pytest.approx(golden, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("script", WORDS)
@pytest.mark.parametrize("sentences", [1, 2, 40])
def test_score_equals_sacrebleu_on_random_corpora(name: str, script: str, sentences: int) -> None:
    for seed, noise in enumerate([0.1, 0.4, 0.9]):
        hypotheses, references = make_corpus(script, sentences, seed, noise)
        golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
        assert score_corpus(name, hypotheses, references) == pytest.approx(golden, rel=1e-13, abs=1e-13)


text = st.text(alphabet="ab cé猫.,'-1", max_size=25)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(text, text), min_size=1, max_size=6))
def test_score_equals_sacrebleu_on_any_text(pairs: list[tuple[str, str]]) -> None:
    hypotheses, references = [h for h, _ in pairs], [r for _, r in pairs]
    for name, scorer in SACREBLEU.items():
        golden = scorer.corpus_score(hypotheses, [references]).score
        assert score_corpus(name, hypotheses, references) == pytest.approx(golden, rel=1e-13, abs=1e-13)


def test_scores_by_hand() -> None:
    # One of four words is wrong; TER edits it, at a cost of 1 / 4.
    assert score_corpus("ter", ["a b c x"], ["a b c d"]) == 25.0
    # Precisions 3/4, 2/3, 1/2 and, smoothed, 1/2 of 1/1; no brevity penalty.
    assert score_corpus("bleu", ["a b c x"], ["a b c d"]) == pytest.approx(100 * (1 / 8) ** 0.25)
    # 3 words of 5: precisions 3/3, 2/2, 1/1 but no 4-gram at all.
    assert score_corpus("bleu", ["a b c"], ["a b c d e"]) == 0.0
    # A perfect half: brevity penalty exp(1 - 8/4).
    assert score_corpus("bleu", ["a b c d"], ["a b c d e f g h"]) == pytest.approx(100 * np.exp(-1))


@pytest.mark.parametrize("name", METRICS)
def test_score_takes_any_leading_dimensions(name: str) -> None:
    metric = METRICS[name]
    rows = metric.statistics(*make_corpus("latin", 24, seed=5), "de")
    sums = rows.reshape(2, 3, 4, -1).cumsum(axis=2)  # (2, 3, 4, S)
    scores = metric.score(sums)
    assert scores.shape == (2, 3, 4)
    one_by_one = [float(metric.score(row)) for row in sums.reshape(24, -1)]
    np.testing.assert_array_equal(scores.ravel(), one_by_one)
    assert len(set(one_by_one)) > 5


@pytest.mark.parametrize("name", METRICS)
def test_statistics_are_whole_and_one_row_a_sentence(name: str) -> None:
    hypotheses, references = make_corpus("cyrillic", 15, seed=2)
    rows = METRICS[name].statistics(hypotheses, references, "ru")
    assert rows.dtype == np.float64
    assert len(rows) == 15
    np.testing.assert_array_equal(rows, np.round(rows))
    for row, hypothesis, reference in zip(rows, hypotheses, references, strict=True):
        alone = METRICS[name].statistics([hypothesis], [reference], "ru")
        np.testing.assert_array_equal(row, alone[0])


@pytest.mark.parametrize("name", METRICS)
def test_higher_is_better_tells_the_direction(name: str) -> None:
    hypotheses, references = make_corpus("latin", 30, seed=1)
    perfect, noisy = score_corpus(name, references, references), score_corpus(name, hypotheses, references)
    assert (perfect > noisy) == METRICS[name].higher_is_better


def test_signatures_are_those_of_sacrebleu() -> None:
    hypotheses, references = make_corpus("latin", 5, seed=0)
    for name, scorer in SACREBLEU.items():
        scorer.corpus_score(hypotheses, [references])
        assert METRICS[name].signature("de") == str(scorer.get_signature())
    version = sacrebleu.__version__
    assert METRICS["bleu"].signature("de") == (f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}")
    assert "nw:2" in METRICS["chrf"].signature("de")


@pytest.mark.parametrize("language", ["zh", "zh-Hant", "zho_Hans", "zh_CN", "__zh__", "ZH", "yue_Hant"])
def test_chinese_is_scored_with_the_chinese_tokenizer(language: str) -> None:
    hypotheses, references = ["猫坐在垫子上。", "他喜欢茶"], ["猫坐在椅子上。", "他喜欢咖啡"]
    golden = BLEU(tokenize="zh").corpus_score(hypotheses, [references]).score
    assert golden > 10 > BLEU().corpus_score(hypotheses, [references]).score
    assert score_corpus("bleu", hypotheses, references, language) == pytest.approx(golden, rel=1e-13)
    assert "|tok:zh|" in METRICS["bleu"].signature(language)


@pytest.mark.parametrize("language", ["de", "kn", "th", "zu", "jav", "unknown"])
def test_other_languages_are_scored_with_13a(language: str) -> None:
    assert "|tok:13a|" in METRICS["bleu"].signature(language)


@pytest.mark.parametrize(
    ("language", "tokenizer", "module"),
    [("ja", "ja-mecab", "ja_mecab"), ("jpn_Jpan", "ja-mecab", "ja_mecab"), ("ko_KR", "ko-mecab", "ko_mecab")],
)
def test_without_mecab_characters_are_scored_with_a_note(
    language: str, tokenizer: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"sacrebleu.tokenizers.tokenizer_{module}"
    __import__(name)
    monkeypatch.setattr(sys.modules[name], "MeCab", None)
    hypotheses, references = ["猫がマットに座った。"], ["猫は椅子に座った。"]
    with pytest.warns(NeuronspecWarning, match=rf"'{tokenizer}' is not installed.*pip install 'sacrebleu\["):
        [score] = evaluate(hypotheses, references, language, metrics=["bleu"])
    golden = BLEU(tokenize="char").corpus_score(hypotheses, [references]).score
    assert score.value == pytest.approx(golden, rel=1e-13)
    assert "|tok:char|" in score.signature


@pytest.mark.parametrize(("language", "module"), [("ja", "MeCab"), ("ko", "mecab_ko")])
def test_with_mecab_words_are_scored(language: str, module: str) -> None:
    pytest.importorskip(module)
    assert f"|tok:{language}-mecab-" in METRICS["bleu"].signature(language)


def test_evaluate_gives_one_score_a_metric_in_the_asked_order() -> None:
    hypotheses, references = make_corpus("latin", 12, seed=3)
    scores = evaluate(hypotheses, references, "en", metrics=["ter", "bleu"])
    for score, metric, name in zip(scores, ["TER", "BLEU"], ["ter", "bleu"], strict=True):
        golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
        signature = METRICS[name].signature("en")
        assert score == Score(metric, score.value, signature, sentences=12)
        assert score.value == pytest.approx(golden, rel=1e-13)
    assert [score.metric for score in evaluate(hypotheses, references, "en")] == ["BLEU", "chrF++"]


def test_evaluate_refuses_what_does_not_fit() -> None:
    with pytest.raises(NeuronspecError, match=r"2 hypotheses for 1 references"):
        evaluate(["a", "b"], ["a"], "de")
    with pytest.raises(NeuronspecError, match="no sentences to score"):
        evaluate([], [], "de")
    with pytest.raises(NeuronspecError, match=r"unknown metric 'blue' \(did you mean 'bleu'\?\)"):
        evaluate(["a"], ["a"], "de", metrics=["blue"])
