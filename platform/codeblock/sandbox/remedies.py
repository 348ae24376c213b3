"""What would give a machine the layers of the sandbox that it lacks. The grader's side."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

SETTINGS = {
    "/proc/sys/kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": ("1", "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
    "/proc/sys/user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=15000"),
}
"""Files of settings that may forbid namespaces: the value that does, and the command of root that mends it."""
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")
"""What is there in a container of Docker, Podman or Kubernetes."""
FILTERS = "grade on Linux for x86_64 or aarch64, with a kernel that has seccomp filters"
OTHER_USER = "let root change its user (capabilities SETUID and SETGID), or grade as another user than root"
NAMESPACED = "grade as root, or where users may make namespaces"


def with_remedies(missing: Sequence[str]) -> list[str]:
    """The layers of `Isolation.missing`, each with what would give it: a line each."""
    return [f"{layer} -> {remedy(layer)}" for layer in missing]


def remedy(layer: str) -> str:
    """What would give a layer that is missing."""
    if layer.startswith("system calls"):
        return FILTERS
    if layer.startswith("user") and "as root" in layer:
        return OTHER_USER
    return namespaces_remedy()


def namespaces_remedy() -> str:
    """What would let the helper have namespaces, from which most layers come."""
    ways = [] if shutil.which("bwrap") else ["install bubblewrap (`apt-get install bubblewrap`, `dnf install bubblewrap`)"]
    ways += [f"as root: `{command}`" for file, (forbids, command) in SETTINGS.items() if content(file) == forbids]
    if any(Path(mark).exists() for mark in CONTAINER_MARKS):
        ways.append("let the container make namespaces (`--cap-add SYS_ADMIN --security-opt seccomp=unconfined`)")
    return ", or ".join(ways) or NAMESPACED


def content(file: str) -> str:
    """What a setting is; empty where there is no such."""
    return Path(file).read_text(encoding="ascii").strip() if os.access(file, os.R_OK) else ""
