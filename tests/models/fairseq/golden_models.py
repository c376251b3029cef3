"""Small fairseq models with weights that anyone can draw again, and what fairseq 0.12.2 itself computed with them.

`golden/models.json` holds the settings, the shapes and fairseq's results; the weights are drawn here, by the names of
the tensors, so that no checkpoint has to be stored.
"""

from __future__ import annotations

import argparse
import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"
LANGUAGES = ["en", "de", "cs", "tr"]


@cache
def read_golden() -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((GOLDEN / "models.json").read_text(encoding="utf-8"))
    return golden


def draw_weights(case: str, shapes: dict[str, list[int]], end_logit: float) -> dict[str, torch.Tensor]:
    """Return random weights that are sharp enough to translate differently, and that end sentences."""
    weights = {name: draw_tensor(f"{case}/{name}", shape) for name, shape in shapes.items()}
    # The shared matrices of a model are one.
    sharing = SHARING.get(case, "all")
    if sharing != "none":
        weights["decoder.output_projection.weight"] = weights["decoder.embed_tokens.weight"]
    if sharing == "all":
        weights["encoder.embed_tokens.weight"] = weights["decoder.embed_tokens.weight"]
        weights["decoder.output_projection.weight"] = weights["decoder.embed_tokens.weight"]

    # The end of sentence gets a share of every distribution.
    last = max(name for name in shapes if name.startswith("decoder.layers.") and name.endswith("final_layer_norm.bias"))
    final = "decoder.layer_norm.bias" if "decoder.layer_norm.bias" in shapes else last
    end_token = weights["decoder.output_projection.weight"][2]
    weights[final] = weights[final] + end_logit * end_token / end_token.norm() ** 2
    return weights


SHARING = {"decoder_shared": "decoder", "post_decoder_shared": "decoder", "single": "none"}


def draw_tensor(name: str, shape: list[int]) -> torch.Tensor:
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith(("version", "_float_tensor")):
        return torch.full(shape, 3.0)
    if "embed_tokens" in name or "output_projection" in name:
        values = values * 0.6
        values[1] = 0  # padding
    elif "embed_positions" in name:
        values = values * 0.5
    elif len(shape) == 2:
        values = values * 1.3 / shape[1] ** 0.5
    elif name.endswith("norm.weight") or name.endswith("embedding.weight"):
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.tensor(values, dtype=torch.float32)


def write_checkpoint(path: Path, case: str, **changes: Any) -> Path:
    """Write the checkpoint of a golden model, in the form in which fairseq 0.12 writes it."""
    golden = read_golden()[case]
    settings = argparse.Namespace(**{**golden["settings"], **changes})
    weights = draw_weights(case, golden["shapes"], golden["end_logit"])
    content = {
        "args": None,
        "cfg": {"_name": None, "model": settings, "task": settings, "common": {"seed": 1}},
        "model": weights,
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 1}],
        "task_state": {},
        "extra_state": {"epoch": 1},
        "last_optimizer_state": {"state": torch.zeros(10)},
    }
    torch.save(content, path)
    return path
