"""One sandbox for the tests of a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from codeblock.sandbox.box import Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox
