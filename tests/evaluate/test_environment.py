"""The environment of BigCodeBench's packages: what it lists, what it refuses, and one made for real."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from codeblock.cli.commands import main
from codeblock.core.errors import CodeBlockError
from codeblock.evaluate import environment
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.environment import PYTHON, fetch_corpora, importable, make_environment, requirements_of

DISTRIBUTIONS = {
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "mpl_toolkits": "matplotlib",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Names of packages whose modules are called otherwise."""


def test_every_module_that_a_task_needs_is_in_the_list(real_data: Path) -> None:
    benchmark = load("bigcodebench_complete", str(real_data / "benchmarks" / "bigcodebench" / "BigCodeBench.jsonl.gz"))
    lines = requirements_of("bigcodebench").read_text().splitlines()
    listed = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    needed = {DISTRIBUTIONS.get(each, each).lower().replace("_", "-") for task in benchmark.tasks for each in task.needs}
    assert len(needed) > 50
    assert needed <= listed


def test_all_four_names_share_the_list() -> None:
    assert requirements_of("bigcodebench_hard_instruct") == requirements_of("bigcodebench")
    with pytest.raises(CodeBlockError, match="needs no packages of its own; those that do: bigcodebench"):
        requirements_of("humaneval")


def test_modules_are_found_without_importing_them() -> None:
    assert importable(sys.executable, ["json", "numpy", "no_such_module", "mpl_toolkits"]) == {"json", "numpy", "mpl_toolkits"}
    assert importable(sys.executable, []) == set()
    with pytest.raises(CodeBlockError, match="does not run as a Python interpreter"):
        importable("/no/python", ["json"])


def test_another_python_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PYTHON", "3.9")
    with pytest.raises(CodeBlockError, match=r"the packages are for 3\.9"):
        make_environment("bigcodebench", tmp_path / "env")
    assert not (tmp_path / "env").exists()


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["benchmark-env", "humaneval", "--out", str(tmp_path / "env")])
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "error: benchmark 'humaneval': needs no packages of its own; those that do: bigcodebench\n"
    )


@pytest.mark.skipif("%d.%d" % sys.version_info[:2] != PYTHON, reason=f"needs Python {PYTHON}")  # noqa: UP031
def test_an_environment_is_made_and_says_why_pip_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list of packages: the list itself is resolved by hand when it changes."""
    monkeypatch.setattr(environment, "REQUIREMENTS", tmp_path)
    requirements = tmp_path / "bigcodebench-requirements.txt"
    requirements.write_text("# none\n")
    python = make_environment("bigcodebench_complete", tmp_path / "env")
    assert importable(str(python), ["pip", "numpy"]) == {"pip"}
    assert fetch_corpora(python) == []  # no nltk, no corpora
    requirements.write_text("no such package at all!\n")
    with pytest.raises(CodeBlockError, match=r"pip install -r bigcodebench-requirements\.txt: ended with status 1"):
        make_environment("bigcodebench", tmp_path / "env")
