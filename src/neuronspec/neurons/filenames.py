"""Names of the files of this room, for those who look for files without reading them."""

from __future__ import annotations

from typing import Final

MASKS_FILE: Final = "neuron_masks.safetensors"
COUNTS_FILE: Final = "activation_counts.safetensors"
EXAMPLES_FILE: Final = "activation_examples.safetensors"
