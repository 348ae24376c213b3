"""What the command line costs before it does anything."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
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


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert (stop.value.code, capsys.readouterr().out) == (0, f"codeblock {version('codeblock')}\n")


def test_ui_names_no_address_where_nothing_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ui", "--storage", str(tmp_path)])
    seen = capsys.readouterr()
    assert "http" not in seen.out
    assert "no MLflow database yet" in seen.err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["merge", "--out", "there"], "error: --out there: exists; name another or remove it"),
        (["merge", "--dtype", "int4"], "error: --dtype int4: unknown; there are float32, bfloat16, float16"),
        (["merge"], "error: arm codeblock: train.mode=full trains no adapter, there is nothing to merge; set train.mode=lora"),
        (["export", "--format", "x"], "error: export: format 'x' is not known; there are trl, axolotl, skyrl, parquet"),
        (["merge", "--out", "s3://bucket/merged"], "s3:/bucket/merged: a path on this machine is needed here, not a URL"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work_that_leads_to_it(
    asked: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "c.yaml").write_text("arms: {base: {}, codeblock: {strategy: codeblock}}\ntrain: {mode: full}\n")
    with pytest.raises(SystemExit):
        main([asked[0], "c.yaml", *asked[1:]])
    seen = capsys.readouterr()
    assert told in seen.err
    assert seen.out == ""  # no stage has begun


def test_a_function_in_the_current_directory_is_found_by_the_installed_command(tmp_path: Path) -> None:
    (tmp_path / "picks_of_mine.py").write_text("def pick(pair, settings, rng):\n    return []\n")
    (tmp_path / "types.py").write_text("raise SystemExit('hides what is installed')\n")
    command = str(Path(sys.executable).parent / "codeblock")
    asked = [command, "run", "--plan", "storage=runs", "arms={own: {strategy: 'picks_of_mine:pick'}}"]
    (tmp_path / "c.yaml").write_text("{}\n")
    told = subprocess.run([*asked[:2], "c.yaml", *asked[2:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    assert "select[own]" in told.stdout
