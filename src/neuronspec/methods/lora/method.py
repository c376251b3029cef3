"""LoRA in a frozen model, one for each direction: what is trained today where adapters were."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from transformers import PreTrainedModel

from neuronspec.artifacts.tensor_files import write_tensors
from neuronspec.config.sections import Decay, Section
from neuronspec.files import publish
from neuronspec.methods.lora.model import Lora, Shape, Targets, find_targets, import_peft, load_lora
from neuronspec.methods.registry import METHODS
from neuronspec.models.loading import load_model
from neuronspec.training.method import Method, Resources


@METHODS.register("lora")
class LoraTraining(Method):
    """Trains nothing but LoRA, made by PEFT (not in the paper).

    A direction has `rank * (in + out)` parameters for each matrix. `export_peft` writes one direction's for PEFT.
    """

    class Options(Section):
        """Options of LoRA."""

        rank: int = Field(default=8, ge=1, le=1 << 16)
        """Width of the inner vector of every LoRA."""
        alpha: int = Field(default=16, ge=1, le=1 << 16)
        """What LoRA adds is multiplied by alpha / rank."""
        dropout: Decay = 0.0
        """Dropout of what goes into LoRA."""
        targets: Targets = "both"
        """Which matrices have one: `attention`, `ffn` or `both`."""

    name = "lora"
    routes = True
    options: Options
    lora: Lora

    def attach(self, model: PreTrainedModel, resources: Resources) -> None:
        """Add the LoRA of every task, and freeze everything else."""
        shape = Shape(tasks=list(resources.tasks), **self.options.model_dump())
        self.lora = Lora(model, shape, seed=resources.seed, frozen=True)
        self.parts = self.lora.sets

    def restore(self, model: PreTrainedModel, directory: Path) -> None:
        """Read the LoRA back."""
        self.lora.load(directory)

    def save(self, directory: Path) -> None:
        """Write the LoRA beside the model, where translation finds it."""
        self.lora.save(directory)


def export_peft(model_directory: Path, task: str, out: Path, pivot: str = "en") -> None:
    """Write one task's LoRA as a directory that `peft.PeftModel.from_pretrained(model, out)` loads.

    Args:
        model_directory: of the model that was trained, with its `lora.safetensors`.
        task: a trained one, or an unseen direction, for which two trained ones are composed.
        out: `adapter_config.json` and `adapter_model.safetensors` are written there, in place of what there was.
        pivot: the language that trained tasks have in common.

    Raises:
        NeuronspecError: PEFT is not installed, the LoRA is missing or damaged, or has nothing for the task.
    """
    peft = import_peft()
    lora = load_lora(load_model(model_directory), model_directory)
    lora.add_zero_shot([task], pivot)
    matrices = {}  # by its name in the model, the LoRA of each
    names = {module: name for name, module in lora.model.named_modules()}
    for name, place in find_targets(lora.model, lora.shape.targets).items():
        number = lora.owners[place.stack][lora.task_index(task)]
        matrices[names[place.matrix]] = lora.sets.get_submodule(f"{number}.{name}").state_dict()
    ends = {name.rpartition(".")[2] for name in matrices}  # such as q_proj: short, where they mean no other module
    alike = {name for name in names.values() if name.rpartition(".")[2] in ends}
    config = peft.LoraConfig(
        r=lora.shape.rank,
        lora_alpha=lora.shape.alpha,
        lora_dropout=lora.shape.dropout,
        target_modules=sorted(ends if alike == matrices.keys() else matrices),
        task_type="SEQ_2_SEQ_LM" if lora.model.config.is_encoder_decoder else "CAUSAL_LM",
        base_model_name_or_path=str(model_directory),
        inference_mode=True,
    )
    tensors = {f"base_model.model.{name}.{key}": part[key] for name, part in matrices.items() for key in part}
    with publish(out) as temporary:
        config.save_pretrained(str(temporary))
        write_tensors(temporary / "adapter_model.safetensors", tensors, {"format": "pt"})
