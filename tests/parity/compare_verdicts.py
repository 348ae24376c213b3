"""Join the verdicts of the public graders with ours: a table of agreement, and every difference with its code.

    python compare_verdicts.py samples.jsonl official.jsonl ours.parquet [--codes]

Exits with 1 where a verdict differs.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Key = tuple[str, int]


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def numbered(samples: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """The samples by task and number within the task."""
    seen: Counter[str] = Counter()
    found = {}
    for row in samples:
        found[row["task_id"], seen[row["task_id"]]] = row
        seen[row["task_id"]] += 1
    return found


def said(official: dict[str, Any], ours: dict[str, Any]) -> list[tuple[str, bool, bool]]:
    """(what, official, ours) of each verdict that both give."""
    pairs = [("all", official["passed"], ours["verdict"] == "passed")]
    if "base" in official and ours["base_verdict"] is not None:
        pairs.append(("base", official["base"], ours["base_verdict"] == "passed"))
    return pairs


def main() -> None:
    """Print the report."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("samples", type=Path)
    arguments.add_argument("official", type=Path, help="what official.py wrote")
    arguments.add_argument("ours", type=Path, help="what `codeblock evaluate --output ours.parquet` wrote")
    arguments.add_argument("--codes", action="store_true", help="print the code of each sample that differs")
    options = arguments.parse_args()
    samples = numbered(lines(options.samples))
    official = {(row["task_id"], row["sample"]): row for row in lines(options.official)}
    ours = {(row["task_id"], row["sample"]): row for row in pq.read_table(options.ours).to_pylist()}
    if not samples.keys() == official.keys() == ours.keys():
        raise SystemExit(
            f"not the same samples: {len(samples)} samples, {len(official)} official verdicts, {len(ours)} of ours"
        )
    agreement: Counter[tuple[str, bool, bool]] = Counter()
    kinds: Counter[tuple[str, bool]] = Counter()
    differing = []
    for key, row in samples.items():
        pairs = said(official[key], ours[key])
        agreement.update(pairs)
        kinds[row.get("kind", ""), official[key]["passed"]] += 1
        if any(theirs != mine for _, theirs, mine in pairs):
            differing.append(key)
    for what in ("all", "base"):
        counts = [
            agreement[what, theirs, mine] for theirs, mine in ((True, True), (False, False), (True, False), (False, True))
        ]
        if sum(counts):
            print(
                f"{what}: both pass {counts[0]}, both fail {counts[1]}, only official passes {counts[2]}, only ours {counts[3]}"
            )
    print("kinds (passed/all by the official grader):", end=" ")
    print(
        ", ".join(
            f"{kind} {kinds[kind, True]}/{kinds[kind, True] + kinds[kind, False]}"
            for kind in dict.fromkeys(k for k, _ in kinds)
        )
    )
    for key in differing:
        theirs, mine = official[key], ours[key]
        print(f"\n{key[0]} sample {key[1]} ({samples[key].get('kind', '')})")
        print(f"  official: passed {theirs['passed']}, {theirs['detail']}")
        print(f"  ours: {mine['verdict']}, base {mine['base_verdict']}, {mine['seconds']:.2f} s, {mine['error']}")
        if options.codes:
            print(samples[key].get("solution") or samples[key].get("completion"))
    print(f"\n{len(samples)} samples, {len(differing)} differ")
    raise SystemExit(bool(differing))


if __name__ == "__main__":
    main()
