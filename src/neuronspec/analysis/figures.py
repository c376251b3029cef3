"""The paper's figures from one's own masks: heat map, tree, sparsity and progression over layers.

Every function writes `<stem>.svg`, `<stem>.png` and `<stem>.csv` (the numbers behind), each atomically. The
same input gives the same bytes. pyplot and its global state are never touched.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import cbook, colors, font_manager, style
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike, NDArray

from neuronspec.analysis.overlap import check_iou
from neuronspec.analysis.tree import Tree
from neuronspec.errors import NeuronspecError, NeuronspecWarning
from neuronspec.files import publish, write_text

# Okabe and Ito's colour-blind-safe palette without black; past its end the same colours return hatched.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
HATCHES = ("", "////", "xxxx", "----", "||||", "++++")
STACKS = {"encoder": "#0072B2", "decoder": "#D55E00"}
GREY = "#555555"
ANNOTATED = 12  # heat maps of at most so many labels show the values
# Tried in this order, character by character, where installed.
# fmt: off
FONTS = ["DejaVu Sans", "Noto Sans", *(f"Noto Sans {script}" for script in (
    "Devanagari", "Bengali", "Gujarati", "Gurmukhi", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
    "Thai", "Khmer", "Myanmar", "Tibetan", "Ethiopic", "CJK SC", "CJK JP", "CJK KR",
)), "Arial Unicode MS", "Unifont"]
# fmt: on


def draw_heatmap(
    iou: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str],
    path_stem: Path,
    title: str,
    *,
    limits: tuple[float, float] | None = None,
) -> list[Path]:
    """Draw the IoU of every pair of tasks, in the order given, beside their families (paper Figure 1).

    The colours show the raw IoU; their limits stand at the colour bar. Give `limits` to compare figures.

    Args:
        iou: (tasks, tasks) IoU.
        labels: the name of each row.
        groups: the group (family) of each row; put rows of one group side by side.
        path_stem: where to write, without the suffix.
        title: a line above the figure.
        limits: the IoU of the lightest and of the darkest colour; by default the smallest and the largest
            off the diagonal, rounded outwards to two decimals.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: no IoU matrix, other than one label and one group a row, or limits outside 0..1.
    """
    matrix = check_iou(iou, labels)
    check_iou(matrix, groups)
    low, high = _choose_limits(matrix, limits)
    size = len(matrix)
    side = max(2.6, size * float(np.clip(7.5 / size, 0.09, 0.6)))  # inches
    cell = side / size
    with _open_figure(side, side) as (figure, axes):
        shades = axes.imshow(matrix, cmap="Blues", vmin=low, vmax=high, interpolation="none")
        _draw_grid(axes, size)
        strip = _strip_width(side)
        _draw_strips(axes, groups, _paint(groups), {"left": strip / side, "top": strip / side})
        _label_rows(axes.yaxis, labels, cell, pad=strip * 72 + 3)
        fits = max(map(len, labels)) * 0.1 < cell  # inches
        _label_rows(axes.xaxis, labels, cell, pad=3, rotation=0 if fits else 90)
        if size <= ANNOTATED:
            _annotate(axes, matrix, low, high)
        beyond = matrix.min() < low, matrix.max() > high
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
        length, font = min(1, 6 / side), _font_size(side)
        bar = figure.add_axes((1 + 0.25 / side, 1 - length, 0.2 / side, length))
        figure.colorbar(shades, cax=bar, extend=extend)
        bar.set_ylabel(f"IoU (colour limits {low:g} to {high:g})", fontsize=font)
        bar.tick_params(labelsize=font)
        _draw_legend(axes, groups, title, side, 1 + (strip + 0.05) / side)
        rows = ([label, group, *row] for label, group, row in zip(labels, groups, matrix.tolist(), strict=True))
        return _save(figure, path_stem, ["label", "group", *labels], rows)


def draw_tree(tree: Tree, groups: Sequence[str], path_stem: Path, title: str) -> list[Path]:
    """Draw a tree of languages with the families at its leaves (paper Figure 7).

    A branch has the colour of a family when every leaf below it is of that family. The CSV has a row
    for every merge; `#3` in it is the node that the third merge made.

    Args:
        tree: from `language_tree`.
        groups: the group (family) of each of `tree.labels`.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: other than one group a label.
    """
    size = len(tree.labels)
    if len(groups) != size:
        raise NeuronspecError(f"found {len(groups)} groups for a tree of {size} labels, expected one each")
    row = float(np.clip(7.5 / size, 0.12, 0.35))  # inches
    width, height = 6.0 if size <= 60 else 9.0, size * row
    with _open_figure(width, height) as (figure, axes):
        axes.add_collection(_draw_branches(tree, groups))
        axes.set_xlim(max(float(tree.linkage[-1, 2]) * 1.02, 1e-3), 0)
        axes.set_ylim(size - 0.5, -0.5)
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.set_xlabel(f"1 − IoU, complete linkage (cophenetic correlation {tree.cophenetic_correlation:.2f})")
        strip = _strip_width(width)
        _draw_strips(axes, [groups[leaf] for leaf in tree.leaves], _paint(groups), {"right": strip / width})
        axes.yaxis.tick_right()
        _label_rows(axes.yaxis, [tree.labels[leaf] for leaf in tree.leaves], row, pad=strip * 72 + 3)
        _draw_legend(axes, groups, title, width, 1 + 0.05 / height)
        names = [*tree.labels, *(f"#{merge}" for merge in range(1, size))]
        rows = (
            [merge, names[int(first)], names[int(second)], distance, int(leaves)]
            for merge, (first, second, distance, leaves) in enumerate(tree.linkage.tolist(), start=1)
        )
        return _save(figure, path_stem, ["merge", "left", "right", "distance", "leaves"], rows)


def draw_sparsity(
    sparsities: Mapping[str, Mapping[str, Sequence[float]]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the mean sparsity over tasks layer by layer, the encoder before the decoder (paper Figure 6).

    The band about each line goes from the smallest to the largest value.

    Args:
        sparsities: name of the line (such as `k=0.95`) -> layer name -> the sparsity of each task, 0..1.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a layer that is not called `encoder.N` or `decoder.N`.
    """
    layers = _sort_layers({layer for line in sparsities.values() for layer in line})
    places = {layer: place for place, layer in enumerate(layers)}
    table: list[tuple[object, ...]] = []
    with _open_figure(max(4.0, 0.35 * len(layers) + 1), 3.2) as (figure, axes):
        for index, (name, line) in enumerate(sparsities.items()):
            look = {"color": PALETTE[index % len(PALETTE)], "marker": "osD^v<>"[index % 7]}
            axes.plot([], [], label=name, **look)
            for stack in STACKS:
                own = [layer for layer in layers if layer.startswith(stack) and layer in line]
                values = [_check_values(layer, line[layer]) for layer in own]
                if own:
                    x, means = [places[layer] for layer in own], [float(part.mean()) for part in values]
                    lows = [float(part.min()) for part in values]
                    highs = [float(part.max()) for part in values]
                    axes.plot(x, means, **look)
                    axes.fill_between(x, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
                    table += zip([name] * len(own), own, means, lows, highs, map(len, values), strict=True)
        _name_stacks(axes, layers)
        axes.set_ylabel("sparsity (mean over tasks)")
        axes.set_title(title)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        return _save(figure, path_stem, ["line", "layer", "mean", "min", "max", "tasks"], table)


def draw_progression(
    values_by_layer: Mapping[str, Sequence[float] | NDArray[np.float64]], path_stem: Path, *, title: str = ""
) -> list[Path]:
    """Draw the distribution of the pairwise IoU layer by layer, with the means joined (paper Figure 2).

    A box holds the middle half of the pairs, the line in it is the median, the whiskers reach the last value
    within 1.5 times the box's height.

    Args:
        values_by_layer: layer name -> the IoU of each pair, as from `progression`.
        path_stem: where to write, without the suffix.
        title: a line above the figure.

    Returns:
        The paths written: SVG, PNG, CSV.

    Raises:
        NeuronspecError: nothing to draw, or a layer that is not called `encoder.N` or `decoder.N`.
    """
    columns = {"mean": "mean", "median": "med", "q1": "q1", "q3": "q3", "low": "whislo", "high": "whishi"}
    layers = _sort_layers(values_by_layer)
    values = {layer: _check_values(layer, values_by_layer[layer]) for layer in layers}
    boxes = {layer: cbook.boxplot_stats(values[layer])[0] for layer in layers}
    deepest = max(_read_layer(layer)[1] for layer in layers)
    with _open_figure(max(4.0, 0.7 * (deepest + 1) + 1), 3.6) as (figure, axes):
        handles = []
        for (stack, color), shift, marker in zip(STACKS.items(), (-0.19, 0.19), "os", strict=True):
            own = [layer for layer in layers if layer.startswith(stack)]
            if own:
                places = [_read_layer(layer)[1] + shift for layer in own]
                _draw_boxes(axes, [boxes[layer] for layer in own], places, color)
                means = [boxes[layer]["mean"] for layer in own]
                axes.plot(places, means, color=color, marker=marker, zorder=4)
                handles.append(Line2D([], [], color=color, marker=marker, label=f"{stack} (mean)"))
        axes.set_xticks(range(deepest + 1), [str(layer) for layer in range(deepest + 1)])
        axes.set(xlim=(-0.6, deepest + 0.6), xlabel="layer", ylabel="pairwise IoU", title=title)
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        rows = (
            [layer, len(values[layer]), *(float(boxes[layer][key]) for key in columns.values())] for layer in layers
        )
        return _save(figure, path_stem, ["layer", "pairs", *columns], rows)


@contextlib.contextmanager
def _open_figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Yield a figure whose axes measure `width` by `height` inches; labels stick out and widen the page."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    look = {
        "font.family": "sans-serif",
        "font.sans-serif": [font for font in FONTS if font in installed],
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "neuronspec",
        "text.parse_math": False,  # a label may hold a dollar sign
    }
    with style.context(["default", look]):  # whatever the user's own matplotlibrc says
        figure = Figure(figsize=(width, height))
        yield figure, figure.add_axes((0, 0, 1, 1))


