"""What each variant of the utility picks, on a scored table: shares of the selected tokens by role, at two budgets.

python tests/bench/bench_picked.py --kept runs/cache/kept-... --scored runs/cache/scored-... [--tokenizer DIR] [--budgets 0.57]

All pairs of the table are kept, so a budget is the share inside them. With `--tokenizer` also the words that are picked.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codeblock.core.config import SelectConfig
from codeblock.core.models.load import load_tokenizer
from codeblock.core.storage.scores import with_scores
from codeblock.core.storage.tables import part_name, parts, read_part, read_table, write_part
from codeblock.core.supervised import supervised
from codeblock.report.picked import picked_markdown
from codeblock.selection import iter_pairs
from codeblock.selection.request import SelectRequest
from codeblock.selection.stage import select_parts
from codeblock.selection.utility import item_utility

PLAIN: dict[str, Any] = {"reach_weight": 0.0, "bridge_weight": 0.0}
UTILITIES: dict[str, dict[str, Any]] = {
    "mean": {},
    "sum": {"aggregate": "sum"},
    "shrunk 8": {"aggregate": "shrunk"},
    "noise .98": {"noise_quantile": 0.98},
    "noise .9": {"noise_quantile": 0.9},
    "shrunk 8, noise .9": {"aggregate": "shrunk", "noise_quantile": 0.9},
    "random items": {},
}
GATES: dict[str, dict[str, Any]] = {
    "mean, no rerank": PLAIN,
    "hard": {},
    "none": {"gate": "none"},
    "product": {"gate": "product"},
    "product, shrink_items 8": {"gate": "product", "shrink_items": 8.0},
    "shrunk, product, shrink_items 8": {"aggregate": "shrunk", "gate": "product", "shrink_items": 8.0},
    "chains": {"def_use_chains": True},
    "shrunk, product, shrink_items 8, chains": {
        "aggregate": "shrunk",
        "gate": "product",
        "shrink_items": 8.0,
        "def_use_chains": True,
    },
}
WORDS: dict[str, dict[str, Any]] = {"by GCE": {}, "specific": {"word_rank": "specific"}}


def main() -> None:
    """Select with every variant and print what it picks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--scored", type=Path, required=True)
    parser.add_argument("--tokenizer")
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.019, 0.57])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        scored = Path(directory)
        for path in parts(arguments.kept):
            write_part(scored / path.name, with_scores(read_part(path), {"nll": arguments.scored}))
        for budget in arguments.budgets:
            print(f"\n## {budget:.1%} of the tokens\n")
            chosen = {name: select(scored, budget, name, settings) for name, settings in UTILITIES.items()}
            print(picked_markdown({name: facts["picked"] for name, (facts, _) in chosen.items()}))
            print(gates(scored, budget))
            if arguments.tokenizer:
                print(words(scored, budget, arguments.tokenizer))


def select(scored: Path, budget: float, name: str, settings: dict[str, Any]) -> tuple[dict[str, Any], pa.Table]:
    """Facts and table of one selection of all pairs."""
    strategy = "random_items" if name == "random items" else "codeblock"
    with tempfile.TemporaryDirectory() as output:
        rank_in_order(scored, Path(output) / "ranked")
        config = SelectConfig(token_budget=budget, subset_ratio=1.0, **settings)
        request = SelectRequest(scored, Path(output) / "ranked", strategy, config, config.shares, {"nll": scored}, dev_pairs=0)
        facts = select_parts(request, Path(output) / "selected")
        return facts, read_table(Path(output) / "selected")


def rank_in_order(scored: Path, output: Path) -> None:
    """A ranking of all pairs as they stand."""
    table = pa.concat_tables([read_part(path, ["id", "input_ids", "response_start"]) for path in parts(scored)])
    tokens = pc.subtract(pc.list_value_length(table["input_ids"]), table["response_start"])
    rank = pa.array(range(table.num_rows), pa.int32())
    write_part(output / part_name(0), pa.table({"id": table["id"], "tokens": tokens, "rank": rank}))


