"""Scores one can trust: BLEU, chrF++ and TER through sacrebleu, and the significance of their differences."""
