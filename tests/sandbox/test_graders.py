"""Which nodes grade: those whose sandbox is whole and whose Python is the same; the others are told, with the remedy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import pytest

from codeblock.core.capacity import Capacity
from codeblock.core.errors import CodeBlockError
from codeblock.core.nodes import Node, NodeAnswer
from codeblock.core.own_process import as_worker
from codeblock.sandbox import graders
from codeblock.sandbox.graders import Machine, Needs, look, problem_of
from codeblock.sandbox.interpreters import interpreter

HEAD, HERE = Node("h", "head (1)", 0.0, True), Node("h", "head (1)", 2.0, True)
ONE, TWO = Node("a", "one (2)", 4.0, False), Node("b", "two (3)", 4.0, False)
WHOLE = Machine("", interpreter(None), [])
BARE = replace(WHOLE, lacking_layers="lacks 1 layers of the sandbox (network); install bubblewrap")
Cluster = Callable[..., list[str]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Sets the living nodes, and what each answers; gives the list of the nodes that were asked."""
    asked: list[str] = []

    def make(machines: dict[Node, Machine | str | None]) -> list[str]:
        def answer(nodes: list[Node], *_: object) -> list[NodeAnswer[Machine | str]]:
            asked.extend(node.name for node in nodes)
            return [NodeAnswer(machines[node], "" if machines[node] else "it did not answer") for node in nodes]

        monkeypatch.setattr(graders, "living_nodes", lambda: list(machines))
        monkeypatch.setattr(graders, "ask_nodes", answer)
        return asked

    monkeypatch.setattr(graders, "_known", {})
    monkeypatch.setattr(graders, "_said", set())
    return make


def test_a_head_that_lends_no_cpu_is_given_no_programs_where_others_can(cluster: Cluster) -> None:
    asked = cluster({HEAD: WHOLE, ONE: WHOLE, TWO: WHOLE})
    assert graders.graders(Needs()) == [ONE, TWO]
    assert graders.graders(Needs()) == [ONE, TWO]
    assert asked == ["one (2)", "two (3)"], "each is asked once"


def test_a_driver_whose_node_lends_cpus_grades_beside_the_others(cluster: Cluster) -> None:
    cluster({HERE: WHOLE, ONE: WHOLE})
    assert graders.graders(Needs()) == [HERE, ONE]


@pytest.mark.parametrize("machines", [{}, {HERE: WHOLE}, {HEAD: WHOLE}, {HERE: WHOLE, replace(ONE, cpus=0.0): WHOLE}])
def test_where_no_other_node_lends_cpus_nobody_is_asked(cluster: Cluster, machines: dict[Node, Machine]) -> None:
    asked = cluster(machines)
    assert graders.graders(Needs()) == []
    assert asked == []


def test_a_process_that_is_a_worker_itself_grades_alone(cluster: Cluster) -> None:
    asked = cluster({HERE: WHOLE, ONE: WHOLE})
    with as_worker():
        assert graders.graders(Needs()) == []
    assert asked == []


def test_nodes_that_cannot_are_told_once_and_by_reason(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster({HEAD: WHOLE, ONE: BARE, TWO: BARE, Node("c", "three (4)", 1.0, False): WHOLE})
    assert [node.name for node in graders.graders(Needs())] == ["three (4)"]
    graders.graders(Needs())
    assert capsys.readouterr().out == (
        "note: grading: 2 of 3 nodes cannot grade: one (2), two (3): lacks 1 layers of the sandbox (network); install "
        "bubblewrap\n"
    )


def test_where_only_the_driver_s_node_can_this_machine_grades_alone(cluster: Cluster) -> None:
    cluster({HERE: WHOLE, ONE: BARE})
    assert graders.graders(Needs()) == []
    assert graders.graders(Needs(allow_missing_layers=True)) == [HERE, ONE]


def test_where_nobody_can_grade_the_run_is_refused_unless_nodes_may_come(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object) -> list[str]:
        raise CodeBlockError("grading: this machine lacks 1 layers of the sandbox; install bubblewrap")

    monkeypatch.setattr(graders, "check_sandbox", lacking)
    cluster({HEAD: BARE, ONE: WHOLE})
    graders.require_graders(Needs())
    cluster({HEAD: BARE})
    for possible, refused in ((2.0, True), (16.0, False)):
        found = Capacity({"CPU": 2.0}, {"CPU": possible}, ())
        monkeypatch.setattr(graders, "capacity", lambda found=found: found)
        with pytest.raises(CodeBlockError, match="install bubblewrap") if refused else nullcontext():
            graders.require_graders(Needs())
    assert capsys.readouterr().out == (
        "note: grading: this machine lacks 1 layers of the sandbox; install bubblewrap; nodes that start later are asked once "
        "there is something to grade\n"
    )


def test_a_node_that_did_not_answer_is_asked_again(cluster: Cluster) -> None:
    cluster({HEAD: WHOLE, ONE: None, TWO: WHOLE})
    assert graders.graders(Needs()) == [TWO]
    cluster({HEAD: WHOLE, ONE: WHOLE, TWO: WHOLE})
    assert graders.graders(Needs()) == [ONE, TWO]


def test_this_machine_is_looked_at_once_for_all_nodes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str | None] = []

    def counting(python: str | None) -> dict[str, str]:
        looked.append(python)
        return interpreter(python)

    monkeypatch.setattr(graders, "interpreter", counting)
    cluster({HEAD: WHOLE, ONE: WHOLE, TWO: WHOLE, Node("c", "three (4)", 1.0, False): WHOLE})
    assert len(graders.graders(Needs())) == 3
    assert looked == [None]


def test_what_differs_from_this_machine_is_told_with_its_remedy() -> None:
    assert problem_of(WHOLE, Needs(), WHOLE.interpreter) == ""
    assert problem_of("grading: no-python does not run; name a Python that does", Needs(), {}).startswith("grading: no-python")
    older = replace(WHOLE, interpreter={**WHOLE.interpreter, "python": "3.8.1"})
    assert problem_of(older, Needs(), WHOLE.interpreter).startswith("solutions would run with python 3.8.1, numpy ")
    assert problem_of(older, Needs(), WHOLE.interpreter).endswith(" here; install the same on every node")
    assert problem_of(older, Needs()) == "", "it is this machine"
    assert problem_of(replace(WHOLE, absent=["node"]), Needs()) == (
        "lacks node, which tasks use; install the same on every node"
    )


def test_another_version_of_another_language_is_another_grader() -> None:
    needs = Needs(programs=("echo",), versions=(("echo", "v22.1"),))
    here = look(needs)
    assert isinstance(here, Machine)
    assert here.interpreter["echo v22.1"] == "v22.1"
    other = replace(here, lacking_layers="", interpreter={**here.interpreter, "echo v22.1": "v18.0"})
    assert problem_of(other, needs, here.interpreter).endswith("echo v22.1 v22.1 here; install the same on every node")
    assert problem_of(replace(here, lacking_layers=""), needs, here.interpreter) == ""


def test_this_machine_is_looked_at_for_what_is_used() -> None:
    needs = Needs(None, False, ("json", "no_such_module"), ("no-such-program",), (("no-such-program", "--version"),))
    found = look(needs)
    assert isinstance(found, Machine)
    assert found.absent == ["no-such-program", "no_such_module"]
    assert found.interpreter == {**interpreter(None), "no-such-program --version": ""}
    told = look(Needs("/no/such/python"))
    assert isinstance(told, str)
    assert told.startswith("grading: /no/such/python does not run")
