"""The rankers. Each is [ours] but for `quality` and `long_tail`, which are those of DS2 (arXiv 2410.10877).

What each says of a pair: `quality` what the data says; `parses` and `answers` what the response lacks for certain;
`runs_examples` whether its own examples come true; `long_tail` and `near_duplicate` how common the pair is; `length` and
`loss_tails` how far from the usual one it lies. None of them sees whether right-looking code is right, but `quality`.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codeblock.core.draws import lottery
from codeblock.core.errors import CodeBlockError
from codeblock.core.storage.scores import values_of
from codeblock.core.storage.tables import parts
from codeblock.data.filter.words import last_request
from codeblock.data.rank.asks import asked, share_answered
from codeblock.data.rank.code import CodeFacts
from codeblock.data.rank.examples_driver import run_on_nodes
from codeblock.data.rank.neighbours import score
from codeblock.data.rank.pool import RankPool, Signal, joined
from codeblock.data.rank.registry import ranker

MAD_TO_SD = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""


@ranker("quality", scale="quality")
def quality(pool: RankPool) -> Signal:
    """The data's own column."""
    return pool.map(["quality"], lambda table: table["quality"].cast(pa.float32()).to_numpy())


@ranker("long_tail", needs=("embedding",))
def long_tail(pool: RankPool) -> Signal:
    """DS2's score: `2 / (1 + exp(-d)) - 1`, d the mean cosine distance to the 10 nearest others; higher where it is rare."""
    return score(pool.distances)


@ranker("near_duplicate", needs=("embedding",))
def near_duplicate(pool: RankPool) -> Signal:
    """Cosine distance to the nearest other pair: 0 where there is one just like it; unknown for a pair that is alone."""
    return pool.distances[:, 0]


@ranker("parses", scale="share", tools=("grammars",))
def parses(pool: RankPool) -> Signal:
    """Share of the response's blocks of code that parse, of those in a language with a grammar; 0 without any code, unknown
    where no block is in such a language."""
    return np.array([_share_parsed(facts) for facts in pool.code], dtype=np.float32)


def _share_parsed(facts: CodeFacts) -> float:
    if facts.whole + facts.broken:
        return facts.whole / (facts.whole + facts.broken)
    return float("nan") if facts.unknown else 0.0


@ranker("answers", scale="share", tools=("grammars",))
def answers(pool: RankPool) -> Signal:
    """Whether the response defines the names that the instruction asks for, in the language that it asks for."""
    requests = (
        zip(*(table[name].to_pylist() for name in ("messages", "response")), strict=True)
        for table in pool.tables("messages", "response")
    )
    rows = zip(chain.from_iterable(requests), pool.code, strict=True)
    shares = [share_answered(response, asked(last_request(turns)), facts) for (turns, response), facts in rows]
    return np.array(shares, dtype=np.float32)


@ranker("runs_examples", scale="share", tools=("grammars", "python"))
def runs_examples(pool: RankPool) -> Signal:
    """1 where the response's Python code and its own examples run in the sandbox and give what it says, 0 where they do not;
    unknown without examples, in other languages, and where the code wants what the sandbox has not."""
    return run_on_nodes(parts(pool.prepared), pool.sandbox)


@ranker("length")
def length(pool: RankPool) -> Signal:
    """Minus the distance of the log of the response's tokens from the pool's usual one, in robust standard deviations."""
    return -np.abs(robust_z(np.log(np.maximum(pool.tokens, 1))))


@ranker("loss_tails", needs=("nll",))
def loss_tails(pool: RankPool) -> Signal:
    """Minus the distance of the response's mean nll under the reference from the pool's usual one: very high is wrong or off
    topic, very low is known by heart."""
    if pool.scored is None:
        raise CodeBlockError("rank.by: loss_tails needs the reference's nll of the whole pool; score it first or leave it out")
    means = [_mean_nll(values_of(table["id"].to_pylist(), pool.scored, "nll")) for table in pool.tables("id")]
    return -np.abs(robust_z(joined(means)))


def _mean_nll(column: pa.ListArray) -> Signal:
    """float32[rows]: mean over the response's tokens, NaN where there is none."""
    values, offsets = np.asarray(column.flatten(), dtype=np.float64), np.diff(column.offsets.to_numpy())
    rows, known = np.repeat(np.arange(len(column)), offsets), np.isfinite(values)
    sums = np.bincount(rows[known], values[known], len(column))
    counts = np.bincount(rows[known], minlength=len(column))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)


@ranker("random")
def random(pool: RankPool) -> Signal:
    """A seeded lottery: the control."""
    draws = (int.from_bytes(lottery(pool.seed, f"random:{id_}"), "big") / 2**64 for id_ in pool.ids())
    return np.fromiter(draws, dtype=np.float32)


def robust_z(values: NDArray[np.floating]) -> Signal:
    """float32[N]: distances from the median in units of the median absolute deviation, scaled to a standard deviation.

    Where more than half of the values are equal there is no such unit: 0 for them and 1 in its sign for the others.
    """
    if not np.isfinite(values).any():
        return np.asarray(values, dtype=np.float32)
    distance = values - np.nanmedian(values)
    unit = MAD_TO_SD * np.nanmedian(np.abs(distance))
    return np.asarray(distance / unit if unit > 0 else np.sign(distance), dtype=np.float32)
