"""The card of an imported model: where it comes from, and what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronspec.artifacts.cards import escape_code, escape_text, make_front_matter, make_table
from neuronspec.models.fairseq.checkpoint import Checkpoint

if TYPE_CHECKING:
    from neuronspec.models.fairseq.importing import ImportedModel

_MAX_LISTED = 40  # languages in the card


def make_import_card(result: ImportedModel, source: Checkpoint) -> str:
    """Return the card of an imported model.

    Args:
        result: Facts about the import.
        source: Checkpoint that it comes from.
    """
    architecture, tags = result.architecture, result.tags
    encoder, decoder = architecture.encoder, architecture.decoder
    facts = [
        ["architecture in fairseq", escape_code(architecture.name)],
        ["model type in transformers", escape_code(result.kind)],
        ["layers", f"{encoder.layers} in the encoder, {decoder.layers} in the decoder"],
        ["neurons of a layer", f"{encoder.d_ff} in the encoder, {decoder.d_ff} in the decoder"],
        ["width", str(architecture.d_model)],
        ["vocabulary", f"{architecture.vocabulary} tokens"],
        ["embeddings", architecture.embeddings],
        ["language tags", _describe_tags(result)],
        ["entries that are no weights", str(len(result.dropped))],
    ]
    files = [[role, escape_code(digest)] for role, digest in result.sources.items()]

    lines = [
        *make_front_matter({"library_name": "transformers", "tags": ["translation", "neuronspec", "fairseq"]}),
        "",
        f"# {escape_text(result.directory.name)}",
        "",
        f"Imported from the fairseq checkpoint {escape_code(source.path.name)} by neuronspec. The weights are the same "
        "numbers in float32, and a text has the same ids.",
        "",
        *make_table(["", "read from the checkpoint"], facts),
        "",
        *make_table(["file", "SHA-256"], files),
        "",
        *([f"Languages: {escape_text(_list_languages(tags.languages))}", ""] if tags.languages else []),
    ]
    return "\n".join(lines)


def _describe_tags(result: ImportedModel) -> str:
    """Return where the language tags stand."""
    tags = result.tags
    if not tags.languages:
        return "none"
    sources = {"src": "the source's language", "tgt": "the target's language", None: "none"}
    target = "its language" if tags.target else "none"
    return f"in front of a source: {sources[tags.source]}; in front of a target: {target}"


def _list_languages(languages: tuple[str, ...]) -> str:
    more = f" and {len(languages) - _MAX_LISTED} more" if len(languages) > _MAX_LISTED else ""
    return f"{', '.join(languages[:_MAX_LISTED])}{more}"
