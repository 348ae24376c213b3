"""Makes `segment_checks`, what several test files check with, importable; reads the real responses once."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def codealpaca(real_data: Path) -> list[str]:
    """The responses of codealpaca20k, nearly all without fences."""
    path = real_data / "pairs" / "codealpaca20k" / "codealpaca20k.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {real_data}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["output"] for line in lines]
