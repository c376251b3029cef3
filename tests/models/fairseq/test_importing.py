"""Imported models compute what fairseq 0.12.2 computes, and what cannot be imported is refused by name."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from tests.models.fairseq.golden_models import GOLDEN, LANGUAGES, draw_weights, read_golden, write_checkpoint
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel

from neuronspec.errors import NeuronspecError
from neuronspec.models import import_fairseq
from neuronspec.models.codec import TextCodec
from neuronspec.models.loading import load_model
from neuronspec.neurons.layers import find_ffn_layers

CLASSES = {
    "pre_norm": "M2M100",
    "post_norm": "FSMT",
    "learned": "Blenderbot",
    "decoder_shared": "M2M100",
    "single": "M2M100",
    "gelu": "M2M100",
    "bart": "Bart",
    "post_lnemb": "Bart",
    "mbart": "MBart",
    "pre_lnemb": "MBart",
    "no_scale": "M2M100",
    "unequal": "M2M100",
    "tgt_tag": "M2M100",
    "tgt_both": "M2M100",
    "dec_only": "M2M100",
    "src_only": "M2M100",
    "post_decoder_shared": "FSMT",
}
DICT, SPM = GOLDEN / "unigram.dict.txt", GOLDEN / "unigram.model"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the directory of a golden model, imported once."""
    folder = tmp_path_factory.mktemp("imported")

    def find(case: str) -> Path:
        out = folder / case
        if not out.exists():
            checkpoint = write_checkpoint(folder / f"{case}.pt", case)
            kind = read_golden()[case]["model"]
            import_fairseq(checkpoint, GOLDEN / f"{kind}.dict.txt", out, spm=GOLDEN / f"{kind}.model")
        return out

    return find


def translate(model: PreTrainedModel, source: list[int], tag: int | None) -> list[int]:
    """Search like fairseq: a forced tag keeps its probability."""

    def allow(batch: int, ids: torch.Tensor) -> list[int]:
        forced = tag is not None and len(ids) == 1
        return [tag] if forced else list(range(model.config.vocab_size))  # type: ignore[list-item]

    ids = torch.tensor([source])
    written = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), prefix_allowed_tokens_fn=allow, max_new_tokens=61
    )
    found: list[int] = written[0].tolist()[1:]
    return found


@pytest.mark.parametrize("case", CLASSES)
def test_r8_logits_ids_and_beams_are_those_of_fairseq(case: str, imported: Callable[[str], Path]) -> None:
    golden = read_golden()[case]
    model = AutoModelForSeq2SeqLM.from_pretrained(imported(case)).eval()
    codec = TextCodec(AutoTokenizer.from_pretrained(imported(case)), model.config)
    assert type(model).__name__ == f"{CLASSES[case]}ForConditionalGeneration"

    has_tag = golden["settings"]["decoder_langtok"]
    for row in golden["rows"][:3]:
        best = row["hyps"][0]
        form = codec.format(row["task"])
        assert [form.source(ids) for ids in codec.encode_sources([row["text"]])] == [row["source"]]
        assert form.decoding_start == [2, *(best[:1] if has_tag else [])]
        if len(best) < 60:  # fairseq's limit ends longer ones in another way
            assert translate(model, row["source"], best[0] if has_tag else None) == best

        if row["logits"]:
            with torch.no_grad():
                inputs = {
                    "input_ids": torch.tensor([row["source"]]),
                    "decoder_input_ids": torch.tensor([[2, *best[:-1]]]),
                }
                logits = model(**inputs).logits[0, -1]
            assert torch.allclose(logits, torch.tensor(row["logits"]), atol=1e-4)


def test_a_batch_with_padding_has_the_same_logits(imported: Callable[[str], Path]) -> None:
    rows = [row for row in read_golden()["bart"]["rows"] if row["logits"]]
    model = load_model(imported("bart")).eval()
    for row in rows:
        length = len(row["source"]) + 5
        ids = torch.tensor([row["source"] + [1] * 5])
        mask = torch.arange(length)[None] < len(row["source"])
        start = torch.tensor([[2, *row["hyps"][0][:-1]]])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits[0, -1]
        assert torch.allclose(logits, torch.tensor(row["logits"]), atol=1e-4)