def _save(figure: Any, stem: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[Path]:
    # not with_suffix: a stem such as `decoder.0` has a dot of its own
    svg, png, table = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("svg", "png", "csv"))
    page = {"bbox_inches": "tight", "pad_inches": 0.1}
    dpi = min(200, 8000 / max(figure.get_size_inches()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with publish(svg) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None}, **page)
        with publish(png) as temporary:
            figure.savefig(temporary, format="png", dpi=dpi, **page)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(table, text.getvalue())
    _repeat_warnings(caught, png)
    return [svg, png, table]


def _repeat_warnings(caught: Iterable[warnings.WarningMessage], png: Path) -> None:
    """Pass warnings on, those about single characters without a font as one."""
    missing = False
    for warning in caught:
        if "missing from" in str(warning.message):
            missing = True
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        warnings.warn(
            f"no installed font has all characters of the labels in {png}; the SVG keeps them as text. "
            "Install the Noto Sans fonts or use Latin labels",
            NeuronspecWarning,
            stacklevel=4,
        )


def _choose_limits(matrix: NDArray[np.float64], limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        pairs = matrix[~np.eye(len(matrix), dtype=bool)]
        if not pairs.size:
            return 0.0, 1.0
        low, high = math.floor(pairs.min() * 100) / 100, math.ceil(pairs.max() * 100) / 100
        return (low, high) if low < high else (max(0.0, low - 0.01), min(1.0, high + 0.01))
    if not 0 <= limits[0] < limits[1] <= 1:
        raise NeuronspecError(f"found the colour limits {limits}, expected two rising values in 0..1")
    return limits


def _paint(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how to fill the area of each group, in the order of their first appearance."""
    return {
        group: {
            "facecolor": PALETTE[index % len(PALETTE)],
            "hatch": HATCHES[index // len(PALETTE) % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0,
        }
        for index, group in enumerate(dict.fromkeys(groups))
    }


def _strip_width(side: float) -> float:
    return 0.12 + side / 100  # inches


def _font_size(side: float) -> float:
    return float(np.clip(side * 1.1, 9, 16))  # points


def _draw_strips(
    axes: Any, groups: Sequence[str], fills: Mapping[str, Mapping[str, Any]], widths: Mapping[str, float]
) -> None:
    """Draw, outside the axes, the colour of every row's group; widths are shares of the axes."""
    first = 0
    for group, run in itertools.groupby(groups):
        length = len(list(run))
        for edge, width in widths.items():
            start = -width if edge == "left" else 1.0
            along = first - 0.5
            if edge == "top":
                box = Rectangle((along, start), length, width, transform=axes.get_xaxis_transform())
            else:
                box = Rectangle((start, along), width, length, transform=axes.get_yaxis_transform())
            box.set(clip_on=False, **fills[group])
            axes.add_patch(box)
        first += length


def _label_rows(axis: Any, labels: Sequence[str], row: float, pad: float, rotation: float = 0) -> None:
    axis.set_ticks(range(len(labels)), labels)
    axis.set_tick_params(length=0, pad=pad, labelsize=min(10.0, row * 72 * 0.85), labelrotation=rotation)


def _draw_grid(axes: Any, size: int) -> None:
    borders = np.arange(size + 1) - 0.5
    span = (-0.5, size - 0.5)
    lines = [
        *(((at, span[0]), (at, span[1])) for at in borders),
        *(((span[0], at), (span[1], at)) for at in borders),
    ]
    axes.add_collection(LineCollection(lines, colors="white", linewidths=min(1.0, 30 / size)))
    axes.spines[:].set_visible(False)


def _annotate(axes: Any, matrix: NDArray[np.float64], low: float, high: float) -> None:
    for (row, column), value in np.ndenumerate(matrix):
        ink = "white" if (value - low) / (high - low) > 0.55 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)


def _draw_legend(axes: Any, groups: Sequence[str], title: str, width: float, bottom: float) -> None:
    """Put title and family colours above the axes, which are `width` inches wide."""
    fills = _paint(groups)
    size = _font_size(width)
    column = size / 72 * (0.55 * max(map(len, fills)) + 4)  # inches
    lines = math.ceil(len(fills) / max(1, width // column))
    axes.legend(
        handles=[Patch(label=group, **fill) for group, fill in fills.items()],
        title=title,
        title_fontsize=size * 1.2,
        fontsize=size,
        ncols=math.ceil(len(fills) / lines),
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        frameon=False,
    )


def _draw_branches(tree: Tree, groups: Sequence[str]) -> Any:
    fills = _paint(groups)
    places = [0.0] * len(tree.leaves)
    for place, leaf in enumerate(tree.leaves):
        places[leaf] = place
    depths = [0.0] * len(places)
    families: list[str | None] = list(groups)
    lines, inks = [], []
    for first, second, distance in tree.linkage[:, :3].tolist():
        a, b = int(first), int(second)
        middle = (places[a] + places[b]) / 2
        for node in (a, b):
            lines.append([(depths[node], places[node]), (distance, places[node]), (distance, middle)])
            family = families[node]
            inks.append(GREY if family is None else fills[family]["facecolor"])
        places.append(middle)
        depths.append(distance)
        families.append(families[a] if families[a] == families[b] else None)
    return LineCollection(lines, colors=inks, linewidths=1.4, capstyle="projecting", clip_on=False)


def _draw_boxes(axes: Any, boxes: Sequence[Any], places: Sequence[float], color: str) -> None:
    line = {"color": color}
    axes.bxp(
        boxes,
        positions=places,
        widths=0.3,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": colors.to_rgba(color, 0.25), "edgecolor": color},
        medianprops=line,
        whiskerprops=line,
        capprops=line,
    )


def _name_stacks(axes: Any, layers: Sequence[str]) -> None:
    """Number the layers, name the stacks and draw a divider between them."""
    axes.set_xticks(range(len(layers)), [str(_read_layer(layer)[1]) for layer in layers])
    axes.set_xlabel("layer")
    split = sum(layer.startswith("encoder") for layer in layers)
    for stack, start, end in (("encoder", 0, split), ("decoder", split, len(layers))):
        if start < end:
            middle = (start + end - 1) / 2
            axes.text(middle, 0.97, stack, transform=axes.get_xaxis_transform(), ha="center", va="top")
    if 0 < split < len(layers):
        axes.axvline(split - 0.5, color=GREY, linestyle="--", linewidth=1)
    axes.margins(y=0.15)


def _read_layer(layer: str) -> tuple[str, int]:
    stack, _, index = layer.partition(".")
    if stack not in STACKS or not index.isdecimal():
        raise NeuronspecError(f"found the layer {layer!r}, expected a name such as 'encoder.0' or 'decoder.5'")
    return stack, int(index)


def _sort_layers(layers: Iterable[str]) -> list[str]:
    places = {layer: _read_layer(layer) for layer in layers}
    names = sorted(places, key=lambda layer: (list(STACKS).index(places[layer][0]), places[layer][1]))
    if not names:
        raise NeuronspecError("found no layers to draw, expected one or more")
    return names


def _check_values(layer: str, values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size or not np.isfinite(numbers).all():
        raise NeuronspecError(
            f"found no values for the layer {layer!r}, or some that are not finite; expected finite numbers"
        )
    return numbers
