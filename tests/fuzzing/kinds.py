"""Kinds of files that are read back or come from others: how to make a valid one, and how it is read."""

from __future__ import annotations

import bz2
import contextlib
import copy
import functools
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from transformers import M2M100Config, M2M100ForConditionalGeneration, PreTrainedModel, PreTrainedTokenizerBase

from neuronspec.analysis.ablation import Ablation
from neuronspec.analysis.distance_tables import read_distances
from neuronspec.config.loading import load_config
from neuronspec.data.corpora import read_pairs
from neuronspec.data.store import TokenStore, build_store
from neuronspec.data.texts import Texts
from neuronspec.data.vocabulary import learn_vocabulary
from neuronspec.evaluation.output_files import read_output_file, write_output_file
from neuronspec.evaluation.outputs import Outputs, read_outputs
from neuronspec.evaluation.results import Results, SystemScore
from neuronspec.files import write_json
from neuronspec.methods.adapters.model import Adapters, AdapterSettings, load_adapters
from neuronspec.methods.add_language.proof import PROOF_FILE, AdditionProof, TaskProof, read_proof
from neuronspec.methods.catalog import method_options
from neuronspec.methods.lass.masks import WEIGHT_MASKS_FILE, WeightMasks
from neuronspec.methods.lora.model import Lora, LoraSettings, load_lora
from neuronspec.methods.parameter_differentiation.model import Branches, load_branches
from neuronspec.models.fairseq.dictionary import read_dictionary
from neuronspec.models.loading import load_model, load_tokenizer, save_model
from neuronspec.neurons.counts import ActivationCounts
from neuronspec.neurons.examples import Examples
from neuronspec.neurons.imported_masks import import_lape_neurons, import_released_masks
from neuronspec.neurons.masks import NeuronMasks
from neuronspec.neurons.neuron_lists import read_neurons
from neuronspec.pipeline.content_hashes import ContentHashes
from neuronspec.pipeline.engine import Stage
from neuronspec.pipeline.layout import Layout
from neuronspec.pipeline.neuron_ablation import load_ablations
from neuronspec.pipeline.records import find_reason, read_record
from neuronspec.specialization.steering_files import read_steerings
from neuronspec.training.checkpoints import Checkpoints
from neuronspec.training.curves import read_curve
from neuronspec.training.stored_state import check_state
from neuronspec.translation.resumable_files import translate_file

TASKS = ("de-en", "en-de")
RECIPE: dict[str, Any] = {
    "languages": ["de", "fr"],
    "zero_shot": ["de-fr"],
    "seed": [1, 2],
    "data": {
        "train": [{"path": "{lang}.tsv", "columns": [1, 2], "languages": ["de"]}, {"path": "x.{lang}"}],
        "hold_out": {"valid": 0.1, "test": 0.1},
    },
    "prepare": {"drop_matching": "https?://|[<>]", "max_words": 80, "vocabulary": {"size": 500}},
    "model": {"preset": "tiny", "dropout": 0.1},
    "train": {"updates": 100, "adam_betas": [0.9, 0.98], "learning_rate": 5e-4},
    "select": {"k": 0.9, "rule": "coverage"},
    "score": {"metrics": ["bleu"], "levels": {"high": ["de"], "low": ["fr"]}},
    "methods": {"fine_tune": None, "mine": {"method": "adapters", "bottleneck": 8}},
    "translate": {"beams": 2},
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file.

    Attributes:
        make: Function that writes a valid one into a directory.
        read: Function that reads it from there.
        files: Names of the files that are mutated.
        weight: Share of the mutations, compared with other kinds: less for those that take long.
        tolerant: Whether nothing may be refused, because the work goes on without the file.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], object]
    files: tuple[str, ...]
    weight: float = 1.0
    tolerant: bool = False


# Text of others


def _corpus(files: dict[str, bytes], template: str, format: str, *mutated: str, weight: float = 1.0) -> Kind:
    def make(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)

    def read(folder: Path) -> object:
        return list(read_pairs(str(folder / template), "de", "en", format=format))

    return Kind(make=make, read=read, files=mutated or tuple(files), weight=weight)


