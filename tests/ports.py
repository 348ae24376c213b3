"""Ports for the servers that tests start."""

from __future__ import annotations

import random
import socket

_GIVEN: set[int] = set()
_ANY = random.Random()


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens, another one at each call.

    It is none of those that the system gives to outgoing connections, or Ray to its workers: they might have it first.
    """
    while True:
        port = _ANY.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port
