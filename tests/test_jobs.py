"""Each Ray job starts as a script of its own, in the directory of all the others."""

import subprocess
import sys
from pathlib import Path

import pytest

JOBS = sorted((Path(__file__).parents[1] / "jobs").glob("*.py"))


def test_there_is_a_job_for_each_stage_and_for_sweeps():
    assert {job.stem for job in JOBS} == {"run", "prepare", "score", "select_items", "train", "evaluate", "sweep"}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_a_job_starts_its_command(job):
    told = subprocess.run([sys.executable, str(job), "--help"], capture_output=True, text=True, check=True).stdout
    assert f"{job.stem.removesuffix('_items')} [OPTIONS]" in told


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.stem)
def test_no_job_hides_a_module_of_the_standard_library(job):
    assert job.stem not in sys.stdlib_module_names
