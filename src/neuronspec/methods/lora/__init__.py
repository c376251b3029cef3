"""LoRA for each task, in a frozen model."""

from neuronspec.methods.lora import method as method
