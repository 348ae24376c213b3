"""What a log says of long work where no terminal draws a bar."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from codeblock.core import console as shown
from codeblock.core.console import counter, stage_line
from codeblock.experiment.cache import Step


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    monkeypatch.setattr(shown, "LINE_SECONDS", 0.05)
    return Step("scored", "scored", {"a": 1}, tmp_path)


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "so far" in line]


def wait_for_a_line(capsys: pytest.CaptureFixture[str]) -> str:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if found := printed(capsys):
            return found[-1]
        time.sleep(0.02)
    raise AssertionError("no line was said")


def test_a_stage_says_a_line_from_time_to_time_with_what_is_done_and_what_is_left(
    step: Step, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_line(step), counter("parts", 40) as advance:
        advance(10, "loss 1.5")
        line = wait_for_a_line(capsys)
    assert line.startswith("scored: 0 s so far, parts: 10 of 40, ")
    assert "/s, about " in line
    assert line.endswith(" s left (loss 1.5)")
    time.sleep(0.2)
    assert not printed(capsys), "it ends with the stage"


def test_a_stage_without_a_count_says_that_it_goes_on(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    with stage_line(step):
        assert wait_for_a_line(capsys) == "scored: 0 s so far"


def test_the_innermost_count_is_said(step: Step, capsys: pytest.CaptureFixture[str]) -> None:
    with stage_line(step), counter("rows"):
        with counter("parts", 2) as advance:
            advance(1)
            assert "parts: 1 of 2" in wait_for_a_line(capsys)
        printed(capsys)
        assert "rows: 0" in wait_for_a_line(capsys)
