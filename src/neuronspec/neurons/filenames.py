"""Names of the files that hold neurons, for those who look for files and do not read them."""

from __future__ import annotations

MASKS_FILE = "neuron_masks.safetensors"
