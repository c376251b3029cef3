"""Clients find the directions by the codes that they know, and learn which language a text is in."""

from __future__ import annotations

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.evaluation.identifiers import IDENTIFIERS, Identifier
from neuronspec.serving.detection import Detector
from neuronspec.serving.languages import ServedLanguages

TASKS = ["eng_Latn-deu_Latn", "deu_Latn-eng_Latn", "en-zh_CN", "zh_TW-en", "en-pt_BR", "law", "hr-en", "sr-en"]


@pytest.fixture(scope="module")
def served() -> ServedLanguages:
    return ServedLanguages(TASKS)


def test_languages_have_short_codes_names_and_targets(served: ServedLanguages) -> None:
    found = {language.code: (language.name, language.targets) for language in served}
    assert found["en"] == ("English", ("de", "zh-Hans", "pt-BR"))  # however the directions spell it
    assert found["de"] == ("German", ("en",))
    assert found["pt-BR"] == ("Brazilian Portuguese", ())
    assert [language.code for language in served.sources] == ["en", "de", "zh-Hant", "hr", "sr"]


@pytest.mark.parametrize(
    ("source", "target", "task"),
    [
        ("en", "de", "eng_Latn-deu_Latn"),
        ("en_XX", "deu", "eng_Latn-deu_Latn"),
        ("en-GB", "de-AT", "eng_Latn-deu_Latn"),  # regions that nobody translates
        ("eng_Latn", "zh-Hans", "en-zh_CN"),
        ("zt", "en", "zh_TW-en"),  # as LibreTranslate calls it
        ("en", "pb", "en-pt_BR"),
        ("en", "pt", "en-pt_BR"),  # the only Portuguese here
    ],
)
def test_any_code_of_a_language_finds_its_direction(
    served: ServedLanguages, source: str, target: str, task: str
) -> None:
    assert served.find_task(source, target) == task


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("en", "zh", "the language 'zh' may be zh-Hans or zh-Hant here"),
        ("en", "german", r"'german' is not translated here \(did you mean 'de' for German\?\); known: en, de, zh-Hans"),
        ("en", "fr", "'fr' is not translated here; known: "),
        ("de", "zh-Hans", "no direction from de to zh-Hans: it is translated into en"),
        ("pt", "en", "no direction from pt-BR to en: it is no source language here"),
        ("en", "", "cannot be a language code"),
        ("en", "../de", "cannot be a language code"),
    ],
)
def test_other_codes_are_refused(served: ServedLanguages, source: str, target: str, message: str) -> None:
    with pytest.raises(NeuronspecError, match=message):
        served.find_task(source, target)


def test_chinese_in_one_script_needs_no_other_code() -> None:
    served = ServedLanguages(["en-zh_CN", "zho_Hans-en"])
    assert served.find_task("en", "zh") == served.find_task("en", "zh-Hans") == "en-zh_CN"
    assert [(language.code, language.spellings) for language in served][1] == ("zh", ("zh_CN", "zho_Hans"))
    with pytest.raises(NeuronspecError, match="'zt' is not translated here"):
        served.find("zt")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(ServedLanguages([*TASKS, "zh_CN-en"]).sources)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Guten Tag", "de"),
        ("The weather is nice today.", "en"),
        ("добар дан како си", "sr"),
        ("dobar dan kako si", "hr"),
        ("这是什么东西", "zh-Hans"),
        ("這是什麼東西", "zh-Hant"),
    ],
)
def test_languages_are_detected_with_confidences(detector: Detector, text: str, code: str) -> None:
    found = detector.detect(text)
    assert found[0] == detector.choose(text)
    assert found[0].code == code
    assert found[0].confidence > 60
    assert sum(one.confidence for one in found) == pytest.approx(100, abs=1)


def test_a_text_in_another_language_is_refused(detector: Detector) -> None:
    text = "Ceci est une phrase en français, tout simplement."
    assert sum(one.confidence for one in detector.detect(text)) < 50
    with pytest.raises(NeuronspecError, match="looks like 'fr', is not one of those translated here"):
        detector.choose(text)

    # All languages write numbers alike.
    assert detector.detect("12 %") == []
    assert (detector.choose("12 %").code, detector.choose("12 %").confidence) == ("en", 0.0)


def test_identifiers_without_probabilities_detect_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IDENTIFIERS, "_entries", dict(IDENTIFIERS))
    identifier = Identifier(load=lambda: (lambda text: "de" if "ü" in text else "en", ("de", "en", "xx")), version="1")
    IDENTIFIERS.register("umlaut")(identifier)
    detector = Detector(ServedLanguages(TASKS).sources, "umlaut")
    assert [(one.code, one.confidence) for one in detector.detect("für")] == [("de", 100.0)]
