"""Exporting one task's LoRA to PEFT."""

from __future__ import annotations

from pathlib import Path

import torch

from neuronspec.artifacts.tensor_files import write_tensors
from neuronspec.files import publish
from neuronspec.methods.lora.model import Lora, find_targets, import_peft, load_lora
from neuronspec.models.loading import load_model
from neuronspec.models.peft_wrapping import name_targets


def export_peft(model_directory: Path, task: str, out: Path, pivot: str = "en") -> None:
    """Write one task's LoRA as a directory that `peft.PeftModel.from_pretrained(model, out)` loads.

    Args:
        model_directory: Directory of the trained model, with its `lora.safetensors`.
        task: Trained task, or an unseen direction, for which two trained ones are composed.
        out: Directory for `adapter_config.json` and `adapter_model.safetensors`; an existing one is replaced.
        pivot: Language that the trained tasks have in common.

    Raises:
        NeuronspecError: If PEFT is not installed, or the LoRA is missing, damaged or has nothing for the task.
    """
    peft = import_peft()
    lora = load_lora(load_model(model_directory), model_directory)
    # A trained direction stays as it is; an unseen one is composed first.
    lora.add_zero_shot([task], pivot)
    tensors_by_matrix = _collect_tensors(lora, task)

    # PEFT reads the settings from the configuration, and finds the tensors by the names of its own modules.
    config = peft.LoraConfig(
        r=lora.settings.rank,
        lora_alpha=lora.settings.alpha,
        lora_dropout=lora.settings.dropout,
        target_modules=name_targets(lora.model, tensors_by_matrix),
        task_type="SEQ_2_SEQ_LM" if lora.model.config.is_encoder_decoder else "CAUSAL_LM",
        base_model_name_or_path=str(model_directory),
        inference_mode=True,
    )

    # The names that the tensors have inside a model that PEFT has wrapped
    named = {}
    for matrix, tensors in tensors_by_matrix.items():
        for key, tensor in tensors.items():
            named[f"base_model.model.{matrix}.{key}"] = tensor

    # Both files appear at once, or neither does.
    with publish(out) as temporary:
        config.save_pretrained(str(temporary))
        write_tensors(temporary / "adapter_model.safetensors", named, {"format": "pt"})


def _collect_tensors(lora: Lora, task: str) -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors of one task's LoRA, by the name of each matrix in the model."""
    names = {module: name for name, module in lora.model.named_modules()}
    row = lora.task_index(task)

    collected = {}
    for name, target in find_targets(lora.model, lora.settings.targets).items():
        # The two stacks can use different parts, if the task was composed.
        number = lora.owners[target.stack][row]
        collected[names[target.matrix]] = lora.sets.get_submodule(f"{number}.{name}").state_dict()
    return collected
