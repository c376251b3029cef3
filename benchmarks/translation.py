"""The time of beam search with CTranslate2, compared with transformers, for dense and specialized models.

OMP_NUM_THREADS=1 python -m benchmarks.translation --rounds 5 --write
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from contextlib import ExitStack

import torch

from benchmarks.rounds import publish, ratios, tabulate, take_turns
from neuronspec.config.sections import Translation
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.models.building import build_model
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.translation.beam_search import translate_sentences
from neuronspec.translation.ct2_translator import CT2Translator

BASE = "transformers"


def write_sentences(count: int, words: int) -> list[str]:
    """Return sentences of up to `words` invented words."""
    draw = random.Random(0)
    vocabulary = ["".join(draw.choices("etaoinshrdlu", k=draw.randint(2, 8))) for _ in range(3_000)]
    return [" ".join(draw.choices(vocabulary, k=draw.randint(words // 3, words))) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the time of the translation engines.")
    parser.add_argument("--preset", default="mT-small")
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--sentences", type=int, default=48)
    parser.add_argument("--words", type=int, default=24)
    parser.add_argument(
        "--tokens", type=int, default=30, help="tokens per translation: an untrained model never ends one"
    )
    parser.add_argument("--beams", type=int, default=5)
    parser.add_argument("--sparsity", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/translation.md and .json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = learn_vocabulary(iter(write_sentences(4_000, 12)), options.vocabulary, ["de", "en"])
    dense, masked = (build_model(options.preset, tokenizer, seed=1).eval() for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    masks = {
        layer.name: torch.rand(1, layer.width, generator=generator) >= options.sparsity
        for layer in find_ffn_layers(masked)
    }
    specialize(masked, NeuronMasks(["en-de"], masks))
    sentences, how = write_sentences(options.sentences, options.words), Translation(max_tokens=options.tokens)
    how = how.model_copy(update={"beams": options.beams})
    tasks = ["en-de"] * len(sentences)
    off = f"{100 * options.sparsity:g} % of the neurons off"
    with ExitStack() as stack:

        def engine(model: object, compute_type: str) -> Callable[[], object]:
            made = stack.enter_context(CT2Translator(model, tokenizer, compute_type, "cpu", 1))
            return lambda: made(sentences, tasks, how)

        contenders: dict[str, Callable[[], object]] = {
            BASE: lambda: translate_sentences(dense, tokenizer, sentences, tasks, how),
            f"{BASE}, {off}": lambda: translate_sentences(masked, tokenizer, sentences, tasks, how),
            "CTranslate2 float32": engine(dense, "float32"),
            f"CTranslate2 float32, {off}": engine(masked, "float32"),
            "CTranslate2 int8": engine(dense, "int8"),
            f"CTranslate2 int8, {off}": engine(masked, "int8"),
        }
        found = ratios(take_turns(contenders, options.rounds), BASE)
    shape = f"{options.preset}, {options.sentences} sentences, beam {options.beams}, {options.tokens} tokens each"
    lines = [f"Time of translation relative to transformers ({shape}; conversions not counted)", ""]
    publish("translation", lines + tabulate("", found, options.rounds), found, options.write)


if __name__ == "__main__":
    main()