TABLE = b"".join(b"A sentence %d\tEin Satz %d\n" % (n, n) for n in range(20))
JSON_LINES = b"".join(
    b'{"translation": {"de": "Satz %d", "en": "sentence %d", "id": %d}}\n' % (n, n, n) for n in range(9)
)
MEMORY = (
    b'<?xml version="1.0"?><tmx version="1.4"><header/><body>'
    b'<tu><tuv xml:lang="de"><seg>Gut<bpt>x</bpt>en Tag</seg></tuv>'
    b'<tuv xml:lang="en-US"><seg>Good day</seg></tuv></tu></body></tmx>'
)
CATALOG = (
    b'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgctxt "menu"\nmsgid "Open a file"\n'
    b'msgstr "Datei \xc3\xb6ffnen"\n\nmsgid "one"\nmsgid_plural "many"\nmsgstr[0] "eins"\nmsgstr[1] "viele"\n'
)
LOG = b"S-0\ta\nT-0\tb\nH-0\t-0.5\tc\nD-0\t-0.5\tc\nP-0\t-0.5\nS-1\ta\nT-1\tb\nH-1\t-1e-3\tc\nD-1\t-1\tc\nP-1\t-1\n"


def _compile_catalog() -> bytes:
    import polib

    entries = polib.pofile(CATALOG.decode(), encoding="utf-8")
    return bytes(entries.to_binary())


def _zip(members: dict[str, bytes]) -> bytes:
    import io

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


PACKED = {
    "gz": gzip.compress(TABLE),
    "bz2": bz2.compress(TABLE),
    "xz": lzma.compress(TABLE),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress(TABLE),
}
CORPORA: dict[str, Kind] = {
    "tsv": _corpus({"de.tsv": TABLE}, "{lang}.tsv", "tsv"),
    "lines": _corpus({"x.de": b"a\nb\n", "x.en": b"c\nd\n"}, "x.{lang}", "lines"),
    "jsonl": _corpus({"x.jsonl": JSON_LINES}, "x.jsonl", "jsonl"),
    "tmx": _corpus({"x.tmx": MEMORY}, "x.tmx", "tmx"),
    "opus": _corpus({"x.zip": _zip({"x.de": b"a\nb\n", "x.en": b"c\nd\n"})}, "x.zip", "opus"),
    "catalog": _corpus({"de.po": CATALOG}, "{lang}.po", "catalog"),
}
MORE_CORPORA: dict[str, Kind] = {
    **{f"packed {end}": _corpus({f"de.tsv.{end}": data}, f"{{lang}}.tsv.{end}", "tsv") for end, data in PACKED.items()},
    "catalog mo": _corpus({"de.mo": _compile_catalog()}, "{lang}.mo", "catalog"),
    "catalog json": _corpus(
        {"de.json": b'{"a": {"b": "Satz"}}', "en.json": b'{"a": {"b": "x"}}'}, "{lang}.json", "catalog"
    ),
    "unknown": _corpus({"text": MEMORY}, "text", "auto"),
}
# The library `datasets` reads these; a mutation takes a second.
UNTRIED_CORPORA = {"datasets"}


def _outputs(content: bytes, format: str) -> Kind:
    return Kind(
        make=lambda folder: (folder / "out.txt").write_bytes(content),
        read=lambda folder: read_outputs(folder / "out.txt", format=format),
        files=("out.txt",),
    )


OUTPUTS: dict[str, Kind] = {"lines": _outputs(b"a\nb\n", "lines"), "fairseq": _outputs(LOG, "fairseq")}


# Models, and what methods leave next to them


@functools.cache
def make_tokenizer() -> PreTrainedTokenizerBase:
    return learn_vocabulary(iter(["ka be zo li mu ra", "pa te so ni ju va"] * 10), 64, ["de", "en"])


@functools.cache
def _make_model() -> PreTrainedModel:
    torch.manual_seed(1)
    config = M2M100Config(
        **{"vocab_size": len(make_tokenizer()), "d_model": 8, "encoder_layers": 1, "decoder_layers": 1},
        **{"encoder_attention_heads": 1, "decoder_attention_heads": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16},
        **{"decoder_start_token_id": 2, "max_position_embeddings": 32, "encoder_layerdrop": 0.0},
    )
    return M2M100ForConditionalGeneration(config).eval()


