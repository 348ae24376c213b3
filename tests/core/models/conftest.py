"""A model to be spoilt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def model(small_model: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(small_model, tmp_path / "model"))
