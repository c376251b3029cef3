"""`neuronspec select`: masks from counts, and what can be made of masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.console import AsJson, Force, Out, Overrides, Seed, load, print_table
from neuronspec.cli.printing import note, print_json, say
from neuronspec.errors import NeuronspecError
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.comparison.tables import Table
    from neuronspec.neurons.mask_comparison import Comparison
    from neuronspec.neurons.masks import NeuronMasks


def select(
    source: Annotated[str, typer.Argument(help="A configuration, or where activation counts or masks are.")],
    overrides: Overrides = None,
    auto_k: Annotated[bool, typer.Option("--auto-k", help="Search for k on the validation text.")] = False,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="MASKS", help="Compare with other masks: a path or a hub name.")
    ] = None,
    compose: Annotated[
        str | None,
        typer.Option("--compose", metavar="DIRECTIONS", help="Zero-shot masks: de-fr,fr-sv ... or all."),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Random masks of the same sizes, from --seed.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Directory of the masks that are made.")] = None,
    pivot: Annotated[str, typer.Option("--pivot", help="The language that trained directions share.")] = "en",
    out: Out = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Select the specialised neurons of each task; compare, compose, or randomise masks."""
    if sum((compare is not None, compose is not None, random)) > 1:
        raise NeuronspecError("give one of --compare, --compose and --random")
    curve: Path | None = None
    place: Path | None = None
    if (made := _load_made(source, overrides or [], auto_k)) is not None:
        if out is not None or (seed is not None and not random):
            option = "--out changes nothing here; --to DIR writes the masks" if out else "--seed changes nothing here"
            raise NeuronspecError(f"{source} is no configuration: {option}")
        masks, already = made
        place = Path(source) if already else None
    else:
        changes = {"select.k": "auto"} if auto_k else {}
        # The seed of a random control is not the run's, which would be trained again.
        config = load(source, overrides, out, None if random else seed, changes=changes)
        from neuronspec.neurons.masks import NeuronMasks
        from neuronspec.pipeline.plan import execute_stages
        from neuronspec.pipeline.run import Run

        layout = execute_stages(Run(config), until="select", force=force)
        masks, place = NeuronMasks.from_pretrained(layout.masks), layout.masks
        curve = layout.curve if layout.curve.is_file() else None

    work_alone()
    if compare is not None:
        _show_comparison(masks, compare, as_json)
        return
    if compose is not None:
        masks = masks.zero_shot(None if compose == "all" else compose.split(","), pivot)
    if random:
        masks = masks.random(masks, seed or 0)
    if to is not None:
        from neuronspec.neurons.filenames import MASKS_FILE

        if (to / MASKS_FILE).exists() and not force:
            raise NeuronspecError(f"{to / MASKS_FILE} exists: choose another --to, or --force")
        place = masks.save_pretrained(to).parent
    elif compose is not None or random:
        raise NeuronspecError("say where to write the masks: --to DIR")
    _show(masks, place, curve, as_json)


def _load_made(source: str, overrides: list[str], auto_k: bool) -> tuple[NeuronMasks, bool] | None:
    """Return the masks at a path, or those that its counts give, and whether they are there already."""
    path = Path(source)
    if auto_k and (path.is_dir() or path.suffix == ".safetensors"):
        raise NeuronspecError("--auto-k needs a configuration: its model and its validation text")
    if not path.is_dir() and path.suffix != ".safetensors":
        return None
    from neuronspec.neurons.counts import ActivationCounts
    from neuronspec.neurons.filenames import COUNTS_FILE, MASKS_FILE
    from neuronspec.neurons.masks import NeuronMasks

    if (path / COUNTS_FILE).is_file() or path.name == COUNTS_FILE:
        from neuronspec.config.loading import load_sections
        from neuronspec.pipeline.stages.select import select_masks

        sections = load_sections(overrides, "record", "select")
        if fixed := sorted(sections.record.model_fields_set):
            raise NeuronspecError(f"record.{fixed[0]} decides what is counted: it changes nothing in {path}")
        selection = sections.select
        if selection.k == "auto":
            raise NeuronspecError("k: auto needs a configuration: its model and its validation text")
        return select_masks(selection, ActivationCounts.load(path), selection.k), False
    if (path / MASKS_FILE).is_file() or path.suffix == ".safetensors":
        if overrides:
            raise NeuronspecError(f"{path} holds masks, which are selected already: {overrides[0]} changes nothing")
        return NeuronMasks.from_pretrained(path), True
    if path.is_dir():
        inside = [str(path / name) for name in ("select", "record") if (path / name).is_dir()]
        hint = f" (did you mean {' or '.join(inside)}?)" if inside else ""
        raise NeuronspecError(f"{path} holds neither activation counts nor masks, and is no configuration{hint}")
    return None


def _show(masks: NeuronMasks, place: Path | None, curve: Path | None, as_json: bool) -> None:
    sparsity = {
        layer: dict(zip(masks.tasks, values.tolist(), strict=True)) for layer, values in masks.sparsity().items()
    }
    searched = json.loads(curve.read_text(encoding="utf-8")) if curve is not None else None
    if as_json:
        auto_k = {"auto_k": searched} if searched is not None else {}
        print_json({"sparsity": sparsity, "signature": masks.signature, **auto_k})
        return
    if searched is not None:
        print_table(_tabulate_curve(searched))
    say(repr(masks))
    for layer, values in sparsity.items():
        say(f"{layer}: {100 * sum(values.values()) / len(values):.1f} % off")
    note(f"the masks are in {place}" if place is not None else "nothing is written: give --to DIR")


def _tabulate_curve(curve: dict[str, object]) -> Table:
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table

    points = curve["curve"]
    assert isinstance(points, list)
    full = points[-1]["loss"]
    rows = [
        [
            Cell(point["k"], 3),
            Cell(point["loss"], 4),
            Cell(100 * (point["loss"] / full - 1), 2),
            Cell(100 * point["sparsity"]),
            Cell("chosen" if point["k"] == curve["chosen"] else ""),
        ]
        for point in points
    ]
    return Table("Validation loss of the masked, untrained model", ["k", "loss", "change %", "neurons off %", ""], rows)


def _show_comparison(masks: NeuronMasks, other: str, as_json: bool) -> None:
    from neuronspec.neurons.mask_comparison import compare_masks
    from neuronspec.neurons.masks import NeuronMasks

    comparison = compare_masks(masks, NeuronMasks.from_pretrained(other))
    if as_json:
        print_json(comparison.as_dict())
    else:
        print_table(_tabulate_comparison(comparison, other))


def _tabulate_comparison(comparison: Comparison, other: str) -> Table:
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table

    rows = [
        [
            Cell(layer),
            Cell(float(comparison.iou[layer].mean()), 3),
            Cell(float(comparison.iou[layer].min()), 3),
            *(Cell(100 * float(share)) for share in comparison.sizes[layer].mean(axis=1)),
        ]
        for layer in comparison.layers
    ]
    header = ["layer", "mean IoU", "lowest IoU", "on here %", "on there %"]
    return Table(f"The same tasks' neurons here and in {other} ({len(comparison.tasks)} tasks)", header, rows)