def _fresh() -> PreTrainedModel:
    return copy.deepcopy(_make_model())


MASKS = NeuronMasks.from_dict(
    {
        task: {layer: torch.arange(16) % 2 == number for layer in ("encoder.0", "decoder.0")}
        for number, task in enumerate(TASKS)
    }
)


def _make_counts(folder: Path) -> None:
    layers = ("encoder.0", "decoder.0")
    ActivationCounts(
        tasks=TASKS,
        values={layer: torch.arange(32).view(2, 16) for layer in layers},
        totals={"encoder": torch.tensor([40, 40]), "decoder": torch.tensor([40, 40])},
        unit="sentence",
        signature={"model": "x"},
        means={layer: torch.rand(2, 16, dtype=torch.float64) for layer in layers},
        states={layer: torch.zeros(80, 2, dtype=torch.uint8) for layer in layers},
        state_tasks=torch.arange(80) % 2,
    ).save(folder)


def _use_counts(folder: Path) -> None:
    """Read counts, and do with them what selecting and analyzing do."""
    counts = ActivationCounts.load(folder)
    NeuronMasks.from_counts(counts, k=0.9)
    for layer in counts.layers:
        counts.frequencies(layer)


def _make_examples(folder: Path) -> None:
    places = {"decoder.0": torch.zeros(16, 2, dtype=torch.int64)}
    Examples(
        tasks=TASKS,
        top=2,
        values={"decoder.0": torch.rand(16, 2)},
        sentences=places,
        positions={"decoder.0": torch.ones(16, 2, dtype=torch.int64)},
        numbers=torch.tensor([0, 3]),
        sentence_tasks=torch.tensor([0, 1]),
        lengths={"decoder": torch.tensor([2, 1])},
        tokens={"decoder": torch.tensor([5, 6, 7], dtype=torch.int32)},
        signature={},
    ).save(folder)


def _make_adapters(folder: Path) -> None:
    owners = {"encoder": [0, 1], "decoder": [0, 1]}
    settings = {"tasks": [*TASKS], "sets": [*TASKS], "owners": owners, "bottleneck": 4, "dropout": [0.0, 0.1]}
    Adapters(_fresh(), AdapterSettings.model_validate(settings)).save(folder)


def _make_lora(folder: Path) -> None:
    settings = {"tasks": list(TASKS), "rank": 2, "alpha": 4, "dropout": 0.0, "targets": "both"}
    Lora(_fresh(), LoraSettings.model_validate(settings)).save(folder)


def _make_branches(folder: Path) -> None:
    branches = Branches(_fresh(), TASKS)
    branches.split(next(iter(branches.units)), [1])
    branches.save(folder)


def _make_weight_masks(folder: Path) -> None:
    masks = [WeightMasks.from_model(_make_model(), task, 0.5) for task in TASKS]
    WeightMasks.concatenate(masks).save(folder / WEIGHT_MASKS_FILE)


CONTAINERS: dict[str, Kind] = {
    "neuron_masks.safetensors": Kind(
        make=MASKS.save_pretrained,
        read=lambda folder: NeuronMasks.from_pretrained(folder).mean_sparsity(),
        files=("neuron_masks.safetensors",),
        weight=4,
    ),
    "activation_counts.safetensors": Kind(
        make=_make_counts, read=_use_counts, files=("activation_counts.safetensors",), weight=4
    ),
    "activation_examples.safetensors": Kind(
        make=_make_examples, read=Examples.load, files=("activation_examples.safetensors",), weight=2
    ),
    "adapters.safetensors": Kind(
        make=_make_adapters,
        read=lambda folder: load_adapters(_fresh(), folder),
        files=("adapters.safetensors",),
        weight=0.4,
    ),
    "lora.safetensors": Kind(
        make=_make_lora, read=lambda folder: load_lora(_fresh(), folder), files=("lora.safetensors",), weight=0.4
    ),
    "branches.safetensors": Kind(
        make=_make_branches,
        read=lambda folder: load_branches(_fresh(), folder),
        files=("branches.safetensors",),
        weight=0.4,
    ),
    WEIGHT_MASKS_FILE: Kind(
        make=_make_weight_masks,
        read=lambda folder: WeightMasks.load(folder / WEIGHT_MASKS_FILE),
        files=(WEIGHT_MASKS_FILE,),
    ),
}


