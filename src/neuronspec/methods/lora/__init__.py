"""The method lora."""

from neuronspec.methods.lora import method as method
