"""The registry of training methods; `neuronspec.methods.catalog` fills it with the built-in ones."""

from __future__ import annotations

from neuronspec.registry import Registry
from neuronspec.training.method import Method

METHODS: Registry[type[Method]] = Registry("method")
"""Every way of training, by name."""
