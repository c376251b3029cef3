"""Preparing corpora of several sizes: time, and memory of all processes, next to the same work with `datasets`.

OMP_NUM_THREADS=1 python -m benchmarks.preparing --folder FOLDER --write

Every program runs alone, in processes of its own, on text that `corpus.py` makes. `datasets` calls the same functions
for each pair, so both keep the same pairs; it encodes with the vocabulary that the run has learned.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.corpus import write_corpus

RESULTS = Path(__file__).parent / "results" / "preparing"
CODES = ("de", "fr", "es", "ru", "el", "ar")  # in four alphabets
LIMITS = {"max_words": 100, "max_length_ratio": 3}
HELD_OUT = 0.002
EC30 = 61_000_000  # pairs
_EVERY = 0.5  # seconds between two looks at the memory


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the text and the runs")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1_000_000, 10_000_000], help="sizes of the corpora")
    parser.add_argument("--compared", type=int, nargs="*", help="sizes to prepare with datasets as well (the first)")
    parser.add_argument("--workers", type=int, default=2, help="number of processes of both programs")
    parser.add_argument("--sample", type=int, default=100_000, help="sentences that the vocabulary is learned from")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}.md and .json to results/")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)  # what a process of its own does
    options = parser.parse_args()
    if options.work:
        WORK[options.work](options.folder, options.workers)
        return

    rows = []
    for pairs in options.pairs:
        folder = options.folder / str(pairs)
        if not (folder / "text").exists():
            write_corpus(folder / "text", pairs, CODES)
        write_configuration(folder, options.sample)
        compared = options.pairs[:1] if options.compared is None else options.compared
        for work in ("neuronspec", "datasets") if pairs in compared else ("neuronspec",):
            rows.append({"work": work, "pairs": pairs, **measure(work, folder, options.workers)})
            print(json.dumps(rows[-1]), flush=True)

    report = format_report(rows, options.workers)
    print(report)
    if options.write:
        RESULTS.with_suffix(".md").write_text(report, encoding="utf-8")
        RESULTS.with_suffix(".json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def write_configuration(folder: Path, sample: int) -> None:
    """Write the configuration of a run."""
    values = {
        "out": str(folder / "run"),
        "languages": CODES,
        "data": {
            "train": [{"path": str(folder / "text" / "{lang}.tsv")}],
            "hold_out": {"valid": HELD_OUT, "test": HELD_OUT},
        },
        "prepare": {**LIMITS, "vocabulary": {"size": 16_000, "sample": sample}},
        "model": {"preset": "tiny"},
    }
    (folder / "run.yaml").write_text(json.dumps(values), encoding="utf-8")


def measure(work: str, folder: Path, workers: int) -> dict[str, Any]:
    """Do some work in a process of its own; return its times, in seconds, and the peak of the memory, in MiB."""
    shutil.rmtree(folder / work, ignore_errors=True)
    shutil.rmtree(folder / "run", ignore_errors=True) if work == "neuronspec" else None
    words = [
        sys.executable,
        "-m",
        "benchmarks.preparing",
        "--work",
        work,
        "--folder",
        str(folder),
        "--workers",
        str(workers),
    ]

    started = time.monotonic()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    peaks: list[int] = [0]
    watching = threading.Thread(target=watch_memory, args=(process, peaks), daemon=True)
    watching.start()
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{work} failed")
    seconds = time.monotonic() - started
    return {**json.loads(output.splitlines()[-1]), "wall": round(seconds, 1), "peak": peaks[0] >> 20}


def watch_memory(process: subprocess.Popen[str], peaks: list[int]) -> None:
    """Note the largest memory that a process and its children had together, shared pages counted once."""
    while process.poll() is None:
        total = 0
        try:
            root = psutil.Process(process.pid)
            for one in (root, *root.children(recursive=True)):
                total += read_share(one.pid)
        except (psutil.Error, OSError):
            pass
        peaks[0] = max(peaks[0], total)
        time.sleep(_EVERY)


def read_share(pid: int) -> int:
    """Return the memory of a process in bytes; pages that several processes share count once for all of them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10


