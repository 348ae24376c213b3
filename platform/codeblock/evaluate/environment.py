"""The environment of a benchmark whose solutions need packages of their own (BigCodeBench), apart from that of CodeBlock.

`codeblock benchmark-env` makes it; `evaluate.pythons` names its interpreter. Tasks whose modules it lacks are not run.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.sandbox.interpreters import importable, output_of

REQUIREMENTS = Path(__file__).parent / "benchmarks"
PYTHON = "3.11"
"""The Python that the pinned packages are for."""
CORPORA = ("punkt", "stopwords", "averaged_perceptron_tagger", "vader_lexicon", "words")
"""What BigCodeBench's tasks read through nltk. Solutions have no network: without it those tasks fail."""


def make_environment(benchmark: str, directory: Path, python: str = sys.executable) -> Path:
    """Make a virtual environment with the packages of a benchmark (`bigcodebench`); its interpreter.

    pip's own output is the progress. A directory that has the environment already gets what it lacks. Raises CodeBlockError
    for a benchmark without packages, a Python other than `PYTHON`, and where venv or pip fail.
    """
    requirements = requirements_of(benchmark)
    version = output_of([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], f"--python {python}")
    if version != PYTHON:
        raise CodeBlockError(f"--python {python}: is Python {version}; the packages are for {PYTHON}, name a Python {PYTHON}")
    interpreter = directory.absolute() / "bin" / "python"
    if not interpreter.exists():
        _run([python, "-m", "venv", str(directory)], "python -m venv")
    _run([str(interpreter), "-m", "pip", "install", "-r", str(requirements)], f"pip install -r {requirements.name}")
    return interpreter


def fetch_corpora(interpreter: Path) -> list[str]:
    """Fetch nltk's data into the environment, where nltk looks for it; the corpora that could not be fetched."""
    if "nltk" not in importable(str(interpreter), ["nltk"]):
        return []
    place = interpreter.parents[1] / "nltk_data"
    for corpus in CORPORA:
        subprocess.run([interpreter, "-m", "nltk.downloader", "-q", "-d", place, corpus], check=False, capture_output=True)
    return [corpus for corpus in CORPORA if not any(place.glob(f"*/{corpus}*"))]


def requirements_of(benchmark: str) -> Path:
    """The list of packages of a benchmark. Raises CodeBlockError for one that needs none."""
    path = REQUIREMENTS / f"{benchmark.partition('_')[0]}-requirements.txt"
    if not path.is_file():
        known = ", ".join(
            sorted(file.name.removesuffix("-requirements.txt") for file in REQUIREMENTS.glob("*-requirements.txt"))
        )
        raise CodeBlockError(f"benchmark {benchmark!r}: needs no packages of its own; those that do: {known}")
    return path


def _run(command: Sequence[str], what: str) -> None:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise CodeBlockError(f"{what}: cannot be started ({error})") from error
    if code:
        raise CodeBlockError(
            f"{what}: ended with status {code}; its output above says why, the same command goes on from there"
        )
