from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronspec.serving.markup import split_markup

pieces = st.sampled_from(
    [
        *(
            "<p>",
            "</p>",
            "<b class='x>y'>",
            "<br/>",
            "<!-- no -->",
            "<code>",
            "</code>",
            "<script>",
            "</script>",
            "<!x>",
        ),
        *(
            "&amp;",
            "&lt;",
            "<",
            ">",
            '"',
            "'",
            " ",
            "\n",
            "a",
            "Ä b",
            "1",
            "<a ",
            "<!--",
            "-->",
            "=",
            "translate=no",
            "/>",
        ),
    ]
)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("plain &lt;text&gt; &copy;", ("plain <text> ©",)),
        ('<a title="a > b" href=x>Link</a> text <!-- comment --> more', ("Link", "text", "more")),
        ('<div translate="no">x <div>y</div> z</div> after', ("after",)),
        ("<p class='u notranslate'>@bob</p> after", ("after",)),
        ("<script>if (a < b) '</p>'</SCRIPT>after<br>", ("after",)),
        ("<code>x <b>y</b></code><PRE>z</PRE>after", ("after",)),
        ("a < b and c > d", ("a < b and c > d",)),
        ("1 &amp; 2 <b>...</b>", ()),
        ("before <p unclosed 'value", ("before",)),
        ("before <!-- never closed <b>x</b>", ("before",)),
        ("", ()),
    ],
)
def test_texts_are_found_between_tags(text: str, texts: tuple[str, ...]) -> None:
    assert split_markup(text).texts == texts


@given(parts=st.lists(pieces, max_size=25))
def test_markup_stays_and_translations_never_become_markup(parts: list[str]) -> None:
    split = split_markup("".join(parts))
    hostile = [f"<script>{number}</script> & &lt; x" for number in range(len(split.texts))]
    joined = split.join(hostile)
    again = split_markup(joined)
    assert again.texts == tuple(hostile)
    assert again.markup == split.markup
    assert [text == " ".join(text.split()) and text for text in split.texts] == list(split.texts)


@pytest.mark.parametrize(
    "text", ["<", '<a "', "<!--", "<a ", "</", "<b>", "&", "<script>", "<b class=", "<p translate=", " "]
)
def test_reading_takes_a_time_that_grows_with_the_length_alone(text: str) -> None:
    split = split_markup(text * (200_000 // len(text)))  # quadratic time would be minutes
    assert split.texts == ()
