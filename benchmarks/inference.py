"""The speed, size and quality of translating with exported models, compared with the masked model in transformers.

neuronspec demo --out runs/demo
OMP_NUM_THREADS=2 python -m benchmarks.inference --run runs/demo --write
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration

from benchmarks.rounds import Times, publish, ratios, say, take_turns
from neuronspec.data.texts import assign_pairs, read_columns
from neuronspec.evaluation.scoring import score
from neuronspec.exports.answers import open_answers
from neuronspec.exports.ct2 import open_ct2, write_ct2
from neuronspec.exports.formats import EXPORTS, ExportRequest
from neuronspec.exports.reference import use_masked
from neuronspec.exports.requests import make_request
from neuronspec.exports.sizes import count_bytes
from neuronspec.libraries import import_library
from neuronspec.models.codec import TextCodec
from neuronspec.models.token_matrices import take_tokens
from neuronspec.neurons.layers import find_ffn_layers
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.pipeline.export_source import ExportSource, open_export_source
from neuronspec.pipeline.run import Run, open_run
from neuronspec.specialization.masking import specialize
from neuronspec.specialization.pruning import prune
from neuronspec.specialization.routing import unspecialize
from neuronspec.translation.ct2_conversion import convert

BASE = "transformers, masked"
BEAMS = 5
THREADS = (1, 2)
Translate = Callable[[Sequence[str], str], list[str]]  # sentences and their task


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way of translating in some directions."""

    translate: Translate
    bytes: float  # of a directory for one direction, on average


def main() -> None:
    options = read_options()
    figures: dict[str, Any] = {}
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if options.run is not None:
            more, figures["trained"] = measure_trained(options, Path(folder))
            lines += more
        if options.width:
            more, figures["large"] = measure_large(options, Path(folder))
            lines += more
    publish("inference", lines, figures, options.write, threads=THREADS)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure speed, size and quality of exported models.")
    parser.add_argument("--run", type=Path, help="finished run with masks; without one, only the large model is timed")
    parser.add_argument("--tasks", default="en-de,de-en,en-cs,cs-en")
    parser.add_argument("--sentences", type=int, default=60, help="timed sentences of each task; all are scored")
    parser.add_argument("--width", type=int, default=1024, help="width of the large model; 0 for none")
    parser.add_argument("--vocabulary", type=int, default=256_000, help="tokens of the large model")
    parser.add_argument("--kept", type=int, default=32_000, help="tokens that trimming leaves of them")
    parser.add_argument("--sparsity", type=float, default=0.3, help="of the large model, where no run says it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write results/inference.md and .json")
    return parser.parse_args()


# A trained model


