"""Memory against rows: the drivers and stages that need no model, each in a process of its own, on synthetic pairs.

python tests/bench/bench_scale.py --rows 20000 200000 2000000        # peak memory, in MiB above an empty process, and seconds

The pairs are short (two items, 24 tokens): what grows with rows is seen, and nothing that grows with the length of a pair.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.core.config import RankConfig, SelectConfig, TrainConfig
from codeblock.core.config.pairs import PairsConfig
from codeblock.core.memory import process_peak_mb
from codeblock.core.schema import RANKED, SCORES, SEGMENTED, SELECTED
from codeblock.core.storage.scores import Covered
from codeblock.core.storage.tables import part_name, write_part
from codeblock.data.filter.driver import write_near_duplicates
from codeblock.data.filter.minhash import PERMUTATIONS, band_hashes, bands_for
from codeblock.data.rank.keep import keep
from codeblock.data.rank.stage import rank_pairs
from codeblock.data.read.files import data_sets
from codeblock.data.read.stage import read_pairs
from codeblock.selection.request import SelectRequest
from codeblock.selection.split import Ranked
from codeblock.selection.stage import select_parts
from codeblock.train.loop import plan_run
from codeblock.train.stored import store_pairs, survey

PART_ROWS = 512
PROMPT, TOKENS = 6, 24
RESPONSE = "x = load(path)\nreturn x + 1\n"
THRESHOLD = 0.8


def main() -> None:
    """Make the rows of each size, run each stage on them, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000])
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--home", type=Path)
    parser.add_argument("--stage", choices=["make", *STAGES], help="run this one here, on what lies in --home")
    options = parser.parse_args()
    if options.stage:
        one(options.stage, options.home, options.rows[0])
        return
    found: dict[int, dict[str, dict[str, float]]] = {}
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.home) as directory:
            alone("make", Path(directory), rows)
            found[rows] = {stage: alone(stage, Path(directory), rows) for stage in options.stages}
    print(f"\n{platform.processor() or platform.machine()}; MiB above what the imports take (seconds)")
    print(
        "| step | "
        + " | ".join(f"{rows:,} rows" for rows in found)
        + " | bytes a row |\n"
        + "| --- |"
        + " ---: |" * (len(found) + 1)
    )
    for stage in options.stages:
        cells = [f"{of[stage]['mib']:.0f} ({of[stage]['seconds']:.0f})" for of in found.values()]
        least, most = min(found), max(found)
        grown = (found[most][stage]["mib"] - found[least][stage]["mib"]) * 2**20 / max(1, most - least)
        print(f"| {stage} | " + " | ".join(cells) + f" | {grown:.0f} |")


def alone(stage: str, home: Path, rows: int) -> dict[str, float]:
    """Run a stage in a process of its own; its peak above the imports, and its seconds."""
    command = [sys.executable, __file__, "--stage", stage, "--home", str(home), "--rows", str(rows)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    facts: dict[str, float] = json.loads(said.splitlines()[-1])
    print(f"{rows:>10,} {stage:>16}: {facts['mib']:6.0f} MiB {facts['seconds']:6.1f} s", flush=True)
    return facts


def one(stage: str, home: Path, rows: int) -> None:
    """Run a stage here; its facts as the last line."""
    before, started = process_peak_mb(), time.perf_counter()
    {"make": make, **STAGES}[stage](home, rows)
    print(json.dumps({"mib": process_peak_mb() - before, "seconds": time.perf_counter() - started}))


def make(home: Path, rows: int) -> None:
    """Segmented pairs with their ranking and scores, part by part; ranks are in the order of the rows."""
    template = segmented_part()
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        count = min(PART_ROWS, rows - start)
        rng, name = np.random.default_rng(number), part_name(number)
        ids = pa.array([hashlib.blake2b(str(row).encode(), digest_size=12).hexdigest() for row in range(start, start + count)])
        write_part(home / "kept" / name, template.slice(0, count).set_column(0, "id", ids))
        nll = pa.array(rng.gamma(1.0, 1.0, count * TOKENS).astype(np.float32))
        write_part(home / "scored" / name, pa.table([ids, listed(nll, count, TOKENS)], schema=SCORES))
        tokens, ranks = pa.array([TOKENS - PROMPT] * count, pa.int32()), pa.array(range(start, start + count), pa.int32())
        write_part(home / "chosen" / name, chosen_part(ids, nll, count))
        signals = listed(pa.array(rng.random(count).astype(np.float32)), count, 1)
        columns = {"id": ids, "tokens": tokens, "rank": ranks, "signals": signals, "dataset": pa.array(["made"] * count)}
        write_part(home / "ranked" / name, pa.table(columns, schema=RANKED))


def segmented_part() -> pa.Table:
    """PART_ROWS pairs that differ in nothing but their ids."""
    half = (TOKENS - PROMPT - 1) // 2
    classes = [0] * PROMPT + [3] * (TOKENS - PROMPT - 1) + [4]
    items = [-1] * PROMPT + [0] * half + [1] * (TOKENS - PROMPT - 1 - half) + [-1]
    row: dict[str, Any] = {
        "id": "",
        "messages": [{"role": "user", "content": "Load it and add one."}],
        "response": RESPONSE,
        "source": "made",
        "quality": 1.0,
        "dataset": "made",
        "input_ids": list(range(TOKENS)),
        "response_start": PROMPT,
        "token_class": classes,
        "token_item": items,
        "token_word": [-1] * TOKENS,
        "item_kind": ["definition", "return"],
        "item_spans": [[0, 14], [15, 27]],
        "item_reach": [0.0, 0.0],
        "item_bridge": [0.0, 0.0],
        "edges": [0, 1],
        "language": "python",
        "language_from": "tag",
    }
    return pa.Table.from_pylist([row] * PART_ROWS, schema=SEGMENTED)


def chosen_part(ids: pa.Array, nll: pa.Array, rows: int) -> pa.Table:
    """A selection of the harder half of the tokens, as if by `selected`, for the steps of a fit."""
    chosen = np.asarray(nll) > np.log(2)
    row_of = np.arange(rows * TOKENS) % TOKENS
    columns = {
        "id": ids,
        "split": pa.array(["train"] * rows),
        "input_ids": listed(pa.array(row_of.astype(np.int32)), rows, TOKENS),
        "token_class": listed(pa.array(np.where(row_of < PROMPT, 0, 3).astype(np.uint8)), rows, TOKENS),
        "weight": listed(pa.array(chosen.astype(np.float32)), rows, TOKENS),
        "selected": listed(pa.array(chosen), rows, TOKENS),
    }
    return pa.table(columns, schema=SELECTED)


def listed(flat: pa.Array, rows: int, each: int) -> pa.ListArray:
    """A list column of equal lengths."""
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * each), flat)


