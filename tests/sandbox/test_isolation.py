"""What lies outside cannot be read, changed, reached or signalled. Each proof is what is seen from outside."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sandbox.conftest import Helper, Victim

from codeblock.sandbox import kernel, seccomp

TIMEOUT = 20.0
ATTEMPT = """
def attempt(action, *arguments):
    try:
        return action(*arguments)
    except BaseException as error:
        return repr(error)
"""


def test_no_layer_is_missing_with_namespaces(helper: Helper) -> None:
    assert helper.missing == []


def test_ordinary_programs_run(any_helper: Helper) -> None:
    """Behind all isolation remain: threads, processes, subprocesses, pipes, temporary files, sorting out one's own /proc."""
    source = (
        "import multiprocessing, os, subprocess, sys, tempfile, threading, time, asyncio\n"
        "with tempfile.NamedTemporaryFile() as f: f.write(b'x')\n"
        "with tempfile.TemporaryDirectory() as d: open(os.path.join(d, 'x'), 'w').write('x')\n"
        "t = threading.Thread(target=print, args=('thread',), kwargs={'flush': True}); t.start(); t.join()\n"
        "p = multiprocessing.get_context('fork').Process(target=print, args=('fork',), kwargs={'flush': True})\n"
        "p.start(); p.join()\n"
        "print(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout, flush=True)\n"
        "print(asyncio.run(asyncio.sleep(0, 'asyncio')), os.path.expanduser('~') == os.getcwd(), time.localtime().tm_year > 1)"
    )
    answer = any_helper.run(source, TIMEOUT)
    assert answer.printed.split() == ["thread", "fork", "42", "asyncio", "True", "True"]
    assert answer.status == 0


def test_pools_of_processes_work(helper: Helper) -> None:
    """Their locks are files in /dev/shm."""
    source = "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]))"
    assert helper.run(source, TIMEOUT).printed == "[1, 2]\n"


def test_programs_have_a_loopback_of_their_own(helper: Helper) -> None:
    source = (
        "import socket\ns = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname())\n"
        "c.sendall(b'x'); print(s.accept()[0].recv(1))"
    )
    assert helper.run(source, TIMEOUT).printed == "b'x'\n"


# --- processes ------------------------------------------------------------------------------------------------------


