"""`neuronspec select`: masks from counts, and what can be made of masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuronspec.cli.console import print_table
from neuronspec.cli.modes import Mode, reading
from neuronspec.cli.options import ONLY_RUNS, AsJson, DryRun, Force, Out, Overrides, Seed, ShareFrom, refuse_inside_run
from neuronspec.cli.printing import note, print_json, say
from neuronspec.cli.runs import RunOptions
from neuronspec.errors import NeuronspecError
from neuronspec.files import read_json
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.comparison.tables import Table
    from neuronspec.config.schema import Config
    from neuronspec.neurons.mask_comparison import MaskComparison
    from neuronspec.neurons.masks import NeuronMasks


OF_A_RUN = Mode(
    reads=reading(
        *("source", "overrides", "auto_k", "compare", "compose", "random", "to", "pivot", "out", "share_from", "seed"),
        *("force", "dry_run", "as_json"),
    ),
    needs={"pivot": "compose"},
)
OF_FILES = Mode(
    reads=reading(
        "source", "overrides", "auto_k", "compare", "compose", "random", "to", "pivot", "seed", "force", "as_json"
    ),
    own_advice={
        "out": "{source} is no configuration: --out changes nothing here; --to DIR writes the masks",
        **ONLY_RUNS,
    },
    needs={"pivot": "compose", "force": "to"},
)

PANELS = {"For a run": OF_A_RUN, "For counts and masks": OF_FILES}
EXAMPLES = (
    ("The neurons of a run", "neuronspec select my.yaml"),
    ("Fewer neurons, from recorded counts, into a directory", "neuronspec select counts select.k=0.8 --to masks"),
    ("Zero-shot masks", "neuronspec select masks --compose de-fr,fr-de --to zero-shot"),
)


def select(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Configuration, recipe or directory of a run; or directory or file of activation counts or masks.",
        ),
    ],
    overrides: Overrides = None,
    auto_k: Annotated[bool, typer.Option("--auto-k", help="Search for k on the validation text.")] = False,
    compare: Annotated[
        str | None, typer.Option("--compare", metavar="MASKS", help="Compare with other masks: a path or a hub name.")
    ] = None,
    compose: Annotated[
        str | None,
        typer.Option("--compose", metavar="DIRECTIONS", help="Compose zero-shot masks: de-fr,fr-sv ... or all."),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Draw random masks of the same sizes, with --seed.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Directory to write masks to.")] = None,
    pivot: Annotated[str, typer.Option("--pivot", help="Language that the trained directions share.")] = "en",
    out: Out = None,
    share_from: ShareFrom = None,
    seed: Seed = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Select the specialized neurons of each task; compare, compose, or randomize masks."""
    # Each of them makes something else of the selected masks.
    if sum((compare is not None, compose is not None, random)) > 1:
        raise NeuronspecError("give one of --compare, --compose and --random")
    if compare is not None and to is not None:
        raise NeuronspecError("--compare prints a table and writes no masks: leave out --to")
    if to is not None:
        refuse_inside_run(to, "--to", force)

    # The masks: from files of counts or masks, or from a run, which is completed up to its selection
    if _holds_files(source):
        OF_FILES.check(context)
        if seed is not None and not random:
            raise NeuronspecError(f"{source} is no configuration: --seed changes nothing here")
        selected = _load_files(Path(source), overrides or [], auto_k)
    else:
        OF_A_RUN.check(context)
        run = RunOptions(
            source=source,
            overrides=overrides,
            out=out,
            share_from=share_from,
            seed=None if random else seed,  # that of random masks is not the run's, which would be trained again
            changes={"select.k": "auto"} if auto_k else {},
            force=force,
            dry_run=dry_run,
        )
        selected = _select_run(run)

    # The stages of a run can be shared by processes; what is made of masks cannot.
    work_alone()
    if compare is not None:
        _print_comparison(selected.masks, compare, as_json)
        return
    if compose is not None:
        selected = _compose_masks(selected, compose, pivot)
    if random:
        selected = SelectedMasks(selected.masks.random(selected.masks, seed or 0), made=True)

    _print_masks(_write_masks(selected, to, force), as_json)