@pytest.mark.parametrize("case", ["pre_norm", "post_norm", "learned", "bart", "mbart", "unequal"])
def test_the_neurons_of_imported_models_are_found(case: str, imported: Callable[[str], Path]) -> None:
    settings = read_golden()[case]["settings"]
    layers = find_ffn_layers(load_model(imported(case)))
    assert [layer.width for layer in layers] == [
        *[settings["encoder_ffn_embed_dim"]] * settings["encoder_layers"],
        *[settings["decoder_ffn_embed_dim"]] * settings["decoder_layers"],
    ]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint.pt", "pre_norm")


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the content of a checkpoint."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def logits_of(directory: Path) -> torch.Tensor:
    row = read_golden()["pre_norm"]["rows"][0]
    model = load_model(directory).eval()
    with torch.no_grad():
        found: torch.Tensor = model(
            input_ids=torch.tensor([row["source"]]), decoder_input_ids=torch.tensor([[2, *row["hyps"][0][:-1]]])
        ).logits[0, -1]
    assert torch.allclose(found, torch.tensor(row["logits"]), atol=1e-4)
    return found


def join_attention(content: dict[str, Any]) -> None:
    """Store queries, keys and values in one matrix, as old checkpoints do."""
    state = content["model"]
    for kind in ("weight", "bias"):
        for name in [name for name in state if name.endswith(f"_attn.q_proj.{kind}")]:
            base = name.removesuffix(f"q_proj.{kind}")
            parts = [state.pop(f"{base}{letter}_proj.{kind}") for letter in "qkv"]
            state[f"{base}in_proj_{kind}"] = torch.cat(parts)


def use_old_settings(content: dict[str, Any]) -> None:
    content["args"], content["cfg"] = content["cfg"]["model"], None
    content["model"].pop("decoder.output_projection.weight")


def use_nested_settings(content: dict[str, Any]) -> None:
    task = vars(content["cfg"]["task"])
    flat = {key: value for key, value in task.items() if not key.startswith(("encoder_", "decoder_"))}
    parts = {
        stack: {key.removeprefix(f"{stack}_"): value for key, value in task.items() if key.startswith(f"{stack}_")}
        for stack in ("encoder", "decoder")
    }
    content["cfg"] = {"model": {**flat, **parts}, "task": task}


def mask_weights(content: dict[str, Any]) -> None:
    """Name weights and store masks as the released code of the paper does."""
    state = content["model"]
    for name in [name for name in state if name.endswith("fc1.weight")]:
        state[name.replace("fc1.weight", "fc1.global_weight")] = state.pop(name)
        state[f"{name.removesuffix('weight')}mask_de-en"] = torch.ones(3)


def leave_out_flags(content: dict[str, Any]) -> None:
    for name in ("share_all_embeddings", "layernorm_embedding", "encoder_learned_pos", "activation_fn"):
        delattr(content["cfg"]["model"], name)


@pytest.mark.parametrize(
    "change", [join_attention, use_old_settings, use_nested_settings, mask_weights, leave_out_flags]
)
def test_older_and_other_forms_of_checkpoints_are_the_same_model(
    change: Callable[[dict[str, Any]], None], checkpoint: Path, tmp_path: Path
) -> None:
    result = import_fairseq(rewrite(checkpoint, change), DICT, tmp_path / "out", spm=SPM)
    assert result.tags.languages == tuple(LANGUAGES)
    logits_of(tmp_path / "out")


def test_weights_in_half_precision_become_the_same_numbers(checkpoint: Path, tmp_path: Path) -> None:
    def halve(content: dict[str, Any]) -> None:
        content["model"] = {name: tensor.half() for name, tensor in content["model"].items()}

    import_fairseq(rewrite(checkpoint, halve), DICT, tmp_path / "out", spm=SPM)
    golden = read_golden()["pre_norm"]
    drawn = draw_weights("pre_norm", golden["shapes"], golden["end_logit"])["encoder.layers.0.fc1.weight"]
    stored = load_model(tmp_path / "out").state_dict()["model.encoder.layers.0.fc1.weight"]
    assert torch.equal(stored, drawn.half().float())


