"""The cost of recording, relative to a forward of encoder and decoder, to a naive way, and to an output layer.

OMP_NUM_THREADS=1 python -m benchmarks.recording --rounds 7 --write
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel

from benchmarks.rounds import publish, ratios, tabulate, take_turns
from neuronspec.models.presets import PRESETS
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.recording import record_activations

TASKS = [f"en-x{number}" for number in range(8)]
PLAIN = "forward without output layer"


def make_model(preset: str, vocabulary: int) -> PreTrainedModel:
    """Return a preset with random weights; in bf16 on the GPU if there is one."""
    config = M2M100Config(vocab_size=vocabulary, **PRESETS[preset].configuration())
    model = M2M100ForConditionalGeneration(config).eval()
    return model.to("cuda", torch.bfloat16) if torch.cuda.is_available() else model


def make_batches(model: PreTrainedModel, count: int, rows: int, longest: int) -> list[dict[str, Any]]:
    """Return batches of random tokens; lengths differ by a fifth, as in batches sorted by length."""
    generator = torch.Generator().manual_seed(0)
    batches = []
    for _ in range(count):
        batch: dict[str, Any] = {"tasks": torch.randint(len(TASKS), (rows,), generator=generator)}
        for prefix in ("", "decoder_"):
            lengths = torch.randint(int(0.8 * longest), longest + 1, (rows, 1), generator=generator)
            batch[f"{prefix}attention_mask"] = (torch.arange(longest) < lengths).long().to(model.device)
            ids = torch.randint(4, model.config.vocab_size, (rows, longest), generator=generator)
            batch[f"{prefix}input_ids"] = ids.to(model.device)
        batches.append(batch)
    return batches


@torch.no_grad()
def run_forward(model: PreTrainedModel, batches: list[dict[str, Any]], output_layer: bool) -> None:
    """Pass the batches through the model, with or without its output layer."""
    body = model if output_layer else model.base_model
    for batch in batches:
        body(**{name: value for name, value in batch.items() if name != "tasks"}, use_cache=False)


def run_naive(model: PreTrainedModel, batches: list[dict[str, Any]]) -> None:
    """Count as the released code does, for one direction: activations to the CPU, then nonzero and bincount."""
    counts: dict[str, torch.Tensor] = {}

    def count(name: str, width: int) -> Callable[..., None]:
        def count_active(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            active = arguments[0].float().cpu().nonzero()[:, -1]
            counts[name] = counts.get(name, 0) + torch.bincount(active, minlength=width)

        return count_active

    layers = find_ffn_layers(model)
    handles = [layer.projection.register_forward_pre_hook(count(layer.name, layer.width)) for layer in layers]
    run_forward(model, batches, output_layer=False)
    for handle in handles:
        handle.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what recording costs.")
    parser.add_argument("--preset", default="mT-small")
    parser.add_argument("--vocabulary", type=int, default=128_000)
    parser.add_argument("--batches", type=int, default=2, help="batches per round")
    parser.add_argument("--rows", type=int, default=64, help="sentences per batch")
    parser.add_argument("--length", type=int, default=25, help="tokens in the longest sentence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/recording.md and .json")
    options = parser.parse_args()
    model = make_model(options.preset, options.vocabulary)
    batches = make_batches(model, options.batches, options.rows, options.length)
    contenders: dict[str, Callable[[], object]] = {
        PLAIN: lambda: run_forward(model, batches, output_layer=False),
        "recording, unit sentence": lambda: record_activations(model, batches, tasks=TASKS),
        "recording, unit token": lambda: record_activations(model, batches, "token", tasks=TASKS),
        "recording, with means": lambda: record_activations(model, batches, tasks=TASKS, means=True),
        "recording, with states": lambda: record_activations(model, batches, tasks=TASKS, states=True),
        "naive counting": lambda: run_naive(model, batches),
        f"forward with {options.vocabulary:,} words": lambda: run_forward(model, batches, output_layer=True),
    }
    found = ratios(take_turns(contenders, options.rounds), PLAIN)
    shape = f"{options.preset}, {options.rows} sentences of up to {options.length} tokens per batch, 8 tasks mixed"
    lines = [f"Time relative to a forward of encoder and decoder ({shape})", ""]
    publish("recording", lines + tabulate("", found, options.rounds), found, options.write)


if __name__ == "__main__":
    main()
