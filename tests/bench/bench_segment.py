"""Speed of segmentation on one core: rows/s, the cost of each step, and the ratio to tree-sitter's own parse.

    python tests/bench/bench_segment.py [--data FILE.jsonl.gz] [--field output] [--repeat 3]

Without --data it takes the Python files of the standard library. Times are CPU seconds; the best of the repeats counts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import sysconfig
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codeblock.segmentation import Segmentation, find_regions, reach_and_bridge, segment, segment_response
from codeblock.segmentation.core import core_nodes
from codeblock.segmentation.flow import def_use_edges
from codeblock.segmentation.items import draft_items
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import parse
from codeblock.segmentation.segmenter import rules_of
from codeblock.segmentation.tree import flatten, grammar_of

TREE_SITTER = "tree-sitter"
"""`Parser.parse` of the bytes and nothing else; our `parse` reads a text again where the grammar refuses it."""


def machine() -> str:
    """Processor and Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, Python {platform.python_version()}, one core"


def standard_library(limit: int = 150) -> list[str]:
    """Source of the standard library's top-level modules."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:limit]
    return [path.read_text(encoding="utf-8") for path in paths]


def best(repeat: int, work: Callable[[], Any]) -> float:
    """CPU seconds of the fastest run."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def steps(codes: list[str]) -> dict[str, float]:
    """CPU seconds of each step over sources that are Python."""
    rules = find_rules("python")
    assert rules is not None
    grammar = grammar_of(rules)
    assert grammar is not None
    for_items, for_core, for_flow = rules_of(grammar)
    spent = dict.fromkeys((TREE_SITTER, "parse", "flatten", "items", "core", "def-use", "reach and bridge"), 0.0)
    last = 0.0

    def lap(step: str) -> None:
        nonlocal last
        now = time.process_time()
        spent[step] += now - last
        last = now

    for code in codes:
        data = code.encode()
        last = time.process_time()
        grammar.parser.parse(data)
        lap(TREE_SITTER)
        parsed = parse(code, rules)
        assert parsed is not None
        lap("parse")
        tree = flatten(parsed.tree, parsed.source.data, parsed.grammar)
        lap("flatten")
        drafts, pieces = draft_items(tree, for_items, 64, None)
        lap("items")
        core_nodes(tree, for_core)
        lap("core")
        edges = def_use_edges(tree, for_flow, pieces, False) if len(drafts) > 1 else []
        lap("def-use")
        reach_and_bridge(len(drafts), edges)
        lap("reach and bridge")
    return spent


def report_steps(codes: list[str], repeat: int) -> None:
    """Print the cost of each step."""
    runs = [steps(codes) for _ in range(repeat)]
    spent = min(runs, key=lambda run: sum(run.values()))
    print(f"  {len(codes)} Python sources, {sum(map(len, codes)) / 1e6:.2f} M characters")
    for step, seconds in spent.items():
        print(f"  {step:<17}{seconds:8.3f} s  {seconds / spent[TREE_SITTER]:5.2f} x tree-sitter")
    graph = sum(spent.values()) - spent["reach and bridge"] - spent[TREE_SITTER]
    print(f"  parse + items + core + def-use = {graph / spent[TREE_SITTER]:.2f} x tree-sitter's parse of the same sources")


def main() -> None:
    """Print the report."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--data", type=Path, help="JSON lines, one response each; .gz or plain")
    arguments.add_argument("--field", default="output", help="name of the response's field (default: output)")
    arguments.add_argument("--repeat", type=int, default=3, help="runs of which the best counts (default: 3)")
    options = arguments.parse_args()
    print(machine())
    if options.data is None:
        codes = standard_library()
        seconds = best(options.repeat, lambda: [segment(code, "python") for code in codes])
        print(f"standard library: {sum(map(len, codes)) / seconds / 1e6:.2f} M characters/s in all")
        report_steps(codes, options.repeat)
        return
    opener = gzip.open if options.data.suffix == ".gz" else open
    with opener(options.data, "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)[options.field] for line in lines]
    results: list[Segmentation] = [segment_response(response) for response in responses]
    seconds = best(options.repeat, lambda: [segment_response(response) for response in responses])
    print(f"segment_response: {len(responses) / seconds:,.0f} rows/s, {1000 * seconds / len(responses):.3f} ms a row")
    regions = best(options.repeat, lambda: [find_regions(response) for response in responses])
    print(f"  of which finding regions and parsing: {regions / seconds:.0%}")
    shares = Counter(decision(result) for result in results)
    for name, count in shares.most_common():
        print(f"  {name:<28}{count:7}  {count / len(results):.1%}")
    codes = [
        response[region.start : region.end]
        for response, result in zip(responses, results, strict=True)
        for region in result.regions
        if region.language == "python" and not result.has_error
    ]
    report_steps(codes, options.repeat)


def decision(result: Segmentation) -> str:
    """What the response was taken for."""
    if not result.regions:
        return "no code"
    tagged = "fenced, tagged" if result.regions[0].tagged else "recognised"
    return f"{tagged}: {result.language}{', does not parse' if result.has_error else ''}"


if __name__ == "__main__":
    main()
