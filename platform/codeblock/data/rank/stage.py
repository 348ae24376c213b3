"""The stage `ranked` as a plain function: signals of all pairs, one ranking, what it is worth."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.core.config import RankConfig
from codeblock.core.draws import lottery
from codeblock.core.errors import CodeBlockError
from codeblock.core.records import RankedRecord
from codeblock.core.schema import RANKED
from codeblock.core.storage import store
from codeblock.core.storage.tables import parts, read_part, write_part
from codeblock.data.rank import rankers  # noqa: F401  registers them
from codeblock.data.rank.order import by_mean, lexicographic
from codeblock.data.rank.pool import RankPool, Signal
from codeblock.data.rank.registry import get_ranker, offline_names
from codeblock.sandbox.pool import Settings


def rank_pairs(
    prepared: Path,
    output: Path,
    config: RankConfig,
    seed: int,
    *,
    scored: Path | None = None,
    embedded: Path | None = None,
    sandbox: Settings | None = None,
) -> RankedRecord:
    """Rank the pairs of `prepared` into parts of `output` of the same names (schema RANKED); returns the facts.

    `scored`: scores with the reference's `nll`, which `loss_tails` needs; `embedded`: parts of embeddings by a model
    (EMBEDDED), where `config.embedding` is not `words`; `sandbox`: how `runs_examples` runs programs. Raises CodeBlockError for
    a ranker that is not known or lacks what it needs, and where the sandbox may not be used.
    """
    chosen = [get_ranker(name) for name in config.by]
    if embedded is None and config.embedding != "words" and any("embedding" in each.needs for each in chosen):
        raise CodeBlockError(f"rank.embedding={config.embedding}: no embeddings were made; use words, or embed the pairs first")
    work = output / "work"
    pool = RankPool(prepared, seed, work, sandbox or Settings(), scored, embedded if config.embedding != "words" else None)
    signals: dict[str, Signal] = {}
    seconds: dict[str, float] = {}
    for each in chosen:
        started = time.perf_counter()
        signals[each.name] = each.measure(pool)
        seconds[each.name] = round(time.perf_counter() - started, 3)
    store.remove_tree(work)
    lotteries = (lottery(seed, id_) for id_ in pool.ids())
    if config.combine == "mean":
        places = by_mean(list(signals.values()), lotteries)
    else:
        places = lexicographic(list(signals.values()), [each.scale for each in chosen], lotteries)
    _write(pool, output, places, signals)
    known = {name: _share_known(signal) for name, signal in signals.items()}
    return {
        "pool_pairs": int(pool.tokens.size),
        "pool_tokens": int(pool.tokens.sum()),
        "by": list(config.by),
        "combine": config.combine,
        "known": known,
        "seconds": seconds,
        "warnings": warnings_of(known),
    }


def warnings_of(known: Mapping[str, float]) -> list[str]:
    """What a user has to be told of rankers that know nothing of any pair; `known`: the share of pairs that each knows."""
    silent = [name for name, share in known.items() if share == 0]
    if not silent:
        return []
    offered = [name for name in offline_names() if name not in known]
    offer = f"; add to rank.by what needs nothing but the pairs: {', '.join(offered)}" if offered else ""
    if set(known) - {"random"} == set(silent):
        which = ", ".join(silent)
        return [f"NO PAIR HAS A VALUE of {which}: which pairs are kept is a lottery{offer}"]
    left = [name for name in known if name not in silent]
    return [f"no pair has a value of {name}: ranked by {', '.join(left)} alone{offer}" for name in silent]


def _share_known(signal: Signal) -> float:
    return round(float(np.isfinite(signal).mean()), 4) if signal.size else 0.0


def _write(pool: RankPool, output: Path, places: np.ndarray[Any, np.dtype[np.int32]], signals: Mapping[str, Signal]) -> None:
    values = np.stack(list(signals.values()), axis=1)
    start = 0
    for path in parts(pool.prepared):
        table = read_part(path, ["id", "dataset"])
        ids = table["id"]
        rows = slice(start, start + len(ids))
        flat = pa.array(values[rows].ravel(), pa.float32(), from_pandas=False)
        offsets = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * values.shape[1])
        tokens, ranks = pa.array(pool.tokens[rows]), pa.array(places[rows])
        columns = [ids, tokens, ranks, table["dataset"], pa.ListArray.from_arrays(offsets, flat)]
        write_part(output / path.name, pa.table(columns, schema=RANKED))
        start += len(ids)
