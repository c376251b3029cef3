"""The readers of parallel text, a module for each format. Importing this package registers all of them."""

from neuronspec.data.readers import aligned, catalogs, hub_datasets, jsonl, opus, tmx, tsv

__all__ = ["aligned", "catalogs", "hub_datasets", "jsonl", "opus", "tmx", "tsv"]
