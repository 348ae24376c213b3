"""Speed of def-use extraction per function, beside GraphCodeBERT's published extractor on the same functions.

    python tests/bench/bench_defuse.py [--graphcodebert DIR] [--functions 2000] [--repeat 5]

DIR is the folder `GraphCodeBERT/codesearch/parser` of github.com/microsoft/CodeBERT, with `DFG.py` and `utils.py`; without it
our extraction alone is timed. The functions are those of the standard library, comments and docstrings removed as GraphCodeBERT
removes them. Both start from the same syntax tree, whose parsing is timed apart, and end with their edges: theirs between
tokens, ours between items of at most --max-item-tokens leaves. Functions on which the published code fails count for
neither. Preparation is the flat tree and the items for us, the table of tokens for them. CPU seconds, repeats by turns.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.util
import io
import platform
import sys
import sysconfig
import textwrap
import time
import tokenize
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from codeblock.segmentation.bindings import Piece
from codeblock.segmentation.flow import def_use_edges
from codeblock.segmentation.items import draft_items
from codeblock.segmentation.languages import find_rules
from codeblock.segmentation.recognise import Parsed, parse
from codeblock.segmentation.segmenter import rules_of
from codeblock.segmentation.tree import FlatTree, flatten


def machine() -> str:
    """Processor and Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, Python {platform.python_version()}, one core"


def published(directory: Path) -> ModuleType:
    """GraphCodeBERT's extractor; it names nothing that the installed tree-sitter lacks, so no shim is needed."""
    spec = importlib.util.spec_from_file_location(
        "graphcodebert_parser", directory / "__init__.py", submodule_search_locations=[str(directory)]
    )
    if spec is None or spec.loader is None or not (directory / "DFG.py").is_file():
        raise SystemExit(f"no DFG.py in {directory}; --graphcodebert wants GraphCodeBERT/codesearch/parser")
    module = importlib.util.module_from_spec(spec)
    sys.modules["graphcodebert_parser"] = module
    spec.loader.exec_module(module)
    return module


def functions(limit: int) -> list[str]:
    """Top-level functions and methods of the standard library, each a source of its own."""
    found: list[str] = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_bytes().decode("utf-8-sig")
        lines = source.splitlines(keepends=True)
        holders = [ast.parse(source), *(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))]
        for holder in holders:
            for node in holder.body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    found.append(textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno])))
    step = max(1, len(found) // limit)
    return found[::step][:limit]


def without_comments(code: str, module: ModuleType | None) -> str:
    """As GraphCodeBERT prepares it; a text that it cannot read stays as it is."""
    if module is None:
        return code
    try:
        stripped: str = module.remove_comments_and_docstrings(code, "python")
        list(tokenize.generate_tokens(io.StringIO(stripped).readline))
    except (tokenize.TokenError, IndentationError):
        return code
    return stripped


Index = dict[Any, tuple[int, str]]


def prepared(parsed: Parsed, max_tokens: int) -> tuple[FlatTree, list[Piece]]:
    """What our extraction starts from: the flat tree and the items."""
    tree = flatten(parsed.tree, parsed.source.data, parsed.grammar)
    return tree, draft_items(tree, rules_of(parsed.grammar)[0], max_tokens, None)[1]


def indexed(module: ModuleType, parsed: Parsed, code: str) -> Index:
    """What the published extractor starts from: its table of tokens, built as in its `extract_dataflow`."""
    places = module.tree_to_token_index(parsed.tree.root_node)
    lines = code.split("\n")
    tokens = [module.index_to_code_token(place, lines) for place in places]
    return {place: (at, token) for at, (place, token) in enumerate(zip(places, tokens, strict=True))}


def accepted(module: ModuleType, parsed: Parsed, code: str) -> bool:
    """Whether the published code gets through a function."""
    try:
        module.DFG_python(parsed.tree.root_node, indexed(module, parsed, code), {})
    except (KeyError, IndexError, AttributeError, RecursionError):
        return False
    return True


def measure(steps: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """CPU seconds of each step, the fastest of its runs; the steps take turns, so that load from outside meets all alike."""
    fastest = dict.fromkeys(steps, float("inf"))
    gc.collect()
    gc.freeze()
    for _ in range(repeat):
        for name, work in steps.items():
            start = time.process_time()
            work()
            fastest[name] = min(fastest[name], time.process_time() - start)
    return fastest


def steps_of(taken: list[tuple[str, Parsed]], module: ModuleType | None, max_tokens: int) -> dict[str, Callable[[], Any]]:
    """Each step over all functions."""
    rules = taken[0][1].grammar.rules
    for_flow = rules_of(taken[0][1].grammar)[2]
    inputs = [prepared(parsed, max_tokens) for _, parsed in taken]
    steps: dict[str, Callable[[], Any]] = {
        "parse": lambda: [parse(code, rules) for code, _ in taken],
        "our preparation": lambda: [prepared(parsed, max_tokens) for _, parsed in taken],
        "our edges": lambda: [def_use_edges(tree, for_flow, pieces, False) for tree, pieces in inputs],
    }
    if module is not None:
        tables = [(parsed.tree.root_node, indexed(module, parsed, code)) for code, parsed in taken]
        steps["their preparation"] = lambda: [indexed(module, parsed, code) for code, parsed in taken]
        steps["their edges"] = lambda: [module.DFG_python(root, table, {}) for root, table in tables]
    return steps


def main() -> None:
    """Print the report."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--graphcodebert", type=Path, help="folder with GraphCodeBERT's DFG.py")
    arguments.add_argument("--functions", type=int, default=2000, help="how many functions (default: 2000)")
    arguments.add_argument("--max-item-tokens", type=int, default=64, help="leaves of an item (default: 64)")
    arguments.add_argument("--repeat", type=int, default=5, help="runs of which the best counts (default: 5)")
    options = arguments.parse_args()
    rules = find_rules("python")
    assert rules is not None
    module = published(options.graphcodebert) if options.graphcodebert else None
    codes = [without_comments(code, module) for code in functions(options.functions)]
    pairs = [(code, parsed) for code in codes if (parsed := parse(code, rules)) is not None and not parsed.has_error]
    taken = [pair for pair in pairs if module is None or accepted(module, pair[1], pair[0])]
    print(machine())
    print(f"{len(codes)} functions, {len(taken)} timed, {sum(len(c) for c, _ in taken) / 1e6:.2f} M characters")
    spent = measure(steps_of(taken, module, options.max_item_tokens), options.repeat)
    for step, seconds in spent.items():
        print(f"  {step:<18}{1000 * seconds / max(1, len(taken)):7.3f} ms a function")
    if module is not None:
        own, other = (spent[f"{who} preparation"] + spent[f"{who} edges"] for who in ("our", "their"))
        print(
            f"  edges alone: {spent['their edges'] / spent['our edges']:.1f} times as fast; from the tree on {other / own:.1f};"
        )
        print(f"  from the source on {(other + spent['parse']) / (own + spent['parse']):.1f}")


if __name__ == "__main__":
    main()
