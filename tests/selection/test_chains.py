"""Complete def-use chains: what is selected has its definers, unless the budget ended."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codeblock.core.config import SelectConfig
from codeblock.core.schema import TokenClass
from codeblock.selection import ScoredPair, select
from codeblock.selection.chains import bring_definers

C, K, S = TokenClass.CODE, TokenClass.CORE, TokenClass.STOP


def test_a_rank_goes_back_along_the_edges_to_the_definers_of_definers():
    priority, tie = np.array([0.1, 0.2, 0.9, 0.5]), np.array([0.1, 0.2, 0.3, 0.4])
    found = bring_definers(priority, tie, np.array([0, 1, 1, 2], np.int32))
    np.testing.assert_array_equal(found[0], [0.9, 0.9, 0.9, 0.5])
    np.testing.assert_array_equal(found[1], [0.3, 0.3, 0.3, 0.4])


def test_cycles_end_and_no_edges_change_nothing():
    priority = np.array([0.1, 0.7, 0.4])
    found, _ = bring_definers(priority, priority, np.array([0, 1, 1, 0], np.int32))
    np.testing.assert_array_equal(found, [0.7, 0.7, 0.4])
    same, _ = bring_definers(priority, priority, np.empty(0, np.int32))
    np.testing.assert_array_equal(same, priority)


def program_of(number, rng):
    """A pair of eight items of four tokens, each using some of those before it."""
    items = 8
    edges = [(d, u) for u in range(items) for d in range(u) if rng.random() < 0.25]
    size = 4 * items + 1
    return ScoredPair.from_columns(
        {
            "id": f"pair{number}",
            "token_class": [C, K, K, K] * items + [S],
            "token_item": [i for i in range(items) for _ in range(4)] + [-1],
            "token_word": [-1] * size,
            "item_reach": np.zeros(items),
            "item_bridge": np.zeros(items),
            "nll": rng.exponential(size=size),
            "edges": np.array(edges, np.int32).ravel(),
        }
    )


def lacking(pairs, settings):
    """Selected items, and those of their direct definers that are not selected."""
    taken = missing = 0
    for pair, weight in zip(pairs, select(pairs, "codeblock", settings).weights, strict=True):
        selected = {item for item in range(8) if weight[pair.token_item == item].all()}
        taken += len(selected)
        missing += sum(u in selected and d not in selected for d, u in pair.edges.reshape(-1, 2).tolist())
    return taken, missing


@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_selected_items_have_their_definers_unless_the_budget_ended(seed, budget):
    rng = np.random.default_rng(seed)
    pairs = [program_of(number, rng) for number in range(20)]
    settings = SelectConfig(token_budget=budget, supervise_eos=False)
    _, without = lacking(pairs, settings)
    _, missing = lacking(pairs, settings.model_copy(update={"def_use_chains": True}))
    assert missing == 0  # all items have one size, so none is skipped for a smaller one
    assert without > 0 or budget < 0.1 or budget > 0.8


def test_edges_take_no_part_unless_asked():
    rng = np.random.default_rng(0)
    pairs = [program_of(number, rng) for number in range(5)]
    bare = [replace(pair, edges=None) for pair in pairs]
    settings = SelectConfig(token_budget=0.3)
    for a, b in zip(select(pairs, "codeblock", settings).weights, select(bare, "codeblock", settings).weights, strict=True):
        np.testing.assert_array_equal(a, b)
