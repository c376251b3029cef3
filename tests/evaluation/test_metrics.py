from __future__ import annotations

import hashlib
import importlib.metadata
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from neuronspec.data.streams import read_lines
from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.evaluation import tokenizers as module
from neuronspec.evaluation.metric import mean_score, mean_statistics
from neuronspec.evaluation.metrics import METRICS, find_scoring
from neuronspec.evaluation.sacrebleu_metrics import CHRF_BETA, sentencepiece_bleu
from neuronspec.evaluation.scoring import Score, score
from neuronspec.evaluation.tokenizers import warn_of_words
from neuronspec.evaluation.writing import split_letters
from neuronspec.statistics.paired import paired_approximate_randomization

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


def test_listing_metrics_imports_none_of_their_libraries() -> None:
    program = "import sys; from neuronspec.evaluation.metrics import METRICS; print(*METRICS)"
    libraries = ("torch", "sacrebleu", "sentencepiece", "sacremoses", "scipy")
    shown = f"{program}; print(*(name for name in {libraries} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["bleu chrf ter tokenized_bleu spbleu comet", ""]


def test_every_metric_says_what_it_measures_and_scores_statistics_without_being_opened() -> None:
    for metric in METRICS.values():
        assert metric.description
        assert find_scoring(metric.name) is metric
        assert CHRF_BETA == CHRF.BETA


def test_a_metric_that_lacks_something_says_so_before_any_text_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    METRICS["bleu"].check()
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(NeuronspecError, match=r"tokenised BLEU needs sacremoses, .*'neuronspec\[moses\]'"):
        METRICS["tokenized_bleu"].check()
    monkeypatch.setenv("NEURONSPEC_COMET_PYTHON", "/nowhere/python")
    with pytest.raises(NeuronspecError, match="COMET needs an environment of its own"):
        METRICS["comet"].check()
    with pytest.raises(NeuronspecError, match="COMET has no model yet"):
        METRICS["comet"].signature("de")


def test_one_string_is_no_list_of_sentences() -> None:
    with pytest.raises(NeuronspecError, match="one string; give a list of sentences"):
        score("a cat", ["a cat"], "en")


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


