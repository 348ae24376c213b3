# ruff: noqa: E501  (programs are easier to read in one line)
"""Solutions that go for the grader: none passes that is wrong, none fails that is right, and none takes more than its share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from codeblock.sandbox.oracles import Limits, Script
from codeblock.sandbox.sandbox import Outcome, Sandbox, Verdict

LIMITS = Limits(timeout_seconds=2.0, memory_mb=256)
TEST = Script(setup="", test="assert f([3, 1, 2]) == [1, 2, 3]\nassert f([]) == []", calls="f")
RIGHT = "def f(x):\n    return sorted(x)\n"
SLACK = 8.0
"""Seconds that ending a program may take on a busy machine."""

CHANNEL = (
    "import json, os, stat, struct\n"
    "def mode(n):\n    try: return os.fstat(n).st_mode\n    except OSError: return 0\n"
    "CHANNEL = next(n for n in range(3, 256) if stat.S_ISSOCK(mode(n)))\n"
    "def put(data):\n    while data: data = data[os.write(CHANNEL, data):]\n"
    "def say(message):\n    text = json.dumps(message).encode()\n    put(struct.pack('<I', len(text)) + text)\n"
)
"""Speaks on the channel in place of the harness."""
MEMORY = (
    "def memory():\n    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', 0) as mem:\n        for line in maps:\n"
    "            part = line.split()\n            start, end = (int(x, 16) for x in part[0].split('-'))\n"
    "            if 'w' in part[1]:\n                try:\n                    mem.seek(start); yield mem.read(end - start)\n"
    "                except (OSError, ValueError, OverflowError): pass\n"
)
"""Reads all that the process could write to: its heap, its stack and what the helper left there."""
CALLS = (
    "import ctypes, errno, mmap, os, socket\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "def call(number, *arguments):\n    ctypes.set_errno(0)\n"
    "    done = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])\n"
    "    return 'done' if done >= 0 else errno.errorcode[ctypes.get_errno()]\n"
    "def attempt(action):\n    try:\n        action()\n        return 'done'\n    except OSError as error: return errno.errorcode[error.errno]\n"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def outcome_of(sandbox: Sandbox, code: str, limits: Limits = LIMITS) -> Outcome:
    """How a program ends; the next one is not harmed."""
    started = time.monotonic()
    outcome = sandbox.run(code, TEST, limits)
    assert time.monotonic() - started < 2 * limits.timeout_seconds + SLACK
    assert outcome.error.isprintable()
    assert len(outcome.error) < 1000
    assert sandbox.run(RIGHT, TEST, LIMITS).verdict is Verdict.PASSED
    return outcome


# --- what a solution says ---------------------------------------------------------------------------------------------

WORDS = ["passed", "wrong_answer", "harness_error", "timeout", "killed", "no such verdict", "", None, 7, ["passed"], {"a": 1}]


@pytest.mark.parametrize("word", WORDS, ids=map(repr, range(len(WORDS))))
def test_a_verdict_that_it_may_not_say_is_its_failure(sandbox: Sandbox, word: object) -> None:
    assert outcome_of(sandbox, CHANNEL + f"say(['failed', {word!r}, ''])\nos._exit(0)").verdict is Verdict.EXCEPTION


SAYINGS = {
    "no message at all": "put(b'\\xff' * 64)",
    "half a message": "put(struct.pack('<I', 100) + b'[\"ready\"'); import time; time.sleep(100)",
    "a message of four gigabytes": "put(struct.pack('<I', (1 << 32) - 1)); put(bytes(1 << 20))",
    "an empty message": "put(bytes(4))",
    "no list": "say({'verdict': 'passed'})",
    "a list of nothing": "say([])",
    "only a word": "say(['ready'])",
    "names that are none": "say(['ready', [[], {}, None, 1]])",
    "a number of names": "say(['ready', 7])",
    "lists in lists": "text = b'[' * 100_000 + b']' * 100_000; put(struct.pack('<I', len(text)) + text)",
    "an error without a type": "say(['ready', ['f']]); say(['error'])",
    "an error of no text": "say(['ready', ['f']]); say(['error', ['ValueError'], {'int': '0x7'}])",
    "an answer without a value": "say(['ready', ['f']]); say(['value'])",
    "answers without end": "say(['ready', ['f']])\nwhile True: say(['value', 7, None])",
    "a failure with a text of many megabytes": "say(['failed', 'exception', 'x' * (60 << 20)])",
    "a failure with a text of control characters": "say(['failed', 'exception', '\\x1b[2J\\x00\\r\\n' * 100])",
    "a failure with half a character": "say(['failed', 'exception', '\\ud800'])",
}  # fmt: skip


@pytest.mark.parametrize("name", SAYINGS)
def test_no_saying_passes_or_stops_the_run(sandbox: Sandbox, name: str) -> None:
    outcome = outcome_of(sandbox, CHANNEL + SAYINGS[name] + "\nos._exit(0)")
    assert outcome.verdict in (Verdict.EXCEPTION, Verdict.WRONG_ANSWER, Verdict.TIMEOUT), outcome


PATCHED = "import json, sys\nS = sys.modules['codeblock.sandbox.solution'].Solution\nbefore = S.dumps\ndef dumps(self, message, *more, **named):\n    return before(self, message, *more, **named) if message[0] == 'ready' or message[2] is not None and callable(message[2]) else lie(message)\nS.dumps = dumps\ndef f(x): return 0\n"
"""Answers calls with what `lie` makes of the message, as text."""
LIES = {
    "two values in one answer": PATCHED + "lie = lambda m: '[\"value\", 1, [1, 2, 3], null, null] [7]'",
    "blanks before an answer": PATCHED + "lie = lambda m: '  ' + json.dumps(['value', m[1], [1, 2, 3], None, None])",
    "an answer cut short": PATCHED + "lie = lambda m: json.dumps(['value', m[1], [1, 2, 3], None, None])[:-1]",
    "a change of an argument that is none": PATCHED + "lie = lambda m: json.dumps(['value', m[1], [1, 2, 3], [[7, [1]]], None])",
    "a change of an argument to another type": PATCHED + "lie = lambda m: json.dumps(['value', m[1], [1, 2, 3], [[0, 7]], None])",
    "a value that holds the place of an argument": PATCHED + "lie = lambda m: json.dumps(['value', m[1], {'handle': ['part', 9]}, None, None])",
    "every container looks changed": "import sys\nm = sys.modules['codeblock.sandbox.containers']\nm.are_same = sys.modules['codeblock.sandbox.objects'].are_same = lambda *a: False\ndef f(x): return 0",
    "no container is one": "import sys\nsys.modules['codeblock.sandbox.endpoints'].containers = lambda *a: []\ndef f(x):\n    x[:] = [1, 2, 3]\n    return 0",
    "an encoder of its own": "import json.encoder\njson.encoder.c_make_encoder = None\njson.JSONEncoder.encode = lambda s, o: '[\"value\", 1, [1, 2, 3], null, null]'\ndef f(x): return 0",
    "a list that changes later": "import threading, time\nr = [1, 2, 3]\ndef t():\n    time.sleep(0.01)\n    r[:] = [9]\ndef f(x):\n    threading.Thread(target=t).start()\n    return r",
    "a list that equals everything": "class L(list):\n    def __eq__(s, o): return True\n    def __len__(s): return 3\ndef f(x): return L([0])",
    "a list that holds itself": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "the test as its value": "import gc\ndef f(x): return [o for o in gc.get_objects() if type(o) is str and 'assert f' in o]",
    "all is killed": "import os\ntry: os.kill(-1, 9)\nexcept OSError: pass\ndef f(x): return 0",
    "another program in its place": "import os, sys\ndef f(x): os.execv(sys.executable, [sys.executable, '-c', 'print([1, 2, 3])'])",
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_no_lie_about_values_passes_or_stops_the_run(sandbox: Sandbox, name: str) -> None:
    assert outcome_of(sandbox, LIES[name]).verdict in (Verdict.WRONG_ANSWER, Verdict.EXCEPTION)


ERRORS = {
    "half a character": "raise ValueError('\\ud800')",
    "a text of 50 MiB": "raise ValueError('x' * (50 << 20))",
    "control characters": "raise ValueError('\\x1b]0;title\\x07 \\x00 \\r\\n \')",
    "a name of half a character": "raise type('E\\ud800\\n', (Exception,), {})",
    "a name of a mebibyte": "raise type('E' * (1 << 20), (Exception,), {})",
    "a type that hides its name": "class M(type):\n    __name__ = property(lambda s: 1 / 0)\n    __mro__ = property(lambda s: 1 / 0)\nclass E(Exception, metaclass=M): pass\nraise E",
    "a text that ends the process": "import os\nclass E(Exception):\n    def __str__(self): os._exit(0)\nraise E",
    "a text that does not end": "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E",
    "a group of itself": "e = ExceptionGroup('x', [ValueError()])\nfor _ in range(2000): e = ExceptionGroup('x', [e])\nraise e",
    "no Exception": "raise GeneratorExit",
    "a syntax error of its own": "raise SyntaxError('\\ud800', ('\\ud800', 1, 1, '\\ud800'))",
    "code of half a character": "x = '\ud800'",
}  # fmt: skip


@pytest.mark.parametrize("when", ["while it loads", "when it is called"])
@pytest.mark.parametrize("name", ERRORS)
def test_no_error_passes_or_stops_the_run(sandbox: Sandbox, name: str, when: str) -> None:
    code = ERRORS[name]
    if when == "when it is called":
        code = "def f(x):\n" + "".join(f"    {line}\n" for line in code.splitlines())
    failures = (Verdict.EXCEPTION, Verdict.TIMEOUT, Verdict.SYNTAX_ERROR, Verdict.OUT_OF_MEMORY)
    assert outcome_of(sandbox, code).verdict in failures


# --- what is in its memory -------------------------------------------------------------------------------------------


def test_no_other_solution_is_in_its_memory(sandbox: Sandbox) -> None:
    sibling = "def f(x):\n    a_mark_of_the_sibling = 'a_mark_of_the_sibling' * 3\n    return sorted(x)\n"
    for _ in range(3):
        assert sandbox.run(sibling, TEST, LIMITS).verdict is Verdict.PASSED
    thief = f"{MEMORY}\nimport re\nfor block in memory():\n    if re.search(b'a[_]mark[_]of[_]the[_]sibling', block): raise ValueError('found')\n{RIGHT}"
    assert sandbox.run(thief, TEST, LIMITS).verdict is Verdict.PASSED, "it found nothing"


def test_no_test_is_in_its_memory(sandbox: Sandbox) -> None:
    secret = Script(setup="hidden_in_setup = 1", test="hidden_in_test = 1\nassert f([2, 1]) == [1, 2]", calls="f")
    thief = f"{MEMORY}\nimport re\ndef look():\n    for block in memory():\n        if re.search(b'hidden[_]in[_](setup|test)', block): raise ValueError('found')\nlook()\ndef f(x):\n    look()\n    return sorted(x)\n"
    for _ in range(2):
        assert sandbox.run(thief, secret, LIMITS).verdict is Verdict.PASSED, "it found nothing"


def test_the_environment_and_the_helper_tell_nothing(sandbox: Sandbox) -> None:
    look = "import os, glob\nseen = {k: v for k, v in os.environ.items() if k not in ('HOME', 'TMPDIR', 'PWD', 'PATH', 'LANG', 'PYTHONHASHSEED', 'PYTHONDONTWRITEBYTECODE', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'LC_CTYPE')}\nassert not seen, seen\nfor name in ('environ', 'mem', 'maps'):\n    try: open(f'/proc/1/{name}', 'rb').read(1)\n    except OSError: continue\n    raise ValueError(name)\n"
    assert sandbox.run(look + RIGHT, TEST, LIMITS).verdict is Verdict.PASSED


# --- right solutions that do strange things ---------------------------------------------------------------------------

STRANGE = {
    "removes its directory": "import os\nos.rmdir(os.getcwd())",
    "removes its directory and fills its place": "import os\nwhere = os.getcwd()\nos.rmdir(where)\nopen(where, 'w').write('x')",
    "moves its directory": "import os\nos.rename(os.getcwd(), os.path.join(os.path.dirname(os.getcwd()), 'elsewhere'))",
    "puts a link in its place": "import os\nwhere = os.getcwd()\nos.rmdir(where)\nos.symlink('/', where)",
    "locks itself out": "import os\nos.makedirs('a/b/c')\nos.chmod('a/b', 0)\nos.chmod('a', 0)\nos.chmod('.', 0)",
    "fills the next one's place": "import os\nbase = os.path.dirname(os.getcwd())\nfor n in range(200):\n    try: os.mkdir(f'{base}/work{n}')\n    except OSError: pass",
    "leaves a deep tree": "import os\nfor _ in range(500):\n    os.mkdir('d' * 100)\n    os.chdir('d' * 100)",
    "leaves attributes": "import os\nfor place in ('.', os.path.dirname(os.getcwd())):\n    try: os.setxattr(place, 'user.left', b'x' * 100)\n    except OSError: pass",
    "stops its parent": "import os, signal\nfor who in (1, os.getppid(), -1):\n    for what in (signal.SIGSTOP, signal.SIGKILL, signal.SIGCHLD, signal.SIGINT):\n        if who != -1 or what == signal.SIGCHLD:\n            try: os.kill(who, what)\n            except OSError: pass",
    "leaves a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)",
    "leaves a stopped child": "import os, signal\nif os.fork() == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)",
    "leaves a child with its channel": "import os, time\nif os.fork() == 0: time.sleep(1000)",
    "hears no signal": "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "prints without measure": "for _ in range(200): print('x' * 1_000_000)",
    "names of every kind": "globals()['\\ud800'] = 1\nglobals()[7] = 2\nglobals()[None] = 3",
    "takes modules away": "import sys\nfor name in list(sys.modules):\n    if name not in ('sys', 'builtins', '__main__'): del sys.modules[name]",
    "shares a little memory": "import mmap\nm = mmap.mmap(-1, 1 << 20)\nm[0] = 1",
    "has little stack": "import sys\nsys.setrecursionlimit(60)",
    "collects nothing": "import gc\ngc.disable()\ngc.set_threshold(0)",
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_a_right_solution_passes_and_harms_nobody(sandbox: Sandbox, name: str) -> None:
    outcome = outcome_of(sandbox, f"{STRANGE[name]}\n{RIGHT}", replace(LIMITS, timeout_seconds=10.0))
    assert outcome.verdict is Verdict.PASSED, outcome


# --- memory and time -------------------------------------------------------------------------------------------------

REFUSED = {
    "asynchronous contexts": ("call(206 if os.uname().machine == 'x86_64' else 0, 4096, ctypes.addressof(ctypes.c_ulong(0)))", "EPERM"),
    "a copy of a mount": ("call(467, -100, 0, 0, 0, 0)", "EPERM"),
    "a list of mounts": ("call(458, 0, 0, 0, 0)", "EPERM"),
    "a call of a later kernel": ("call(470)", "ENOSYS"),
    "a call far beyond": ("call(100_000)", "ENOSYS"),
    "a number between": ("call(400)", "ENOSYS"),
    "huge pages": ("attempt(lambda: mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))", "ENOMEM"),
    "a file in memory": ("attempt(lambda: os.memfd_create('x'))", "EPERM"),
    "pages given to a pipe": ("call(278 if os.uname().machine == 'x86_64' else 75, 0, 0, 0, 0)", "EPERM"),
    "attributes that stay": ("attempt(lambda: os.setxattr('.', 'user.x', b'x'))", "EPERM"),
    "rare protocols": ("attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))", "EPERM"),
    "rare pairs of sockets": ("attempt(lambda: socket.socketpair(30, socket.SOCK_STREAM))", "EPERM"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(sandbox: Sandbox, name: str) -> None:
    if any(layer.startswith(("system calls", "files")) for layer in sandbox.missing):
        pytest.skip("a layer is missing here")
    code, error = REFUSED[name]
    assert f"it was {error}" in sandbox.run(f"{CALLS}raise ValueError('it was ' + {code})", TEST, LIMITS).error


def test_buffers_of_sockets_stay_small(sandbox: Sandbox) -> None:
    code = "import socket\na, b = socket.socketpair()\nusual = a.getsockopt(1, 7), a.getsockopt(1, 8)\nfor option in (7, 8, 32, 33): a.setsockopt(1, option, 1 << 30)\nassert (a.getsockopt(1, 7), a.getsockopt(1, 8)) == usual\na.setblocking(False)\nsent = 0\ntry:\n    while True: sent += a.send(bytes(4096))\nexcept BlockingIOError: pass\nassert sent <= 256 << 10, sent\n"
    assert sandbox.run(code + RIGHT, TEST, LIMITS).verdict is Verdict.PASSED


GREEDY = {
    "children that keep a little each": "import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n        kept = bytearray(b'x') * (40 << 20)\n        time.sleep(100)\ntime.sleep(100)",
    "files and memory": "import time\nkept = bytearray(b'x') * (150 << 20)\nfor n in range(3):\n    with open(f'{n}', 'wb', 0) as file:\n        for _ in range(50): file.write(bytes(1 << 20))\ntime.sleep(100)",
    "files that have no name any more": "import os, time\nkept = bytearray(b'x') * (150 << 20)\nfiles = [open('x', 'wb', 0) for _ in range(3) if not os.path.exists('x') or os.unlink('x') is None]\nfor file in files:\n    for _ in range(50): file.write(bytes(1 << 20))\ntime.sleep(100)",
    "shared pages of a file": "import mmap, os, time\nkept = bytearray(b'x') * (150 << 20)\nfor n in range(3):\n    file = open(f'/dev/shm/{n}', 'w+b')\n    file.truncate(50 << 20)\n    if os.fork() == 0:\n        m = mmap.mmap(file.fileno(), 50 << 20)\n        for i in range(0, 50 << 20, 4096): m[i] = 1\n        time.sleep(100)\ntime.sleep(100)",
    "pages shared without a file": "import mmap, os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 100 << 20)\n        for i in range(0, 100 << 20, 4096): m[i] = 1\n        time.sleep(100)\ntime.sleep(100)",
    "shared pages of no process": "import ctypes, time\nlibc = ctypes.CDLL(None)\nlibc.mmap.restype = ctypes.c_void_p\nfor _ in range(6):\n    at = libc.mmap(None, 80 << 20, 3, 0x21, -1, 0)\n    ctypes.memset(at, 1, 80 << 20)\n    libc.munmap(ctypes.c_void_p(at + 4096), (80 << 20) - 4096)\ntime.sleep(100)",
    "pages of the device of zeros": "import mmap, os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        m = mmap.mmap(os.open('/dev/zero', os.O_RDWR), 100 << 20)\n        for i in range(0, 100 << 20, 4096): m[i] = 1\n        time.sleep(100)\ntime.sleep(100)",
    "many pairs of sockets": "import os, socket, time\nfor _ in range(12):\n    if os.fork() == 0:\n        kept = []\n        try:\n            while True:\n                pair = socket.socketpair()\n                kept.append(pair)\n                for s in pair:\n                    s.setblocking(False)\n                    try:\n                        while True: s.send(bytes(65536))\n                    except BlockingIOError: pass\n        except OSError: time.sleep(100)\ntime.sleep(100)",
    "connections to itself": "import os, socket, time\nserver = socket.create_server(('127.0.0.1', 0), backlog=128)\nfor _ in range(10):\n    if os.fork() == 0:\n        kept = []\n        try:\n            while True:\n                one = socket.create_connection(server.getsockname()); other, _ = server.accept()\n                kept += [one, other]\n                for s in (one, other):\n                    s.setblocking(False)\n                    try:\n                        while True: s.send(bytes(65536))\n                    except BlockingIOError: pass\n        except OSError: time.sleep(100)\ntime.sleep(100)",
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_memory_of_every_kind_counts(sandbox: Sandbox, name: str) -> None:
    if any(layer.startswith(("processes", "network", "disk")) for layer in sandbox.missing):
        pytest.skip("without its own namespaces a program's memory cannot be summed")
    outcome = outcome_of(sandbox, GREEDY[name], replace(LIMITS, timeout_seconds=20.0))
    assert outcome.verdict is Verdict.OUT_OF_MEMORY, outcome
    assert "together" in outcome.error


WORK = "def f(x):\n    start = time.process_time()\n    while time.process_time() - start < 1.5: pass\n    return sorted(x)\n"
"""More than its time, if only a little."""
SPINNERS = {
    "children": "for _ in range(20):\n    if os.fork() == 0:\n        while True: pass",
    "threads": "def spin():\n    while True: sum(range(1000))\nfor _ in range(2): threading.Thread(target=spin, daemon=True).start()",
    "grandchildren": "if os.fork() == 0:\n    os.setsid()\n    for _ in range(20):\n        if os.fork() == 0:\n            while True: pass\n    os._exit(0)",
    "children that live shortly": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nif os.fork() == 0:\n    while True:\n        try:\n            if os.fork() == 0:\n                for _ in range(10 ** 6): pass\n                os._exit(0)\n        except OSError: pass",
}  # fmt: skip


@pytest.mark.parametrize("name", SPINNERS)
def test_spinning_processes_buy_no_time(sandbox: Sandbox, name: str) -> None:
    """The solution itself waits for a core all the while; that it waits for its own is its affair."""
    code = f"import os, signal, threading, time\n{SPINNERS[name]}\n{WORK}"
    outcome = outcome_of(sandbox, code, replace(LIMITS, timeout_seconds=1.0))
    assert outcome.verdict is Verdict.TIMEOUT, outcome


def test_the_time_of_children_counts(sandbox: Sandbox) -> None:
    """However many cores there are for them."""
    code = "import os, time\ndef f(x):\n    for _ in range(4):\n        if os.fork() == 0:\n            while time.process_time() < 0.3: pass\n            os._exit(0)\n    for _ in range(4): os.wait()\n    return sorted(x)\n"
    outcome = sandbox.run(code, Script("", "assert f([]) == []", "f"), replace(LIMITS, timeout_seconds=20.0))
    assert outcome.verdict is Verdict.PASSED
    assert outcome.seconds >= 1.2
