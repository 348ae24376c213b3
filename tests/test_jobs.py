"""Each Ray job starts as a script of its own, in the directory of all the others."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
JOBS = sorted((ROOT / "jobs").glob("*.py"))


def said(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_job_to_edit_starts_a_comparison():
    assert "run [OPTIONS]" in said("jobs/run.py", "--help")


@pytest.mark.parametrize("command", ["prepare", "score", "select", "train", "evaluate", "run"])
def test_the_other_job_starts_any_command(command):
    assert f"{command} [OPTIONS]" in said("jobs/stage.py", command, "--help")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_no_job_hides_a_module_of_the_standard_library(job):
    assert job.stem not in sys.stdlib_module_names
