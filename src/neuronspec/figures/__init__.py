"""Figures: drawing what was measured."""
