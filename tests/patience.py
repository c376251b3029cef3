"""How long tests wait for other processes and browsers before they count as hung."""

PATIENCE = 900
"""Seconds: far more than anything takes on a busy machine, because no test may depend on speed."""