def test_program_has_no_privilege(any_helper: Helper) -> None:
    status = any_helper.seen_while_it_runs("status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    read_only = "0000000000000004"  # CAP_DAC_READ_SEARCH alone, where this Python lies where only root may read
    allowed = {"0000000000000000"} | ({read_only} if any_helper.mode.root and any_helper.missing else set())
    assert {found[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} <= allowed
    assert found["CapBnd"] == "0000000000000000" or not any_helper.mode.root
    assert found["NoNewPrivs"] == "1"
    assert "0" not in found["Uid"].split()
    assert found["Groups"].strip() in ("", found["Uid"].split()[0])
    if not any(layer.startswith("system calls") for layer in any_helper.missing):
        assert found["Seccomp"] == "2"


PRIVILEGES = {
    "setuid": "os.setuid(0)",
    "setgid": "os.setgid(0)",
    "setgroups": "os.setgroups([0])",
    "chroot": "os.chroot('.')",
    "user namespace": "call(libc.unshare, 0x10000000)",
    "mount namespace": "call(libc.unshare, 0x20000)",
    "clone": "call(libc.syscall, 56 if os.uname().machine == 'x86_64' else 220, 0x10000011, 0, 0, 0, 0)",
    "mount": "call(libc.mount, b'tmpfs', os.getcwd().encode(), b'tmpfs', 0, None)",
    "unmount": "call(libc.umount2, b'/tmp', 2)",
    "host name": "call(libc.sethostname, b'x', 1)",
    "trace": "call(libc.ptrace, 0, 0, 0, 0)",
    "shared memory": "call(libc.shmget, 0, 4096, 0o1666)",
    "nice of the helper": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "nice of the user": "os.setpriority(os.PRIO_USER, os.getuid(), 19)",
    "nice of the caller's user": "os.setpriority(os.PRIO_USER, 0, 19)",
    "signal to the helper": "os.kill(os.getppid(), 17)",
    "signal by descriptor": "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 17)",
    "limits of the helper": "resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))",
    "processors of the helper": "os.sched_setaffinity(os.getppid(), {0})",
    "write to init's memory": "open('/proc/1/mem', 'r+b')",
    "raise a limit": "resource.setrlimit(resource.RLIMIT_NPROC, (10**5, 10**5))",
    "device": "os.mknod('d', 0o60666, os.makedev(254, 0))",
    "vsock": "socket.socket(40, socket.SOCK_STREAM)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
}


@pytest.mark.parametrize("name", PRIVILEGES)
def test_privilege_is_refused(helper: Helper, name: str) -> None:
    source = (
        "import ctypes, os, resource, signal, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\ndef call(function, *arguments):\n"
        " if function(*arguments) < 0: raise OSError(ctypes.get_errno(), 'refused')\n"
        f"try: {PRIVILEGES[name]}\nexcept (OSError, ValueError) as error: print('refused')\nelse: print('done')"
    )

    def of_the_helper() -> tuple[object, ...]:
        own = helper.server()
        return own.nice(), own.cpu_affinity(), Path(f"/proc/{own.pid}/limits").read_text()

    before = of_the_helper()
    assert helper.run(source, TIMEOUT).printed == "refused\n"
    assert of_the_helper() == before


def test_nobody_is_killed(helper: Helper, victim: Victim) -> None:
    """Neither the helper, by any signal, nor a process of the grader's user."""
    source = (
        "import os, signal\nfor number in [*range(1, 65)]:\n for pid in [os.getppid(), 1, -1]:\n"
        "  if number in (9, 19) and pid == -1: continue\n"
        "  try: signal.signal(number, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
        "  try: os.kill(pid, number)\n  except OSError: pass\n"
        f"for pid in [{victim.process.pid}, {os.getpid()}, *range(2, 40000)]:\n"
        " if pid != os.getpid():\n  try: os.kill(pid, 9)\n  except OSError: pass\n"
        "print('survived', flush=True)\nos.kill(0, 9)"
    )
    answer = helper.run(source, TIMEOUT)
    assert answer.printed == "survived\n"
    assert victim.process.poll() is None
    assert helper.process.poll() is None
    assert helper.run("print('next')", TIMEOUT).printed == "next\n"


def test_signal_storm_does_not_disturb_the_helper(helper: Helper) -> None:
    source = (
        "import os\nfor _ in range(6): os.fork()\nwhile True:\n for n in (2, 10, 12, 15, 17, 18, 28, 34, 60):\n"
        "  try: os.kill(1, n)\n  except OSError: pass"
    )
    answer = helper.run(source, timeout=1.0)
    assert answer.seconds < 6
    assert helper.run("print('next')", TIMEOUT).printed == "next\n"


def test_signals_do_not_reach_the_grader_where_landlock_stops_them(any_helper: Helper) -> None:
    if any("signal the grader" in layer for layer in any_helper.missing):
        pytest.skip("the layer is missing")
    process = any_helper.as_grader("import time; time.sleep(600)")
    try:
        source = (
            f"import os\nfor pid in ({process.pid}, os.getppid()):\n try: os.kill(pid, 9)\n except OSError: print('refused')"
        )
        assert any_helper.run(source, TIMEOUT).printed == "refused\nrefused\n" or any_helper.missing == []
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_secrets_of_other_processes_stay_secret(helper: Helper, victim: Victim) -> None:
    """Environment and memory of the grader's user's processes, through /proc and by system calls."""
    source = ATTEMPT + (
        "import ctypes, glob, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"pids = {{1, os.getppid(), {victim.process.pid}}} | {{int(p) for p in os.listdir('/proc') if p.isdigit()}}\n"
        "pids.discard(os.getpid())\n"
        "for pid in pids:\n for name in ('environ', 'maps', 'mem', 'cmdline', 'cwd/.', 'root/etc/shadow', 'fd/0'):\n"
        "  print(pid, name, attempt(lambda: open(f'/proc/{pid}/{name}', 'rb').read()))\n"
        " print(libc.ptrace(16, pid, 0, 0), attempt(os.listdir, f'/proc/{pid}/root'), attempt(os.listdir, f'/proc/{pid}/fd'))\n"
    )
    answer = helper.run(source, TIMEOUT)
    assert answer.status == 0
    assert victim.secret not in answer.printed
    for line in answer.printed.splitlines():
        if " cmdline " not in line:
            assert "b'" not in line, "something was read"
    assert Path(f"/proc/{victim.process.pid}/status").read_text().partition("TracerPid:\t")[2].startswith("0\n")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret_files(stage: Path) -> Iterator[dict[Path, str]]:
    """Files that everyone may read, beside the helper's own, in a home directory and among temporary files."""
    places = [
        stage / "benchmark.jsonl",
        Path("/tmp") / f"codeblock-secret-{os.getpid()}",
        Path.home() / f".codeblock-{os.getpid()}",
    ]
    contents = {place: os.urandom(16).hex() for place in places}
    for place, content in contents.items():
        place.write_text(content)
        place.chmod(0o644)
    yield contents
    for place in places:
        place.unlink()


def test_files_of_the_grader_cannot_be_read(any_helper: Helper, secret_files: dict[Path, str]) -> None:
    if any(layer.startswith("files") and "not open them" not in layer for layer in any_helper.missing):
        pytest.skip("the layer is missing")
    paths = [
        *map(str, secret_files),
        "/etc/shadow",
        "/etc/passwd",
        "/etc/hostname",
        __file__,
        "/proc/1/environ",
        "/dev/sda",
        "/dev/vda",
    ]
    source = ATTEMPT + f"for path in {paths}: print(attempt(lambda: open(path).read(50)))"
    answer = any_helper.run(source, TIMEOUT)
    lines = answer.printed.splitlines()
    assert len(lines) == len(paths)
    assert all(line.startswith(("FileNotFoundError", "PermissionError")) for line in lines), lines
    directories = [str(path.parent) for path in secret_files] + ["/home", "/run", "/var/lib", "/sys", "/etc", "/"]
    listed = any_helper.run(
        ATTEMPT + f"import os\nfor path in {directories}: print(attempt(os.listdir, path))", TIMEOUT
    ).printed
    assert not any(path.name in listed for path in secret_files)


def test_nothing_outside_the_scratch_can_be_written(any_helper: Helper, stage: Path) -> None:
    if any(layer.startswith("files") and "not open them" not in layer for layer in any_helper.missing):
        pytest.skip("the layer is missing")
    name = f"codeblock-written-{os.getpid()}"
    places = [
        "/",
        "/tmp",
        "/var/tmp",
        "/dev",
        "/dev/shm",
        "/etc",
        "/usr/lib",
        "/proc",
        str(stage),
        str(stage / "platform/codeblock"),
    ]
    places += [str(Path(os.__file__).parent), sys.prefix, str(Path.home()), str(any_helper.home), str(Path.cwd())]
    places += [path for path in sys.path if Path(path).is_dir()]
    source = ATTEMPT + (
        f"import os, shutil\nfor place in {places}:\n attempt(lambda: open(os.path.join(place, '{name}'), 'w').write('x'))\n"
        f" attempt(os.mkdir, os.path.join(place, '{name}-d'))\n attempt(os.symlink, '/', os.path.join(place, '{name}-l'))\n"
        f"attempt(shutil.rmtree, '{stage}', True)\nattempt(os.truncate, '{stage}/helper.py', 0)\nprint('tried')"
    )
    size = (stage / "helper.py").stat().st_size
    assert any_helper.run(source, 60).printed == "tried\n"
    for place in places:
        for ending in ("", "-d", "-l"):
            assert not os.path.lexists(f"{place}/{name}{ending}")
    assert (stage / "helper.py").stat().st_size == size
    seen = any_helper.run(f"import os; print([p for p in {places} if os.path.lexists(os.path.join(p, '{name}'))])", TIMEOUT)
    assert seen.printed == "[]\n", "the next program finds nothing either"


def test_memory_is_where_the_scratch_lies(helper: Helper) -> None:
    """Seen from outside: the place that the program's working directory is in is no directory of this machine."""
    helper.needs_tmp()
    mounts = helper.seen_while_it_runs("mountinfo").splitlines()
    points = {line.split()[4]: line for line in mounts}
    assert " - tmpfs " in points["/tmp"]
    writable = {
        point for point, line in points.items() if line.split()[5].split(",")[0] == "rw" and not point.startswith("/dev/")
    }
    assert writable <= {"/tmp", "/proc"}


# --- the network ----------------------------------------------------------------------------------------------------


@pytest.fixture
def listeners(stage: Path) -> Iterator[list[tuple[str, socket.socket]]]:
    """Open doors of this machine, each with the code that connects to it."""
    unix, abstract = str(stage / "listener"), f"codeblock-{os.getpid()}"
    tcp, udp, file, name = (
        socket.create_server(("127.0.0.1", 0)),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_UNIX),
        socket.socket(socket.AF_UNIX),
    )
    udp.bind(("127.0.0.1", 0))
    file.bind(unix)
    Path(unix).chmod(0o777)
    name.bind("\0" + abstract)
    for listener in (file, name):
        listener.listen()
    yield [
        (f"socket.create_connection(('127.0.0.1', {tcp.getsockname()[1]}), 2)", tcp),
        (f"socket.socket(2, 2).sendto(b'x', ('127.0.0.1', {udp.getsockname()[1]}))", udp),
        (f"socket.socket(1).connect({unix!r})", file),
        (f"socket.socket(1).connect('\\0{abstract}')", name),
    ]
    for listener in (tcp, udp, file, name):
        listener.close()
    Path(unix).unlink()


def test_no_connection_leaves(any_helper: Helper, listeners: list[tuple[str, socket.socket]]) -> None:
    if any(layer.startswith("network") for layer in any_helper.missing):
        pytest.skip("the layer is missing")
    for code, listener in listeners:
        any_helper.run(f"import socket\n{code}", TIMEOUT)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()


# --- where the machine allows less ----------------------------------------------------------------------------------


def test_what_is_missing_is_named_with_its_consequence(any_helper: Helper) -> None:
    layers = {layer.partition(": ")[0]: layer.partition(": ")[2] for layer in any_helper.missing}
    assert all(layers.values())
    without = set(any_helper.mode.without)
    if not without:
        assert layers == {}
    elif "landlock" in without:
        assert set(layers) == {"files", "disk", "user", "processes", "process limit", "system calls", "network", "ipc"}
    elif any_helper.mode.root:
        assert set(layers) >= {"files", "disk"}
        assert not set(layers) & {"user", "process limit", "network", "ipc", "system calls"}
    else:
        assert set(layers) >= {"files", "disk", "user", "processes", "process limit"}
        assert not set(layers) & {"network", "ipc", "system calls"}


def test_filter_is_for_machines_whose_numbers_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    known = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*known[:4], "riscv64")))
    assert seccomp.build_filter(1, True) is None
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*known[:4], "aarch64")))
    arm = seccomp.build_filter(1, True)
    assert arm is not None
    assert seccomp.step(seccomp.JUMP_EQUAL, seccomp.AUDIT_ARCH["aarch64"], 1, 0) in arm
    assert len(arm) < 8 * 4096, "the kernel's own limit"


def test_numbers_of_system_calls_are_those_of_the_kernel_headers() -> None:
    headers = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
    tables = seccomp.CALLS | seccomp.ON_A_PROCESS | seccomp.ON_MANY_PROCESSES
    tables |= {"clone": seccomp.CLONE, "clone3": seccomp.CLONE3, "socket": seccomp.SOCKET}
    for column, header in enumerate(headers):
        if not header.exists():
            pytest.skip(f"no {header.name} here: install the C library's headers")
        words = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR")]
        numbers = {word[1].removeprefix("__NR3264_").removeprefix("__NR_"): word[2] for word in words if len(word) == 3}
        for name, pair in tables.items():
            assert numbers.get(name, str(pair[column])) == str(pair[column]), name


def test_bound_lists_of_system_calls_name_the_kernel_calls_used_here() -> None:
    assert seccomp.CALLS["pivot_root"] == tuple(kernel.SYS_PIVOT_ROOT[machine] for machine in seccomp.AUDIT_ARCH)
    assert seccomp.CALLS["mount_setattr"] == (kernel.SYS_MOUNT_SETATTR,) * 2