def gates(scored: Path, budget: float) -> str:
    """For each gate what the rerank changed: items that came in for others, and the mean GCE of both."""
    rows = ["| | items | changed | mean GCE of what came in | of what went | uses without their definition |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    known = utilities(scored)
    for name, settings in GATES.items():
        items = items_of(scored, select(scored, budget, name, settings)[1])
        plain = items_of(scored, select(scored, budget, name, {**settings, **PLAIN, "def_use_chains": False})[1])
        came, went = ([known[item] for item in each] for each in (items - plain, plain - items))
        missing, uses = unmet(scored, items)
        means = " | ".join(f"{np.mean(each):.2f}" if each else "-" for each in (came, went))
        rows.append(f"| {name} | {len(items):,} | {len(came):,} | {means} | {missing / max(uses, 1):.1%} of {uses:,} |")
    facts, _ = select(scored, budget, "hard", {})
    share = facts["items_with_structure"] / facts["items"]
    rows.append(f"\n{facts['items_with_structure']:,} of {facts['items']:,} items ({share:.0%}) have reach or bridge\n")
    return "\n".join(rows)


Items = set[tuple[str, int]]


def items_of(scored: Path, selected: pa.Table) -> Items:
    """The selected items by pair."""
    weights = dict(zip(selected["id"].to_pylist(), supervised(selected), strict=True))
    found: Items = set()
    for path in parts(scored):
        table = read_part(path, ["id", "token_item"])
        for id_, owner in zip(table["id"].to_pylist(), table["token_item"].to_numpy(), strict=True):
            if id_ in weights:
                found |= {(id_, int(item)) for item in np.unique(owner[weights[id_] & (owner >= 0)])}
    return found


def utilities(scored: Path) -> dict[tuple[str, int], float]:
    """The mean GCE of each item's core logic tokens."""
    return {
        (pair.id, item): float(value)
        for path in parts(scored)
        for pair in iter_pairs(read_part(path))
        for item, value in enumerate(item_utility(pair, SelectConfig()))
    }


def unmet(scored: Path, items: Items) -> tuple[int, int]:
    """Def-use edges into selected items whose definition is not selected, and all edges into selected items."""
    missing = uses = 0
    for path in parts(scored):
        for row in read_part(path, ["id", "edges"]).to_pylist():
            for definer, user in zip(row["edges"][::2], row["edges"][1::2], strict=True):
                if (row["id"], user) in items:
                    uses += 1
                    missing += (row["id"], definer) not in items
    return missing, uses


def words(scored: Path, budget: float, tokenizer: str) -> str:
    """The 30 words that are picked most often, by each way to rank them."""
    decode = load_tokenizer(tokenizer, None)
    lines = []
    for name, settings in WORDS.items():
        _, table = select(scored, budget, name, settings)
        picked = Counter(word for row in _with_words(scored, table) for word in _picked_words(row, decode))
        shown = ", ".join(f"{word} {count}" for word, count in picked.most_common(30))
        lines.append(f"words {name}: {sum(picked.values())} picked, {len(picked)} different: {shown}")
    return "\n\n".join(lines)


def _with_words(scored: Path, selected: pa.Table) -> list[dict[str, Any]]:
    weights = dict(zip(selected["id"].to_pylist(), supervised(selected), strict=True))
    rows = []
    for path in parts(scored):
        table = read_part(path, ["id", "input_ids", "token_word"])
        table = table.filter(pc.is_in(table["id"], pa.array(list(weights))))
        rows += [{**row, "weight": weights[row["id"]]} for row in table.to_pylist()]
    return rows


def _picked_words(row: dict[str, Any], tokenizer: Any) -> list[str]:
    by_word: dict[int, list[int]] = {}
    for id_, word, weight in zip(row["input_ids"], row["token_word"], row["weight"], strict=True):
        if word >= 0 and weight:
            by_word.setdefault(word, []).append(id_)
    return [tokenizer.decode(ids).strip().lower() for ids in by_word.values()]


if __name__ == "__main__":
    main()