@dataclass(frozen=True)
class SelectedMasks:
    """Masks, and what is known about them.

    Attributes:
        masks: The masks.
        place: Directory or file of the masks, if they are stored.
        curve: Results of the search for k as JSON values, if there was one.
        made: Whether they were composed or drawn here, so that they must be written.
        hint: Advice on how to keep masks that are not stored.
    """

    masks: NeuronMasks
    place: Path | None = None
    curve: dict[str, Any] | None = None
    made: bool = False
    hint: str = "give --to DIR"


def _holds_files(source: str) -> bool:
    """Return whether the source is a place of counts or masks, not a run."""
    from neuronspec.config.loading import holds_run, holds_sweep

    path = Path(source)
    return not holds_run(path) and not holds_sweep(path) and (path.is_dir() or path.suffix == ".safetensors")


def _compose_masks(selected: SelectedMasks, directions: str, pivot: str) -> SelectedMasks:
    """Return the masks of zero-shot directions, or of all of them."""
    tasks = None if directions == "all" else directions.split(",")
    return SelectedMasks(selected.masks.zero_shot(tasks, pivot), made=True)


def _load_files(place: Path, overrides: list[str], auto_k: bool) -> SelectedMasks:
    """Return masks from a file, or those that stored counts select."""
    if auto_k:
        raise NeuronspecError("--auto-k needs a configuration: its model and its validation text")
    from neuronspec.neurons.mask_sources import find_kind
    from neuronspec.neurons.masks import NeuronMasks

    # Counts leave the selection to be decided; masks are decided.
    if find_kind(place) == "counts":
        return SelectedMasks(_select_from_counts(place, overrides))

    if overrides:
        raise NeuronspecError(f"{place} holds masks, which are selected already: {overrides[0]} changes nothing")
    return SelectedMasks(NeuronMasks.from_pretrained(place), place)


def _select_from_counts(place: Path, overrides: list[str]) -> NeuronMasks:
    """Return the masks that stored counts select."""
    from neuronspec.config.loading import load_sections
    from neuronspec.neurons.counts import ActivationCounts
    from neuronspec.neurons.mask_sources import select_masks

    # Options of recording can be read, so that the message can say why they change nothing.
    sections = load_sections(overrides, "record", "select")
    recorded = sorted(sections.record.model_fields_set)
    if recorded:
        raise NeuronspecError(f"record.{recorded[0]} decides what is counted: it changes nothing in {place}")

    settings = sections.select
    if settings.k == "auto":
        raise NeuronspecError("k: auto needs a configuration: its model and its validation text")
    return select_masks(settings, ActivationCounts.load(place), settings.k)


def _select_run(options: RunOptions) -> SelectedMasks:
    """Select the neurons of a run; where that would replace a finished selection, in memory only."""
    config = options.load()
    if set(options.list_replaced(config, "select")) == {"select"}:
        return _look_at_run(options, config)

    _, layout = options.run_loaded(config, "select")
    from neuronspec.neurons.masks import NeuronMasks

    # Only a search for k leaves a curve.
    curve = read_json(layout.curve) if layout.curve.is_file() else None
    return SelectedMasks(NeuronMasks.from_pretrained(layout.masks), layout.masks, curve)


def _look_at_run(options: RunOptions, config: Config) -> SelectedMasks:
    """Return the masks that other settings select from the counts of a run, which stays as it is."""
    from neuronspec.config.loading import load_config
    from neuronspec.pipeline.run import Run
    from neuronspec.pipeline.stages.select import choose_masks

    # The counts are those of the run, with the settings of its own selection.
    stored = load_config(config.out, warns=False)
    options.run_loaded(config.model_copy(update={"select": stored.select}), "record")

    work_alone()
    masks, curve = choose_masks(Run(config))
    hint = f"give --to DIR, or --out DIR for a run of its own; --force changes {config.out}"
    return SelectedMasks(masks, curve=None if curve is None else curve.as_dict(), hint=hint)


