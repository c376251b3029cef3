"""The cost of masks and the savings of packing, for one FFN, a training step and a forward pass.

OMP_NUM_THREADS=1 python -m benchmarks.masking --rounds 7 --write
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from benchmarks.recording import TASKS, make_batches, make_model
from benchmarks.rounds import Times, publish, ratios, say, tabulate, take_turns
from neuronspec.neurons.layers import FFNLayer, find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.packing import Packed, PackedLayer
from neuronspec.specialization.routing import unspecialize

DENSE = "dense"
SPARSITIES = (0.1, 0.2, 0.3, 0.5, 0.7)


class OneTask:
    """A batch in which all rows have the first task."""

    single_task = 0
    generating = False


def make_masks(layers: Sequence[FFNLayer], sparsity: float) -> NeuronMasks:
    """Return random masks with this sparsity for every task."""
    generator = torch.Generator().manual_seed(0)
    return NeuronMasks(
        TASKS,
        {layer.name: torch.rand(len(TASKS), layer.width, generator=generator) >= sparsity for layer in layers},
    )


def time_ffn(width_in: int, width: int, tokens: int, rounds: int) -> Times:
    """Return the time of one FFN, forward and backward, masked and packed, relative to the dense one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    first, second = nn.Linear(width_in, width).to(device), nn.Linear(width, width_in).to(device)
    block = nn.ModuleList([first, second])
    states = torch.randn(8, tokens // 8, width_in, device=device, requires_grad=True)
    rows = torch.arange(8, device=device)

    def step(mask: torch.Tensor | None = None) -> None:
        neurons = torch.relu(first(states))
        second(neurons if mask is None else neurons * mask[rows][:, None].to(neurons.dtype)).sum().backward()
        block.zero_grad()

    contenders: dict[str, Callable[[], object]] = {DENSE: step}
    mixed = torch.rand(8, width, device=device) >= 0.3
    contenders["masked, 8 tasks mixed"] = lambda: step(mixed)

    def step_by_task() -> None:
        for row in range(8):
            weight = first.weight * mixed[row][:, None].to(first.weight.dtype)
            second(torch.relu(nn.functional.linear(states[row], weight, first.bias))).sum().backward()
        block.zero_grad()

    contenders["first matrix x mask, task by task"] = step_by_task
    for sparsity in SPARSITIES:
        layer = FFNLayer("encoder.0", "encoder", 0, width, second, (first,), second, (first,), None, block)
        packed = PackedLayer(layer, (torch.rand(1, width) >= sparsity), "always", OneTask())

        def run(packed: PackedLayer = packed) -> None:
            packed.attach()
            step()
            packed.detach()

        contenders[f"packed, {100 * sparsity:.0f} % off"] = run
    return ratios(take_turns(contenders, rounds), DENSE)


def time_model(model: PreTrainedModel, batch: dict[str, Any], rounds: int) -> tuple[Times, Times]:
    """Return the times of a training step and of a forward without gradients, relative to the dense ones."""
    layers = find_ffn_layers(model)
    masks = {sparsity: make_masks(layers, sparsity) for sparsity in SPARSITIES}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9, fused=True)
    inputs = {name: value for name, value in batch.items() if name != "tasks"}
    mixed, one = batch["tasks"], torch.zeros_like(batch["tasks"])

    def train(inputs: dict[str, Any] = inputs, **tasks: Any) -> None:
        model(**inputs, **tasks, labels=inputs["decoder_input_ids"], use_cache=False).loss.backward()

    def step(**tasks: Any) -> None:
        model.train()
        train(**tasks)
        optimizer.step()
        optimizer.zero_grad()

    def step_by_task() -> None:
        """Train as the released code does: multiply the first matrices by each task's mask, one task at a time."""
        model.train()
        for number in mixed.unique().tolist():
            whole = [layer.expansions[0].weight.data for layer in layers]
            for layer, weight in zip(layers, whole, strict=True):
                layer.expansions[0].weight.data = weight * masks[0.3].layer(layer.name)[number].to(weight)[:, None]
            train({name: value[(mixed == number).to(value.device)] for name, value in inputs.items()})
            for layer, weight in zip(layers, whole, strict=True):
                layer.expansions[0].weight.data = weight
        optimizer.step()
        optimizer.zero_grad()

    @torch.no_grad()
    def forward(**tasks: Any) -> None:
        model.eval()
        model(**inputs, **tasks, use_cache=False)

    def mask(sparsity: float, packed: Packed) -> Callable[[], object]:
        return lambda: specialize(model, masks[sparsity], packed=packed)

    def plain() -> None:
        unspecialize(model)

    masked, by_task = "masked, 8 tasks mixed", "first matrix x mask, task by task"
    packed = {sparsity: f"packed, one task, {100 * sparsity:.0f} % off" for sparsity in SPARSITIES}
    say("training steps")
    # Measured separately and more often: masks cost less than the difference between two steps.
    masking = take_turns(
        {DENSE: step, masked: lambda: step(tasks=mixed)}, 3 * rounds, {DENSE: plain, masked: mask(0.3, "never")}
    )
    steps = take_turns(
        {DENSE: step, by_task: step_by_task} | dict.fromkeys(packed.values(), lambda: step(tasks=one)),
        rounds,
        {DENSE: plain, by_task: plain} | {packed[s]: mask(s, "always") for s in SPARSITIES},
    )
    say("forwards")
    forwards = take_turns(
        {DENSE: forward, masked: lambda: forward(tasks=mixed)}
        | dict.fromkeys(packed.values(), lambda: forward(tasks=one)),
        rounds,
        {DENSE: plain, masked: mask(0.3, "never")} | {packed[s]: mask(s, "always") for s in SPARSITIES},
    )
    return {masked: ratios(masking, DENSE)[masked], **ratios(steps, DENSE)}, ratios(forwards, DENSE)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what masks cost and what packing saves.")
    parser.add_argument("--preset", default="mT-small")
    parser.add_argument("--vocabulary", type=int, default=8_000)
    parser.add_argument("--rows", type=int, default=64, help="sentences per batch")
    parser.add_argument("--length", type=int, default=25, help="tokens in the longest sentence")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write results/masking.md and .json")
    options = parser.parse_args()
    lines, figures = [], {}
    for width_in, width, tokens in ((512, 1024, 1600), (1024, 4096, 1600), (512, 1024, 64)):
        title = f"one FFN, {width_in} to {width:,}, {tokens:,} tokens, forward and backward"
        say(title)
        figures[title] = time_ffn(width_in, width, tokens, 3 * options.rounds)
        lines += tabulate(title, figures[title], 3 * options.rounds)
    model = make_model(options.preset, options.vocabulary)
    (batch,) = make_batches(model, 1, options.rows, options.length)
    shape = f"{options.preset}, {options.rows} sentences of up to {options.length} tokens"
    for what, found in zip(("training step", "forward"), time_model(model, batch, options.rounds), strict=True):
        figures[f"{what}, {shape}"] = found
        lines += tabulate(f"{what}, {shape}", found, options.rounds)
    publish("masking", lines, figures, options.write)


if __name__ == "__main__":
    main()