def timed(times: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that also notes how much CPU time it and its processes take."""

    def call(*arguments: Any, **options: Any) -> Any:
        before = read_cpu()
        try:
            return function(*arguments, **options)
        finally:
            times[name] = round(times.get(name, 0.0) + read_cpu() - before, 1)

    return call


def read_cpu() -> float:
    """Return the CPU time of this process and of its children that have ended, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def prepare(folder: Path, workers: int) -> None:
    """Prepare with neuronspec, and print the times of its parts."""
    from neuronspec.config.loading import load_config
    from neuronspec.executors import use_workers
    from neuronspec.files import read_json
    from neuronspec.pipeline.run import Run
    from neuronspec.pipeline.stages import prepare as stage

    times: dict[str, float] = {}
    for name, function in {"clean": "prepare_text", "vocabulary": "_open_own_codec", "encode": "_encode_texts"}.items():
        setattr(stage, function, timed(times, name, getattr(stage, function)))

    run = Run(load_config(folder / "run.yaml"))
    with use_workers(workers):
        stage.execute(run)
    kept = sum(read_json(run.layout.text / "statistics.json")["sizes"]["train"].values())
    print(json.dumps({**times, "cpu": round(read_cpu(), 1), "kept": kept}))


def prepare_with_datasets(folder: Path, workers: int) -> None:
    """Do the same with `datasets`: map, filter, a set of hashes for duplicates, map with the tokenizer."""
    from datasets import Features, Value, disable_progress_bars, load_dataset
    from transformers import AutoTokenizer

    disable_progress_bars()
    times: dict[str, float] = {}
    tokenizer = AutoTokenizer.from_pretrained(folder / "run" / "prepare" / "vocabulary")
    kept = 0
    for code in CODES:
        out = folder / "datasets" / code

        def load(code: str = code, out: Path = out) -> Any:
            rows = load_dataset(
                "csv",
                data_files=str(folder / "text" / f"{code}.tsv"),
                cache_dir=str(out / "cache"),
                split="train",
                delimiter="\t",
                quoting=3,
                column_names=["first", "second"],
                keep_default_na=False,
                features=Features({"first": Value("string"), "second": Value("string")}),
            )
            rows = rows.map(clean_rows, batched=True, num_proc=workers, remove_columns=rows.column_names)
            seen: set[int] = set()

            def is_first(number: int) -> bool:
                known = number in seen
                seen.add(number)
                return not known

            return rows.filter(is_first, input_columns="number")

        rows = timed(times, "clean", load)()

        def encode(rows: Any = rows, out: Path = out) -> Any:
            def encode_rows(batch: dict[str, list[str]]) -> dict[str, Any]:
                return {
                    side: tokenizer(batch[side], add_special_tokens=False, return_attention_mask=False)["input_ids"]
                    for side in ("first", "second")
                }

            encoded = rows.map(encode_rows, batched=True, num_proc=workers)
            encoded.save_to_disk(str(out / "encoded"))

        timed(times, "encode", encode)()
        kept += sum(part == "train" for part in rows["part"])
        shutil.rmtree(out)
    print(json.dumps({**times, "cpu": round(read_cpu(), 1), "kept": kept}))


def clean_rows(batch: dict[str, list[str]]) -> dict[str, Any]:
    """Clean a batch of rows with the functions that neuronspec calls for each pair."""
    from neuronspec.config.sections import HoldOut
    from neuronspec.data.cleaning import judge_pairs
    from neuronspec.data.corpus_formats import Pair
    from neuronspec.data.holdout import choose_part
    from neuronspec.data.normalization import hash_forms

    shares = HoldOut(valid=HELD_OUT, test=HELD_OUT)
    pairs = (Pair(first, second, "") for first, second in zip(batch["first"], batch["second"], strict=True))
    judged = judge_pairs(pairs, min_source_words=1, max_words=LIMITS["max_words"], max_ratio=LIMITS["max_length_ratio"])
    found = [one for one in judged if one.fault is None]
    return {
        "first": [one.texts[0] for one in found],
        "second": [one.texts[1] for one in found],
        "number": [hash_forms(*one.forms) >> 1 for one in found],  # signed numbers have 63 bits
        "part": [choose_part(one.texts[0], shares) for one in found],
    }


WORK: dict[str, Callable[[Path, int], None]] = {"neuronspec": prepare, "datasets": prepare_with_datasets}


def format_report(rows: Sequence[dict[str, Any]], workers: int) -> str:
    """Return the table, and what it means for a corpus of the size of EC30."""
    lines = [
        "| pairs | program | CPU s: read and clean | vocabulary | encode | CPU s in all | wall s | peak MiB | kept |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [f"{row['pairs']:,}", row["work"], row["clean"], row.get("vocabulary", "-"), row["encode"], row["cpu"]]
        lines.append("| " + " | ".join(map(str, [*cells, row["wall"], f"{row['peak']:,}", f"{row['kept']:,}"])) + " |")

    # A line through the smallest and the largest size, without the vocabulary, whose sample stays the same.
    ours = [row for row in rows if row["work"] == "neuronspec"]
    small, large = ours[0], ours[-1]
    if small is not large:
        lines += ["", *extrapolate(small, large)]
    for row in rows:
        own = next(one for one in ours if one["pairs"] == row["pairs"])
        if row["work"] == "datasets":
            ratio = (row["clean"] + row["encode"]) / (own["clean"] + own["encode"])
            lines += [
                "",
                f"With {row['pairs']:,} pairs, datasets takes {ratio:.1f} times the CPU time for the same pairs.",
            ]

    versions = f"python {platform.python_version()}; {os.cpu_count()} cores, {workers} workers"
    return "\n".join([*lines, "", f"{versions}; wall-clock times on a machine that others used as well", ""])


def extrapolate(small: dict[str, Any], large: dict[str, Any]) -> list[str]:
    """Return the arithmetic that leads from two sizes to EC30's."""
    more, left = large["pairs"] - small["pairs"], EC30 - large["pairs"]
    work = [row["clean"] + row["encode"] for row in (small, large)]
    slope = (work[1] - work[0]) / more
    memory = (large["peak"] - small["peak"]) / more
    hours = (work[1] + slope * left) / 3600
    grown = max(0, memory * left)
    bytes_each = memory * (1 << 20)
    return [
        f"Reading, cleaning and encoding: ({work[1]:.0f} - {work[0]:.0f}) CPU s / {more:,} pairs = "
        f"{slope * 1e6:.0f} µs a pair. EC30 ({EC30:,} pairs): {work[1]:.0f} s + {slope * 1e6:.0f} µs x {left:,} = "
        f"{hours:.2f} CPU hours.",
        "",
        f"Memory: ({large['peak']:,} - {small['peak']:,}) MiB / {more:,} pairs = {bytes_each:.0f} bytes a pair. "
        f"A straight line to EC30 is {large['peak']:,} MiB + {bytes_each:.0f} bytes x {left:,} = "
        f"{large['peak'] + grown:,.0f} MiB, but no more can grow than three bits a pair, a part for each block, "
        "and in each worker a memory of at most 400,000 words.",
    ]


if __name__ == "__main__":
    main()
