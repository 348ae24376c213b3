"""Starting the helper that runs model-written programs: inside bubblewrap where it works, bare otherwise.

bubblewrap (https://github.com/containers/bubblewrap) builds the namespaces and the root that `isolation.build_isolation` builds
itself elsewhere. The grader's side: this needs the rest of the platform no more than the helper does.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from codeblock.core.errors import CodeBlockError
from codeblock.sandbox import paths as sandbox_paths
from codeblock.sandbox.namespaces import NOBODY
from codeblock.sandbox.paths import DEVICES, is_link, links, scratch_base, visible_paths
from codeblock.sandbox.process import environment

TRIAL_SECONDS = 60.0
NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
AS_ROOT = ("SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "CHOWN", "KILL", "DAC_READ_SEARCH", "DAC_OVERRIDE", "SYS_PTRACE")
"""Capabilities that the helper keeps to give each program another user and a fresh scratch, and to see what it maps; no program
has them."""
AS_USER = ("SYS_ADMIN",)
"""The same for a fresh scratch; counts inside the user namespace alone."""


def command(python: str, arguments: Sequence[str], visible: Sequence[Path], use_bwrap: bool | None = None) -> list[str]:
    """The command that starts the helper, `python` with these arguments.

    visible: files and directories that it can read besides Python and the system. Build the isolation with the same ones.
    use_bwrap: None asks `bubblewrap_works`; pass the same answer to `build_isolation(inside_bwrap=...)`.

    The sandbox dies with the thread that starts it: one that outlives it. Streams and environment pass through.
    Raises CodeBlockError where `python` does not run, or bubblewrap is asked for and does not work.
    """
    interpreter_paths(python)  # a Python that is not there is told as one, with and without bubblewrap
    bare = [python, *arguments]
    if use_bwrap is False:
        return bare
    options = bubblewrap_options(python)
    if options is None:
        if use_bwrap:
            raise CodeBlockError(
                "grading: bubblewrap does not work here; install the package `bubblewrap`, or go on without it"
            )
        return bare
    return wrapped(options, visible_paths([*interpreter_paths(python), *map(str, visible)]), bare)


def bubblewrap_works(python: str) -> bool:
    """Whether bubblewrap is installed and this kernel lets it build a sandbox in which `python` starts. Tried once."""
    return bubblewrap_options(python) is not None


@functools.cache
def bubblewrap_options(python: str) -> tuple[str, ...] | None:
    """How bubblewrap works here, as root or in a user namespace; None where it does not."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    user, group = os.geteuid() or NOBODY, os.getegid() or NOBODY
    in_user_namespace = (program, "--unshare-user", "--uid", str(user), "--gid", str(group), *capabilities(AS_USER))
    choices = [in_user_namespace] if os.geteuid() else [(program, *capabilities(AS_ROOT)), in_user_namespace]
    paths = visible_paths(interpreter_paths(python))
    base = scratch_base(paths)
    trial = f"from ctypes import *; exit(CDLL(None).mount(b'tmpfs', {base.encode()!r}, b'tmpfs', c_ulong(6), None))"
    for options in choices:
        trial_command = wrapped(options, paths, [python, "-I", "-c", trial])
        if subprocess.run(trial_command, capture_output=True, timeout=TRIAL_SECONDS).returncode == 0:
            return options
    return None


@functools.cache
def interpreter_paths(python: str) -> tuple[str, ...]:
    """Where an interpreter lies; see `paths.python_paths`."""
    try:
        done = subprocess.run(
            [python, "-I", sandbox_paths.__file__], capture_output=True, text=True, check=True, timeout=TRIAL_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise CodeBlockError(f"grading: {python} does not run ({error}); name a Python that does") from error
    return tuple(done.stdout.split("\n")[:-1])


@functools.cache
def version_told(command: tuple[str, ...], python: str) -> str:
    """The first line that a command says of its version; empty where it says none, or cannot be run.

    Its program is looked for where solutions in the sandbox of `python` find it.
    """
    try:
        done = subprocess.run(command, capture_output=True, env=environment(python), check=True, timeout=TRIAL_SECONDS)
    except (OSError, subprocess.SubprocessError):  # told where it is graded
        return ""
    return (done.stdout.strip() or done.stderr.strip()).decode(errors="replace").partition("\n")[0]


def capabilities(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--cap-add", f"CAP_{name}"))


def wrapped(options: Sequence[str], paths: Sequence[str], inner: Sequence[str]) -> list[str]:
    """The command with bubblewrap around it: the same root as `root.enter_root` makes."""
    words = [*options, *NAMESPACES, "--die-with-parent", "--as-pid-1", "--proc", "/proc"]
    # Named, or bubblewrap makes them for their owner alone.
    parents = {str(parent) for path in (*paths, *DEVICES, "/var/tmp") for parent in list(Path(path).parents)[:-1]}
    for path in sorted({*parents, scratch_base(paths), "/tmp"}):
        words += ["--dir", path]
    for path in paths:
        words += ["--symlink", str(Path(path).readlink()), path] if is_link(path) else ["--ro-bind", path, path]
    for path in DEVICES:
        words += ["--dev-bind", path, path]
    for name, target in links(paths).items():
        words += ["--symlink", target, name]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--", *inner]