def set_model(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: vars(content["cfg"]["model"]).update(values)


def set_weight(name: str, value: torch.Tensor | None) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        if value is None:
            del content["model"][name]
        else:
            content["model"][name] = value

    return change


FC1 = "encoder.layers.0.fc1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_model(arch="transformer_lm"), "arch is 'transformer_lm'"),
        (set_model(arch="lightconv"), "arch is 'lightconv'"),
        (set_model(activation_fn="mish"), "activation_fn is 'mish'"),
        (set_model(adaptive_softmax_cutoff="10,20"), "adaptive_softmax_cutoff is '10,20'"),
        (set_model(encoder_layers=3), "settings say encoder_layers=3, but its weights have 2"),
        (set_model(encoder_attention_heads=None), "encoder_attention_heads is None"),
        (set_model(encoder_attention_heads=5), "encoder_attention_heads is 5: expected a number that divides 16"),
        (set_model(encoder_learned_pos=True), "settings say encoder_learned_pos=True, but its weights have False"),
        (set_model(lang_tok_replacing_bos_eos=True), "lang_tok_replacing_bos_eos is set"),
        (set_model(task="multilingual_translation"), "the task is 'multilingual_translation'"),
        (set_model(langs=None, lang_dict="langs.txt"), "does not hold its languages: give --langs"),
        (set_model(langs=["en", "de"]), "with the tags of 2 languages, but the model has 188 embeddings"),
        (set_model(langs=["en", "en", "de", "tr"]), "'en' is given twice"),
        (set_model(langs=5), "setting langs is 5, which fairseq never writes"),
        (set_model(langtoks_specs=5), "setting langtoks_specs is 5"),
        (set_model(extra_data=5), "setting extra_data is 5"),
        (set_model(max_source_positions=1 << 40), "positions: at most 1048576 are imported"),
        (set_weight(FC1, None), f"no {FC1}"),
        (set_weight(FC1, torch.tensor(1.0)), r"has shape \(\): expected a matrix"),
        (set_weight("x" * 1000, torch.ones(2)), "architecture: x{80} is unknown"),
        (set_weight("encoder.layers.1.fc2.bias", None), r"encoder\.layers\.1\.fc2\.bias is missing"),
        (set_weight("encoder.layers.0.gate.weight", torch.ones(2)), r"encoder\.layers\.0\.gate\.weight is unknown"),
        (set_weight("encoder.layers.1.fc2.weight", torch.ones(16, 30)), r"has shape \(16, 30\), but .* \(16, 32\)"),
        (set_weight("encoder.layers.1.fc2.bias", torch.full((16,), torch.nan)), "NaN or infinite"),
        (set_weight("encoder.layers.1.fc2.bias", torch.ones(16).long()), "expected floating-point numbers"),
        (set_weight("decoder.layer_norm.weight", None), "settings say decoder_normalize_before=True"),
        (
            set_weight("decoder.embed_tokens.weight", torch.ones(80, 16)),
            r"of shape \(188, 16\), the decoder of \(80, 16\)",
        ),
        (lambda content: content.pop("model"), "no fairseq checkpoint"),
        (lambda content: content.update(cfg=None), "neither args nor cfg"),
        (lambda content: content.update(fsdp_metadata={}), "one shard of a model"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(
    change: Callable[[dict[str, Any]], None], message: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(NeuronspecError, match=message):
        import_fairseq(rewrite(checkpoint, change), DICT, tmp_path / "out", spm=SPM)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt"]


def test_combinations_that_no_class_has_are_refused(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint.pt", "bart")

    def drop(content: dict[str, Any]) -> None:
        for name in [name for name in content["model"] if "layernorm_embedding" in name]:
            del content["model"][name]
        content["cfg"]["model"].layernorm_embedding = False

    with pytest.raises(NeuronspecError, match="normalize_before=False, layernorm_embedding=False and learned_pos=True"):
        import_fairseq(rewrite(checkpoint, drop), DICT, tmp_path / "out", spm=SPM)


def test_given_languages_must_be_those_of_the_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    import_fairseq(checkpoint, DICT, tmp_path / "out", spm=SPM, languages=LANGUAGES)
    with pytest.raises(
        NeuronspecError, match="--langs is de,en,cs,tr, but the checkpoint was trained with en,de,cs,tr"
    ):
        import_fairseq(checkpoint, DICT, tmp_path / "other", spm=SPM, languages=["de", "en", "cs", "tr"])


def test_other_dictionaries_and_piece_models_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "dict.txt"
    lines = DICT.read_text(encoding="utf-8").splitlines()
    for content, message in (
        ("\n".join(lines[:-8]), "the dictionary has 180 tokens with the tags of 4 languages"),
        ("\n".join([*lines[:-1], lines[0]]), "is in the dictionary already"),
        ("\n".join([*lines[:-1], "without-a-count"]), "expected a token and its count, found 'without-a-count'"),
        ("", "it is empty"),
        ("\n".join(f"word{number} 1" for number in range(len(lines))), "no pieces of the SentencePiece model"),
    ):
        other.write_text(content, encoding="utf-8")
        with pytest.raises(NeuronspecError, match=message):
            import_fairseq(checkpoint, other, tmp_path / "out", spm=SPM)

    for spm, message in (
        (None, "holds SentencePiece pieces"),
        (DICT, "no SentencePiece model"),
        (tmp_path / "none", "cannot read the SentencePiece model"),
        (GOLDEN / "bpe.model", "of the dictionary's|pieces of the SentencePiece model are not in the dictionary"),
    ):
        with pytest.raises(NeuronspecError, match=message):
            import_fairseq(checkpoint, DICT, tmp_path / "out", spm=spm)
    with pytest.raises(NeuronspecError, match="cannot read the dictionary"):
        import_fairseq(checkpoint, tmp_path / "none", tmp_path / "out", spm=SPM)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fail)
    with pytest.raises(NeuronspecError, match="no space is left on the disk"):
        import_fairseq(checkpoint, DICT, tmp_path / "out", spm=SPM)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_dictionary_of_words_needs_no_piece_model(checkpoint: Path, tmp_path: Path) -> None:
    lines = DICT.read_text(encoding="utf-8").splitlines()
    words = tmp_path / "dict.txt"
    words.write_text("\n".join(f"{'ab'[number % 2]}{number} 1" for number in range(len(lines))), encoding="utf-8")
    import_fairseq(checkpoint, words, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("a0  b1\tnew a2")["input_ids"] == [4, 5, 3, 6, 2]
    assert tokenizer.decode([4, 5, 6, 2], skip_special_tokens=True) == "a0 b1 a2"
    assert tokenizer("__de__ a0")["input_ids"] == [185, 4, 2]


def test_ids_with_the_normalization_of_sentencepiece(checkpoint: Path, tmp_path: Path) -> None:
    golden = sentencepiece.SentencePieceProcessor(model_file=str(SPM))
    tokenizer_folder = tmp_path / "out"
    import_fairseq(checkpoint, DICT, tokenizer_folder, spm=SPM)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    ids = {
        line.rpartition(" ")[0]: number
        for number, line in enumerate(DICT.read_text(encoding="utf-8").splitlines(), start=4)
    }
    for text in ("Der alte Mann kauft drei Briefe.", "ﬁn ½ ẞ 你好", "  a  b "):
        pieces = golden.encode(text, out_type=str)
        assert tokenizer(text)["input_ids"] == [*(ids.get(piece, 3) for piece in pieces), 2]
    assert (
        tokenizer.decode(tokenizer("Der alte Mann liest.")["input_ids"], skip_special_tokens=True)
        == "Der alte Mann liest."
    )


def test_r7_mangled_checkpoints_are_refused_and_never_crash(checkpoint: Path, tmp_path: Path) -> None:
    whole, draw, refused = checkpoint.read_bytes(), random.Random(0), 0
    start = whole.find(b"argparse")  # the settings come after it
    for number in range(120):
        data = bytearray(whole)
        for _ in range(3):
            data[start + draw.randrange(4000) if number % 2 else draw.randrange(len(data))] = draw.randrange(256)
        checkpoint.write_bytes(bytes(data[: draw.randrange(len(data))] if number % 5 == 0 else data))
        try:
            # The wrong vocabulary: what is not refused before is refused there, and nothing is written.
            import_fairseq(checkpoint, GOLDEN / "bpe.dict.txt", tmp_path / "out", spm=SPM)
        except NeuronspecError:
            refused += 1
    assert refused == 120
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("declared", ["tgt", {"source": "both", "target": None}, {"source": "src"}])
def test_tags_that_are_declared_in_another_way_are_refused(declared: object, imported: Callable[[str], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(imported("pre_norm"))
    tokenizer.init_kwargs["language_tags"] = declared
    with pytest.raises(NeuronspecError, match=r"the tokenizer's language_tags is .*: expected source"):
        TextCodec(tokenizer, load_model(imported("pre_norm")).config).format("de-en")