@pytest.mark.parametrize("name", SACREBLEU)
@pytest.mark.parametrize("corpus", EDGES.values(), ids=EDGES)
def test_score_equals_sacrebleu_on_edge_cases(name: str, corpus: tuple[list[str], list[str]]) -> None:
    hypotheses, references = corpus
    golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
    assert score_corpus(name, hypotheses, references) == pytest.approx(golden, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("name", SACREBLEU)
@pytest.mark.parametrize("script", WORDS)
@pytest.mark.parametrize("sentences", [1, 2, 40])
def test_score_equals_sacrebleu_on_random_corpora(name: str, script: str, sentences: int) -> None:
    for seed, noise in enumerate([0.1, 0.4, 0.9]):
        hypotheses, references = make_corpus(script, sentences, seed, noise)
        golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
        assert score_corpus(name, hypotheses, references) == pytest.approx(golden, rel=1e-13, abs=1e-13)


text = st.text(alphabet="ab cé猫.,'-1", max_size=25)


@settings(max_examples=60)
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


@pytest.mark.parametrize("name", SACREBLEU)
def test_score_takes_any_leading_dimensions(name: str) -> None:
    metric = METRICS[name]
    rows = metric.statistics(*make_corpus("latin", 24, seed=5), "de")
    sums = rows.reshape(2, 3, 4, -1).cumsum(axis=2)  # (2, 3, 4, S)
    scores = metric.score(sums)
    assert scores.shape == (2, 3, 4)
    one_by_one = [float(metric.score(row)) for row in sums.reshape(24, -1)]
    np.testing.assert_array_equal(scores.ravel(), one_by_one)
    assert len(set(one_by_one)) > 5


@pytest.mark.parametrize("name", SACREBLEU)
def test_statistics_are_whole_and_one_row_a_sentence(name: str) -> None:
    hypotheses, references = make_corpus("cyrillic", 15, seed=2)
    rows = METRICS[name].statistics(hypotheses, references, "ru")
    assert rows.dtype == np.float64
    assert len(rows) == 15
    np.testing.assert_array_equal(rows, np.round(rows))
    for row, hypothesis, reference in zip(rows, hypotheses, references, strict=True):
        alone = METRICS[name].statistics([hypothesis], [reference], "ru")
        np.testing.assert_array_equal(row, alone[0])


@pytest.mark.parametrize("name", SACREBLEU)
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
        [found] = score(hypotheses, references, language, metrics=["bleu"])
    golden = BLEU(tokenize="char").corpus_score(hypotheses, [references]).score
    assert found.value == pytest.approx(golden, rel=1e-13)
    assert "|tok:char|" in found.signature


@pytest.mark.parametrize(("language", "module"), [("ja", "MeCab"), ("ko", "mecab_ko")])
def test_with_mecab_words_are_scored(language: str, module: str) -> None:
    pytest.importorskip(module)
    assert f"|tok:{language}-mecab-" in METRICS["bleu"].signature(language)


def test_evaluate_gives_one_score_a_metric_in_the_asked_order() -> None:
    hypotheses, references = make_corpus("latin", 12, seed=3)
    scores = score(hypotheses, references, "en", metrics=["ter", "bleu"])
    for found, metric, name in zip(scores, ["TER", "BLEU"], ["ter", "bleu"], strict=True):
        golden = SACREBLEU[name].corpus_score(hypotheses, [references]).score
        signature = METRICS[name].signature("en")
        assert found == Score(metric, found.value, signature, sentences=12)
        assert found.value == pytest.approx(golden, rel=1e-13)
    assert [one.metric for one in score(hypotheses, references, "en")] == ["BLEU", "chrF++"]


def test_evaluate_refuses_what_does_not_fit() -> None:
    with pytest.raises(NeuronspecError, match=r"2 hypotheses for 1 references"):
        score(["a", "b"], ["a"], "de")
    with pytest.raises(NeuronspecError, match="no sentences to score"):
        score([], [], "de")
    with pytest.raises(NeuronspecError, match=r"unknown metric 'blue' \(did you mean 'bleu' or 'spbleu'\?\)"):
        score(["a"], ["a"], "de", metrics=["blue"])


ASIAN_TER = ["--ter-asian-support", "--ter-normalized"]
UNSPACED = {
    "th": ("สะพานเก่าถูกปิดเมื่อเช้านี้ ใช้ iPhone 15", "สะพานเก่าถูกปิดเมื่อวานนี้ ใช้ iPhone 14"),
    "lo": ("ຂົວເກົ່າຖືກປິດໃນເຊົ້ານີ້", "ຂົວໃໝ່ຖືກປິດໃນເຊົ້ານີ້"),
    "km": ("ស្ពានចាស់ត្រូវបានបិទនៅព្រឹកនេះ", "ស្ពានថ្មីត្រូវបានបិទនៅព្រឹកនេះ"),
    "my": ("တံတားဟောင်းကို ယနေ့နံနက် ပိတ်ထားသည်။", "တံတားသစ်ကို ယနေ့နံနက် ပိတ်ထားသည်။"),
    "bo": ("ཟམ་པ་རྙིང་པ་དེ་དེ་རིང་ཞོགས་པ་བཀག་པ་རེད།", "ཟམ་པ་གསར་པ་དེ་དེ་རིང་ཞོགས་པ་བཀག་པ་རེད།"),
    "dz": ("ཟམ་པ་རྙིང་པ་བཀག་ཡོདཔ་ཨིན།", "ཟམ་པ་གསརཔ་བཀག་ཡོདཔ་ཨིན།"),
    "zh": ("今天早上旧桥被关闭了", "今天早上新桥被关闭了"),
    "zh-Hant": ("今天早上舊橋被關閉了", "今天早上新橋被關閉了"),
    "yue": ("今朝舊橋封咗", "今朝新橋封咗"),
    "ja": ("古い橋は今朝閉鎖されました", "新しい橋は今朝閉鎖されました"),
}


def run_sacrebleu(folder: Path, hypotheses: list[str], references: list[str], *options: str) -> list[dict[str, Any]]:
    """Return what sacrebleu's command line says of two files."""
    paths = [folder / "hypotheses.txt", folder / "references.txt"]
    for path, lines in zip(paths, (hypotheses, references), strict=True):
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(paths[1]), "-i", str(paths[0]), "-w", "9", "-f", "json"]
    said = json.loads(subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout)
    return said if isinstance(said, list) else [said]


