from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation import identification
from neuronspec.evaluation.identifiers import sign_identifier
from neuronspec.evaluation.quality import Quality, assess, find_copies, find_loops, looks_tokenized

pytest.importorskip("py3langid")

# One remark in many languages and scripts.
SENTENCES = {
    "en": "The old bridge was closed this morning because the water in the river had risen too high.",
    "de": "Die alte Brücke wurde heute Morgen gesperrt, weil das Wasser im Fluss zu hoch gestiegen war.",
    "nl": "De oude brug werd vanochtend afgesloten omdat het water in de rivier te hoog was gestegen.",
    "fr": "Le vieux pont a été fermé ce matin parce que l'eau de la rivière était montée trop haut.",
    "it": "Il vecchio ponte è stato chiuso questa mattina perché l'acqua del fiume era salita troppo.",
    "pl": "Stary most został dziś rano zamknięty, ponieważ woda w rzece podniosła się zbyt wysoko.",
    "ru": "Старый мост закрыли сегодня утром, потому что вода в реке поднялась слишком высоко.",
    "uk": "Старий міст сьогодні вранці закрили, бо вода в річці піднялася надто високо.",
    "el": "Η παλιά γέφυρα έκλεισε σήμερα το πρωί επειδή το νερό στο ποτάμι είχε ανέβει πολύ ψηλά.",
    "ar": "أغلق الجسر القديم هذا الصباح لأن منسوب المياه في النهر ارتفع أكثر من اللازم.",
    "he": "הגשר הישן נסגר הבוקר משום שהמים בנהר עלו גבוה מדי ואי אפשר לעבור בו.",
    "hi": "पुराना पुल आज सुबह बंद कर दिया गया क्योंकि नदी का पानी बहुत ऊपर आ गया था और लोग डर गए थे।",
    "zh": "今天早上旧桥被关闭了,因为河水涨得太高,附近的居民都不能过河去上班。",
    "ja": "川の水が高くなりすぎたため、古い橋は今朝から閉鎖されています。",
    "ko": "강물이 너무 높이 올라와서 오래된 다리는 오늘 아침부터 통행이 금지되었습니다.",
    "tr": "Eski köprü bu sabah kapatıldı, çünkü nehirdeki su çok fazla yükselmişti.",
    "ti": "እቲ ናይ ቀደም ድልድል ሎሚ ንግሆ ተዓጽዩ፣ ምኽንያቱ እቲ ማይ ናይቲ ሩባ ኣዝዩ ልዕል ኢሉ ነይሩ።",
    "sd": "پراڻي پل اڄ صبح جو بند ڪئي وئي ڇو ته درياءَ ۾ پاڻي تمام گهڻو چڙهي ويو هو.",
}


def look(hypotheses: list[str], language: str = "de", references: list[str] | None = None) -> Quality:
    return assess(hypotheses, ["?"] * len(hypotheses), references or hypotheses, language)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_translation_in_the_target_language_is_on_target_and_no_other_is(language: str) -> None:
    assert look([SENTENCES[language]], language).off_target == 0
    for other, sentence in SENTENCES.items():
        if other != language:
            found = look([sentence], language, [SENTENCES[language]])
            assert (found.off_target, found.off_target_references, found.identified) == (1, 0, 1), other


@pytest.mark.parametrize("code", ["deu_Latn", "de_DE", "__de__", "deu"])
def test_every_notation_of_a_language_is_understood(code: str) -> None:
    assert look([SENTENCES["de"], SENTENCES["nl"]], code, [SENTENCES["de"]] * 2).off_target == 0.5


def test_short_sentences_and_what_is_no_language_are_not_identified() -> None:
    hypotheses = ["Hello there", "", "...", "12 345 678", "🙂🙂🙂", SENTENCES["en"]]
    found = look(hypotheses, references=[SENTENCES["de"]] * len(hypotheses))
    assert (found.identified, found.off_target) == (1, 1.0)
    short = look(hypotheses[:-1], references=[SENTENCES["de"]] * 5)
    assert (short.identified, short.off_target, short.off_target_references) == (0, None, 0.0)
    assert "40 letters" in short.off_target_note


