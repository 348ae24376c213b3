"""What came back from the machine, as files that the platform grades, and as a table.

    python -m tests.proof.collect unpack OUT RESULTS --job .proof/job      samples-BENCHMARK.jsonl of each arm
    codeblock evaluate --benchmark humaneval --tasks HumanEval.jsonl.gz \\
        --samples RESULTS/ARM-seedK/samples-humaneval.jsonl --output RESULTS/ARM-seedK/verdicts-humaneval.parquet
    python -m tests.proof.collect grade RESULTS --job .proof/job           the same for all of them
    python -m tests.proof.collect table RESULTS
"""

from __future__ import annotations

import argparse
import json
import sys
import tarfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tests.proof.pack import SELECTION, Job
from tests.proof.work import BASE, benchmarks_of, read_answers

from codeblock.core.errors import CodeBlockError
from codeblock.core.metrics import compare_means, pass_at_k_interval
from codeblock.core.storage import tables
from codeblock.evaluate import Settings, grade
from codeblock.evaluate.driver import samples_of

ByTask = dict[str, float]


def unpack(returned: Path, results: Path, job_directory: Path) -> list[Path]:
    """Lay out the archives in `results`, and write the samples of each arm; the samples files."""
    archives = sorted(returned.glob("results-*.tar"))
    if not archives:
        raise CodeBlockError(f"{returned}: no results-0.tar; name the folder with the files that came back")
    for path in archives:
        with tarfile.open(path) as archive:
            archive.extractall(results, filter="data")
    job, written = Job.read(job_directory), []
    for name, benchmark in benchmarks_of(job, job_directory):
        place = {task.task_id: number for number, task in enumerate(benchmark.tasks)}
        for directory, _, _ in arms_in(results):
            answers = sorted(read_answers(directory, name), key=lambda answer: (place[answer.task_id], answer.sample))
            if answers:
                path = directory / f"samples-{name}.jsonl"
                tables.write_text(path, "".join(json.dumps(row) + "\n" for row in samples_of(benchmark, answers)))
                written.append(path)
    return written


def grade_all(results: Path, job_directory: Path, processes: int | None) -> None:
    """Write `verdicts-BENCHMARK.parquet` beside each samples file that has none."""
    for name, benchmark in benchmarks_of(Job.read(job_directory), job_directory):
        for directory, arm, seed in arms_in(results):
            samples, verdicts = directory / f"samples-{name}.jsonl", directory / f"verdicts-{name}.parquet"
            if samples.exists() and not verdicts.exists():
                rows = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
                result = grade(rows, benchmark, Settings(processes=processes))
                tables.write_part(verdicts, result.table())
                print(f"{arm} seed {seed} {name}: {result.facts()['pass_at_1']}", flush=True)


def arms_in(results: Path) -> Iterator[tuple[Path, str, int]]:
    """The directories of arms, with arm and seed."""
    for path in sorted(results.iterdir()):
        if path.is_dir() and (match := SELECTION.fullmatch(path.name)):
            yield path, match["arm"], int(match["seed"])


def table(results: Path, benchmark: str, against: str) -> str:
    """Markdown: of each arm the change of the reference nll against the untrained model, and against another arm; pass@1.

    A task's value is the mean over seeds; intervals (95%) are over tasks, so they say nothing of seeds, which stand beside.
    """
    nll, graded = _nll_of(results, benchmark), _counts_of(results, benchmark)
    lines = [
        f"| {benchmark} | seeds | reference nll | change against {BASE} | by seed | {against} minus this arm | pass@1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, by_seed in nll.items():
        mean = np.mean(list(_over_seeds(by_seed).values()))
        alone = [compare_means(_over_seeds(nll[BASE]), one).difference for one in by_seed.values() if BASE in nll]
        cells = [
            arm,
            str(len(by_seed)),
            f"{mean:.4f}",
            _change(nll.get(BASE), by_seed),
            " ".join(f"{change:+.4f}" for change in alone),
            _change(by_seed, nll.get(against)),
            _passed(graded.get(arm, {})),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _nll_of(results: Path, benchmark: str) -> dict[str, dict[int, ByTask]]:
    found: dict[str, dict[int, ByTask]] = defaultdict(dict)
    for directory, arm, seed in arms_in(results):
        path = directory / f"reference_nll-{benchmark}.parquet"
        if path.exists():
            rows = tables.read_part(path, ["task_id", "nll"]).to_pylist()
            found[arm][seed] = {row["task_id"]: row["nll"] for row in rows if row["nll"] is not None}
    return dict(sorted(found.items(), key=lambda item: item[0] != BASE))


def _counts_of(results: Path, benchmark: str) -> dict[str, dict[str, tuple[int, int]]]:
    """By arm and task: samples and passed ones, over all seeds."""
    found: dict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
    for directory, arm, _ in arms_in(results):
        path = directory / f"verdicts-{benchmark}.parquet"
        for row in tables.read_part(path, ["task_id", "verdict"]).to_pylist() if path.exists() else ():
            samples, passed = found[arm].get(row["task_id"], (0, 0))
            found[arm][row["task_id"]] = samples + 1, passed + (row["verdict"] == "passed")
    return found


def _over_seeds(by_seed: Mapping[int, ByTask]) -> ByTask:
    tasks = set.intersection(*(set(of) for of in by_seed.values()))
    return {task: float(np.mean([of[task] for of in by_seed.values()])) for task in sorted(tasks)}


def _change(first: Mapping[int, ByTask] | None, second: Mapping[int, ByTask] | None) -> str:
    """Second less first, paired by task, with its interval; empty where one is missing or both are the same."""
    if not first or not second or first == second:
        return ""
    found = compare_means(_over_seeds(first), _over_seeds(second))
    return f"{found.difference:+.4f}" + ("" if found.low is None else f" [{found.low:+.4f}, {found.high:+.4f}]")


def _passed(counts: Mapping[str, tuple[int, int]]) -> str:
    if not counts:
        return ""
    low, high = pass_at_k_interval(list(counts.values()))
    mean = np.mean([passed / samples for samples, passed in counts.values()])
    return f"{mean:.4f} [{low:.4f}, {high:.4f}] of {len(counts)} x {max(samples for samples, _ in counts.values())}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("returned", type=Path)
    grading = commands.add_parser("grade")
    grading.add_argument("--processes", type=int)
    showing = commands.add_parser("table")
    showing.add_argument("--against", default="codeblock", help="arm that every other one is compared with")
    showing.add_argument("--benchmarks", nargs="+", default=["humaneval", "mbpp"])
    for command in (unpacking, grading, showing):
        command.add_argument("results", type=Path)
    for command in (unpacking, grading):
        command.add_argument("--job", type=Path, required=True)
    asked = parser.parse_args(arguments)
    if asked.command == "unpack":
        for path in unpack(asked.returned, asked.results, asked.job):
            print(path)
    elif asked.command == "grade":
        grade_all(asked.results, asked.job, asked.processes)
    else:
        print("\n\n".join(table(asked.results, benchmark, asked.against) for benchmark in asked.benchmarks))


if __name__ == "__main__":
    try:
        main()
    except CodeBlockError as error:
        sys.exit(f"error: {error}")
