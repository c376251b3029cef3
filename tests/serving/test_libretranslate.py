from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI
from tests.serving.asking import Answer, ask, post
from tests.serving.engines import ReversingEngine, expect
from tests.serving.looping import finish

from neuronspec.serving.app import make_app
from neuronspec.serving.engine import Sentence
from neuronspec.serving.options import ServingOptions

TOKEN = "a-token-of-24-characters"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return make_app(ReversingEngine(["eng_Latn-deu_Latn", "deu_Latn-eng_Latn", "eng_Latn-fra_Latn"]))


@pytest.fixture(scope="module")
def guarded() -> FastAPI:
    return make_app(ReversingEngine(), options=ServingOptions(token=TOKEN, beams=1))


def german(text: str) -> str:
    return expect(Sentence(text=text, task="eng_Latn-deu_Latn"))


def fields(**more: Any) -> dict[str, Any]:
    return {"q": "one two", "source": "en", "target": "de", **more}


def send_parts(app: FastAPI, **values: str) -> Answer:
    """Send a form in parts, as browsers do."""
    parts = [f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in values.items()]
    body = ("".join(parts) + "--x--\r\n").encode()
    answer: Answer = finish(ask(app, "POST", "/translate", body, {"content-type": "multipart/form-data; boundary=x"}))
    return answer


def test_a_text_comes_as_json_as_a_form_of_either_kind_or_in_the_query(app: FastAPI) -> None:
    sent = urlencode(fields())
    answers = [
        finish(post(app, "/translate", fields())),
        finish(ask(app, "POST", "/translate", sent.encode(), FORM)),
        finish(ask(app, "POST", f"/translate?{sent}")),
        send_parts(app, **fields()),
    ]
    for answer in answers:
        assert (answer.status, answer.json) == (200, {"translatedText": german("one two")})


def test_lines_signs_and_letters_survive_every_form(app: FastAPI) -> None:
    text = "a & b=c; 100 %\r\n\r\nä — 漢字 +\n"
    expected = f"{german('a & b=c; 100 %')}\r\n\r\n{german('ä — 漢字 +')}\n"
    for answer in (
        finish(post(app, "/translate", fields(q=text))),
        finish(ask(app, "POST", "/translate", urlencode(fields(q=text)).encode(), FORM)),
        send_parts(app, **fields(q=text)),
    ):
        assert answer.json == {"translatedText": expected}


def test_a_list_of_texts_becomes_a_list_in_its_order(app: FastAPI) -> None:
    texts = ["one", "", "two"]
    expected = {"translatedText": [german("one"), "", german("two")]}
    assert finish(post(app, "/translate", fields(q=texts))).json == expected
    repeated = urlencode({**fields(), "q": ["one", "two"]}, doseq=True).encode()
    assert finish(ask(app, "POST", "/translate", repeated, FORM)).json["translatedText"] == [
        german("one"),
        german("two"),
    ]
    assert finish(post(app, "/translate", fields(q=[]))).json == {"translatedText": []}


def test_codes_may_have_any_spelling(app: FastAPI) -> None:
    for source, target in (("eng", "deu"), ("en-US", "de_DE"), ("eng_Latn", "DE")):
        answer = finish(post(app, "/translate", fields(source=source, target=target)))
        assert answer.json == {"translatedText": german("one two")}


def test_the_source_language_is_detected(app: FastAPI) -> None:
    text = "This is a sentence in the English language, as you can see."
    answer = finish(post(app, "/translate", fields(q=text, source="auto"))).json
    assert answer["translatedText"] == german(text)
    assert answer["detectedLanguage"]["language"] == "en"
    assert 50 < answer["detectedLanguage"]["confidence"] <= 100

    other = "Das hier ist ein Satz in deutscher Sprache, wie man sieht."
    answer = finish(post(app, "/translate", fields(q=[text, other], source="auto"))).json
    assert answer["translatedText"] == [german(text), other]  # German stays German
    assert [found["language"] for found in answer["detectedLanguage"]] == ["en", "de"]


def test_languages_have_names_and_targets(app: FastAPI) -> None:
    assert finish(ask(app, "GET", "/languages")).json == [
        {"code": "en", "name": "English", "targets": ["de", "fr"]},
        {"code": "de", "name": "German", "targets": ["en"]},
        {"code": "fr", "name": "French", "targets": []},
    ]


def test_detection_lists_the_likeliest_language_first(app: FastAPI) -> None:
    found = finish(post(app, "/detect", {"q": "Guten Morgen, wie geht es dir heute?"})).json
    assert found[0]["language"] == "de"
    assert found[0]["confidence"] > 90
    assert finish(post(app, "/detect", {"q": " "})).json == []


