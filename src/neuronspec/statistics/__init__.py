"""Statistics that comparison and analysis share: paired tests, corrections, permutation tests, trends."""
