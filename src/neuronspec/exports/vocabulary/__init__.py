"""Trimming of a vocabulary to the languages of some tasks: a smaller model and a smaller tokenizer."""
