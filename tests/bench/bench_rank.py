"""How many poor pairs of the embedded pool each ranker lets through: their share among the best pairs, by kind.

python tests/bench/bench_rank.py [--pairs 2000] [--seed 0] [--model DIR] [--without-quality] [--by quality,long_tail]...

The pool is what the default filters leave of the embedded pairs, whose poor ones are marked. With --model (a directory of
Hugging Face's) `loss_tails` is among the rankers, and tokens are the model's; else they are bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from codeblock.annotate.prepare.render import Renderer
from codeblock.annotate.prepare.stage import prepare_batch
from codeblock.core.config import FilterConfig, PairsConfig, PrepareConfig, RankConfig
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.core.models.nll import response_nll
from codeblock.core.schema import SCORED
from codeblock.core.storage.tables import part_name, parts, read_part, read_table, write_part
from codeblock.data.filter.driver import write_near_duplicates
from codeblock.data.filter.minhash import band_hashes, bands_for
from codeblock.data.filter.stage import screen
from codeblock.data.rank.registry import ranker_names
from codeblock.data.rank.stage import rank_pairs
from codeblock.data.read.files import find_files
from codeblock.data.read.stage import read_pairs
from codeblock.sandbox.pool import Settings
from codeblock.tiny.holdout import Holdout
from codeblock.tiny.pairs import make_pairs

SHARES = (0.033, 0.1, 0.26)
"""Shares of the pool that are looked at: 10,000 of 300,000 pairs, a tenth, and what 15% of the tokens at 57% inside ask for."""


def main() -> None:
    """Print the tables."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        kinds = make_pool(home, arguments.pairs, arguments.seed, arguments.model, arguments.without_quality)
        scored = home / "scored" if arguments.model else None
        singles = [[name] for name in ranker_names() if name != "loss_tails" or scored]
        named = [text.split(",") for text in arguments.by]
        orders = [RankConfig(by=by) for by in [*singles, RankConfig().by, *named]]
        orders += [RankConfig(by=by, combine="mean") for by in [RankConfig().by, *named]]
        print_table(home, kinds, orders, arguments.seed, scored)


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="a directory with a model and its tokenizer")
    parser.add_argument("--without-quality", action="store_true", help="as if the data had no quality column")
    parser.add_argument("--by", action="append", default=[], help="another order of rankers, names with commas")
    return parser.parse_args()


def make_pool(home: Path, count: int, seed: int, model: str | None, without_quality: bool) -> dict[str, str]:
    """Write the prepared pairs below `home`; the kind of each by its id."""
    rows = list(make_pairs(count, seed, Holdout(frozenset(), frozenset())))
    for row in rows:
        row["quality"] = None if without_quality else row["quality"]
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    (home / "pairs.jsonl").write_bytes(lines)
    config = PairsConfig(path=str(home / "pairs.jsonl"))
    read_pairs(find_files(config.path), config, home / "pairs")
    pairs = without_twins(home, read_table(home / "pairs"))
    kind_of = {(row["instruction"], row["response"]): row["kind"] for row in reversed(rows)}  # of equal ones the first stays
    turns, responses = pairs["messages"].to_pylist(), pairs["response"].to_pylist()
    kinds = {
        id_: kind_of[messages[-1]["content"], response]
        for id_, messages, response in zip(pairs["id"].to_pylist(), turns, responses, strict=True)
    }
    renderer = Renderer(load_tokenizer(model) if model else _bytes())
    prepared, _ = prepare_batch(pairs, renderer, PrepareConfig(), 1024 if model else 8192)
    write_part(home / "prepared" / part_name(0), prepared)
    if model:
        write_scores(home, model, prepared)
    return kinds


def without_twins(home: Path, pairs: pa.Table) -> pa.Table:
    """The pairs without near duplicates, by the filter's own functions."""
    bands, threshold = bands_for(0.8), 0.8
    found = screen(pairs, FilterConfig(decontaminate=False), None)
    assert found.signatures is not None
    hashes = band_hashes(found.signatures, bands)
    binary = [pa.array([row.tobytes() for row in rows], pa.binary()) for rows in (found.signatures, hashes)]
    columns = {"row": pa.array(found.kept), "id": pairs["id"], "signature": binary[0], "bands": binary[1]}
    write_part(home / "work" / "screened" / part_name(0), pa.table(columns))
    write_near_duplicates(home / "work", bands, threshold)
    twins = set(read_table(home / "work" / "duplicates")["row"].to_pylist())
    return pairs.take(pa.array([row for row in range(pairs.num_rows) if row not in twins], pa.int64()))


def write_scores(home: Path, model: str, prepared: pa.Table) -> None:
    """The nll of all pairs under a model."""
    ids = [np.asarray(row, dtype=np.int32) for row in prepared["input_ids"].to_numpy()]
    started = time.perf_counter()
    nll = response_nll(load_model(model), ids, prepared["response_start"].to_pylist(), 2048)
    print(f"scored {prepared.num_rows} pairs in {time.perf_counter() - started:.1f} s")
    column = pa.array(nll, SCORED.field("nll").type, from_pandas=False)
    write_part(home / "scored" / part_name(0), pa.table({"id": prepared["id"], "nll": column}))


def _bytes() -> Any:
    """A tokenizer that needs no model: bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from codeblock.core.models.load import DEFAULT_TEMPLATE

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", chat_template=DEFAULT_TEMPLATE)


def print_table(home: Path, kinds: dict[str, str], orders: list[RankConfig], seed: int, scored: Path | None) -> None:
    """A row for the pool, and one for each order at each share of it."""
    ids = [id_ for path in parts(home / "prepared") for id_ in read_part(path, ["id"])["id"].to_pylist()]
    pool = Counter(kinds[id_] for id_ in ids)
    names = [name for name, _ in pool.most_common() if name != "good"]
    print("| order | best | pairs | poor |", " | ".join(names), "| known | seconds |")
    print("|---|---|---:|---:|" + "---:|" * len(names) + "---|---:|")
    row(["the pool", "100%"], pool, names, ["", ""])
    for number, config in enumerate(orders):
        output = home / f"ranked{number}"
        facts = rank_pairs(home / "prepared", output, config, seed, scored=scored, sandbox=Settings(allow_missing_layers=True))
        for warning in facts["warnings"]:
            print(f"<!-- {warning} -->")
        best = [id_ for _, id_ in sorted((each["rank"], each["id"]) for each in read_table(output).to_pylist())]
        told = ", ".join(f"{share:.0%}" for share in facts["known"].values())
        seconds = f"{sum(facts['seconds'].values()):.1f}"
        name = ", ".join(config.by) + (" (mean)" if config.combine == "mean" else "")
        for share in SHARES:
            found = Counter(kinds[id_] for id_ in best[: round(share * len(best))])
            row([name, f"{share:.1%}"], found, names, [told, seconds])


def row(head: list[str], found: Counter[str], names: list[str], tail: list[str]) -> None:
    """One line: pairs, the share of poor ones, and counts by kind."""
    total = sum(found.values())
    cells = [*head, f"{total:,}", f"{1 - found['good'] / total:.1%}", *(str(found[name]) for name in names), *tail]
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
