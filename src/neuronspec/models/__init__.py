"""Models: the paper's presets, pretrained ones, loading and saving, language tags."""
