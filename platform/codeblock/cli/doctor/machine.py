"""What this machine offers and what would stop a run: one line a check."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage import places
from codeblock.experiment.cache import probe_storage

PACKAGES = ("torch", "ray", "transformers", "peft", "mlflow", "pyarrow", "tree-sitter")
LEAST_FREE_GB = 5.0


@dataclass(frozen=True)
class Check:
    """One finding; `ok` is False where a run would fail."""

    name: str
    ok: bool
    detail: str


def checks(storage: Path) -> list[Check]:
    """All checks of this machine."""
    return [
        Check("python", True, platform.python_version()),
        *(guarded(name, partial(importlib.metadata.version, name)) for name in PACKAGES),
        guarded("machine", _machine),
        guarded("accelerator", _accelerator),
        guarded("storage", partial(_storage, storage)),
        _disk(storage),
        guarded("python grammar", _grammar),
        guarded("sandbox", _sandbox),
    ]


def guarded(name: str, find: Callable[[], str]) -> Check:
    """What a check found; whatever it raised is its finding, in one line."""
    try:
        return Check(name, True, find())
    except Exception as error:  # a doctor reports whatever it finds
        return Check(name, False, str(error).splitlines()[0] if str(error) else type(error).__name__)


def _machine() -> str:
    import psutil

    return f"{os.cpu_count()} CPUs, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory"


def _accelerator() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none; everything runs on the CPU"
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _storage(storage: Path) -> str:
    probe_storage(storage)
    if places.is_remote(storage):
        return places.show(storage)
    place = storage.resolve()
    return str(place) if place.exists() else f"{place} (not there yet, a run makes it)"


def _disk(storage: Path) -> Check:
    place = places.nearest(storage.absolute())
    free = shutil.disk_usage(place).free / 2**30
    return Check("disk", free > LEAST_FREE_GB, f"{free:.0f} GiB free at {place}")


def _grammar() -> str:
    from codeblock.segmentation import segment

    items = segment("def add(a, b):\n    return a + b\n", "python").items
    if not items:
        raise CodeBlockError("tree-sitter-python finds no item in a function; reinstall it")
    return f"tree-sitter-python {importlib.metadata.version('tree-sitter-python')}"


def _sandbox() -> str:
    from codeblock.sandbox.oracles import Limits, Script
    from codeblock.sandbox.remedies import with_remedies
    from codeblock.sandbox.sandbox import Sandbox, Verdict

    with Sandbox() as sandbox:
        found = sandbox.run("def f(x):\n    return x + 1\n", Script("", "assert f(1) == 2", "f"), Limits(timeout_seconds=10.0))
        missing = sandbox.missing
    if found.verdict is not Verdict.PASSED:
        raise CodeBlockError(f"a right solution is graded {found.verdict.value}: {found.error}")
    return "\n  ".join(
        [f"works; {len(missing)} layers are not enforced here:" if missing else "works", *with_remedies(missing)]
    )
