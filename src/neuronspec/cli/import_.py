"""`neuronspec import`: models and masks of other tools become files that this package and transformers read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronspec.cli.options import AsJson, Force, check_place
from neuronspec.cli.printing import note, print_json, quiet_libraries, say
from neuronspec.errors import NeuronspecError
from neuronspec.processes import work_alone

if TYPE_CHECKING:
    from neuronspec.models.fairseq.importing import ImportedModel
    from neuronspec.neurons.masks import NeuronMasks

EXAMPLES = (
    (
        "A fairseq checkpoint with a SentencePiece model",
        "neuronspec import checkpoint_best.pt --dict dict.txt --spm spm.model --langs en,de,fr --out model",
    ),
    ("The masks of the paper's code, a file for each direction", "neuronspec import masks --out neuron-masks"),
    (
        "One mask file, whose name does not show its direction",
        "neuronspec import --task de-en=best.pt --out neuron-masks",
    ),
    (
        "LAPE's lists of neurons",
        "neuronspec import neurons.pth --langs en,zh,fr --model meta-llama/Llama-3.1-8B --out lape",
    ),
)

# Options that one kind of file reads
_ONLY = {
    "checkpoint": ("dictionary", "spm", "langs"),
    "masks": ("task",),
    "LAPE": ("langs", "model"),
}
_FLAGS = {"dictionary": "--dict", "spm": "--spm", "langs": "--langs", "task": "--task", "model": "--model"}
_NAMES = {"checkpoint": "a fairseq checkpoint", "masks": "released masks", "LAPE": "LAPE's lists of neurons"}
# Files that an import writes, so that --force may replace them
_OWN = (
    *("README.md", "config.json", "generation_config.json", "vocab.json", "sentencepiece.bpe.model"),
    *("special_tokens_map.json", "added_tokens.json", "tokenizer.json", "tokenizer_config.json"),
    *("neuron_masks.safetensors", "model.safetensors", "model.safetensors.index.json"),
)


def import_(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[SOURCE]...", help="Fairseq checkpoint; or released masks: files or a folder; or LAPE's file."
        ),
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option("--dict", metavar="FILE", help="Dictionary of a checkpoint: dict.txt.")
    ] = None,
    spm: Annotated[
        Path | None,
        typer.Option("--spm", metavar="FILE", help="SentencePiece model of a checkpoint; without it, words."),
    ] = None,
    langs: Annotated[
        str | None,
        typer.Option(
            "--langs",
            metavar="CODES",
            help="Languages in the order of the training: en,de,... or a file with a code in each line.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task", metavar="NAME=FILE", help="Masks of a direction that the file's name does not show. Repeatable."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Model of LAPE's neurons: a directory or a hub name.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Directory to write.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Import a fairseq model, the masks of the paper's code, or LAPE's neurons."""
    work_alone()
    if not sources and not task:
        raise NeuronspecError("missing SOURCE: give a fairseq checkpoint, masks, or LAPE's lists of neurons")
    if out is None:
        raise NeuronspecError("missing --out DIR, the directory to write")
    check_place(out, force, _is_own)

    # The content decides; only masks come in several files.
    from neuronspec.neurons.import_sources import find_kind

    quiet_libraries()
    paths = sources or []
    kind = "masks" if task or len(paths) > 1 else find_kind(paths[0])
    _check_options(kind, {"dictionary": dictionary, "spm": spm, "langs": langs, "task": task, "model": model})

    if kind == "checkpoint":
        _import_model(paths[0], dictionary=dictionary, spm=spm, langs=langs, out=out, as_json=as_json)
    elif kind == "masks":
        _import_masks(paths, task or [], out, as_json)
    else:
        _import_lape(paths[0], langs=langs, model=model, out=out, as_json=as_json)


def _is_own(path: Path) -> bool:
    shard = path.name.startswith("model-") and path.suffix == ".safetensors"
    return path.is_file() and (path.name in _OWN or shard)