def test_alternatives_are_none_and_the_answer_says_so(app: FastAPI) -> None:
    assert finish(post(app, "/translate", fields(alternatives=3))).json["alternatives"] == []
    assert (
        finish(ask(app, "POST", "/translate", urlencode(fields(alternatives=2)).encode(), FORM)).json["alternatives"]
        == []
    )
    assert finish(post(app, "/translate", fields(q=["a", "b"], alternatives=1))).json["alternatives"] == [[], []]


def test_of_html_only_the_texts_between_tags_are_translated(app: FastAPI) -> None:
    text = '<p class="a">Dogs &amp; <b>cats</b><br/>\n two\nlines </p>'
    dogs = german("Dogs &").replace("&", "&amp;")
    expected = f'<p class="a">{dogs} <b>{german("cats")}</b><br/>\n {german("two lines")} </p>'
    assert finish(post(app, "/translate", fields(q=text, format="html"))).json == {"translatedText": expected}
    two = finish(post(app, "/translate", fields(q=["<i>one</i>", "", "<br>"], format="html"))).json
    assert two == {"translatedText": [f"<i>{german('one')}</i>", "", "<br>"]}

    english = "<p>This is a sentence in the English language, <b>as you can see</b>.</p>"
    found = finish(post(app, "/translate", fields(q=english, format="html", source="auto"))).json
    assert found["detectedLanguage"]["language"] == "en"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"q": None}, "missing q parameter"),
        ({"target": ""}, "missing target parameter"),
        ({"q": 3}, "q is no text"),
        ({"q": ["a", None]}, "q is no text or list of texts"),
        ({"source": ["en"]}, "source is no text"),
        ({"source": "my secret " * 9}, "source is no language code"),
        ({"target": "xx"}, "the language 'xx' is not translated here"),
        ({"source": "de", "target": "fr"}, "there is no direction from de to fr"),
        ({"format": "markdown"}, "format must be text or html"),
        ({"format": ["html"]}, "format must be text or html"),
        ({"format": "html", "q": "<b>a</b>" * 1_001}, "exceeds the limit of 1000 texts"),
        ({"alternatives": -1}, "alternatives is no number from 0 to 10"),
        ({"alternatives": "many"}, "alternatives is no number from 0 to 10"),
        ({"q": "x" * 200_001}, "exceeds the limit of 200000 characters"),
        ({"q": ["x"] * 1_001}, "exceeds the limit of 1000 texts"),
        ({"q": "\udc00"}, "lone surrogate"),
    ],
)
def test_what_is_wrong_with_a_request_is_a_sentence(app: FastAPI, change: dict[str, Any], sentence: str) -> None:
    answer = finish(post(app, "/translate", fields(**change)))
    assert answer.status == 400
    assert sentence in answer.json["error"]
    assert "secret" not in answer.json["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"q": NaN', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(app: FastAPI, body: bytes) -> None:
    answer = finish(ask(app, "POST", "/translate", body, {"content-type": "application/json"}))
    assert answer.status == 400
    assert list(answer.json) == ["error"]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"q=%ff"),
        ("application/x-www-form-urlencoded", b"&".join([b"q=a"] * 5_000)),
        ("multipart/form-data", b"q=a"),
        ("multipart/form-data; boundary=x", b"--y"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\nno end'),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: " + b"a=;" * 250_000 + b"\r\n--x--"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\n\xff\r\n--x--'),
        ("text/plain", b"\xfe"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused(app: FastAPI, kind: str, body: bytes) -> None:
    answer = finish(ask(app, "POST", "/translate", body, {"content-type": kind}))
    assert answer.status == 400
    assert answer.json["error"].startswith("Invalid request: ")


def test_the_token_is_the_api_key(guarded: FastAPI) -> None:
    expected = {"translatedText": expect(Sentence(text="one two", task="en-de", beams=1))}
    assert finish(post(guarded, "/translate", fields(api_key=TOKEN))).json == expected
    keyed = urlencode(fields(api_key=TOKEN)).encode()
    assert finish(ask(guarded, "POST", "/translate", keyed, FORM)).json == expected
    header = {"authorization": f"Bearer {TOKEN}"}
    assert finish(post(guarded, "/translate", fields(), header)).json == expected
    assert finish(ask(guarded, "GET", "/frontend/settings")).json["keyRequired"] is True

    for key in ({}, {"api_key": ""}, {"api_key": f"{TOKEN} "}, {"api_key": [TOKEN]}, {"api_key": "\ud800"}):
        for path in ("/translate", "/detect"):
            answer = finish(post(guarded, path, fields(**key)))
            assert answer.status == 403
            assert TOKEN not in answer.body.decode()


def test_settings_name_the_limits(app: FastAPI) -> None:
    settings = json.loads(finish(ask(app, "GET", "/frontend/settings")).body)
    assert settings["charLimit"] == 200_000
    assert settings["keyRequired"] is settings["filesTranslation"] is settings["suggestions"] is False
    assert settings["language"]["target"] == {"code": "de", "name": "German"}
