"""Which pairs make up each optimiser step, and how a worker turns its share of them into tensors.

The plan is a pure function of (number of pairs, batch size, seed): every worker computes the same one, so nothing is
communicated, and the denominator of a step's loss is known before its first forward pass.

Shape legend: B rows, T padded length, N supervised positions of the micro-batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeblock.core.errors import CodeBlockError
from codeblock.train.rows import TokenPair

PACKED_ROW = 1024
"""Inputs of a packed row, or the longest pair where that is longer: attention costs grow with the row."""

CPU_CALL = 64
GPU_CALL = 2048
"""Padded inputs that take as long as the fixed cost of one more forward and backward pass."""


_AT_ONCE = 65536
"""Numbers of a permutation that are Python's own at a time: each takes five times what it takes in the array."""


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The tensors of one forward and backward pass.

    Rows are padded on the right, without an attention mask: in a causal model padding behind a token cannot reach it.
    """

    input_ids_BT: Tensor
    position_ids_BT: Tensor | None
    """Restart at 0 with each pair of a packed row; None where every row is one pair."""
    index_N: Tensor
    """Flat positions in B*T, ascending, that predict the supervised tokens."""
    targets_N: Tensor
    weights_N: Tensor
    inputs: int
    """Inputs that are not padding."""
    most: int
    """The most supervised positions of a row."""

    def to(self, device: torch.device) -> MicroBatch:
        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return replace(
            self,
            input_ids_BT=move(self.input_ids_BT),
            position_ids_BT=None if self.position_ids_BT is None else move(self.position_ids_BT),
            index_N=move(self.index_N),
            targets_N=move(self.targets_N),
            weights_N=move(self.weights_N),
        )


def plan_steps(
    pairs: int, batch_pairs: int, seed: int, steps: int | None = None, epochs: float | None = None
) -> list[NDArray[np.int64]]:
    """The pair numbers of every optimiser step, cut from a stream of seeded permutations of all pairs.

    With `steps` each step has exactly `batch_pairs` pairs, across the ends of epochs. With `epochs` (1 where neither
    is given) the stream ends after that many passes, and a last partial batch is kept. A plan of fewer steps is the
    beginning of a longer one with the same seed.
    """
    total = steps * batch_pairs if steps is not None else max(1, round((epochs or 1.0) * pairs))
    stream = np.fromiter(_stream(pairs, seed), dtype=np.int64, count=total)
    return [stream[start : min(start + batch_pairs, total)] for start in range(0, total, batch_pairs)]


def plan_steps_by_tokens(
    supervised_P: NDArray[np.integer], batch_tokens: int, seed: int, steps: int | None = None, epochs: float | None = None
) -> list[NDArray[np.int64]]:
    """The same stream of pairs, each step ending with the pair that brings it to `batch_tokens` supervised tokens.

    `supervised_P`: supervised tokens of each pair, none without. With `epochs` a last step with fewer is kept.
    """
    plan: list[NDArray[np.int64]] = []
    limit = None if steps is not None else max(1, round((epochs or 1.0) * supervised_P.size))
    step: list[int] = []
    held = taken = 0
    for pair in _stream(supervised_P.size, seed):
        step.append(pair)
        held, taken = held + int(supervised_P[pair]), taken + 1
        if held >= batch_tokens or taken == limit:
            plan.append(np.array(step, dtype=np.int64))
            step, held = [], 0
        if len(plan) == steps or taken == limit:
            break
    return plan


def _stream(pairs: int, seed: int) -> Iterator[int]:
    """Seeded permutations of all pairs without end: the pairs in the order in which steps take them."""
    if pairs == 0:
        raise CodeBlockError("train: no pair with a supervised token; raise select.token_budget")
    for epoch in itertools.count():
        order = np.random.default_rng([seed, epoch]).permutation(pairs)
        for start in range(0, pairs, _AT_ONCE):
            yield from order[start : start + _AT_ONCE].tolist()


def share_of(pairs: Sequence[TokenPair], rank: int, world: int) -> list[TokenPair]:
    """The pairs of one step that worker `rank` of `world` computes, balanced by length (longest first to the least loaded).

    A worker that would get none computes the shortest pair with weights of 0: all workers must take part in the step.
    """
    shares: list[list[TokenPair]] = [[] for _ in range(world)]
    loads = [0] * world
    for pair in sorted(pairs, key=lambda pair: -pair.inputs):
        least = loads.index(min(loads))
        shares[least].append(pair)
        loads[least] += pair.inputs
    if not shares[rank]:
        shortest = min(pairs, key=lambda pair: pair.inputs)
        return [replace(shortest, weight_T=np.zeros_like(shortest.weight_T))]
    return shares[rank]


def micro_batches(pairs: Sequence[TokenPair], max_inputs: int, pack: bool, call: int = CPU_CALL) -> list[MicroBatch]:
    """Cut pairs into passes of at most `max_inputs` padded inputs (one pair may be longer than that).

    pack: several pairs a row, without attention across them; else one pair a row, rows of like length together.
    call: the fixed cost of one more pass, in padded inputs; weighed against padding.
    """
    longest_first = sorted(pairs, key=lambda pair: -pair.inputs)
    if pack:
        rows = pack_rows(longest_first, max_inputs)
        rows.sort(key=lambda row: -sum(pair.inputs for pair in row))
        call = max_inputs  # packed rows are of like length: as few passes as fit
    else:
        rows = [[pair] for pair in longest_first]
    cuts = cut_rows([sum(pair.inputs for pair in row) for row in rows], max_inputs, call)
    return [collate(rows[start:end]) for start, end in cuts]


def pack_rows(longest_first: Sequence[TokenPair], max_inputs: int) -> list[list[TokenPair]]:
    """First-fit-decreasing: each pair goes to the first row with room."""
    total = sum(pair.inputs for pair in longest_first)
    longest = longest_first[0].inputs
    room = max(longest, min(PACKED_ROW, max_inputs))
    room = max(longest, -(-total // -(-total // room)))  # rows of equal length rather than a short last one
    rows: list[list[TokenPair]] = []
    free: list[int] = []
    for pair in longest_first:
        row = next((number for number, left in enumerate(free) if left >= pair.inputs), len(rows))
        if row == len(rows):
            rows.append([])
            free.append(room)
        rows[row].append(pair)
        free[row] -= pair.inputs
    return rows


def cut_rows(lengths: Sequence[int], max_inputs: int, call: int) -> list[tuple[int, int]]:
    """Cut rows, longest first, into passes so that `sum(rows * longest + call)` is least (dynamic programming)."""
    length_R = np.asarray(lengths, dtype=np.int64)
    count = len(length_R)
    cost = np.zeros(count + 1, dtype=np.int64)  # of the rows from here on
    cut = np.zeros(count + 1, dtype=np.int64)
    for start in range(count - 1, -1, -1):
        most = max(1, int(max_inputs // max(1, length_R[start])))
        ends = np.arange(start + 1, min(count, start + most) + 1)
        costs = (ends - start) * length_R[start] + call + cost[ends]
        best = int(costs.argmin())
        cost[start], cut[start] = costs[best], ends[best]
    spans, start = [], 0
    while start < count:
        spans.append((start, int(cut[start])))
        start = int(cut[start])
    return spans


def collate(rows: Sequence[Sequence[TokenPair]]) -> MicroBatch:
    """Rows of pairs as tensors. The last token of a pair is only a target, so it is no input."""
    packed = any(len(row) > 1 for row in rows)
    width = max(sum(pair.inputs for pair in row) for row in rows)
    input_ids_BT = np.zeros((len(rows), width), dtype=np.int64)
    position_ids_BT = np.tile(np.arange(width), (len(rows), 1))
    index, targets, weights, inputs, most = [], [], [], 0, 0
    for number, row in enumerate(rows):
        start = 0
        for pair in row:
            end = start + pair.inputs
            input_ids_BT[number, start:end] = pair.input_ids_T[:-1]
            position_ids_BT[number, start:] = np.arange(width - start)
            supervised = _targets(pair)
            index.append(number * width + start + supervised - 1)
            targets.append(pair.input_ids_T[supervised])
            weights.append(pair.weight_T[supervised])
            start = end
        position_ids_BT[number, start:] = np.arange(width - start)  # padding is a sequence of its own
        inputs += start
        most = max(most, sum(len(index_n) for index_n in index[-len(row) :]))
    return MicroBatch(
        torch.from_numpy(input_ids_BT),
        torch.from_numpy(position_ids_BT) if packed else None,
        torch.from_numpy(np.concatenate(index)),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)),
        torch.from_numpy(np.concatenate(weights)),
        inputs,
        most,
    )


def _targets(pair: TokenPair) -> NDArray[np.int64]:
    """Positions of the tokens with a loss; for a worker without pairs, one with weight 0."""
    supervised = np.flatnonzero(pair.weight_T[1:]) + 1
    return supervised if len(supervised) else np.asarray([pair.inputs])
