"""Random numbers that belong to a pair."""

from __future__ import annotations

import hashlib


def lottery(seed: int, id_: str) -> bytes:
    """A number that belongs to a pair and a seed, whatever other pairs there are: orders equals, and draws. 8 bytes."""
    return hashlib.blake2b(f"{seed}:{id_}".encode(), digest_size=8).digest()
