# ruff: noqa: E501  (programs are easier to read in one line)
"""Whatever a solution's process says, the checker alone decides: what is no answer to what was asked is the solution's failure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from codeblock.sandbox.oracles import Cases, Limits, Script
from codeblock.sandbox.sandbox import Sandbox, Verdict

LIMITS = Limits(timeout_seconds=3.0, memory_mb=1024)
TEST = Script("", "assert f([3, 1, 2]) == [1, 2, 3]\nassert f([]) == []", "f")
RIGHT = "def f(x):\n    return sorted(x)\n"
SAY = """
import json, os, socket, stat, struct
CHANNEL = next(n for n in range(3, 256) if os.path.exists(f'/proc/self/fd/{n}') and stat.S_ISSOCK(os.fstat(n).st_mode))
def raw(data):
    while data: data = data[os.write(CHANNEL, data):]
def say(message):
    text = message if isinstance(message, bytes) else json.dumps(message).encode()
    raw(struct.pack('<I', len(text)) + text)
def hear():
    size = struct.unpack('<I', os.read(CHANNEL, 4))[0]
    data = b''
    while len(data) < size: data += os.read(CHANNEL, size - len(data))
    return json.loads(data)
def serve(answer):
    "In place of the helper: every question gets what `answer` makes of it."
    say(['ready', ['f']])
    while True:
        message = hear()
        found = answer(message)
        say(found if isinstance(found, bytes) or type(found) is list and found and type(found[0]) is str else ['value', message[1], found, None, None])
F = {'handle': ['mine', 1, [0, 'function', ['builtins:function'], ['__call__'], '']]}
def answers(value):
    "A function that is there, and gives this value."
    serve(lambda m: F if m[2] == 'global' else value)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


FIRST = {
    "a verdict": "say(['failed', 'passed', ''])",
    "wrong_answer, which is not its to say": "say(['failed', 'wrong_answer', ''])",
    "the harness's fault": "say(['failed', 'harness_error', 'disk'])",
    "a time limit": "say(['failed', 'timeout', ''])",
    "an unknown verdict": "say(['failed', 'excellent', ''])",
    "a verdict that is a list": "say(['failed', ['passed'], ''])",
    "an error text that is a number": "say(['failed', 'exception', 5])",
    "no text": "say(['failed', 'exception'])",
    "an empty list": "say([])",
    "a number": "say(7)",
    "no JSON": "say(b'{')",
    "no UTF-8": "say(b'\\xff\\xfe')",
    "an empty message": "say(b'')",
    "two objects in one": 'say(b\'["ready", []] ["ready", []]\')',
    "a key twice": 'say(b\'{"tuple": [], "tuple": []}\')',
    "names that are no list": "say(['ready', 'f'])",
    "ready twice": "say(['ready', ['f']]); say(['ready', ['f']])",
    "an answer before any question": "say(['ready', ['f']]); say(['value', 1, [1, 2, 3], None, None])",
    "a length that never comes": "raw(b'\\x10\\x00\\x00\\x00[')",
    "a length of 4 GiB": "raw(b'\\xff\\xff\\xff\\xff')",
    "100 MiB of error": "say(['failed', 'exception', 'x' * (100 << 20)])",
    "30,000 lists in each other": "say(b'[' * 30000)",
    "a question first": "say(['ask', 1, 'call', 0, [{'type': 'print'}, [], {}]])",
}