def measure_trained(options: argparse.Namespace, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the table of a trained model, and its figures."""
    run = open_run(str(options.run))
    source = open_export_source(run)
    assert source.masks is not None
    tasks = options.tasks.split(",")
    texts = {task: read_test(run, task) for task in tasks}
    contenders = open_contenders(source, run, texts, folder)

    quality = {}
    for name, contender in contenders.items():
        say(f"scoring {name}")
        quality[name] = statistics.mean(measure_chrf(contender, task, *texts[task]) for task in tasks)

    timed = {task: sources[: options.sentences] for task, (sources, _) in texts.items()}
    total = sum(map(len, timed.values()))
    speeds, found = {}, {}
    for threads in THREADS:
        times = time_contenders(contenders, timed, threads, options.rounds)
        speeds[threads] = {name: total / statistics.median(seconds) for name, seconds in times.items()}
        found[threads] = ratios(times, BASE)

    options.sparsity = source.masks.reorder(tasks).mean_sparsity()
    title = (
        f"A trained model ({count_bytes(source.model) / 1e6:.1f} MB in float32), masks with "
        f"{100 * options.sparsity:.0f} % of the neurons off; {total} test sentences of {', '.join(tasks)}, "
        f"beam {BEAMS}. "
        "Quality: chrF++ against the references, mean over the directions, all test sentences."
    )
    lines = [title, "", *tabulate_all(found, speeds, contenders, quality)]
    figures = {
        "sparsity": options.sparsity,
        "bytes": {name: contender.bytes for name, contender in contenders.items()},
        "chrf": quality,
        "sentences_per_second": speeds,
        "ratios": found,
    }
    return lines, figures


def read_test(run: Run, task: str) -> tuple[list[str], list[str]]:
    """Return the sources and the references of the test set of a direction."""
    pair, side = assign_pairs([task], run.config.pivot)[task]
    columns = [*read_columns(run.open_texts().path("test", pair))]
    return [row[side] for row in columns], [row[1 - side] for row in columns]


def open_contenders(
    source: ExportSource, run: Run, texts: Mapping[str, tuple[list[str], list[str]]], folder: Path
) -> dict[str, Contender]:
    """Return all ways of translating, with their models written and opened."""
    assert source.masks is not None
    trim = write_training_text(run, list(texts), folder)
    kinds: dict[str, tuple[bool, dict[str, Any]]] = {
        "CTranslate2 float32, dense": (False, {}),
        "CTranslate2 int8, dense": (False, {"compute_type": "int8"}),
        "CTranslate2 float32, pruned": (True, {}),
        "CTranslate2 int8, pruned": (True, {"compute_type": "int8"}),
        "CTranslate2 float32, pruned and trimmed": (True, {"trim": trim}),
        "CTranslate2 int8, pruned and trimmed": (True, {"compute_type": "int8", "trim": trim}),
    }

    codec = TextCodec(source.tokenizer, source.model.config)
    answer = open_answers(source.model, source.tokenizer, 200)
    masks = source.masks.reorder(list(texts))

    def translate_masked(sentences: Sequence[str], task: str) -> list[str]:
        with use_masked(source.model, masks):
            return codec.decode(answer(sentences, task, beams=BEAMS))

    contenders = {BASE: Contender(translate=translate_masked, bytes=count_bytes(source.model))}
    for name, (is_pruned, settings) in kinds.items():
        requests = {task: ask(source, task, lines, is_pruned, settings) for task, (lines, _) in texts.items()}
        contenders[name] = open_converted(requests, codec, folder / name)
    return contenders


def write_training_text(run: Run, tasks: list[str], folder: Path) -> dict[str, Path]:
    """Write the training text of each language to a file, for trimming."""
    languages: dict[str, list[str]] = {}
    for task in tasks:
        pair, side = assign_pairs([task], run.config.pivot)[task]
        for row in read_columns(run.open_texts().path("train", pair)):
            for language, line in zip(task.split("-"), (row[side], row[1 - side]), strict=True):
                languages.setdefault(language, []).append(line)

    for language, sentences in languages.items():
        (folder / language).write_text("\n".join(dict.fromkeys(sentences)), encoding="utf-8")
    return {language: folder / language for language in languages}


def ask(
    source: ExportSource, task: str, sentences: list[str], is_pruned: bool, settings: Mapping[str, Any]
) -> ExportRequest:
    """Return the request of an export to CTranslate2."""
    return make_request(
        EXPORTS["ct2"],
        "ct2",
        source.model,
        source.tokenizer,
        source.masks if is_pruned else None,
        task=task,
        sentences=sentences,
        dense=not is_pruned,
        pivot="en",
        limit=20,
        max_tokens=None,
        source="",
        options=settings,
    )


def open_converted(requests: Mapping[str, ExportRequest], codec: TextCodec, folder: Path) -> Contender:
    """Write the export of each direction, and return what translates with them."""
    for task, request in requests.items():
        (folder / task).mkdir(parents=True)
        write_ct2(request, folder / task)

    @functools.cache
    def open_with(task: str, threads: int) -> Any:
        # As many threads as torch has when the export is opened
        return open_ct2(requests[task], folder / task).__enter__()

    def translate(sentences: Sequence[str], task: str) -> list[str]:
        return codec.decode(open_with(task, torch.get_num_threads())(sentences, task, beams=BEAMS))

    total = sum(path.stat().st_size for path in folder.rglob("model.bin"))
    return Contender(translate=translate, bytes=total / len(requests))


def measure_chrf(contender: Contender, task: str, sources: list[str], references: list[str]) -> float:
    """Return the chrF++ of the translations of a test set."""
    language = task.split("-")[1]
    (found,) = score(contender.translate(sources, task), references, language, metrics=["chrf"])
    return found.value


def time_contenders(
    contenders: Mapping[str, Contender], timed: Mapping[str, list[str]], threads: int, rounds: int
) -> Times:
    """Return the seconds of each contender in each round, with a number of threads."""
    torch.set_num_threads(threads)

    def run(contender: Contender) -> None:
        for task, sentences in timed.items():
            contender.translate(sentences, task)

    say(f"timing with {threads} threads")
    runs = {name: functools.partial(run, contender) for name, contender in contenders.items()}
    return take_turns(runs, rounds, clock=choose_clock(threads))


def choose_clock(threads: int) -> Callable[[], float]:
    """Return the clock: CPU time of one thread, which other programs hardly change, and time itself for several."""
    return time.process_time if threads == 1 else time.perf_counter


def tabulate_all(
    found: Mapping[int, Times],
    speeds: Mapping[int, Mapping[str, float]],
    contenders: Mapping[str, Contender],
    quality: Mapping[str, float] | None,
) -> list[str]:
    """Return a Markdown table with a row for each contender."""
    head, line = "| | MB |", "|---|---:|"
    for threads in found:
        head += f" sentences/s, {threads} thread{'s' * (threads > 1)} | times as fast (range) |"
        line += "---:|---:|"
    rows = [head + " chrF++ |" * bool(quality), line + "---:|" * bool(quality)]

    for name, contender in contenders.items():
        row = f"| {name} | {contender.bytes / 1e6:.1f} |"
        for threads, times in found.items():
            faster = sorted(1 / ratio for ratio in times[name])
            row += f" {speeds[threads][name]:.1f} | {statistics.median(faster):.2f}"
            row += f" ({faster[0]:.2f} .. {faster[-1]:.2f}) |"
        rows.append(row + (f" {quality[name]:.2f} |" if quality else ""))
    return [*rows, ""]


# A large model with random weights, whose translations are as long as they may be


def measure_large(options: argparse.Namespace, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the table of a large model, and its figures."""
    model = build_large(options.width, options.vocabulary)
    masks = draw_masks(model, options.sparsity)
    count, length = 4, 16  # sentences, and tokens of source and translation
    ids = torch.randint(10, options.kept, (count, length), generator=torch.Generator().manual_seed(3))
    pruned = prune(model, masks, "de-en")
    trimmed = take_tokens(pruned, range(options.kept))

    models = {"dense": model, "pruned": pruned, "pruned and trimmed": trimmed}
    converted: dict[str, Contender] = {}
    for compute_type in ("float32", "int8"):
        for kind, one in models.items():
            name = f"CTranslate2 {compute_type}, {kind}"
            converted[name] = convert_large(one, compute_type, folder / name, ids)

    # The model itself, once the others are out of memory
    del pruned, trimmed, models
    specialize(model, masks)

    def generate(_: Sequence[str], __: str) -> list[str]:
        model.generate(
            input_ids=ids, tasks=["de-en"] * count, num_beams=BEAMS, min_new_tokens=length, max_new_tokens=length
        )
        return []

    contenders = {BASE: Contender(translate=generate, bytes=count_bytes(model)), **converted}

    speeds, found = {}, {}
    for threads in THREADS:
        times = time_contenders(contenders, {"de-en": [""]}, threads, options.rounds)
        speeds[threads] = {name: count / statistics.median(seconds) for name, seconds in times.items()}
        found[threads] = ratios(times, BASE)

    parameters = contenders[BASE].bytes / 4e6
    title = (
        f"A model with random weights ({parameters:.0f} million parameters: width {options.width}, FFN "
        f"{4 * options.width}, 6 + 6 layers, {options.vocabulary:,} tokens, of which trimming keeps {options.kept:,}), "
        f"{100 * options.sparsity:.0f} % of the neurons off; {count} sentences of {length} tokens, translations of "
        f"{length} tokens, beam {BEAMS}."
    )
    figures = {
        "bytes": {name: contender.bytes for name, contender in contenders.items()},
        "sentences_per_second": speeds,
        "ratios": found,
    }
    return [title, "", *tabulate_all(found, speeds, contenders, None)], figures


def build_large(width: int, vocabulary: int) -> M2M100ForConditionalGeneration:
    """Return a model of NLLB's architecture with random weights, the same ones each time."""
    config = M2M100Config(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=6,
        decoder_layers=6,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    torch.manual_seed(0)
    return M2M100ForConditionalGeneration(config).eval()


def draw_masks(model: M2M100ForConditionalGeneration, sparsity: float) -> NeuronMasks:
    """Return random masks."""
    generator = torch.Generator().manual_seed(1)
    values = {
        layer.name: torch.rand(1, layer.width, generator=generator) >= sparsity for layer in find_ffn_layers(model)
    }
    return NeuronMasks(["de-en"], values)


def convert_large(model: Any, compute_type: str, folder: Path, ids: torch.Tensor) -> Contender:
    """Convert a copy of a large model, and return what translates these ids with it."""
    say(f"converting {folder.name}")
    names = [str(number) for number in range(model.config.vocab_size)]
    special = SimpleNamespace(bos_token_id=0, pad_token_id=1, eos_token_id=2, unk_token_id=3)
    copied = take_tokens(unspecialize(model), range(model.config.vocab_size))
    convert(copied, special, folder, compute_type, names)

    sources = [[str(number) for number in row] for row in ids.tolist()]
    length = ids.shape[1]

    @functools.lru_cache(maxsize=1)  # a large model is not kept in memory twice
    def open_with(threads: int) -> Any:
        return import_library("ctranslate2", "This benchmark", "ct2").Translator(str(folder), intra_threads=threads)

    def translate(_: Sequence[str], __: str) -> list[str]:
        open_with(torch.get_num_threads()).translate_batch(
            sources, [["2"]] * len(sources), beam_size=BEAMS, min_decoding_length=length, max_decoding_length=length
        )
        return []

    return Contender(translate=translate, bytes=(folder / "model.bin").stat().st_size)


if __name__ == "__main__":
    main()
