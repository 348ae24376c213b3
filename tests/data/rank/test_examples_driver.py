"""Examples that nodes share have the values of one machine, and none is lost where nodes are."""

from dataclasses import replace

import numpy as np
import pytest
from tests.data.rank.conftest import WALLS, pair, write_prepared

from codeblock.core.errors import CodeBlockError
from codeblock.core.nodes import Node, SharedAnswer, living_nodes
from codeblock.core.storage.tables import parts
from codeblock.data.rank import examples_driver
from codeblock.data.rank.examples_driver import RowRange, cut, run_on_nodes

ANOTHER = Node("another", "another (127.0.0.2)", 2.0, False)
WANTED = ["1.0", "0.0", "nan", "1.0", "1.0", "0.0", "nan"]


@pytest.fixture
def paths(tmp_path):
    """Parts of three responses, whose examples have the values WANTED."""
    code = {"1.0": "print(abs(-1))  # 1", "0.0": "print(abs(-1))  # 2", "nan": "x = 1"}
    rows = [pair(response=f"```python\n{code[each]}\n```") for each in WANTED]
    return parts(write_prepared(tmp_path / "prepared", rows))


@pytest.fixture
def shared(monkeypatch):
    """One other node, whose pieces run in this process; gives the rows of each piece that ran. Pieces have two rows."""
    ran = []

    def share_out(what, work, pieces, *_):
        for piece, settings in reversed(pieces):
            ran.append(piece.rows)
            yield SharedAnswer(work(piece, settings), ANOTHER.name)

    monkeypatch.setattr(examples_driver, "LEAST", 2)
    monkeypatch.setattr(examples_driver, "share_out", share_out)
    monkeypatch.setattr(examples_driver, "graders", lambda _: [ANOTHER])
    return ran


def values_of(paths):
    return [str(value) for value in run_on_nodes(paths, WALLS).tolist()]


def test_values_are_those_of_this_machine(paths, ray_cluster, monkeypatch):
    """By real tasks of Ray, on the only node that there is."""
    assert values_of(paths) == WANTED
    monkeypatch.setattr(examples_driver, "LEAST", 2)
    monkeypatch.setattr(examples_driver, "graders", lambda _: living_nodes())
    monkeypatch.setattr(examples_driver, "run_examples", None)  # of this process
    assert values_of(paths) == WANTED


def test_pieces_come_back_in_the_order_of_the_rows(paths, shared):
    assert values_of(paths) == WANTED
    assert shared == [1, 1, 2, 1, 2]


def test_what_nodes_that_are_gone_have_left_is_run_by_others_and_at_last_here(paths, shared, monkeypatch):
    whole, left = examples_driver.share_out, [[ANOTHER], [replace(ANOTHER, name="third")], []]

    def one_alone(*given):
        yield next(whole(*given))

    monkeypatch.setattr(examples_driver, "share_out", one_alone)
    monkeypatch.setattr(examples_driver, "graders", lambda _: left.pop(0))
    assert values_of(paths) == WANTED
    assert left == []
    assert shared == [1, 1]


def test_what_stops_the_run_names_the_node(paths, shared, monkeypatch):
    def failing(*_):
        raise CodeBlockError("rank.by: runs_examples: no more processes; leave it out, or see to the sandbox")

    monkeypatch.setattr(examples_driver, "run_examples", failing)
    with pytest.raises(CodeBlockError, match=r"see to the sandbox \(on another \(127.0.0.2\)\)"):
        run_on_nodes(paths, WALLS)


def test_a_large_pool_has_several_pieces_for_each_cpu(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    pieces = cut(paths, [2048, 1000], 3.0)
    assert pieces[0] == RowRange(paths[0], 0, 254)
    assert len(pieces) == 13
    for path, count in zip(paths, (2048, 1000), strict=True):
        rows = [np.arange(piece.first, piece.first + piece.rows) for piece in pieces if piece.part == path]
        assert np.concatenate(rows).tolist() == list(range(count))
    assert [piece.rows for piece in cut(paths, [100, 0], 64.0)] == [64, 36]