@pytest.mark.parametrize("name", FIRST)
def test_a_first_message_that_is_none_is_the_solutions_failure(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.run(f"{SAY}\n{FIRST[name]}\nos._exit(0)", TEST, LIMITS)
    assert outcome.verdict == Verdict.EXCEPTION, outcome
    assert outcome.error
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


ANSWERS = {
    "another number": "serve(lambda m: ['value', m[1] + 1, F, None, None])",
    "no number": "serve(lambda m: ['value', True, F, None, None])",
    "a verdict": "serve(lambda m: ['passed', m[1], F, None, None])",
    "no list": "serve(lambda m: b'{\"set\": []}')",
    "too little": "serve(lambda m: ['value', m[1]])",
    "too much": "serve(lambda m: ['value', m[1], F, None, [], 1])",
    "an unknown tag": "answers({'code': 'x'})",
    "an unknown object": "answers({'handle': ['known', 'os:system']})",
    "a part of nothing": "answers({'handle': ['part', 9]})",
    "what nobody gave": "answers({'handle': ['yours', 0]})",
    "a class that is no class": "answers({'handle': ['mine', 5, [3, 'X', 'no bases', [], '']]})",
    "a class of a class that is not there": "answers({'handle': ['mine', 5, 77]})",
    "a class of itself": "answers({'handle': ['mine', 5, [3, 'X', [3], [], '']]})",
    "a plain base that is not there": "answers({'handle': ['mine', 5, [3, 'X', [], [], 'int'], 'text']})",
    "an object of two classes": "answers([{'handle': ['mine', 5, [3, 'X', [], [], '']]}, {'handle': ['mine', 5, [4, 'Y', [], [], '']]}])",
    "numbers that are none": "answers({'handle': ['mine', 1e300, [3, 'X', [], [], '']]})",
    "special methods that are none": "answers({'handle': ['mine', 5, [3, 'X', [], [{'tuple': []}], '']]})",
    "an error of no class": "serve(lambda m: F if m[2] == 'global' else ['error', m[1], 'exception', '', 'x', 5, None, None])",
    "an error that passes": "serve(lambda m: F if m[2] == 'global' else ['error', m[1], 'passed', '', 'x', {'handle': ['error', None, 'builtins:ValueError', [], None, {}]}, None, None])",
    "an exception of this package": "serve(lambda m: F if m[2] == 'global' else ['error', m[1], 'exception', '', 'x', {'handle': ['error', None, 'codeblock.sandbox.failures:LostError', [], None, {}]}, None, None])",
    "changes to what is not there": "serve(lambda m: F if m[2] == 'global' else ['value', m[1], [1, 2, 3], [[40, []]], []])",
    "changes of another type": "serve(lambda m: F if m[2] == 'global' else ['value', m[1], [1, 2, 3], [[0, {'range': [0, 10 ** 12, 1]}]], []])",
    "an integer of a million digits": "answers(json.loads('1')) if 0 else serve(lambda m: F if m[2] == 'global' else b'[\"value\", %d, 1%s, null, null]' % (m[1], b'0' * 10 ** 6))",
    "a decimal that fills the memory": "answers({'decimal': '1E+999999999'})",
    "a fraction that never ends": "answers({'fraction': [{'int': '0x' + 'f' * 10 ** 6}, {'int': '0x' + '7' * 10 ** 6}]})",
    "a short text for a long tuple": "answers({'tuple': {'range': [0, 10 ** 12, 1]}})",
    "a short text for a long dict": "answers({'dict': [{'range': [0, 10 ** 12, 1]}]})",
    "a short text for a long array": "answers({'array': ['<i8', [1], [{'range': [0, 10 ** 12, 1]}]]})",
    "an array of many": "answers({'array': ['<U100000000', [1], ['x']]})",
    "a raw array of objects": "answers({'raw': ['|O', [1], 'x' * 8, False]})",
    "a shape below zero": "answers({'array': ['<i8', [-1, -1], [1]]})",
    "a pattern that fills the memory": "answers({'pattern': ['(' * 1500, 0]})",
    "a class of builtins that is a function": "answers({'type': 'exec'})",
    "a file of the checker": "answers({'path': ['PosixPath', '/etc/passwd']})",
    "2.6 million queues": "serve(lambda m: F if m[2] == 'global' else b'[\"value\", %d, [%s0], null, null]' % (m[1], b'{\"deque\":[[],null]},' * 2600000))",
    "700,000 queues": "serve(lambda m: F if m[2] == 'global' else b'[\"value\", %d, [%s0], null, null]' % (m[1], b'{\"deque\":[[],null]},' * 700000))",
    "lists in each other": "serve(lambda m: F if m[2] == 'global' else b'[\"value\", %d, %s%s, null, null]' % (m[1], b'[' * 20000, b']' * 20000))",
    "2,000 classes": "answers([{'handle': ['mine', n, [n, 'X', [], [], '']]} for n in range(10, 2010)])",
    "questions without end": "serve(lambda m: F if m[2] == 'global' else ['ask', 1, 'attribute', 0, [{'handle': ['yours', 0]}, 'x']])",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_none_is_the_solutions_failure(sandbox: Sandbox, name: str) -> None:
    started = time.monotonic()
    outcome = sandbox.run(f"{SAY}\n{ANSWERS[name]}", TEST, LIMITS)
    assert outcome.verdict == Verdict.EXCEPTION, outcome
    assert outcome.error
    assert time.monotonic() - started < 8
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


def test_an_honest_answer_in_the_helpers_place_is_right(sandbox: Sandbox) -> None:
    """Or the failures above would show nothing."""
    code = f"{SAY}\nserve(lambda m: F if m[2] == 'global' else sorted(m[4][1][0]))"
    assert sandbox.run(code, TEST, LIMITS).verdict == Verdict.PASSED


def test_right_answers_that_come_before_the_questions_or_twice_do_not_pass(sandbox: Sandbox) -> None:
    early = f"{SAY}\nsay(['ready', ['f']])\nfor n, v in enumerate([F, [1, 2, 3], []], 1): say(['value', n, v, None, None])\nsay(['value', 4, 0, None, None])\nimport time; time.sleep(9)"
    assert sandbox.run(early, TEST, LIMITS).verdict == Verdict.EXCEPTION
    twice = f"{SAY}\ndef answer(m):\n    v = F if m[2] == 'global' else sorted(m[4][1][0])\n    say(['value', m[1], v, None, None])\n    return v\nserve(answer)"
    assert sandbox.run(twice, TEST, LIMITS).verdict == Verdict.EXCEPTION


CASES = Cases([[[3, 1]], [[5, 4]]], base=1, reference=RIGHT, calls="f")
OUTPUTS = {
    "a verdict": "[['passed', '', '']]",
    "seconds that are none": "[b'[\"value\", NaN, [1, 3]]', b'[\"value\", -1, [4, 5]]']",
    "seconds without end": "[b'[\"value\", 1e999, [1, 3]]']",
    "an unknown kind of error": "[['error', 'passed', 'x']]",
    "a time limit that has not run out": "[['error', 'timeout', 'x']]",
    "a kind that is a list": "[['error', ['exception'], 'x']]",
    "more outputs than inputs": "[b'[\"value\", 0.1, [1, 3]]', b'[\"value\", 0.1, [4, 5]]', b'[\"value\", 0.1, [4, 5]]']",
    "two values": "[b'[\"value\", 0.1, [1, 3], [1, 3]]']",
    "no JSON": "[b'[\"value\", 0.1, [1, 3}]']",
    "a question": "[['ask', 1, 'call', 0, []]]",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_that_are_none_are_the_solutions_failure(sandbox: Sandbox, name: str, tmp_path: Path) -> None:
    _, expected = sandbox.collect(CASES, LIMITS, tmp_path / "expected")
    assert expected is not None
    code = f"{SAY}\nsay(['ready', ['f']])\nhear()\ntexts = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in {OUTPUTS[name]}]\nraw(b''.join(struct.pack('<I', len(t)) + t for t in texts))\nimport time; time.sleep(9)"
    outcome = sandbox.run(code, CASES, LIMITS, expected)
    assert outcome.verdict == Verdict.EXCEPTION, outcome
    assert sandbox.run(RIGHT, CASES, LIMITS, expected).verdict == Verdict.PASSED


def test_a_checker_that_took_much_memory_is_replaced_and_loses_no_verdict(sandbox: Sandbox) -> None:
    test = Script("", "kept = [f(n) for n in range(60)]\nassert len(kept) == 60", "f")
    greedy = "def f(n): return 'x' * (12 << 20) + chr(0x1f600)"
    before = sandbox._checker._process.pid
    assert sandbox.run(greedy, test, Limits(timeout_seconds=20, memory_mb=1024)).verdict == Verdict.OUT_OF_MEMORY
    assert sandbox._checker._process.pid != before
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED


GIVEN = "def g(x):\n    SECRET = 'expected'\n    return x\nclass Own:\n    def __init__(self): self.v = g\n    def m(self): return 1\nassert f(g, Own()) == 'expected'"
THIEVES = {
    "the globals of a function": "def f(g, o): return g.__globals__['expected']",
    "its code": "def f(g, o): return g.__code__.co_consts[1]",
    "its closure": "def f(g, o): return g.__closure__",
    "the globals of a method": "def f(g, o): return o.m.__func__.__globals__",
    "the class of an object": "def f(g, o): return o.m.__self__.__class__.__init__.__globals__",
    "a question of its own": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.ask('attribute', g, '__globals__')",
    "another question": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.ask('special', '__getattribute__', o, ['__class__'])",
    "a call of what was not given": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.call(str, ('expected',), {})",
    "a global of the checker": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.ask('global', 'peer')",
    "an operation that is none": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.ask('permit', g, 'x')",
    "an attribute that is no text": "def f(g, o):\n    end = type(o)._codeblock_end\n    return end.ask('attribute', o, ['v'])",
    "a way through a format": "def f(g, o): return '{0.__globals__}'.format(g)",
}


@pytest.mark.parametrize("name", THIEVES)
def test_what_the_tests_give_leads_to_nothing_else_of_theirs(sandbox: Sandbox, name: str) -> None:
    outcome = sandbox.run(THIEVES[name], Script("", GIVEN, "f"), LIMITS)
    assert outcome.verdict == Verdict.EXCEPTION, outcome
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict == Verdict.PASSED
