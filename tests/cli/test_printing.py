"""What commands say while they work, and at their end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from codeblock.cli.printing import present_grades
from codeblock.core import console
from codeblock.evaluate import Settings, load


def test_a_long_grading_of_samples_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "LINE_SECONDS", 0.2)
    code = "def same(x):\n    return x\n"
    task = {
        "task_id": "t/0",
        "instruction": "Write same.",
        "entry_point": "same",
        "test": "assert same(1) == 1",
        "reference": code,
    }
    (tmp_path / "tasks.jsonl").write_text(json.dumps(task) + "\n")
    (tmp_path / "samples.jsonl").write_text(
        json.dumps({"task_id": "t/0", "solution": f"import time\ntime.sleep(1)\n{code}"}) + "\n"
    )
    present_grades(tmp_path / "samples.jsonl", load("tiny", str(tmp_path / "tasks.jsonl")), Settings(timeout_seconds=3), None)
    told = capsys.readouterr().out
    assert re.search(r"^grade: \d s so far, samples: 0 of 1$", told, re.MULTILINE), told
    assert "verdicts: passed 1\n" in told
