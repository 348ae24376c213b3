"""Selection at size: re-selecting a scored table, and one ranking over many millions of items in bounded memory.

python tests/bench/bench_select.py --kept runs/cache/kept-... --ranked runs/cache/ranked-... --scored runs/cache/scored-...
                                                                       # rows per second of each strategy, one core
python tests/bench/bench_select.py --items 10000000                    # synthetic loads, made anew at each look
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from codeblock.core.config import SelectConfig
from codeblock.core.memory import process_peak_mb
from codeblock.selection.budget import spend
from codeblock.selection.candidates import Candidates, supervised_tokens
from codeblock.selection.request import SelectRequest
from codeblock.selection.stage import select_parts

PER_PART = 100_000


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("kept", "ranked", "scored"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--items", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, one process")
    if arguments.scored:
        real(arguments.kept, arguments.ranked, arguments.scored)
    if arguments.items:
        synthetic(arguments.items)


def real(kept: Path, ranked: Path, scored: Path) -> None:
    """Time to select the kept pairs anew, for each strategy."""
    settings = SelectConfig()
    for strategy in ("codeblock", "full", "random_tokens", "random_items"):
        with tempfile.TemporaryDirectory() as output:
            started = time.perf_counter()
            facts = select_parts(
                SelectRequest(kept, ranked, strategy, settings, settings.shares, {"nll": scored}), Path(output)
            )
            seconds = time.perf_counter() - started
        rows = facts["kept_pairs"] + facts["dev_pairs"]
        print(f"{strategy:>14}: {rows:,} rows in {seconds:.1f} s, {facts['supervised_share']:.4%} of the pool supervised")


def synthetic(items: int) -> None:
    """One ranking over `items` items: time, peak memory, and how exactly the budget was spent."""
    before = process_peak_mb()
    loads = [partial(candidates, number) for number in range(items // PER_PART)]
    asked = round(0.019 * sum(int(load().tokens_P.sum()) for load in loads))
    started = time.perf_counter()
    chosen = spend(loads, asked, SelectConfig())
    seconds = time.perf_counter() - started
    spent = sum(supervised_tokens(load(), taken, True) for load, taken in zip(loads, chosen, strict=True))
    print(f"{items:,} items in {len(loads)} loads: {seconds:.1f} s, making them anew included")
    print(f"asked {asked:,} tokens, spent {spent:,} ({spent / asked:.5f})")
    print(f"peak memory {process_peak_mb():.0f} MB, {before:.0f} MB of it before the first item")


def candidates(number: int) -> Candidates:
    """Items of random size and priority, a tenth of them words; eight to a pair."""
    rng = np.random.default_rng(number)
    pair, size = np.arange(PER_PART) // 8, rng.integers(1, 60, PER_PART)
    return Candidates(
        pair=pair,
        size=size,
        priority=rng.beta(1, 3, PER_PART),
        tie=np.zeros(PER_PART),
        text=rng.random(PER_PART) < 0.1,
        tokens_P=np.bincount(pair, weights=size).astype(np.int64),
    )


if __name__ == "__main__":
    main()
