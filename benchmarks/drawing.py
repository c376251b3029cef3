"""Whether a library should draw the report: what each adds to every page, and how long the first drawing takes.

Unpack the packages of `LIBRARIES` below a folder (`npm pack NAME`), then:
OMP_NUM_THREADS=1 python -m benchmarks.drawing --packages FOLDER --write

`bundles/` below the folder holds what esbuild makes of the modules that a page would use (`--bundle --minify
--format=iife`): vega-lite with vega's interpreter (`compile`, `parse`, `View`, `expressionInterpreter`; global name
vega), and Observable Plot's marks (global name Plot).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.rounds import publish, say
from neuronspec.report.curves_part import show_curves
from neuronspec.report.page import build_page
from neuronspec.report.page_values import escape_json, pack_fractions, to_json_values
from neuronspec.training.curves import TrainingCurve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent / "drawing_libraries"
VIEWS = ("heat", "boxes", "dumbbell", "curves")
OURS = "neuronspec"
COLORS = {
    "light": {"page": "#fbfbf9", "ink": "#1b2230", "line": "#dadde4"},
    "dark": {"page": "#10141b", "ink": "#e6e9ef", "line": "#303948"},
}
STYLE = ".view { width: 600px; min-height: 100px }"

# Waits in the page for what is drawn later than the scripts end, and then for the picture itself
CLOCK = """
addEventListener("securitypolicyviolation", () => (window.refused = (window.refused ?? 0) + 1));
window.drawnAfter = new Promise((tell) =>
  addEventListener("load", async () => {
    window.settled = await window.finished;
    requestAnimationFrame(() => requestAnimationFrame(() => tell(performance.now())));
  }),
);
"""


@dataclass(frozen=True)
class Library:
    """Files of a library, the script that draws the views with it, and views that it draws as something else."""

    files: tuple[str, ...]
    adapter: str
    lacks: tuple[str, ...] = ()


LIBRARIES = {
    "Plotly, basic": Library(
        ("plotly.js-basic-dist-min/plotly-basic.min.js",),
        "plotly",
        lacks=("heat", "boxes"),  # dots in their place
    ),
    "Plotly, cartesian": Library(("plotly.js-cartesian-dist-min/plotly-cartesian.min.js",), "plotly"),
    "Vega-Lite, with its interpreter": Library(("bundles/vega.bundle.js",), "vega"),
    "Observable Plot": Library(("d3/dist/d3.min.js", "observablehq-plot/dist/plot.umd.min.js"), "plot"),
    "Observable Plot, only what is used": Library(("bundles/plot.bundle.js",), "plot"),
    "ECharts, common": Library(("echarts/dist/echarts.common.min.js",), "echarts"),
    "ECharts": Library(("echarts/dist/echarts.min.js",), "echarts"),
    "uPlot": Library(("uplot/dist/uPlot.iife.min.js",), "uplot"),
}


def draw_numbers(languages: int) -> dict[str, Any]:
    """Draw the numbers of the four views, for a number of languages."""
    generator = np.random.default_rng(0)
    labels = [f"l{i}" for i in range(languages)]
    half = np.triu(generator.uniform(0.3, 0.9, (languages, languages)), 1)
    boxes = [{"layer": f"decoder.{i}"} | _draw_box(generator) for i in range(12)]

    systems = []
    for name in ("pretrained", "fine-tuned", "specialized"):
        scores = generator.uniform(10, 40, languages)
        systems.append({"name": name, "scores": scores, "low": scores - 1, "high": scores + 1})

    updates = np.arange(300)
    curves = [{"name": name, "x": updates, "y": 3 + 4 * np.exp(-updates / 60)} for name in ("first", "second")]
    matrix = half + half.T + np.eye(languages)
    return {
        "heat": {"labels": labels, "matrix": matrix.round(4)},
        "boxes": boxes,
        "dumbbell": {"tasks": labels, "systems": systems},
        "curves": curves,
    }


def _draw_box(generator: np.random.Generator) -> dict[str, float]:
    found = sorted(generator.uniform(0.3, 0.9, 5).round(4).tolist())
    return dict(zip(("low", "q1", "median", "q3", "high"), found, strict=True))


def build_library_page(library: Library, numbers: dict[str, Any], packages: Path, theme: str) -> str:
    """Return a page with the policy of our report, in which a library draws."""
    code = "\n".join((packages / name).read_text(encoding="utf-8") for name in library.files)
    code = code.replace("</script", "<\\/script")
    start = (HERE / "start.js").read_text(encoding="utf-8")
    drawing = start.replace("{{views}}", (HERE / f"{library.adapter}.js").read_text(encoding="utf-8"))

    hashes = " ".join(f"'{_hash(script)}'" for script in (code, drawing))
    parts = {
        "policy": f"default-src 'none'; script-src {hashes}; style-src '{_hash(STYLE)}'; img-src data:",
        "style": STYLE,
        "payload": escape_json(to_json_values(numbers | {"colors": COLORS[theme]})),
        "library": code,
        "drawing": drawing,
    }
    frame = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], frame)


def build_our_page(numbers: dict[str, Any]) -> str:
    """Return our report with the same numbers."""
    labels, matrix = numbers["heat"]["labels"], numbers["heat"]["matrix"]
    layers = [box["layer"] for box in numbers["boxes"]]
    above = matrix[np.triu_indices(len(labels), k=1)]
    return build_page(
        {
            "title": "Drawing",
            "summary": [],
            "panels": {"decoder": {"title": "", "tasks": labels, "labels": labels, "names": labels, "families": []}},
            "layers": [{"name": name, "stack": "decoder", "width": 8} for name in layers],
            "ks": ["1"],
            "k": "1",
            "iou": {layers[-1]: {"1": pack_fractions(above)}},
            "progression": {box["layer"]: {**box, "mean": box["median"]} for box in numbers["boxes"]},
            "scores": _list_scores(numbers["dumbbell"]),
            "curves": _list_curves(numbers["curves"]),
        }
    )


def _list_scores(dumbbell: dict[str, Any]) -> dict[str, Any]:
    rows = []
    for place, task in enumerate(dumbbell["tasks"]):
        scores = [[one[key][place] for key in ("scores", "low", "high")] for one in dumbbell["systems"]]
        rows.append({"label": task, "group": "", "directions": 1, "scores": {"BLEU": scores}})
    names = [one["name"] for one in dumbbell["systems"]]
    colors = [{"light": "#0072b2", "dark": "#5ab4ec"}] * len(names)
    metrics = [{"name": "BLEU", "higher": True}]
    return {"metrics": metrics, "systems": names, "colors": colors, "rows": rows, "note": ""}


def _list_curves(curves: list[dict[str, Any]]) -> dict[str, Any] | None:
    trainings = {}
    for curve in curves:
        updates, losses = curve["x"].tolist(), curve["y"].tolist()
        trainings[curve["name"]] = TrainingCurve(
            updates=updates,
            losses=losses,
            learning_rates=losses,
            validations=updates[::10],
            valid_losses={},
            valid_loss=losses[::10],
            speeds=losses[::10],
        )
    return show_curves({"training": trainings})


def measure(browser: Browser, page_file: Path, theme: str) -> dict[str, Any]:
    """Open a page; return the milliseconds until everything is drawn, and what was refused and failed."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    page.add_init_script(CLOCK)
    page.goto(page_file.as_uri())

    found = {
        "milliseconds": page.evaluate("window.drawnAfter"),
        "refused": page.evaluate("window.refused ?? 0"),
        "failed": page.evaluate("(window.settled ?? []).filter(({ status }) => status === 'rejected').length"),
        "focusable": page.evaluate("document.querySelectorAll('main [tabindex], .view [tabindex]').length"),
        "named": page.evaluate("document.querySelectorAll('main [aria-label], .view [aria-label]').length"),
        "drawn": [name for name in VIEWS if _is_drawn(page, name)],
    }
    context.close()
    return found


