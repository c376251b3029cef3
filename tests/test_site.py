"""The documentation site: it builds without a warning and loads nothing from a network, and what it shows is true."""

from __future__ import annotations

import ast
import json
import logging
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from docs.builder.api import find_names, list_faces, read_face
from docs.builder.gather import gather
from docs.builder.links import NAME
from tests.browser import PATIENCE_IN_BROWSER
from tests.command import run_command

import neuronspec.pipeline
from neuronspec.config.loading import load_config
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.methods import method_options
from neuronspec.models.building import build_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))


def read_code(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site, whose build fails with the first warning."""
    build = pytest.importorskip("mkdocs.commands.build", reason="the extra docs is not installed")
    configuration = pytest.importorskip("mkdocs.config")

    folder = tmp_path_factory.mktemp("site")
    gather(folder / "pages")
    config = configuration.load_config(
        str(ROOT / "mkdocs.yml"), docs_dir=str(folder / "pages"), site_dir=str(folder / "site"), strict=True
    )

    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("mkdocs").addHandler(handler)
    try:
        build.build(config)
    except SystemExit:
        pytest.fail("\n".join(warnings))
    finally:
        logging.getLogger("mkdocs").removeHandler(handler)
    assert warnings == []
    return folder / "site"


def test_the_site_describes_every_public_name_once(site: Path) -> None:
    described: Counter[str] = Counter()
    for page in (site / "api").glob("*.html"):
        described.update(set(re.findall(r'<h\d id="(neuronspec\.[\w.]+)"', page.read_text(encoding="utf-8"))))
    expected = {public.definition for room in ["", *list_faces()] for public in read_face(room)}
    assert {name: described[name] for name in expected} == dict.fromkeys(expected, 1)


@pytest.mark.process
def test_every_public_name_has_a_docstring() -> None:
    griffe = pytest.importorskip("griffe", reason="the extra docs is not installed")
    package = griffe.load("neuronspec", search_paths=[str(ROOT / "src")])
    definitions = {public.definition for room in ["", *list_faces()] for public in read_face(room)}
    assert [name for name in sorted(definitions) if package[name.partition(".")[2]].docstring is None] == []


def test_the_site_loads_nothing_from_a_network(site: Path) -> None:
    loading = re.compile(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="?(https?:[^" >]+)')
    found = {address for page in site.rglob("*.html") for address in loading.findall(page.read_text(encoding="utf-8"))}
    assert found == set()


def test_the_search_works_in_pages_opened_from_a_disk(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_IN_BROWSER)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto((site / "index.html").as_uri())

    page.locator(".md-search__input").press_sequentially("look the same to this model")
    result = page.locator(".md-search-result__link").first
    result.wait_for(state="attached")
    assert "troubleshooting.html" in str(result.get_attribute("href"))
    assert [address for address in requests if address.startswith("http")] == []
    page.close()


def test_the_search_knows_options_keys_functions_and_messages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"index.html", "troubleshooting.html", "configuration.html", "api/neurons.html"} <= places
    texts = "\n".join(entry["title"] + entry["text"] for entry in index["docs"])
    for sought in ("train.updates", "--early-stopping", "pairwise_iou", "has no tag for", "sampling.temperature"):
        assert sought in texts, sought


# Links and names


def make_anchors(page: Path) -> set[str]:
    """Return the anchors of a page: the words of its headings, joined by hyphens."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_parts_of_pages_lead_to_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
        other = page.parent / target if target else page
        assert anchor in make_anchors(other), f"{target}#{anchor}"


def test_docstrings_and_comments_name_pages_that_exist() -> None:
    named = {
        page
        for path in (ROOT / "src").rglob("*.py")
        for page in re.findall(r"\bdocs/[\w/]+\.md", path.read_text(encoding="utf-8"))
    }
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_functions_that_exist(page: Path) -> None:
    known = {*find_names(), *(f"neuronspec.{room.name}" for room in (ROOT / "src" / "neuronspec").iterdir())}
    named = {found[1] for found in NAME.finditer(page.read_text(encoding="utf-8"))}
    unknown = {name for name in named if name not in known and not is_deeper(name)}
    assert unknown == set()


def is_deeper(name: str) -> bool:
    """Return whether a name is that of a module inside a room."""
    path = ROOT / "src" / Path(*name.split("."))
    return path.with_suffix(".py").exists()


# Troubleshooting


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """The texts in the code, with `...` in place of what is filled in."""
    return [text for path in (ROOT / "src").rglob("*.py") for text in list_texts(ast.parse(path.read_bytes()))]


def list_texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_message_of_the_troubleshooting_page_is_in_the_code(messages: list[str]) -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    listed = re.findall(r"^### `(.+)`$", page, re.M)
    assert len(listed) > 30
    for message in listed:
        parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
        pattern = re.compile(".*".join(parts))
        assert any(pattern.search(text) for text in messages), message


# Worked examples


def test_the_first_corpus_can_be_made_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = DOCS / "first_corpus.md"
    (program,), (recipe,) = read_code(page, "python"), read_code(page, "yaml")
    exec(compile(program, "make_corpus.py", "exec"), {})
    for code in ("de", "sv", "es"):
        first = Path(f"corpora/{code}.tsv").read_text(encoding="utf-8").splitlines()[0]
        assert first in page.read_text(encoding="utf-8")

    Path("first.yaml").write_text(recipe, encoding="utf-8")
    config = load_config("first.yaml", (), method_options())
    assert config.directions() == ["en-de", "en-sv", "en-es", "de-en", "sv-en", "es-en"]

    [check] = re.findall(r"^\$ neuronspec (check .*)", page.read_text(encoding="utf-8"), re.M)
    assert run_command(*shlex.split(check)) == 0
    output = {line.rstrip() for line in capsys.readouterr().out.splitlines()}
    (shown,) = [text for text in read_code(page, "text") if text.startswith("configuration")]
    assert [line for line in shown.splitlines() if line not in output] == []
    assert "no problems found" in output


def test_the_ten_lines_of_the_first_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [task for code in ("de", "sv", "es") for task in (f"en-{code}", f"{code}-en")]
    lines = ["tomorrow the old horse finds the new lamp", "imorgon hittar den gamla hästen den nya lampan"]
    tokenizer = learn_vocabulary(iter(lines * 9), 60, ["de", "en", "es", "sv"])
    model = build_model("tiny", tokenizer)
    halves = {layer.name: [index % 2 == 0 for index in range(layer.width)] for layer in find_ffn_layers(model)}
    masks = NeuronMasks.from_dict(dict.fromkeys(tasks, halves))
    run = SimpleNamespace(load_model=lambda: model, load_tokenizer=lambda: tokenizer, load_masks=lambda: masks)
    monkeypatch.setattr(neuronspec.pipeline, "open_run", lambda directory: run)

    (program,) = read_code(DOCS / "index.md", "python")
    names: dict[str, Any] = {}
    exec(compile(program, "index.md", "exec"), names)
    assert names["small"].num_parameters() < model.num_parameters()


def list_outputs(cells: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the code and the printed text of every cell."""
    return [(as_text(cell["source"]), find_text(cell["outputs"])) for cell in cells if cell["cell_type"] == "code"]


def find_text(outputs: list[dict[str, Any]]) -> str:
    return "".join(as_text(output["text"]) for output in outputs if output.get("name") == "stdout")


def as_text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def test_notebooks_print_what_they_were_saved_with() -> None:
    execution = pytest.importorskip("docs.builder.execute", reason="nbclient is not installed")
    saved = {path: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in NOTEBOOKS}
    assert all(path.stat().st_size < 300_000 for path in saved)

    executed = {path: notebook.cells for path, notebook in execution.execute_all()}
    for path, cells in saved.items():
        assert list_outputs(executed[path]) == list_outputs(cells), "run: python -m docs.builder.execute"


def test_the_navigation_lists_each_page_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = re.findall(r"[\w/-]+\.md", text)
    assert len(pages) == len(set(pages))
    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} <= set(pages)
    assert yaml.safe_load(text)