def _write_masks(selected: SelectedMasks, directory: Path | None, force: bool) -> SelectedMasks:
    """Write masks where the user says, and return them with their new place."""
    from neuronspec.neurons.filenames import MASKS_FILE

    # Masks from a file or a run are stored already; those made here would be lost.
    if directory is None:
        if selected.made:
            raise NeuronspecError("missing --to DIR, the directory to write the masks to")
        return selected

    if (directory / MASKS_FILE).exists() and not force:
        raise NeuronspecError(f"{directory / MASKS_FILE} exists: choose another --to, or --force")
    place = selected.masks.save_pretrained(directory).parent
    return replace(selected, place=place)


def _print_masks(selected: SelectedMasks, as_json: bool) -> None:
    """Print the share of neurons that each mask switches off, by layer, and how k was found."""
    masks, curve = selected.masks, selected.curve

    # Share of neurons that are off, for each layer and task
    sparsity = {}
    for layer, values in masks.sparsity().items():
        sparsity[layer] = dict(zip(masks.tasks, values.tolist(), strict=True))

    if as_json:
        auto_k = {"auto_k": curve} if curve is not None else {}
        print_json({"sparsity": sparsity, "signature": masks.signature, **auto_k})
        return

    # For people: the search, the masks in one line, and a line for each layer
    if curve is not None:
        print_table(_tabulate_curve(curve))
    say(repr(masks))
    for layer, shares in sparsity.items():
        say(f"{layer}: {100 * sum(shares.values()) / len(shares):.1f} % off")
    note(f"the masks are in {selected.place}" if selected.place is not None else f"nothing is written: {selected.hint}")


def _tabulate_curve(curve: dict[str, Any]) -> Table:
    """Return a table of the search for k, a row for each k that was tried."""
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table

    points = curve["curve"]
    # The last point is k = 1, with every neuron: the losses are compared with it.
    full = points[-1]["loss"]
    rows = []
    for point in points:
        chosen = "chosen" if point["k"] == curve["chosen"] else ""
        change = 100 * (point["loss"] / full - 1)
        row = [
            Cell(point["k"], 3),
            Cell(point["loss"], 4),
            Cell(change, 2),
            Cell(100 * point["sparsity"]),
            Cell(chosen),
        ]
        rows.append(row)

    return Table("Validation loss of the masked, untrained model", ["k", "loss", "change %", "neurons off %", ""], rows)


def _print_comparison(masks: NeuronMasks, other: str, as_json: bool) -> None:
    """Print how masks overlap with other masks for the same tasks."""
    from neuronspec.neurons.mask_comparison import compare_masks
    from neuronspec.neurons.masks import NeuronMasks

    comparison = compare_masks(masks, NeuronMasks.from_pretrained(other))
    if as_json:
        print_json(comparison.as_dict())
    else:
        print_table(_tabulate_comparison(comparison, other))


def _tabulate_comparison(comparison: MaskComparison, other: str) -> Table:
    """Return a table of the overlaps and sizes, a row for each layer."""
    from neuronspec.comparison.cells import Cell
    from neuronspec.comparison.tables import Table

    rows = []
    for layer in comparison.layers:
        # Mean and minimum over the tasks; shares of neurons here and there
        overlap = comparison.iou[layer]
        shares = [Cell(100 * float(share)) for share in comparison.sizes[layer].mean(axis=1)]
        rows.append([Cell(layer), Cell(float(overlap.mean()), 3), Cell(float(overlap.min()), 3), *shares])

    header = ["layer", "mean IoU", "lowest IoU", "on here %", "on there %"]
    return Table(f"The same tasks' neurons here and in {other} ({len(comparison.tasks)} tasks)", header, rows)
