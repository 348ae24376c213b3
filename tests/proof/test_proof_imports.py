"""The machine of the proof has neither Ray nor MLflow nor grammars: nothing that runs there may need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import codeblock

ABSENT = ["ray", "mlflow", "tree_sitter", "tree_sitter_python", "datasketch", "datasets", "openai", "faiss"]
PROGRAM = """
import sys

for name in {absent}:
    sys.modules[name] = None  # importing it is an ImportError, and it is not found where one looks for it
import codeblock.cli.smollm2
import tests.proof.measure
import tests.proof.proof
import tests.proof.schedule
import tests.proof.scoring

print(sorted(name for name in sys.modules if sys.modules[name] is not None and name.partition(".")[0] in {absent}))
"""


def test_the_proof_runs_where_ray_mlflow_and_grammars_are_absent() -> None:
    root = Path(__file__).parents[2]
    path = f"{root}:{Path(codeblock.__file__).parents[1]}"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(absent=ABSENT)],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "", "PYTHONPATH": path},
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"
