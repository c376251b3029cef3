from __future__ import annotations

from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.serving.tokens import VARIABLE, TokenCheck, read_token

TOKEN = "a-token-of-24-characters"


def test_the_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="ascii")
    assert read_token(None, {}) is None
    assert read_token(file, {}) == TOKEN
    assert read_token(None, {VARIABLE: TOKEN}) == TOKEN
    with pytest.raises(NeuronspecError, match="unset one of them"):
        read_token(file, {VARIABLE: TOKEN})


@pytest.mark.parametrize(
    "text", ["", "short", "two words of more than 16", "ä" * 20, "line\nbreak-line-break", "\x00" * 20]
)
def test_a_token_that_is_short_or_no_word_is_refused_without_quoting_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NeuronspecError) as refused:
        read_token(file, {})
    assert not text or text not in str(refused.value).replace(str(file), "")
    with pytest.raises(NeuronspecError):
        read_token(tmp_path / "missing", {})


def test_only_the_token_itself_is_accepted() -> None:
    check = TokenCheck(TOKEN)
    wrong = ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "ä", "\ud800", None]
    assert [token for token in wrong if check.accepts(token)] == []
    assert check.accepts_header(f"Bearer {TOKEN}")
    assert not check.accepts_header(f"Basic {TOKEN}")
    assert not check.accepts_header(None)
    assert TokenCheck(None).accepts(None)
