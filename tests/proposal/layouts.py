"""Files of parallel text in the layouts that people have, with sentences whose languages can be recognized."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.pipeline.conftest import DICTIONARY

SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en": (
        "the child reads a book in the garden",
        "my neighbor has sold the old house",
        "tomorrow we will go to the market with the whole family",
        "the weather is very beautiful this morning",
    ),
    "de": (
        "das Kind liest ein Buch im Garten",
        "mein Nachbar hat das alte Haus verkauft",
        "morgen gehen wir mit der ganzen Familie auf den Markt",
        "das Wetter ist heute Morgen sehr schön",
    ),
    "fr": (
        "l'enfant lit un livre dans le jardin",
        "mon voisin a vendu la vieille maison",
        "demain nous irons au marché avec toute la famille",
        "le temps est très beau ce matin",
    ),
    "nl": (
        "het kind leest een boek in de tuin",
        "mijn buurman heeft het oude huis verkocht",
        "morgen gaan we met de hele familie naar de markt",
        "het weer is vanmorgen erg mooi",
    ),
}


def sentences(language: str, count: int = 40) -> list[str]:
    """Return different sentences in a language; the same number means the same in every language."""
    texts = SENTENCES.get(language, SENTENCES["fr"])
    return [f"{texts[number % len(texts)]} {number}" for number in range(count)]


def lines(language: str, count: int = 40) -> str:
    return "".join(f"{text}\n" for text in sentences(language, count))


def table(*languages: str, header: Sequence[str] = (), count: int = 40) -> str:
    rows = [list(header)] if header else []
    rows += [list(row) for row in zip(*(sentences(language, count) for language in languages), strict=True)]
    return "".join("\t".join(row) + "\n" for row in rows)


def json_lines(**fields: str) -> str:
    rows = zip(*(sentences(language) for language in fields.values()), strict=True)
    return "".join(json.dumps(dict(zip(fields, row, strict=True))) + "\n" for row in rows)


def memory(**languages: str) -> str:
    units = []
    for row in zip(*(sentences(language) for language in languages.values()), strict=True):
        texts = (
            f'<tuv xml:lang="{code.replace("_", "-")}"><seg>{text}</seg></tuv>'
            for code, text in zip(languages, row, strict=True)
        )
        units.append(f"<tu>{''.join(texts)}</tu>")
    return f'<?xml version="1.0"?><tmx version="1.4"><header/><body>{"".join(units)}</body></tmx>'


def write(folder: Path, files: Mapping[str, str | Mapping[str, str]]) -> Path:
    """Write files by their names; one that ends in `.gz` or `.xz` is compressed, a mapping is a zip archive."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str):
            with zipfile.ZipFile(path, "w") as archive:
                for member, text in content.items():
                    archive.writestr(member, text)
        else:
            path.write_bytes(_COMPRESS.get(path.suffix, bytes)(content.encode()))
    return folder


_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress}


def write_three_kinds(folder: Path) -> Path:
    """Write three corpora of three kinds: a table, two aligned files, and two that are named as in FLORES."""
    draw = random.Random(0)
    words = {code: text.split() for code, text in DICTIONARY.items()}
    rows = [[0, draw.randrange(13, 17), draw.randrange(1, 8), draw.randrange(8, 13), 0, draw.randrange(1, 8)]
            for _ in range(300)]  # fmt: skip
    texts = {code: [" ".join(words[code][number] for number in row) for row in rows] for code in words}
    tables = "".join(f"{english}\t{german}\n" for english, german in zip(texts["en"], texts["de"], strict=True))
    swedish = {code: "".join(f"{line}\n" for line in texts[code]) for code in ("en", "sv")}
    return write(
        folder,
        {
            "talks.de.tsv": tables,
            **{f"da/corpus.{code}": swedish[own] for code, own in (("en", "en"), ("da", "sv"))},
            **{f"sv/{name}.train": swedish[code] for code, name in (("en", "eng_Latn"), ("sv", "swe_Latn"))},
        },
    )