@pytest.mark.parametrize("language", UNSPACED)
def test_ter_of_a_language_without_spaces_counts_characters(language: str) -> None:
    hypothesis, reference = UNSPACED[language]
    [one] = score([hypothesis], [reference], language, ["ter"])
    assert 5 < one.value < 50  # one word of the sentence is wrong; as one word the sentence would be wrong altogether
    assert "|norm:yes|punct:yes|asian:yes|" in one.signature
    assert score_corpus("ter", [reference], [reference], language) == 0
    # another text is as wrong as can be
    assert score_corpus("ter", ["something else"], [reference], language) >= 90


@pytest.mark.parametrize("language", ["zh", "zho_Hans", "zh-TW", "cmn", "chi", "ZH_cn", "lzh", "ja", "jpn_Jpan", "jpn"])
def test_ter_of_chinese_and_japanese_is_that_of_sacrebleus_command_line(language: str, tmp_path: Path) -> None:
    hypotheses, references = (list(lines) for lines in zip(*UNSPACED.values(), strict=True))
    [golden] = run_sacrebleu(tmp_path, hypotheses, references, "-m", "ter", *ASIAN_TER)
    [one] = score(hypotheses, references, language, ["ter"])
    assert (round(one.value, 9), one.signature) == (golden["score"], golden["signature"])


@pytest.mark.parametrize("language", ["th", "tha_Thai", "th_TH", "lao", "khm_Khmr", "bur", "mya_Mymr", "bod_Tibt"])
def test_ter_of_other_languages_without_spaces_is_sacrebleus_of_letters(language: str, tmp_path: Path) -> None:
    hypotheses, references = (list(lines) for lines in zip(*UNSPACED.values(), strict=True))
    apart, expected = ([split_letters(line) for line in lines] for lines in (hypotheses, references))
    [golden] = run_sacrebleu(tmp_path, apart, expected, "-m", "ter", *ASIAN_TER)
    [one] = score(hypotheses, references, language, ["ter"])
    assert round(one.value, 9) == golden["score"]
    assert one.signature == golden["signature"].replace("tok:tercom", "tok:tercom-letters")


def test_zero_width_spaces_make_no_difference_to_ter() -> None:
    hypothesis, reference = UNSPACED["km"]
    marked = "\u200b".join(hypothesis)
    assert score_corpus("ter", [marked], [reference], "km") == score_corpus("ter", [hypothesis], [reference], "km")


@pytest.mark.parametrize("language", ["de", "hi", "ar", "ko", "kor_Hang", "vi", "zh-Latn", "jv", "unknown", "x-mine"])
def test_ter_of_languages_with_spaces_is_sacrebleus_default(language: str, tmp_path: Path) -> None:
    hypotheses, references = make_corpus("latin", 30, seed=4)
    assert METRICS["ter"].signature(language) == METRICS["ter"].signature("en")
    golden = TER().corpus_score(hypotheses, [references]).score
    assert score_corpus("ter", hypotheses, references, language) == pytest.approx(golden, rel=1e-13)


def test_scores_of_words_that_a_language_does_not_separate_carry_a_warning() -> None:
    for language in ("th", "lao_Laoo", "km", "my", "bo"):
        signature = METRICS["bleu"].signature(language)
        assert warn_of_words("BLEU", signature, language).startswith(f"BLEU splits {language} at spaces, which")
    for language in ("de", "zh", "hi"):
        assert warn_of_words("BLEU", METRICS["bleu"].signature(language), language) == ""
    assert warn_of_words("tokenised BLEU", "nrefs:1|tok:moses-zh-sacremoses-0.1", "zh") != ""
    assert warn_of_words("TER", METRICS["ter"].signature("th"), "th") == ""


# What two files can hold: numbers, quotes, no-break spaces and separators within a line, spaces at its end.
RAGGED = ["", " ", "\u00a0", " \u2028 x", ' "…" – 3,14 %', "\u3000", " &amp; <b>", "\ufeff", " e.g. U.S.-made "]