def _make_model_directory(folder: Path) -> None:
    save_model(_make_model(), folder, make_tokenizer())


def _use_model_directory(folder: Path) -> None:
    from neuronspec.models.codec import TextCodec

    model = load_model(folder, translates=True)
    tokenizer = load_tokenizer(folder)
    TextCodec(tokenizer, model.config).format("de-en")
    tokenizer(["ka be"], add_special_tokens=False)


MODEL_FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "model.safetensors")
MODELS: dict[str, Kind] = {
    "model": Kind(make=_make_model_directory, read=_use_model_directory, files=MODEL_FILES, weight=0.2),
    "dictionary": Kind(
        make=lambda folder: (folder / "dict.txt").write_text("a 5\nb 4\nmadeupword0001 0\n"),
        read=lambda folder: read_dictionary(folder / "dict.txt"),
        files=("dict.txt",),
    ),
}


# PyTorch files


def _make_released(folder: Path) -> None:
    rows = {f"{stack}.layers.0.fc1.weight": torch.ones(16, 8, dtype=torch.bool) for stack in ("encoder", "decoder")}
    torch.save(rows, folder / "masks.pt")


def _make_lape(folder: Path) -> None:
    torch.save([[torch.tensor([1, 2]), [3]], [torch.tensor([0]), []]], folder / "lape.pt")


ARCHIVES: dict[str, Kind] = {
    "released masks": Kind(
        make=_make_released,
        read=lambda folder: import_released_masks({"de-en": folder / "masks.pt"}),
        files=("masks.pt",),
    ),
    "LAPE": Kind(
        make=_make_lape,
        read=lambda folder: import_lape_neurons(folder / "lape.pt", TASKS, {"encoder.0": 16, "decoder.0": 16}),
        files=("lape.pt",),
    ),
}


# The state of a run


def _make_checkpoint(folder: Path) -> None:
    from neuronspec.training.loop import TrainingState

    state = TrainingState(
        update=5, batch=5, target_tokens=100, seconds=1.5, best_loss=2.5, best_update=5, points=[[1, 2.0, 0.1]]
    )

    def write_model(place: Path) -> None:
        write_json(place / "config.json", {"model_type": "m2m_100"})

    Checkpoints(folder / "checkpoints", keep=2).save(5, write_model, {"exp_avg.a": torch.ones(2)}, asdict(state))


def _use_checkpoint(folder: Path) -> None:
    from neuronspec.training.loop import TrainingState

    reports: list[str] = []
    checkpoints = Checkpoints(folder / "checkpoints", keep=2, check=check_state)
    found = checkpoints.newest(reports.append)
    if found is not None:
        state = TrainingState(**found[2])
        assert state.update == 5
        assert 0 <= state.best_update <= 5
        assert state.seconds >= 0
    elif not reports:
        raise AssertionError("a checkpoint was passed over in silence")
    assert all(len(report) < 2_000 for report in reports)


_CHECKPOINT = "checkpoints/checkpoint-000005/"


def _reseal(folder: Path) -> None:
    """Write the hashes of a checkpoint anew, as if its files had been made like this."""
    from neuronspec.files import hash_path

    place = folder / _CHECKPOINT
    names = ("config.json", "training_state/state.json", "training_state/optimizer.safetensors")
    hashes = {name: hash_path(place / name) for name in names if (place / name).is_file()}
    write_json(place / "training_state/manifest.json", hashes)


def _use_resealed(folder: Path) -> None:
    _reseal(folder)
    _use_checkpoint(folder)


JOURNAL = "".join(
    json.dumps(
        {
            "update": 10 * n,
            "train": {
                "loss": 2.0,
                "learning_rate": 0.1,
                "target_tokens": 100 * n,
                "target_tokens_per_second": 50.0,
                "points": [[10 * n - 5, 2.1, 0.1], [10 * n, 2.0, 0.1]],
            },
            "valid": {"loss": {"de-en": 2.5, "all": 2.4}},
        }
    )
    + "\n"
    for n in range(1, 5)
)


