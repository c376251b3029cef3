"""The method lora: one LoRA for each direction in a frozen model, the common choice today where adapters were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from transformers import PreTrainedModel

from neuronspec.config.sections import Decay, Section
from neuronspec.methods.lora.model import LORA_FILE, Lora, LoraSettings, Targets, load_lora
from neuronspec.methods.registry import METHODS
from neuronspec.training.method import Method, Resources


@METHODS.register("lora")
class LoraTraining(Method):
    """Trains nothing but LoRA, made by PEFT (not in the paper).

    A direction has `rank * (in + out)` parameters for each matrix. `export_peft` writes one direction's for PEFT.
    """

    class Options(Section):
        """Options of LoRA."""

        rank: int = Field(default=8, ge=1, le=1 << 16)
        """Rank of every LoRA: the width of its inner vector."""
        alpha: int = Field(default=16, ge=1, le=1 << 16)
        """Scale: the output of LoRA is multiplied by alpha / rank."""
        dropout: Decay = 0.0
        """Dropout on the input of LoRA."""
        targets: Targets = "both"
        """Matrices that have a LoRA: those of `attention`, of `ffn` or of `both`."""

    name = "lora"
    routes = True
    requires: ClassVar[Mapping[str, str]] = {"peft": "lora"}
    engines = ("transformers",)
    artifact = LORA_FILE
    plain_export = """\
from pathlib import Path

from neuronspec.methods import export_peft

export_peft(Path("."), {task}, Path("lora"))  # then peft.PeftModel.from_pretrained(model, "lora")
"""
    options: Options
    lora: Lora

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Add the LoRA of every task, and freeze everything else."""
        settings = LoraSettings(tasks=list(resources.tasks), **self.options.model_dump())
        self.lora = Lora(model, settings, seed=resources.seed, frozen=True)
        # Kept out of the model, so that its state dict keeps its keys
        self.added_modules = self.lora.sets

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Load the LoRA of a checkpoint."""
        self.lora.load(directory)

    def save(self, directory: Path) -> None:
        """Write the LoRA next to the model."""
        self.lora.save(directory)

    @classmethod
    def attach_saved(cls, model: PreTrainedModel, directory: Path, unseen: Sequence[str], pivot: str) -> None:
        """Attach the LoRA of a trained model."""
        load_lora(model, directory).add_zero_shot(unseen, pivot)
