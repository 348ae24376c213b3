"""The image's own steps in a clean environment: what they copy is there, and what they install runs by itself."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from tests.infra.conftest import INFRA

DOCKERFILE = (INFRA / "Dockerfile").read_text()
(RAY,) = re.findall(r"^ARG RAY_TAG=([\d.]+)-py311-", DOCKERFILE, re.MULTILINE)
MODULES = "work sweep.run cli.commands cli.doctor.config cli.jobs.commands report.mlflow.runs report.pages.page report.plots"
DRIVERS = "annotate.prepare.driver annotate.score.driver data.filter.driver data.rank.embed train.driver evaluate.driver"
LIBRARY = "import codeblock; assert codeblock.segment('x = 1').items, codeblock.__file__"


def copied():
    """(sources, directory) of what the image has from the repository."""
    for line in re.findall(r"^COPY --chown=\S+ (.*)$", DOCKERFILE, re.MULTILINE):
        *sources, directory = line.split()
        yield sources, directory


def install_steps():
    """The lines by which the image installs Python packages."""
    return re.findall(r"^RUN (pip install .*)$", DOCKERFILE, re.MULTILINE)


def test_what_is_copied_is_there():
    for sources, _ in copied():
        assert [name for name in sources if not (INFRA.parent / name).exists()] == []


def test_the_constraints_are_the_tests_own():
    (step,) = install_steps()
    assert shlex.split(step)[:5] == ["pip", "install", "--no-cache-dir", "-c", "constraints.txt"]


def ran(command, home, env):
    """A command in the environment at `env` as in the image: nothing of this one is seen."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    path = f"{env}/bin:{os.environ['PATH']}"
    return subprocess.run(["bash", "-c", command], cwd=home, env={**clean, "PATH": path}, capture_output=True, text=True)


def bash(command, home, env):
    """What it says."""
    done = ran(command, home, env)
    assert done.returncode == 0, f"{command}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image has Python 3.11")
def test_what_the_image_installs_runs_by_itself(tmp_path):
    """The base image has more than Ray: what its other packages need is not seen here."""
    env, source, elsewhere = tmp_path / "env", tmp_path / "codeblock", tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    elsewhere.mkdir()
    for sources, directory in copied():
        for name in sources:
            place = source / directory / (name if directory.endswith("./") else "")
            copy = shutil.copytree if (INFRA.parent / name).is_dir() else shutil.copy
            place.parent.mkdir(parents=True, exist_ok=True)
            copy(INFRA.parent / name, place)
    base = ran(f"pip install --quiet 'ray[default]=={RAY}'", elsewhere, env)
    if "from versions: none" in base.stderr:
        pytest.skip(f"no package index here: {base.stderr.splitlines()[-1]}")
    assert base.returncode == 0, base.stderr[-3000:]
    for step in install_steps():
        bash(step.replace("--no-cache-dir", "--quiet"), source, env)
    shutil.rmtree(source)
    assert bash("pip check", elsewhere, env).strip() == "No broken requirements found."
    assert bash("codeblock --version", elsewhere, env).strip()
    assert "doctor" in bash("codeblock --help", elsewhere, env)
    modules = [f"codeblock.{name}" for name in f"{MODULES} {DRIVERS}".split()]
    bash(f"python -c 'import s3fs, boto3, psycopg, datasets, {', '.join(modules)}'", elsewhere, env)
    bash(f'python -c "{LIBRARY}"', elsewhere, env)