def _use_journal(folder: Path) -> None:
    from types import SimpleNamespace

    from neuronspec.training.journal import Journal

    read_curve(folder / "log.jsonl")
    accelerator: Any = SimpleNamespace(is_main_process=True, log=lambda values, step: None)
    journal = Journal(folder, 20, accelerator)
    journal.write(30, {"train": {"loss": 1.0}})


def _make_record(folder: Path) -> None:
    prints = {"hash": "0" * 64}
    record = {
        "made_from": {"settings": {"select.k": 0.9}, "inputs": {"a": prints}, "version": "0.1.0"},
        "outputs": {"b": prints},
        "seconds": 1.5,
        "finished": "2026-01-01T00:00:00+00:00",
    }
    write_json(folder / "select.json", record)


def _use_record(folder: Path) -> None:
    from neuronspec.pipeline.records import describe_origin

    layout = Layout(folder)
    record = read_record(folder / "select.json")
    stage = Stage(
        name="select", settings={"select.k": 0.9}, inputs=[folder], outputs=[folder / "b"], execute=lambda: None
    )
    hashes = ContentHashes(layout)
    find_reason(stage, record, describe_origin(stage, hashes), layout, hashes)
    hashes.save()
    if record is not None:
        assert isinstance(record["seconds"], int | float)
        f"{record['seconds']:.1f} {record.get('finished') or ''}"


def _make_store(folder: Path) -> None:
    (folder / "text.tsv").write_text("ka be\tpa te\nzo\tso ni\n" * 4)
    build_store(folder / "store", {"de-en": folder / "text.tsv"}, _encoder, len(make_tokenizer()))


def _encoder() -> Callable[[list[str]], list[list[int]]]:
    def encode(lines: list[str]) -> list[list[int]]:
        ids: list[list[int]] = make_tokenizer()(lines, add_special_tokens=False)["input_ids"]
        return ids

    return encode


def _use_store(folder: Path) -> None:
    store = TokenStore(folder / "store")
    for pair, count in store.pairs.items():
        lengths = store.lengths(pair)
        assert lengths.shape == (count, 2)
        assert (lengths >= 0).all()
        for example in range(count):
            assert len(store.sequence(pair, 0, example)) == lengths[example, 0]


def _make_results(folder: Path) -> None:
    scores = [
        SystemScore(system=system, task="de-en", metric="BLEU", score=20.0, signature="x", sentences=2, test_set="h")
        for system in ("a", "b")
    ]
    from neuronspec.artifacts.json_lines import write_json_lines
    from neuronspec.evaluation.results import QUALITY_FILE, SCORES_FILE

    write_json_lines(folder / SCORES_FILE, scores)
    write_json_lines(folder / QUALITY_FILE, [])


def _make_proof(folder: Path) -> None:
    widths = {"encoder.0": 16}
    proof = AdditionProof(
        languages=("hsb",),
        tasks=("de-hsb",),
        base_model="x",
        tensors=3,
        weights_before="0",
        weights_after="0",
        vocabulary_before=5,
        vocabulary=6,
        widths_before=widths,
        widths=widths,
        free=widths,
        own=widths,
        trained=4,
        directions=(TaskProof(task="de-en", sentences=3, before="0", after="0", translations="1"),),
    )
    write_json(folder / PROOF_FILE, proof.to_json())


def _use_translations(folder: Path) -> None:
    path = folder / "out.txt"
    path.unlink(missing_ok=True)
    translate_file(lambda sentences, tasks: list(sentences), ["a", "b", "c"], ["de-en"] * 3, path, {"x": 1})
    assert path.read_text() == "a\nb\nc\n"


def _make_translations(folder: Path) -> None:
    def stop(sentences: Any, tasks: Any) -> list[str]:
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        translate_file(stop, ["a", "b", "c"], ["de-en"] * 3, folder / "out.txt", {"x": 1})
    with (folder / ".out.txt.part").open("a") as file:
        file.write('"a"\n')


ANALYSIS = {
    "summary": [{"kind": "finding", "text": "x"}],
    "cards": {
        "languages": [{"label": "German", "name": "de", "neurons": [{"id": "decoder.0:3"}, {"id": "encoder.0:1"}]}]
    },
}


