"""Work about machines: each living node is asked, and parts run on those that were named."""

import os
import subprocess
import sys

from codeblock.core import nodes as core_nodes
from codeblock.core.nodes import Node, ask_nodes, living_nodes, share_out

GONE = Node("0" * 56, "gone (127.0.0.9)", 1.0, False)


def double(number):
    return 2 * number


def fail():
    raise ValueError("no such thing\nhere")


def test_without_a_cluster_there_are_no_nodes_and_ray_is_not_imported():
    code = "import sys; from codeblock.core.nodes import living_nodes; assert not living_nodes() and 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))


def test_a_cluster_of_one_node_is_this_machine(ray_cluster):
    (node,) = living_nodes()
    assert (node.cpus, node.here) == (2.0, True)
    assert node.name.endswith(")")


def test_each_node_answers_or_has_a_problem(ray_cluster, monkeypatch):
    monkeypatch.setattr(core_nodes, "ASK_SECONDS", 20.0)
    (node,) = living_nodes()
    answered, gone = ask_nodes([node, GONE], double, 4)
    assert (answered.answer, answered.problem) == (8, "")
    assert gone.answer is None
    assert gone.problem
    (failed,) = ask_nodes([node], fail)
    assert (failed.answer, failed.problem) == (None, "here")
    assert ask_nodes([], double, 4) == []


def test_parts_run_on_the_nodes_that_were_named(ray_cluster):
    (node,) = living_nodes()
    found = list(share_out("double", double, [(number,) for number in range(5)], [node, GONE], at_once=2))
    assert sorted(each.answer for each in found) == [0, 2, 4, 6, 8]
    assert {each.node for each in found} == {node.name}


def test_parts_end_where_none_of_their_nodes_lives(ray_cluster, monkeypatch):
    monkeypatch.setattr(core_nodes, "LOOK_SECONDS", 0.5)
    assert list(share_out("double", double, [(1,), (2,)], [GONE])) == []
