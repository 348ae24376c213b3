"""What the command line costs before it does anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from codeblock.cli.commands import main

HEAVY = ("numpy", "pyarrow", "pydantic", "ray", "torch", "transformers", "mlflow")


@pytest.mark.parametrize("module", ["codeblock.cli.commands", "codeblock.core.console"])
def test_help_imports_no_heavy_library(module: str) -> None:
    loaded = f"import sys, {module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "x.yaml", "--foo"], "error: No such option: --foo; see `codeblock run --help`"),
        (["run"], "error: Missing argument 'CONFIG'; see `codeblock run --help`"),
        (["evaluate", "--timeout", "-1"], "--timeout"),
        (["runn"], "Did you mean 'run'?; see `codeblock --help`"),
    ],
)
def test_misuse_is_one_line_with_the_help_to_read(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["codeblock", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert told in err
    assert err.count("\n") == 1


def test_ui_names_no_address_where_nothing_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ui", "--storage", str(tmp_path)])
    seen = capsys.readouterr()
    assert "http" not in seen.out
    assert "no MLflow database yet" in seen.err