def _make_ablation(folder: Path) -> None:
    baseline, losses, random = np.array([2.0, 3.0]), np.array([[2.5, 2.0], [3.25, 4.0]]), np.array([[2.0], [3.25]])
    one = Ablation("decoder", TASKS, "loss", False, 0.05, {"decoder.0": 8}, baseline, losses, random)
    write_json(folder / "ablation.json", {"decoder": one.as_dict()})


def _make_config(folder: Path) -> None:
    (folder / "my.yaml").write_text(json.dumps(RECIPE))


def _use_config(folder: Path) -> None:
    load_config(folder / "my.yaml", method_options=method_options())


def _state(make: Callable[[Path], object], read: Callable[[Path], object], *files: str, weight: float = 1.0) -> Kind:
    return Kind(make=make, read=read, files=files, weight=weight)


STATE: dict[str, Kind] = {
    "checkpoint": _state(
        _make_checkpoint,
        _use_checkpoint,
        *(_CHECKPOINT + name for name in ("training_state/manifest.json", "training_state/state.json")),
        _CHECKPOINT + "training_state/optimizer.safetensors",
        weight=2,
    ),
    "resealed checkpoint": _state(
        _make_checkpoint,
        _use_resealed,
        *(_CHECKPOINT + name for name in ("training_state/state.json", "training_state/optimizer.safetensors")),
        weight=2,
    ),
    "journal": Kind(
        make=lambda folder: (folder / "log.jsonl").write_text(JOURNAL),
        read=_use_journal,
        files=("log.jsonl",),
        tolerant=True,
    ),
    "record": Kind(make=_make_record, read=_use_record, files=("select.json",), tolerant=True, weight=2),
    "store": _state(
        _make_store,
        _use_store,
        *(f"store/{name}" for name in ("store.json", "de-en.0.offsets", "de-en.0.tokens")),
        weight=2,
    ),
    "statistics": _state(
        lambda folder: write_json(
            folder / "statistics.json",
            {
                "sizes": {"train": {"de-en": 5}, "valid": {"de-en": 1}, "test": {"de-en": 1}},
                "dropped": {"de-en": {"read": 7}},
                "overlap": {"de-en": {"valid": {"either": 0}}},
            },
        ),
        lambda folder: sum(Texts.load(folder).sizes["train"].values()),
        "statistics.json",
    ),
    "results": _state(_make_results, Results.load, "scores.jsonl"),
    "output file": _state(
        lambda folder: write_output_file(folder / "x.jsonl", Outputs(("a", "b"), ("c", "d"), ("e", "f"))),
        lambda folder: read_output_file(folder / "x.jsonl", "x"),
        "x.jsonl",
    ),
    "proof": _state(_make_proof, read_proof, PROOF_FILE),
    "translations": _state(_make_translations, _use_translations, ".out.txt.part"),
    "ablation": _state(_make_ablation, load_ablations, "ablation.json"),
    "neuron list": _state(
        lambda folder: (folder / "list.txt").write_text("decoder.0:3 # x\nencoder.0:1\n"),
        lambda folder: read_neurons(folder / "list.txt"),
        "list.txt",
    ),
    "cards": _state(
        lambda folder: write_json(folder / "analysis.json", ANALYSIS),
        lambda folder: read_neurons(folder, "de"),
        "analysis.json",
    ),
    "distances": _state(
        lambda folder: (folder / "d.csv").write_text(",de,en\nde,0,1\nen,1,0\n"),
        lambda folder: read_distances(folder / "d.csv", ["de", "en"]),
        "d.csv",
    ),
    "steerings": _state(
        lambda folder: (folder / "s.yaml").write_text(
            '[{"neurons": {"decoder.0": [1, 2]}, "scale": 0.5, "tasks": ["de-en"]}]'
        ),
        lambda folder: read_steerings(folder / "s.yaml"),
        "s.yaml",
    ),
    "configuration": _state(_make_config, _use_config, "my.yaml", weight=2),
}

KINDS: dict[str, Kind] = {
    **{f"corpus {name}": kind for name, kind in (CORPORA | MORE_CORPORA).items()},
    **{f"outputs {name}": kind for name, kind in OUTPUTS.items()},
    **CONTAINERS,
    **MODELS,
    **ARCHIVES,
    **STATE,
}