@pytest.mark.parametrize(("script", "language"), [("latin", "de"), ("devanagari", "hi"), ("han", "zh")])
def test_scores_equal_the_command_line_of_sacrebleu_to_the_last_digit(
    script: str, language: str, tmp_path: Path
) -> None:
    draw = random.Random(script)
    paths = [tmp_path / "hypotheses.txt", tmp_path / "references.txt"]
    sentences = 24 if language == "zh" else 120  # TER tries to move every stretch of characters
    for path, lines in zip(paths, make_corpus(script, sentences, seed=9), strict=True):
        path.write_bytes("".join(f"{line}{draw.choice(RAGGED)}\n" for line in lines).encode())
    hypotheses, references = (list(read_lines(path)) for path in paths)
    options = ["--tokenize", "zh", *ASIAN_TER] if language == "zh" else []
    command = [sys.executable, "-m", "sacrebleu", str(paths[1]), "-i", str(paths[0]), *options]
    command += ["-m", "bleu", "chrf", "ter", "--chrf-word-order", "2", "-w", "9", "-f", "json"]
    golden = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    scores = {one.metric: one for one in score(hypotheses, references, language, list(SACREBLEU))}
    assert len(golden) == 3
    for one in golden:
        found = scores[{"chrF2++": "chrF++"}.get(one["name"], one["name"])]
        assert round(found.value, 9) == one["score"]
        assert found.signature == one["signature"]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pieces") / "my pieces|1.model"
    with path.open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=(line for script in WORDS for line in make_corpus(script, 60, seed=4)[1] if line),
            model_writer=file,
            vocab_size=200,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    return path


@pytest.mark.parametrize("script", WORDS)
def test_spbleu_is_bleu_of_the_pieces(script: str, pieces: Path) -> None:
    hypotheses, references = make_corpus(script, 40, seed=6)
    split = SentencePieceProcessor(model_file=str(pieces))
    encoded = [[" ".join(split.encode_as_pieces(line)) for line in side] for side in (hypotheses, references)]
    golden = BLEU(tokenize="none", force=True).corpus_score(encoded[0], [encoded[1]]).score
    [found] = score(hypotheses, references, "unknown", ["spbleu"], sentencepiece=pieces)
    assert found.value == pytest.approx(golden, rel=1e-13)
    assert 0 < golden < 100
    digits = hashlib.sha256(pieces.read_bytes()).hexdigest()[:8]
    assert f"|tok:spm-my_pieces_1.model-{digits}|" in found.signature
    assert found.metric == "spBLEU"


def test_spbleu_is_a_metric_like_the_others(pieces: Path) -> None:
    hypotheses, references = make_corpus("devanagari", 20, seed=1)
    spbleu = sentencepiece_bleu(str(pieces))
    rows = spbleu.statistics(hypotheses, references, "hi")
    assert rows.shape == (20, 10)
    by_name = score(hypotheses, references, "hi", ["chrf", "spbleu"], sentencepiece=str(pieces))
    as_object = score(hypotheses, references, "hi", ["chrf", spbleu])
    assert by_name == as_object
    assert as_object[1].value == float(spbleu.score(rows.sum(axis=0)))
    assert spbleu.higher_is_better
    against_perfect = paired_approximate_randomization(
        rows, spbleu.statistics(references, references, "hi"), spbleu.score
    )
    assert against_perfect.difference > 0
    assert against_perfect.p_value < 0.01
    assert paired_approximate_randomization(rows, rows.copy(), spbleu.score, 100).p_value == 1.0  # R12


def test_spbleu_says_what_it_lacks(pieces: Path, tmp_path: Path) -> None:
    with pytest.raises(NeuronspecError, match=r"needs a SentencePiece model.*sentencepiece=PATH"):
        score(["a"], ["a"], "de", ["spbleu"])
    with pytest.raises(NeuronspecError, match="is the model of the metric spbleu, which is not asked for"):
        score(["a"], ["a"], "de", sentencepiece=pieces)
    for content in [b"", b"no model", pieces.read_bytes()[:100]]:
        broken = tmp_path / "broken.model"
        broken.write_bytes(content)
        with pytest.raises(NeuronspecError, match=r"cannot read .*broken\.model' as a SentencePiece model"):
            sentencepiece_bleu(broken)
    with pytest.raises(NeuronspecError, match=r"cannot read .*No such file"):
        sentencepiece_bleu(tmp_path / "absent.model")