def _check_options(kind: str, given: dict[str, object]) -> None:
    """Refuse options that this kind of file does not read."""
    for name, value in given.items():
        if value and name not in _ONLY[kind]:
            raise NeuronspecError(f"{_FLAGS[name]} changes nothing here: the file holds {_NAMES[kind]}")


def _import_model(
    path: Path, *, dictionary: Path | None, spm: Path | None, langs: str | None, out: Path, as_json: bool
) -> None:
    """Import a checkpoint and print what was read."""
    if dictionary is None:
        raise NeuronspecError("missing --dict FILE: a checkpoint does not hold its dictionary, dict.txt")
    from neuronspec.models.fairseq.dictionary import read_languages
    from neuronspec.models.fairseq.importing import import_fairseq

    languages = None if langs is None else read_languages(langs)
    _print_model(import_fairseq(path, dictionary, out, spm=spm, languages=languages), as_json)


def _print_model(result: ImportedModel, as_json: bool) -> None:
    """Print what a checkpoint holds."""
    architecture, tags = result.architecture, result.tags
    encoder, decoder = architecture.encoder, architecture.decoder
    if as_json:
        print_json(
            {
                "out": str(result.directory),
                "model_type": result.kind,
                "architecture": architecture.name,
                "layers": {"encoder": encoder.layers, "decoder": decoder.layers},
                "d_ff": {"encoder": encoder.d_ff, "decoder": decoder.d_ff},
                "d_model": architecture.d_model,
                "vocabulary": architecture.vocabulary,
                "embeddings": architecture.embeddings,
                "languages": list(tags.languages),
                "tags": {"source": tags.source, "target": "tgt" if tags.target else None},
                "dropped": list(result.dropped),
                "sha256": dict(result.sources),
            }
        )
        return

    say(
        f"{architecture.name}: {encoder.layers}+{decoder.layers} layers of width {architecture.d_model} with "
        f"{encoder.d_ff}/{decoder.d_ff} neurons, {architecture.vocabulary} tokens, {architecture.embeddings} embeddings"
    )
    say(f"languages: {', '.join(tags.languages) or 'none'}")
    note(f"the model ({result.kind}) is in {result.directory}")


def _import_masks(paths: list[Path], named: list[str], out: Path, as_json: bool) -> None:
    """Import released masks and print them."""
    from neuronspec.neurons.import_sources import find_mask_files
    from neuronspec.neurons.imported_masks import import_released_masks

    _write_masks(import_released_masks(find_mask_files(paths, named)), out, as_json)


def _import_lape(path: Path, *, langs: str | None, model: str | None, out: Path, as_json: bool) -> None:
    """Import LAPE's neurons and print them."""
    if langs is None or model is None:
        raise NeuronspecError(
            "LAPE's file names neither its languages nor its layers: give --langs in its order, and --model for the "
            "widths of the layers"
        )
    from neuronspec.models.building import build_skeleton
    from neuronspec.models.fairseq.dictionary import read_languages
    from neuronspec.models.loading import load_configuration
    from neuronspec.neurons.imported_masks import import_lape_neurons
    from neuronspec.neurons.layers import find_ffn_layers

    widths = {layer.name: layer.width for layer in find_ffn_layers(build_skeleton(load_configuration(model)))}
    _write_masks(import_lape_neurons(path, read_languages(langs), widths), out, as_json)


def _write_masks(masks: NeuronMasks, out: Path, as_json: bool) -> None:
    """Write masks, and print the share of neurons that they switch off."""
    place = masks.save_pretrained(out).parent
    if as_json:
        shares = {layer: dict(zip(masks.tasks, off.tolist(), strict=True)) for layer, off in masks.sparsity().items()}
        print_json({"out": str(place), "sparsity": shares, "signature": masks.signature})
        return
    say(repr(masks))
    note(f"the masks are in {place}")
