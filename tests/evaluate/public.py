"""The public packages of EvalPlus and BigCodeBench, where CODEBLOCK_EVALPLUS names a directory that holds them."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ABSENT = {
    "appdirs": ("user_cache_dir",),
    "pqdm": (),
    "pqdm.processes": ("pqdm",),
    "tempdir": ("TempDir",),
    "termcolor": ("colored",),
    "wget": ("download",),
}
"""What they import to fetch files and to colour text, which the tests have no use for."""
DATA = ("get_human_eval_plus", "get_mbpp_plus", "get_bigcodebench", "load_solutions", "write_directory", "write_jsonl")


def public_module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of one of them. Skips the test where there is none."""
    home = os.environ.get("CODEBLOCK_EVALPLUS")
    if not home:
        pytest.skip("CODEBLOCK_EVALPLUS is not set")
    monkeypatch.syspath_prepend(home)
    for module, members in ABSENT.items():
        stub = types.ModuleType(module)
        stub.__dict__.update({member: lambda *_, **__: "nowhere" for member in members})
        monkeypatch.setitem(sys.modules, module, stub)
    for package in ("evalplus.data", "evalplus.provider", "bigcodebench.data", "bigcodebench.provider"):
        # The packages' own __init__ import datasets, vLLM and more; their modules do not.
        bare = types.ModuleType(package)
        bare.__path__ = [str(Path(home, *package.split(".")))]
        bare.__dict__.update(dict.fromkeys(DATA))
        monkeypatch.setitem(sys.modules, package, bare)
    return importlib.import_module(name)