@pytest.fixture
def _fresh_moses() -> Iterator[None]:
    module._load_moses.cache_clear()
    yield
    module._load_moses.cache_clear()


@pytest.mark.usefixtures("_fresh_moses")
def test_tokenized_bleu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    with pytest.raises(NeuronspecError, match="pip install sacremoses"):
        score(["a"], ["a"], "de", ["tokenized_bleu"])
    assert score(["a b c d"], ["a b c d"], "de")[0].value == pytest.approx(100)  # the others do without


@pytest.mark.usefixtures("_fresh_moses")
@pytest.mark.parametrize(
    ("language", "code"), [("de", "de"), ("deu_Latn", "de"), ("pt-BR", "pt"), ("__zh__", "zh"), ("unknown", "unknown")]
)
def test_tokenized_bleu_is_bleu_of_what_the_tokenizer_splits(
    language: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tokenizer:
        """Splits off every full stop; knows its language."""

        def __init__(self, lang: str) -> None:
            assert lang == code

        def tokenize(self, text: str, return_str: bool) -> str:
            assert return_str
            return text.replace(".", " .")

    monkeypatch.setitem(sys.modules, "sacremoses", SimpleNamespace(MosesTokenizer=Tokenizer))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.8.7")
    [found] = score(["a b c d."], ["a b c d"], language, ["tokenized_bleu"])
    golden = BLEU(tokenize="none", force=True).corpus_score(["a b c d ."], [["a b c d"]]).score
    assert found.value == pytest.approx(golden, rel=1e-13)
    assert found.metric == "tokenised BLEU"
    assert f"|tok:moses-{code}-sacremoses-9.8.7|" in found.signature


def test_tokenized_bleu_splits_as_moses_does() -> None:
    pytest.importorskip("sacremoses")
    hypotheses = ["Hello, it's Mr. Smith's well-known cat from the U.S. (3,500 of them).", "L'amour dure 3 ans..."]
    tokens = [  # what tokenizer.perl -l en writes
        "Hello , it &apos;s Mr. Smith &apos;s well-known cat from the U.S. ( 3,500 of them ) .",
        "L &apos;amour dure 3 ans ...",
    ]
    references = ["Hello, it's Mr. Smith's own cat from the U.S. (3,500 of them)!", "L'amour ne dure que 3 ans."]
    golden_references = [
        "Hello , it &apos;s Mr. Smith &apos;s own cat from the U.S. ( 3,500 of them ) !",
        "L &apos;amour ne dure que 3 ans .",
    ]
    golden = BLEU(tokenize="none", force=True).corpus_score(tokens, [golden_references]).score
    rows = METRICS["tokenized_bleu"].statistics(hypotheses, references, "en")
    assert float(METRICS["tokenized_bleu"].score(rows.sum(axis=0))) == pytest.approx(golden, rel=1e-13)
    assert rows[:, 0].tolist() == [len(line.split()) for line in tokens]
    assert rows[:, 1].tolist() == [len(line.split()) for line in golden_references]


def test_mean_statistics_carry_a_score_a_sentence() -> None:
    rows = mean_statistics([0.25, 0.5, 0.75])
    np.testing.assert_array_equal(rows, [[0.25, 1], [0.5, 1], [0.75, 1]])
    assert float(mean_score(rows.sum(axis=0))) == 0.5
    np.testing.assert_array_equal(mean_score(rows[None] + [0.0, 1.0]), [[0.125, 0.25, 0.375]])
    with pytest.raises(NeuronspecError, match=r"score 2 of 3 is nan"):
        mean_statistics([0.5, float("nan"), 0.5])
    for scores in ([], 0.5, [[0.5, 0.5]]):
        with pytest.raises(NeuronspecError, match="give one number a sentence"):
            mean_statistics(scores)