def test_references_in_the_wrong_language_are_shown() -> None:
    found = look([SENTENCES["de"]] * 2, references=[SENTENCES["de"], SENTENCES["en"]])
    assert (found.off_target, found.off_target_references) == (0.0, 0.5)


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an identifier stand in that calls a text what its first word says."""
    monkeypatch.setattr(
        identification, "_load_identifier", lambda: (lambda text: text.split()[0], ("de", "en", "xh", "zu"))
    )


def say(label: str, times: int) -> list[str]:
    return [f"{label} {'long enough to be identified by somebody' * 2}"] * times


def test_a_language_whose_references_are_called_another_cannot_be_told() -> None:
    xhosa = "Ibhulorho endala ivaliwe namhlanje kusasa kuba amanzi emlanjeni ebephakame kakhulu."  # called Zulu
    for count in (1, 3, 20):
        found = look([SENTENCES["en"]] * count, "xh", [xhosa] * count)
        assert (found.off_target, found.off_target_references, found.identified) == (None, 1.0, count)
        assert found.off_target_note == "py3langid calls 100 % of the references another language, too"


@pytest.mark.usefixtures("labels")
@pytest.mark.parametrize(
    ("foreign", "references", "told"),
    [
        *((1, 1, False), (1, 2, True), (2, 4, True), (4, 8, False), (1, 3, True), (3, 3, False)),
        *((20, 100, True), (27, 100, True), (30, 100, False), (230, 1000, False), (200, 1000, True)),
    ],
)
def test_off_target_is_told_by_the_rate_of_the_references(foreign: int, references: int, told: bool) -> None:
    expected = say("zu", foreign) + say("de", references - foreign)
    found = look(say("en", references), "de", expected)
    assert found.off_target == (1.0 if told else None)
    assert found.off_target_references == foreign / references
    assert ("of the references another language, too" in found.off_target_note) == (foreign / references > 0.05)
    assert ("only what exceeds that is the system's" in found.off_target_note) == told


@pytest.mark.usefixtures("labels")
def test_few_references_in_another_language_need_no_caution() -> None:
    found = look(say("en", 100), "de", say("de", 96) + say("zu", 4))
    assert (found.off_target, found.off_target_references, found.off_target_note) == (1.0, 0.04, "")


@pytest.mark.usefixtures("labels")
def test_without_a_long_reference_off_target_is_measured_unchecked() -> None:
    found = look(say("en", 4), "de", ["kurz"] * 4)
    assert (found.off_target, found.off_target_references) == (1.0, None)
    assert "no reference has the 40 letters that would check py3langid" in found.off_target_note


INVISIBLE = ("\u200b", "\ufeff", "\u200e", "\u00ad", "\u2060", "\u3164", "\u2800", " \t\u00a0", "\u200c\u200d", "\x00")


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_what_a_reader_cannot_see_is_empty_and_hides_neither_a_copy_nor_a_loop(text: str) -> None:
    filled, source = "Das ist ein Satz.", "This is a sentence."
    assert look([text], "de", [filled]).empty == 1.0
    assert look([filled], "de", [text]).empty == 0.0
    assert look([text], "de", [text]).length_ratio is None
    if not text.isspace():
        assert find_copies([text.join(source)], [source], [filled]).tolist() == [True]
        loop = text.join(["und dann "] * 8)
        assert find_loops([loop], [filled]).tolist() == [True]


@pytest.mark.parametrize("code", ["ceb", "ckb", "ace_Arab", "ks-Deva", "bo", "yi", "arb_Latn"])
def test_languages_that_cannot_be_identified_give_none_and_the_reason(code: str) -> None:
    found = look([SENTENCES["en"]], code)
    assert (found.off_target, found.off_target_references, found.identified) == (None, None, 0)
    assert "py3langid does not know" in found.off_target_note


def test_a_script_of_its_own_decides_without_the_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identification, "_load_identifier", lambda: pytest.fail("not needed"))
    santali = "ᱱᱚᱶᱟ ᱫᱚ ᱢᱤᱫ ᱢᱟᱨᱮ ᱯᱩᱞ ᱠᱟᱱᱟ ᱟᱨ ᱱᱚᱸᱰᱮ ᱫᱟᱜ ᱫᱚ ᱟᱹᱰᱤ ᱪᱮᱛᱟᱱ ᱨᱮ ᱢᱮᱱᱟᱜᱼᱟ ᱾"
    found = look([santali, SENTENCES["en"]], "sat", [santali] * 2)
    assert (found.off_target, found.off_target_references) == (0.5, 0.0)
    assert "any text in the script of Santali counts" in found.off_target_note


def test_serbian_may_be_in_either_script_but_croatian_may_not() -> None:
    cyrillic = "Стари мост је јутрос затворен јер је вода у реци порасла превисоко и људи нису могли да пређу."
    latin = "Stari most je jutros zatvoren jer je voda u reci porasla previsoko i ljudi nisu mogli da pređu."
    assert look([cyrillic, latin], "sr").off_target == 0.0
    croatian = look([cyrillic, latin], "hr")
    assert croatian.off_target == 0.5
    assert "not told apart" in croatian.off_target_note


def test_without_py3langid_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    identification._load_identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(NeuronspecError, match=r"pip install 'py3langid>=0.4'"):
        look(["a"])


def test_empty_is_what_shows_nothing_where_the_reference_does() -> None:
    hypotheses = ["", " \t\u3000", "\u200b\u200e\n", "a", "."]
    assert look(hypotheses, references=["Haus"] * 5).empty == pytest.approx(3 / 5)
    assert look(["", "x"], references=["", ""]).empty == 0.0


def test_copies_are_found_whatever_their_case_and_punctuation() -> None:
    source, reference = "Well, the cat's  here!", "Die Katze ist da."
    copies = ["Well, the cat's  here!", "well the cats here", "WELL , THE CAT 'S HERE !", "Ｗell, the cat's here!"]
    for copy in copies:
        assert find_copies([copy], [source], [reference]).tolist() == [True], copy
    for other in ["Well, the cats are here!", "", reference]:
        assert find_copies([other], [source], [reference]).tolist() == [False], other


@pytest.mark.parametrize("text", ["Berlin", "3,14", "...", "", "🙂"])
def test_what_stays_the_same_in_the_reference_is_no_copy(text: str) -> None:
    assert not find_copies([text], [text], [text]).any()


def test_vowel_signs_are_part_of_a_word() -> None:
    assert find_copies(["कि"], ["की"], ["के"]).tolist() == [False]
    assert find_copies(["की"], ["की"], ["के"]).tolist() == [True]


@pytest.mark.parametrize(
    "loop",
    [
        "the the the the the the the the",
        "He said that he said that he said that he said that he said that",
        "the house of the man, the house of the man, the house of the man, the house of the man",
        "Er kam und er sah, und er kam nach Rom, und er kam nach Wien, und er kam nach Prag.",
        "我们将继续努力,我们将继续努力,我们将继续努力,我们将继续努力。",
        "ನಿನಿನಿನಿನಿನಿನಿನಿನಿನಿ",
        "ده من ده من ده من ده من ده من ده من",
        "Das ist gut, dededededededededede",
        "- - - - - - - - - - - - -",
    ],
)
def test_loops_are_found_unless_the_reference_loops_too(loop: str) -> None:
    assert find_loops([loop], ["Ein ganz gewöhnlicher Satz."]).tolist() == [True]
    assert find_loops([loop], [loop]).tolist() == [False]


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES.values(),
        "Ha ha ha, very, very funny!",
        "1 000 000 000 people",
        "Wait... what?!",
        "To be, or not to be, that is the question: whether to be is to be or not.",
        "Wenn Fliegen hinter Fliegen fliegen, fliegen Fliegen Fliegen nach.",
        "She sells sea shells on the sea shore; the shells she sells are sea shells.",
        "",
    ],
)
def test_natural_sentences_are_no_loops(text: str) -> None:
    assert find_loops([text], ["Something else."]).tolist() == [False]


unit = st.text(alphabet="abc é猫नि", min_size=1, max_size=12).filter(lambda text: text.strip() == text != "")


@settings(max_examples=80)
@given(unit=unit, before=st.text(max_size=10), others=st.lists(st.text(alphabet="xyz 猫", max_size=8), max_size=4))
def test_any_unit_repeated_often_is_a_loop_wherever_it_stands(unit: str, before: str, others: list[str]) -> None:
    hypotheses = [*others, f"{before} " + " ".join([unit] * 16), *others]
    found = find_loops(hypotheses, [""] * len(hypotheses)).tolist()
    assert found[len(others)]
    alone = [bool(find_loops([other], [""])[0]) for other in others]
    assert found == [*alone, True, *alone]  # a sentence is judged alone


def test_over_long_is_far_beyond_the_reference() -> None:
    references = ["x" * 50] * 4 + ["Ja."] * 2 + [""]
    hypotheses = [
        "x " * 25,
        "y" * 100,
        "y" * 110,
        "y" * 111,
        "Yes, of course.",
        "Yes, of course, why not?",
        "long" * 20,
    ]
    found = look(hypotheses, references=references)
    assert found.over_long == pytest.approx(2 / 7)
    ratios = [49 / 50, 100 / 50, 110 / 50, 111 / 50, 15 / 3, 24 / 3]
    assert found.length_ratio == pytest.approx(sum(ratios) / 6)
    assert look(["a"], references=[""]).length_ratio is None


def test_perfect_translations_have_nothing_wrong() -> None:
    found = look([SENTENCES["de"]] * 3)
    assert found == Quality(3, 3, 0.0, 0.0, "", 0.0, 0.0, 0.0, 0.0, 1.0, sign_identifier("py3langid"))


def test_copied_sources_are_off_target_too() -> None:
    found = assess([SENTENCES["en"]] * 2, [SENTENCES["en"]] * 2, [SENTENCES["de"]] * 2, "de")
    assert (found.copied, found.off_target) == (1.0, 1.0)


@settings(max_examples=60)
@given(
    lines=st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60)), min_size=1, max_size=5)
)
def test_any_text_gives_shares_that_do_not_depend_on_order(lines: list[tuple[str, str, str]]) -> None:
    found = assess([h for h, _, _ in lines], [s for _, s, _ in lines], [r for _, _, r in lines], "de")
    for name in ("empty", "copied", "repeated", "over_long"):
        assert 0 <= getattr(found, name) <= 1
    lines = lines[::-1]
    backwards = assess([h for h, _, _ in lines], [s for _, s, _ in lines], [r for _, _, r in lines], "de")
    assert dataclasses.astuple(backwards)[:8] == dataclasses.astuple(found)[:8]
    assert backwards.length_ratio == pytest.approx(found.length_ratio)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a", "b"], ["a"], ["a", "b"]), "2 hypotheses, 1 sources, 2 references"),
        (([], [], []), "no sentences to assess"),
        ((["a", None], ["a", "b"], ["a", "b"]), "sentence 2 of the hypotheses is None"),
        ((["a"], ["a"], [3]), "sentence 1 of the references is 3"),
        (("text", ["a"], ["a"]), "hypotheses are one string"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        assess(*arguments, target_language="de")


@pytest.mark.parametrize("language", ["hsb", "gsw-bern", "x-foo", "german"])
def test_a_language_that_nobody_can_identify_is_assessed_without(language: str) -> None:
    quality = look(["a"], language)
    assert quality.off_target is None
    assert language in quality.off_target_note


def test_each_sentence_is_identified_once_and_the_identifier_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    identifier_class = importlib.import_module("py3langid.langid").LanguageIdentifier
    classify = identifier_class.classify
    identified = []

    def watched(identifier: Any, text: str) -> Any:
        identified.append((id(identifier), text))
        return classify(identifier, text)

    monkeypatch.setattr(identifier_class, "classify", watched)
    identification._load_identifier.cache_clear()
    hypotheses = [f"{number} {sentence}" for number in range(3) for sentence in SENTENCES.values()]
    for _ in range(3):  # three systems with the same references
        look(hypotheses)
    assert 0 < len(identified) <= len(hypotheses)
    assert len(set(identified)) == len(identified)
    assert len({identifier for identifier, _ in identified}) == 1


TOKENIZED = {
    "english": ["The bridge is old , but it stands .", "They do n't know ; &quot; no , &quot; he said ."],
    "without escapes": ["It 's late , and the shop ( the small one ) is closed .", "Well , no ."],
    "hyphens": ["a state @-@ of @-@ the @-@ art car", "No"],
    "french": ["l&apos; homme est parti", "qu' il vienne"],
    "typographic": ["L ’ eau est froide", "Les enfants jouent"],
    "occitan": ["l 'aiga es freja", "los enfants jògan"],
    "arabic": ["أغلق الجسر ، لأن الماء ارتفع .", "نعم ، صحيح ."],
    "hindi marks": ["यह प ु ल आज ब ं द ह ै", "हाँ"],
    "kannada marks": ["ಸ ೇ ತ ು ವ ೆ"],
    "chinese": ["旧 桥 关闭 了 ， 因为 河水 太 高 。"],
}
NATURAL = {
    **{code: [sentence] for code, sentence in SENTENCES.items()},
    "all": list(SENTENCES.values()),
    "french typography": ["Vraiment ? Oui ! Voici : « c'est l'eau » ; c'est tout.", "Attention !", "Prix : 3,50 €"],
    "thin spaces": ["Vraiment\u202f? Oui\u00a0! Qu’est-ce que c’est\u00a0?"],
    "hindi danda": ["पुल बंद है ।", "पानी बहुत ऊपर है ।"],
    "code": ["print(x, y)", "for (i = 0; i < n; i++) { a[i] = '@'; }", "if (a && b) return 'x';", "{'a': 1, 'b': 2}"],
    "markup": ["<b>Tom &amp; Anna</b>, welcome", "Use &quot;Save&quot; to save.", "mail: me@example.org"],
    "dutch": ["'s Avonds ging hij om 't huis, in 's-Hertogenbosch.", "Dat is 'm, zei ze."],
    "afrikaans": ["Dit is 'n ou brug, en 'n mooi een."],
    "quotes": ["He said 'no' and 'yes', and the students' books were 'new'.", "Rock 'n' roll"],
    "numbers": ["3,14", "1 000,50", "10.000.000", "..."],
    "ellipsis": ["Well ...", "And then ... nothing."],
    "emoji": ["🙂 , 🙃?", "Nice, thanks 🙂", "Yes, yes, we can."],
    "titles": ["The Old Bridge", "News"],
    "nothing": [],
    "empty": ["", " "],
}


@pytest.mark.parametrize("name", TOKENIZED)
def test_tokenized_text_is_recognised(name: str) -> None:
    assert looks_tokenized(TOKENIZED[name])


@pytest.mark.parametrize("name", NATURAL)
def test_natural_text_is_not_called_tokenized(name: str) -> None:
    assert not looks_tokenized(NATURAL[name])


def test_a_few_odd_lines_do_not_make_a_text_tokenized() -> None:
    natural = list(SENTENCES.values()) * 10
    assert not looks_tokenized([*natural, "it ' s odd", "no , no"])
    assert looks_tokenized([*natural, *["it ' s odd"] * 5])


def test_lines_may_come_from_a_file() -> None:
    def read() -> Iterator[str]:
        yield from ("Well , no .\n", "Yes , it is .\n")

    assert looks_tokenized(read())
