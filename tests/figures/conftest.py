from __future__ import annotations

import pytest

from neuronspec.figures import figure_files


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time of drawing bitmaps sharply; the test of `test_figure_files.py` draws one."""
    monkeypatch.setattr(figure_files, "DPI", 100)
