"""Builds a tiny COMET model with random weights; a script for COMET's own environment: tiny_comet.py DIRECTORY.

The model is of the class of wmt22-comet-da, a RegressionMetric on XLM-RoBERTa, and lies as the hub's copy does:
`hparams.yaml` and `checkpoints/model.ckpt`, saved by lightning. What XLM-RoBERTa's own directory would hold, the
configuration and the tokenizer, lies in `encoder`. `checkpoints/odd.ckpt` is the same with an object of a class.
"""

from __future__ import annotations

import datetime
import importlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import torch

WORDS = ("the", "a", "cat", "sat", "on", "mat", "dog", "die", "Katze", "auf", "der", "Matte", "Hund", ",", ".")


def build_encoder(folder: Path) -> None:
    """Write the configuration and the tokenizer of a tiny XLM-RoBERTa."""
    folder.mkdir(parents=True)
    transformers: Any = importlib.import_module("transformers")
    pieces: Any = importlib.import_module("sentencepiece")
    draw = random.Random(0)
    lines = [" ".join(draw.choices(WORDS, k=8)) for _ in range(200)]
    model = folder / "sentencepiece.bpe"
    pieces.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(model), vocab_size=80, hard_vocab_limit=False, minloglevel=2
    )
    tokenizer = transformers.XLMRobertaTokenizerFast(vocab_file=f"{model}.model")
    tokenizer.save_pretrained(folder)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.save_pretrained(folder)


def build(folder: Path) -> None:
    """Write the whole model."""
    build_encoder(folder / "encoder")
    models: Any = importlib.import_module("comet.models")
    lightning: Any = importlib.import_module("pytorch_lightning")
    torch.manual_seed(0)
    model = models.RegressionMetric(
        pretrained_model=str(folder / "encoder"),
        layer_transformation="sparsemax",
        layer_norm=False,
        hidden_sizes=[24, 8],
        load_pretrained_weights=False,
        local_files_only=True,
    )
    with torch.no_grad():  # larger than a fresh model's, so that sentences differ
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    checkpoint = folder / "checkpoints" / "model.ckpt"
    trainer.save_checkpoint(checkpoint)
    saved = torch.load(checkpoint, weights_only=True)
    torch.save({**saved, "odd": datetime.timedelta(days=1)}, checkpoint.with_name("odd.ckpt"))
    # JSON is YAML too
    (folder / "hparams.yaml").write_text(json.dumps({**dict(model.hparams), "class_identifier": "regression_metric"}))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
