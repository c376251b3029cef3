"""Scoring one system: BLEU, chrF++, TER and COMET, and translations that are broken."""
