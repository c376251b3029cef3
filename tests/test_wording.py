"""Plain English: phrases that readers stumble over, British spellings and hard beginnings stay out of text and code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "neuronspec"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.yaml")),
    *sorted((ROOT / "docs").rglob("*.py")),
    ROOT / "mkdocs.yml",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]
KINDS = {".py", ".pyi", ".yaml", ".html", ".js"}
ROOMS = sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*") if path.suffix in KINDS})

# A pattern, and the better wording. Spaces match line breaks and comment signs, too.
PHRASES = {
    r"gone on with|going on with|go(es)? on (with|where|bit|from (its|the|there))": "resumed, resumes from, continues",
    r"as (it|they) stands?\b": "as is, unchanged",
    r"what (it is|they are) of\b": "name the thing: its tasks, its layer",
    r"\btold(?! apart)": "given, reported, distinguished, recognized",
    r"\btell (whether|which|what|how|if|of)\b": "return whether, find which",
    r"\btells? by\b": "recognizes by",
    r"\bbeside\b": "next to, compared with, in addition to",
    r"(is|are|was|were) of (another|other|no|what|which|that)\b": "belongs to, has, was made for",
    r"(is|are) (?-i:none) of\b|that (is|are) (?-i:none)\b|(it|they) (is|are) (?-i:none)\b": "is not",
    r"(is|are) said\b": "a message says, is reported",
    r"that rows may have": "that rows can have",
    r"not one \w+ more\b": "no extra",
    r"could not be chance|more than chance": "significant, above chance",
    r"the selection means something": "the selected neurons matter",
    r"(is|are) believed": "is trusted",
    r"(is|are) looked at": "is used, is read",
    r"takes? no notice": "ignores",
    r"from which on": "the smallest such that, from that point",
    r"let go of\b": "clear, release",
    r"keeps? (it|them) from (that|it)\b": "prevents this",
    r"of which nothing is true": "empty",
    r"\bmend(s|ed|ing)?\b": "fix, correct",
    r"strangers?('s?)?\b": "untrusted files, other people's",
    r"\bone's own\b": "your own",
    r"say (it )?yourself|say of what": "name it, set it",
    r"nearly as|in their like\b|and their like\b": "similar",
    r"\bheard\b|\bspoken\b": "sources, targets",
}
SPELLINGS = {
    r"\w*(speciali|tokeni|normali|optimi|initiali|randomi|summari|recogni|organi|generali|minimi|maximi|penali)s(e|ed|"
    r"es|er|ers|ing|ation|ations)\b(?! BLEU)": "-ize, -ization",
    r"\banalys(e|ed|er|ing)\b": "analyze",
    r"\b(colour|behaviour|neighbour|favour|honour|labour)\w*": "-or",
    r"\bartefacts?\b": "artifact",
    r"\bcentr(e|es|ed)\b": "center",
    r"\blicence\w*": "license",
    r"\b(un)?label(led|ling)\b|\bmodel(led|ling)\b|\bcancel(led|ling)\b": "one l",
    r"\bsceptic\w*": "skeptic",
    r"\bgrey\b": "gray",
    r"\bcatalogues?\b": "catalog",
}
CLAUSES = ("What", "Which", "Where", "Whose", "How", "That", "Of", "Tell")
ENTRY = re.compile(r"^    (?P<name>[\w`*][\w`., *]*?)(?: \([^)]*\))?: *(?P<text>.+)")
LOWER = re.compile(r"(a|[a-z']{2,})[ ,.;:]")  # a word, not the name of a variable
HEADINGS = ("Args:", "Attributes:", "Raises:")


def find_phrases(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the words and the better wording of every phrase in a text."""
    for pattern, better in (PHRASES | SPELLINGS).items():
        across_lines = pattern.replace(" ", r"[\s#]+")
        for found in re.finditer(across_lines, text, re.IGNORECASE):
            yield text.count("\n", 0, found.start()) + 1, found[0], better


def read_docstrings(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every docstring of a module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring


def find_hard_beginnings(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield what is no sentence or noun phrase: first lines of docstrings and descriptions of arguments."""
    for line, docstring in read_docstrings(text):
        first = docstring.splitlines()[0]
        if first.split()[0] in CLAUSES:
            yield line, first, "begin with a verb or a noun"

        for name, described in read_entries(docstring):
            if LOWER.match(described) or described.split()[0] in set(CLAUSES) - {"Where"}:
                yield line, f"{name}: {described}", "begin with a noun and a capital letter"


def read_entries(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield the names and descriptions of a docstring's arguments, attributes and errors."""
    inside = False
    for line in docstring.splitlines():
        if line and not line.startswith(" "):
            inside = line.strip() in HEADINGS
        entry = ENTRY.match(line) if inside else None
        if entry:
            yield entry["name"], entry["text"]


def list_files(room: str) -> list[Path]:
    """Return the text files of a room."""
    path = SOURCE / room
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in KINDS)


def find_all(path: Path) -> list[str]:
    """Return all that is to be reworded in a file."""
    text = path.read_text(encoding="utf-8")
    found = list(find_phrases(text))
    if path.suffix == ".py":
        found += find_hard_beginnings(text)
    return [f"{path.relative_to(ROOT)}:{line} {words!r} -> {better}" for line, words, better in sorted(found)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_in_plain_english(page: Path) -> None:
    assert find_all(page) == []


@pytest.mark.parametrize("room", ROOMS)
def test_code_is_in_plain_english(room: str) -> None:
    assert [line for path in list_files(room) for line in find_all(path)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is gone on\n    # with later.", ["gone on\n    # with"]),
        ("A tokenised colour", ["tokenised", "colour"]),
        ("They can be told apart; the model resumes.", []),
    ],
)
def test_phrases_are_found_across_lines(text: str, expected: list[str]) -> None:
    assert [words for _, words, _ in find_phrases(text)] == expected


def test_descriptions_of_arguments_begin_with_a_noun() -> None:
    module = '"""Good.\n\nArgs:\n    seed: of the draw.\n    rows (int): Number of rows.\n        and: more\n"""\n'
    assert [words for _, words, _ in find_hard_beginnings(module)] == ["seed: of the draw."]
    assert [words for _, words, _ in find_hard_beginnings('"""What it does."""')] == ["What it does."]
