"""Importing fairseq checkpoints: an ordinary Hugging Face directory with the same logits and the same ids."""
