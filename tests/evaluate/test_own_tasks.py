"""A team's own tasks in MBPP's form: their references pass as they do where all of it runs in one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.sandbox.own_tasks import TASKS

from codeblock.core.errors import CodeBlockError
from codeblock.evaluate import Settings, grade, load


def test_references_pass(tmp_path: Path) -> None:
    rows = [
        {"task_id": n, "text": task.name, "code": task.code, "test_list": [task.test], "test_setup_code": task.setup}
        for n, task in enumerate(TASKS)
    ]
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark = load("mbpp_all", str(file))
    result = grade([{"task_id": f"Mbpp/{n}", "completion": row["code"]} for n, row in enumerate(rows)], benchmark, Settings())
    failed = [(TASKS[n].name, row.verdict.value, row.error) for n, row in enumerate(result.rows) if row.verdict != "passed"]
    assert (failed, result.reference_failures, len(result.rows)) == ([], {}, len(TASKS))


@pytest.mark.parametrize(
    ("code", "tests", "entry_point"),
    [
        ("def f(x): return x", ["assert f(1) == 1"], "f"),
        ("class P: pass\ndef f(p): return p", ["assert f(P())"], "f"),
        ("async def f(x): return x", ["import asyncio\nassert asyncio.run(f(1)) == 1"], "f"),
        ("f = lambda x: x", ["assert f(1) == 1"], "f"),
        ("def deco(g): return g", ["@deco\ndef h(): pass"], "deco"),
        ("import enum\nclass C(enum.Enum):\n    A = 1", ["assert C.A.value == 1"], "C"),
        ("class P: pass", ["assert P()"], "P"),
    ],
)
def test_what_is_under_test(code: str, tests: list[str], entry_point: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"task_id": 1, "text": "t", "code": code, "test_list": tests}))
    assert load("mbpp_all", str(file)).tasks[0].entry_point == entry_point


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"test_list": ["assert g(1)"]}, "use nothing that the code defines"),
        ({"test_list": ["assert f("]}, "do not parse"),
        ({"test_list": ["assert f(1)"], "test_setup_code": "import ("}, "do not parse"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(row: dict[str, object], message: str, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(json.dumps({"task_id": 1, "text": "t", "code": "def f(x): return x", **row}))
    with pytest.raises(CodeBlockError, match=message):
        load("mbpp_all", str(file))
