"""The part of a model's card about languages that were added to it, with the proof that nothing else has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuronspec.artifacts.cards import escape_code, make_table

if TYPE_CHECKING:
    from neuronspec.methods.add_language.proof import AdditionProof

_SHOWN = 16  # characters of a hash in a table; `added_languages.json` has them whole


def describe_addition(proof: AdditionProof) -> list[str]:
    """Return lines of Markdown about added languages.

    Args:
        proof: Proof that is stored next to the model.
    """
    return [
        *_describe_change(proof),
        "",
        *_describe_layers(proof),
        "",
        *_describe_outputs(proof),
    ]


def _describe_change(proof: AdditionProof) -> list[str]:
    tasks = ", ".join(map(escape_code, proof.tasks))
    return [
        f"{tasks} were added to {escape_code(proof.base_model)}, by training {proof.trained:,} parameters that no "
        f"other direction uses; the vocabulary grew from {proof.vocabulary_before:,} to {proof.vocabulary:,} tokens.",
        "",
        f"All other weights are what they were, bit by bit: the SHA-256 of the {proof.tensors} tensors before, without "
        "what is the new directions' own, is "
        f"{escape_code(proof.weights_before)}, and after {escape_code(proof.weights_after)}.",
    ]


def _describe_layers(proof: AdditionProof) -> list[str]:
    header = ["layer", "neurons before", "now", "used by no direction", "trained"]
    rows = [
        [
            escape_code(layer),
            f"{proof.widths_before.get(layer, width):,}",
            f"{width:,}",
            f"{proof.free.get(layer, 0):,}",
            f"{proof.own.get(layer, 0):,}",
        ]
        for layer, width in proof.widths.items()
    ]
    return make_table(header, rows)


def _describe_outputs(proof: AdditionProof) -> list[str]:
    header = ["direction", "sentences", "scores and tokens before", "after", "translations"]
    rows = [
        [
            escape_code(one.task),
            f"{one.sentences:,}",
            *(escape_code(digest[:_SHOWN]) for digest in (one.before, one.after, one.translations)),
        ]
        for one in proof.directions
    ]
    return [
        "Both models read the same sentences in one process: the ids of all sentences, and all scores and tokens of a "
        f"greedy search and of one with 5 beams are equal. The first {_SHOWN} digits of their SHA-256 "
        "(`added_languages.json` has all of them, next to the model):",
        "",
        *make_table(header, rows),
    ]
