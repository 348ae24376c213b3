"""The image's own install step, in a clean environment: what it asks for exists."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.infra.conftest import INFRA

DOCKERFILE = (INFRA / "Dockerfile").read_text()


def install_step():
    (line,) = re.findall(r"^RUN pip (install .*)$", DOCKERFILE, re.MULTILINE)
    return shlex.split(line)


def test_what_is_copied_is_there():
    for line in re.findall(r"^COPY --chown=\S+ (.*)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert [name for name in sources if not (INFRA.parent / name).exists()] == []


def test_the_constraints_are_the_tests_own():
    assert install_step()[:4] == ["install", "--no-cache-dir", "-c", "constraints.txt"]


def test_what_the_image_adds_can_be_had_for_a_clean_environment(tmp_path):
    """What the package itself depends on is what these tests run with, from the same constraints."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(tmp_path / "env" / "bin" / "python")]
    steps = [argument for argument in install_step() if argument != "--no-cache-dir"]
    command = [*pip, *steps, "--dry-run", "--no-deps", "--quiet", "--report", str(tmp_path / "report.json")]
    told = subprocess.run(command, cwd=INFRA.parent, capture_output=True, text=True)
    if "Could not find a version" in told.stderr and "from versions: none" in told.stderr:
        pytest.skip(f"no package index here: {told.stderr.splitlines()[-1]}")
    assert told.returncode == 0, told.stderr[-2000:]
    report = (tmp_path / "report.json").read_text()
    assert all(f'"name": "{name}"' in report for name in ("codeblock", "s3fs", "boto3", "psycopg"))
    assert Path(INFRA.parent / "constraints.txt").read_text().count("==") > 100
