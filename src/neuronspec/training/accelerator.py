"""The accelerator of a training: device, precision, processes and trackers."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, parse_flag_from_env
from transformers import PreTrainedModel

from neuronspec.config.sections import Training
from neuronspec.errors import NeuronspecError
from neuronspec.layer_names import STACKS
from neuronspec.libraries import find_library
from neuronspec.processes import count_processes, join_processes

# Variables by which `accelerate launch` asks for engines that divide the weights
_SHARDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}


def make_accelerator(
    model: PreTrainedModel, training: Training, directory: Path, *, cpu: bool, unused_parameters: bool
) -> Accelerator:
    """Return the accelerator of a training.

    Args:
        model: Model that is trained.
        training: Precision, trackers and batches of an update.
        directory: Directory for the files of trackers.
        cpu: Whether to stay on the CPU even if there is a GPU.
        unused_parameters: Whether a batch may give some parameters no gradient.

    Raises:
        NeuronspecError: If a tracker is not installed, the batches of an update cannot be divided among processes, or
            the weights would be.
    """
    # A missing tracker is noticed before anything starts.
    for name in training.report_to:
        find_library(name, "train.report_to", "tracking" if name == "tensorboard" else "")

    # Each process computes as many batches of an update as the others. This is checked before they are joined: a
    # process that ends right after joining would take the others down while they still connect.
    launched = count_processes()
    if training.batches_per_update % launched:
        raise NeuronspecError(
            f"train.batches_per_update is {training.batches_per_update}: it must be a multiple of the "
            f"{launched} processes"
        )

    # Checkpoints and masks hold whole matrices; on CPUs, accelerate would ignore such a wish in silence.
    for variable, engine in _SHARDING.items():
        if parse_flag_from_env(variable):
            raise NeuronspecError(
                f"accelerate is configured for {engine} ({variable}), which divides the weights among processes; "
                "training keeps them whole in each: choose data parallelism (DDP) with accelerate config, or leave the "
                "option out"
            )

    # LayerDrop (in M2M-100) leaves parameters without a gradient, too.
    layer_drop = any(getattr(model.config, f"{stack}_layerdrop", 0) for stack in STACKS)

    # The device is that on which the processes were joined.
    joined = join_processes(cpu)
    accelerator = Accelerator(
        cpu=joined.device.type == "cpu",
        mixed_precision=_choose_precision(training.precision, cpu),
        log_with=training.report_to or None,
        project_dir=directory,
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused_parameters or layer_drop)],
    )

    if training.report_to:
        accelerator.init_trackers("neuronspec")
    return accelerator


def _choose_precision(precision: str, cpu: bool) -> str:
    """Return accelerate's name of a precision; `auto` is bf16 on GPUs that support it."""
    if precision == "auto":
        usable = not cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return "bf16" if usable else "no"
    return {"bf16": "bf16", "fp32": "no"}[precision]
