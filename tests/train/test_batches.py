"""Step plans, shares of workers, and micro-batches: what a step computes does not depend on how it is cut."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeblock.core.errors import CodeBlockError
from codeblock.train.batches import cut_rows, micro_batches, pack_rows, plan_steps, plan_steps_by_tokens, share_of
from codeblock.train.rows import TokenPair, trim


def make_pair(number: int, length: int, seed: int = 0) -> TokenPair:
    rng = np.random.default_rng([seed, number])
    weight_T = np.where(rng.random(length) < 0.3, rng.random(length) + 0.1, 0).astype(np.float32)
    weight_T[0], weight_T[-1] = 0, 1
    input_ids_T = rng.integers(1, 90, length).astype(np.int32)
    return TokenPair(f"p{number}", input_ids_T, np.full(length, 3, np.uint8), weight_T)


lengths = st.lists(st.integers(2, 60), min_size=1, max_size=30)


def test_with_steps_every_step_is_full_and_epochs_run_on() -> None:
    plan = plan_steps(pairs=10, batch_pairs=4, seed=1, steps=8)
    assert [len(numbers) for numbers in plan] == [4] * 8
    stream = np.concatenate(plan)
    assert sorted(stream[:10]) == sorted(stream[10:20]) == sorted(stream[20:30]) == list(range(10))
    assert stream[:10].tolist() != stream[10:20].tolist()


def test_with_epochs_the_last_batch_is_partial() -> None:
    plan = plan_steps(pairs=10, batch_pairs=4, seed=1, epochs=1)
    assert [len(numbers) for numbers in plan] == [4, 4, 2]
    assert sorted(np.concatenate(plan)) == list(range(10))
    assert [len(numbers) for numbers in plan_steps(10, 4, 1, epochs=0.5)] == [4, 1]
    assert [len(numbers) for numbers in plan_steps(10, 4, 1)] == [4, 4, 2]


def test_a_step_may_hold_more_pairs_than_there_are() -> None:
    assert Counter(plan_steps(pairs=3, batch_pairs=8, seed=0, steps=1)[0].tolist()).total() == 8


def test_the_plan_follows_from_the_seed_and_a_shorter_one_is_its_beginning() -> None:
    plan = np.concatenate(plan_steps(20, 6, seed=5, steps=10))
    assert plan.tolist() == np.concatenate(plan_steps(20, 6, seed=5, steps=10)).tolist()
    assert plan[:24].tolist() == np.concatenate(plan_steps(20, 6, seed=5, steps=4)).tolist()
    assert plan.tolist() != np.concatenate(plan_steps(20, 6, seed=6, steps=10)).tolist()


def test_steps_can_hold_as_many_supervised_tokens_each() -> None:
    supervised_P = np.array([5, 1, 3, 2, 4])
    plan = plan_steps_by_tokens(supervised_P, 6, seed=1, steps=7)
    assert np.concatenate(plan).tolist() == np.concatenate(plan_steps(5, 5, 1, steps=9))[: sum(map(len, plan))].tolist()
    for numbers in plan:
        held = supervised_P[numbers]
        assert held.sum() - held[-1] < 6 <= held.sum()
    assert len(plan) == 7
    once = plan_steps_by_tokens(supervised_P, 6, seed=1, epochs=1)
    assert sorted(np.concatenate(once)) == list(range(5))
    with pytest.raises(CodeBlockError, match="no pair with a supervised token"):
        plan_steps_by_tokens(np.empty(0, dtype=np.int64), 6, 0, steps=1)


def test_no_pair_is_an_error_and_not_a_loss_of_zero() -> None:
    with pytest.raises(CodeBlockError, match="no pair with a supervised token"):
        plan_steps(0, 4, 0, steps=1)


@given(lengths, st.integers(1, 4))
def test_shares_deal_out_every_pair_once_and_leave_no_worker_idle(pair_lengths: list[int], world: int) -> None:
    pairs = [make_pair(number, length) for number, length in enumerate(pair_lengths)]
    shares = [share_of(pairs, rank, world) for rank in range(world)]
    assert all(shares)
    dealt = Counter(pair.id for share in shares for pair in share if pair.weight > 0)
    assert dealt == Counter(pair.id for pair in pairs)


def test_shares_are_balanced_by_length() -> None:
    pairs = [make_pair(number, length) for number, length in enumerate([100, 20, 30, 50, 90, 10])]
    loads = [sum(pair.inputs for pair in share_of(pairs, rank, 2)) for rank in range(2)]
    assert abs(loads[0] - loads[1]) <= 10


@given(lengths, st.integers(8, 200), st.booleans(), st.sampled_from([0, 16, 4096]))
def test_micro_batches_hold_every_supervised_token_once_with_its_context(
    pair_lengths: list[int], max_inputs: int, pack: bool, call: int
) -> None:
    pairs = [trim(make_pair(number, length)) for number, length in enumerate(pair_lengths)]
    seen = []
    for batch in micro_batches(pairs, max_inputs, pack, call):
        rows, width = batch.input_ids_BT.shape
        assert rows * width <= max(max_inputs, max(pair.inputs for pair in pairs))
        assert batch.index_N.tolist() == sorted(batch.index_N.tolist())
        assert batch.most == np.bincount(batch.index_N // width).max()
        for index, target, weight in zip(batch.index_N, batch.targets_N, batch.weights_N, strict=True):
            at_row, column = divmod(int(index), width)
            start = 0 if batch.position_ids_BT is None else column - int(batch.position_ids_BT[at_row, column])
            context = batch.input_ids_BT[at_row, start : column + 1].tolist()
            seen.append((tuple(context), int(target), round(float(weight), 6)))
    expected = [
        (tuple(pair.input_ids_T[:t].tolist()), int(pair.input_ids_T[t]), round(float(pair.weight_T[t]), 6))
        for pair in pairs
        for t in np.flatnonzero(pair.weight_T)
    ]
    assert sorted(seen) == sorted(expected)


@given(lengths, st.integers(8, 200), st.booleans())
def test_inputs_count_everything_but_padding(pair_lengths: list[int], max_inputs: int, pack: bool) -> None:
    pairs = [make_pair(number, length) for number, length in enumerate(pair_lengths)]
    batches = micro_batches(pairs, max_inputs, pack)
    assert sum(batch.inputs for batch in batches) == sum(pair.inputs for pair in pairs)


def test_packed_rows_restart_positions_with_each_pair_and_with_the_padding() -> None:
    pairs = [make_pair(0, 6), make_pair(1, 5), make_pair(2, 4)]  # 5, 4 and 3 inputs
    (batch,) = micro_batches(pairs, max_inputs=16, pack=True)
    assert batch.position_ids_BT is not None
    assert batch.position_ids_BT.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2]]
    (batch,) = micro_batches([make_pair(0, 9), *pairs], max_inputs=30, pack=True)
    assert batch.position_ids_BT is not None
    assert [row[-1] for row in batch.position_ids_BT.tolist()] != [batch.position_ids_BT.shape[1] - 1] * 2


@given(lengths)
def test_packing_wastes_little(pair_lengths: list[int]) -> None:
    pairs = sorted((make_pair(n, length) for n, length in enumerate(pair_lengths)), key=lambda pair: -pair.inputs)
    rows = pack_rows(pairs, 256)
    assert sorted(pair.id for row in rows for pair in row) == sorted(pair.id for pair in pairs)
    assert len(rows) <= 2 * -(-sum(pair.inputs for pair in pairs) // 256)


def test_rows_of_like_length_share_a_pass_where_padding_costs_more_than_a_pass() -> None:
    assert cut_rows([100, 100, 10, 10, 10], max_inputs=1000, call=20) == [(0, 2), (2, 5)]
    assert cut_rows([100, 100, 10, 10, 10], max_inputs=1000, call=1000) == [(0, 5)]
    assert cut_rows([100, 90], max_inputs=50, call=0) == [(0, 1), (1, 2)]
