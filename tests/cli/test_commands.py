"""What the command line costs before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("numpy", "pyarrow", "pydantic", "ray", "torch", "transformers", "mlflow")


@pytest.mark.parametrize("module", ["codeblock.cli.commands", "codeblock.core.console"])
def test_help_imports_no_heavy_library(module: str) -> None:
    loaded = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split() == []