def do_read(home: Path, rows: int) -> None:
    """The stage `pairs`: JSONL to parts."""
    with (home / "pairs.jsonl").open("w") as file:
        file.writelines(json.dumps({"instruction": f"Add {row}.", "response": RESPONSE}) + "\n" for row in range(rows))
    config = PairsConfig(path=str(home / "pairs.jsonl"))
    assert read_pairs(data_sets(config), config, home / "pairs")["kept"] == rows


def do_group(home: Path, rows: int) -> None:
    """The driver of the filter: near duplicates among the signatures, half of the rows are another's."""
    bands, done = bands_for(THRESHOLD), 0
    for number, start in enumerate(range(0, rows, PART_ROWS)):
        count = min(PART_ROWS, rows - start)
        signed = np.random.default_rng(number // 2).integers(0, 2**32, (count, PERMUTATIONS), dtype=np.uint32)
        binary = [[each.tobytes() for each in values] for values in (signed, band_hashes(signed, bands))]
        columns = {
            "row": pa.array(np.arange(count, dtype=np.int32)),
            "id": pa.array([f"{start + row:024x}" for row in range(count)]),
            "signature": pa.array(binary[0], pa.binary(4 * PERMUTATIONS)),
            "bands": pa.array(binary[1], pa.binary(8 * bands.count)),
        }
        write_part(home / "group" / "screened" / part_name(number), pa.table(columns))
        done += count
    write_near_duplicates(home / "group", bands, THRESHOLD)


def do_rank(home: Path, rows: int) -> None:
    """The stage `ranked`, by quality and lottery."""
    facts = rank_pairs(home / "kept", home / "rank", RankConfig(by=["quality", "random"]), 0)
    assert facts["pool_pairs"] == rows


def do_keep(home: Path, rows: int) -> None:
    """The stage `kept`: the whole pool."""
    assert keep(home / "kept", home / "ranked", home / "keep", rows)["kept"] == rows


def do_covered(home: Path, rows: int) -> None:
    """The question whether all pairs have scores, which each run asks."""
    assert Covered(lambda: Ranked.read(home / "ranked").ids)(home / "scored")


def do_select(home: Path, rows: int) -> None:
    """The stage `selected` in one process: budget 0.5, every pair kept."""
    settings = SelectConfig(token_budget=0.5, subset_ratio=1.0)
    scores = {"nll": home / "scored"}
    request = SelectRequest(home / "kept", home / "ranked", "codeblock", settings, settings.shares, scores)
    facts = select_parts(request, home / "selected")
    assert facts["pool_pairs"] + facts["dev_pairs"] == rows


def do_survey(home: Path, rows: int) -> None:
    """The driver of a fit: its look at the selection and the plan of one epoch."""
    found = survey(home / "chosen")
    plan = plan_run(found.supervised_P, TrainConfig(epochs=1, batch_pairs=16), 0)
    assert sum(step.size for step in plan) == found.saved.pairs


def do_store(home: Path, rows: int) -> None:
    """A worker of a fit: its pairs, and the reading of an epoch's steps."""
    pairs, _ = store_pairs(home / "chosen")
    for step in plan_run(pairs.supervised_P, TrainConfig(epochs=1, batch_pairs=16), 0):
        assert all(pairs[number].with_loss for number in step.tolist())


STAGES: dict[str, Callable[[Path, int], None]] = {
    "read": do_read,
    "group": do_group,
    "rank": do_rank,
    "keep": do_keep,
    "covered": do_covered,
    "select": do_select,
    "train, driver": do_survey,
    "train, worker": do_store,
}


if __name__ == "__main__":
    main()
