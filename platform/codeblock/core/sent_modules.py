"""Modules of the user's own for processes on other machines: a package that Ray sends, and that its workers import from."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codeblock.core.ray_worker import SENT


@contextmanager
def sent(sources: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Fields of a runtime environment by which every worker process finds these modules; it is read within the block.

    sources: files by the paths at which Python would find them, such as `mine/rules.py`.

    None within a submitted job: its own directory has gone to all nodes, and Ray refuses modules from both.
    """
    if not sources or "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        yield {}
        return
    with tempfile.TemporaryDirectory() as directory:
        package = Path(directory) / SENT
        for name, file in sources.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, package / name)
        yield {"py_modules": [str(package)]}