def _is_drawn(page: Page, name: str) -> bool:
    """Return whether a view shows more than an empty place: at least a few colors."""
    place = page.locator(f"#{name}")
    if not place.count() or not place.locator("svg, canvas").count():
        return False
    picture = Image.open(io.BytesIO(place.screenshot())).convert("RGB")
    return len(picture.getcolors(1 << 24) or []) > 8


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def run(packages: Path, sizes: list[int], rounds: int, chromium: str) -> dict[str, Any]:
    """Measure every library with every number of languages, in turns; the first round is discarded."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for languages in sizes:
            pages = _write_pages(packages, draw_numbers(languages), Path(directory))
            for number in range(rounds + 1):
                say(f"{languages} languages, round {number} of {rounds}")
                for name, path in list(pages.items())[:: 1 if number % 2 == 0 else -1]:
                    one = measure(browser, path, "light")
                    kept = found.setdefault(name, {"times": {}, "drawn": one["drawn"], "bytes": 0} | one)
                    kept["bytes"] = kept["bytes"] or path.stat().st_size
                    if number:
                        kept["times"].setdefault(languages, []).append(one["milliseconds"])
        browser.close()
    return found


def _write_pages(packages: Path, numbers: dict[str, Any], directory: Path) -> dict[str, Path]:
    pages = {OURS: build_our_page(numbers)}
    for name, library in LIBRARIES.items():
        pages[name] = build_library_page(library, numbers, packages, "light")

    paths = {}
    for number, (name, text) in enumerate(pages.items()):
        paths[name] = directory / f"{number}.html"
        paths[name].write_text(text, encoding="utf-8")
    return paths


def tabulate(found: dict[str, Any]) -> list[str]:
    """Return a Markdown table: a row a library; times are relative to ours, round by round."""
    lines = [
        "| drawn by | size of the page, kB | 8 languages | 200 languages | refused by the policy | views drawn |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, one in found.items():
        times = []
        for languages, values in one["times"].items():
            ratios = [mine / ours for mine, ours in zip(values, found[OURS]["times"][languages], strict=True)]
            times.append(f"{statistics.median(ratios):.1f}")
        lacks = () if name == OURS else LIBRARIES[name].lacks
        known = VIEWS if name == OURS else [view for view in one["drawn"] if view not in lacks]
        drawn = "all four" if len(known) == len(VIEWS) else ", ".join(known)
        lines.append(f"| {name} | {one['bytes'] / 1000:,.0f} | {' | '.join(times)} | {one['refused']} | {drawn} |")

    ours = {size: f"{statistics.median(values):.0f}" for size, values in found[OURS]["times"].items()}
    numbers = " and ".join(f"{value} ms with {size} languages" for size, value in ours.items())
    return [*lines, "", f"Columns 3 and 4: time to the first drawing relative to ours ({numbers} here).", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure libraries that could draw the report.")
    parser.add_argument("--packages", type=Path, required=True, help="folder with the unpacked packages")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/drawing.md and .json")
    options = parser.parse_args()
    found = run(options.packages, [8, 200], options.rounds, options.chromium)
    publish("drawing", tabulate(found), found, options.write)


if __name__ == "__main__":
    main()
