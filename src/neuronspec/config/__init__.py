"""The configuration of a run: its sections, and loading them from YAML."""
