"""Comparing several systems: significance, outcomes, the tables of the paper."""
