"""What a sweep costs beside separate runs of its points: `codeblock sweep` on one storage, `codeblock run` on a fresh one each.

    python tests/bench/bench_sweep.py WORK                  # 20 trials in one sweep, and 20 separate runs
    python tests/bench/bench_sweep.py WORK --separate 6     # of the separate runs only 6, spread over the points

The embedded task family and its base model are made once and given to every storage, for a user's own model is not made by
each run either. A separate run is of one point, without the arm `base`.
CPU seconds are of all processes that a command starts, workers of Ray among them, counted by a cgroup: Linux, as root.
Each command's numbers are kept in WORK/NAME.json, so the same command goes on where it was cut. On 2 cores: 1 to 2 minutes for
the base model, half a minute to a minute a separate run, 3 to 5 minutes for the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from codeblock.core.config import Config
from codeblock.core.config.file import dump_config, load_config
from codeblock.sweep.points import Point, config_of
from codeblock.sweep.space import points_of

CONFIG = """
name: swept
pairs: {path: tiny}
model: {path: tiny}
rank: {by: [quality, parses, answers, length, long_tail]}
select: {token_budget: 0.15, inside_share: 0.4, nl_share: 0, scope: dataset}
arms: {codeblock: {strategy: codeblock}}
train: {mode: full, steps: 20, batch_pairs: 32, learning_rate: 1.0e-3, dev_pairs: 32, dev_every: 20}
evaluate: {benchmarks: {tiny: tiny}, limit: 100, max_new_tokens: 256, batch_size: 100}
cluster: {cpus_per_worker: 0.9}
sweep:
  space:
    select.token_budget: [0.04, 0.08, 0.12, 0.16]
    select.reach_weight: [0, 0.25, 0.5, 0.75, 1]
"""
FAMILY = "tiny-*"
"""The embedded tasks and their base model, in a cache."""
GROUPS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    cpu_seconds: float
    wall_seconds: float
    load: float
    """Processes that wanted a core in the minute before it began, of other work."""


def measured(command: list[str], name: str, log: Path) -> Cost:
    """Run `codeblock COMMAND` in a cgroup of its own."""
    root = next(each for each in GROUPS if (each / "cgroup.procs").exists())
    group = root / f"codeblock_bench_{os.getpid()}_{name}"
    group.mkdir()
    load, started = os.getloadavg()[0], time.monotonic()

    def enter() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "-m", "codeblock", *command], stdout=out, stderr=out, env=environment, preexec_fn=enter, check=True
        )
    cost = Cost(_cpu_seconds(group), time.monotonic() - started, load)
    _leave(group)
    return cost


def _cpu_seconds(group: Path) -> float:
    if (group / "cpuacct.usage").exists():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    lines = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    return int(lines["usage_usec"]) / 1e6


def _leave(group: Path) -> None:
    """Remove the group, once what is left of Ray has ended."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.5)


class Bench:
    """Commands on storages below a directory, each measured once."""

    def __init__(self, work: Path) -> None:
        self.work = work
        work.mkdir(parents=True, exist_ok=True)
        (work / "sweep.yaml").write_text(CONFIG)

    def config(self) -> Config:
        """Of the sweep."""
        return load_config(self.work / "sweep.yaml", [f"storage={self.work / 'sweep'}"])

    def cost(self, name: str, command: str, config: Path, before: Callable[[Path], object]) -> Cost:
        """Of a command on a storage of its own, which `before` prepares; read where it was measured before."""
        known, storage = self.work / f"{name}.json", self.work / name
        if not known.exists():
            shutil.rmtree(storage, ignore_errors=True)
            before(storage / "cache")
            cost = measured([command, str(config), f"storage={storage}"], name, self.work / f"{name}.log")
            known.write_text(json.dumps(asdict(cost)))
            print(f"{name}: {cost.cpu_seconds:.1f} CPU s, {cost.wall_seconds:.1f} s, load {cost.load:.1f}", flush=True)
        return Cost(**json.loads(known.read_text()))

    def family(self) -> Cost:
        """Make the embedded family and its base model (and prepare its pairs, which is not used)."""
        return self.cost("family", "prepare", self.work / "sweep.yaml", lambda _: None)

    def given(self, cache: Path) -> None:
        """Put the family into a fresh cache."""
        cache.mkdir(parents=True)
        for found in (self.work / "family" / "cache").glob(FAMILY):
            shutil.copytree(found, cache / found.name)

    def sweep(self) -> Cost:
        """All points in one sweep."""
        return self.cost("sweep", "sweep", self.work / "sweep.yaml", self.given)

    def separate(self, number: int, point: Point) -> Cost:
        """One point in a run of its own."""
        path = self.work / f"point{number}.yaml"
        path.write_text(dump_config(config_of(self.config(), point)))
        return self.cost(f"separate{number}", "run", path, self.given)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--separate", type=int, help="How many points are run separately; default: all.")
    asked = parser.parse_args()
    bench = Bench(asked.work.resolve())
    bench.family()
    points = points_of(bench.config())
    count = asked.separate or len(points)
    numbers = [index * len(points) // count for index in range(count)]
    separate = [bench.separate(number, points[number]) for number in numbers]
    _print(bench.sweep(), separate, len(points))


def _print(sweep: Cost, separate: list[Cost], points: int) -> None:
    print(f"{platform.node()}: {_processor()}, {os.cpu_count()} cores; {points} points, {len(separate)} of them run separately")
    print(f"| | sweep of {points} | separate run, mean (least to most) | sweep / {points} runs |")
    print("| --- | --- | --- | --- |")
    for title, of in (("CPU seconds", "cpu_seconds"), ("wall seconds", "wall_seconds")):
        whole, each = getattr(sweep, of), [getattr(cost, of) for cost in separate]
        mean = statistics.mean(each)
        print(f"| {title} | {whole:.0f} | {mean:.1f} ({min(each):.1f} to {max(each):.1f}) | {whole / (points * mean):.2f} |")


def _processor() -> str:
    with Path("/proc/cpuinfo").open() as lines:
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
