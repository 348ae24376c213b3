"""Samples for the pages, and a real headless Chromium, driven through its DevTools protocol: what a person sees and presses."""

from __future__ import annotations

import asyncio
import base64
import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from codeblock.core.schema import TokenClass
from codeblock.report.pages.sample import ArmView, ItemOutcome, ItemView, Sample

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--hide-scrollbars", "--remote-debugging-port=0"]
FLAGS += ["--disable-features=IsolateSandboxedIframes"]  # a frame in another process is out of a tab's sight
KEYS = {
    "Tab": 9,
    "Escape": 27,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


class Tab:
    """One tab. Requests, console messages and uncaught errors since it was opened are kept."""

    def __init__(self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession, socket: Any) -> None:
        self._loop, self._session, self._socket = loop, session, socket
        self._number = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.seconds = 0.0

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, with its result."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, params), 60))

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.complaints.append(str(params)[:500])

    def open(self, path: Path) -> float:
        """Load a file; returns the seconds until its script has run and the page was laid out."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        started = time.perf_counter()
        self.call("Page.navigate", url=path.as_uri())
        while self.js("document.readyState !== 'complete' || location.protocol !== 'file:'"):
            time.sleep(0.01)
        self.js("document.body.offsetHeight")
        return time.perf_counter() - started

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press and release real keys."""
        for key in keys:
            code = {"windowsVirtualKeyCode": KEYS[key], "key": key, "code": "Space" if key == " " else key}
            typed = {"text": " "} if key == " " else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **code, **typed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def hover(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        box = self.js(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('{selector}').getBoundingClientRect())"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    def look(self, width: int = 1240, height: int = 760, dark: bool = False) -> None:
        """Size of the window, and the colour scheme that the system asks for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def shot(self, path: Path) -> Path:
        """A picture of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def close(self) -> None:
        """Close the connection and the tab."""
        self._loop.run_until_complete(self._socket.close())
        self._loop.run_until_complete(self._session.close())


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    """Opens a new tab of one browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    profile, loop, tabs = tmp_path_factory.mktemp("chromium"), asyncio.new_event_loop(), []
    process = subprocess.Popen([CHROMIUM, *FLAGS, f"--user-data-dir={profile}"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    port = next(found[1] for line in process.stderr if (found := re.search(r"ws://[^:]+:(\d+)/", line)))

    async def connect() -> Tab:
        session = aiohttp.ClientSession()
        async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            target = await answer.json(content_type=None)
        socket = await session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        return Tab(loop, session, socket)

    def make() -> Tab:
        tabs.append(loop.run_until_complete(connect()))
        return tabs[-1]

    yield make
    for tab in tabs:
        tab.close()
    process.terminate()
    process.wait(10)
    loop.close()


def words(text: str) -> list[tuple[int, int]]:
    """Words with the white space before them, as tokenizers cut."""
    return [found.span() for found in re.finditer(r"\s*(?:\w+|[^\w\s])|\s+$", text)]


def make_arm(name: str, items: list[ItemView], spans: list[tuple[int, int]], kept: set[int], **figures: bool) -> ArmView:
    """An arm that supervises the tokens of the items `kept`, with the stop token."""
    owner = {at: index for index, item in enumerate(items) for low, high in item.spans for at in range(low, high)}
    owners = [owner.get(high - 1, -1) for _, high in spans]
    outcomes = [
        ItemOutcome(item.tokens, "Kept: reached.", 0.5 + i / 1000, 1.0 + i / 1000)
        if i in kept
        else ItemOutcome(0, f"Below the cut: {name} was spent.", 0.25, 0.125)
        for i, item in enumerate(items)
    ]
    if not figures.get("ranked", True):
        outcomes = [replace(outcome, utility=None, priority=None) for outcome in outcomes]
    return ArmView(name, name, "trained on", [*(float(owner in kept) for owner in owners), 1.0], outcomes)


def make_sample(response: str, pieces: list[str], kinds: list[str], edges: list[tuple[int, int]], **changes: Any) -> Sample:
    """A sample whose items are `pieces` of the response, with two arms: `blocks` keeps odd items, `all` every one."""
    spans, items, at = words(response), [], 0
    for piece, kind in zip(pieces, kinds, strict=True):
        start = response.index(piece, at)
        at = start + len(piece)
        tokens = len(words(piece))
        items.append(ItemView(kind, [(start, at)], tokens, tokens, 0.5, 0.25))
    odd = {index for index in range(len(items)) if index % 2}
    arms = [make_arm("blocks", items, spans, odd), make_arm("all", items, spans, set(range(len(items))), ranked=False)]
    sample = Sample(
        title="pairs <1>.jsonl:7",
        id="abc123",
        language="python",
        prompt="user:\nCompare & print <it>",
        response=response,
        token_spans=[*spans, (len(response), len(response))],
        token_class=[TokenClass.CORE] * len(spans) + [TokenClass.STOP],
        token_nll=[0.1 * (index % 40) for index in range(len(spans))] + [math.nan],
        items=items,
        edges=edges,
        arms=arms,
    )
    return replace(sample, **changes)


HOSTILE = """Sure <b>&amp;</b>:

```python
import os\r
if a < b:
    print('</code></pre></script><script>window.hit=1</script>')
    x = 1; y = '<img src=x onerror="window.hit=2">'
```
"""


@pytest.fixture
def sample() -> Sample:
    """Four items, one over two lines, two on one line; its text would end a careless page's script."""
    lines = HOSTILE.split("\n")
    pieces = ["import os", "\n".join(lines[4:6]), "x = 1;", lines[6][lines[6].index("y = ") :]]
    return make_sample(HOSTILE, pieces, ["import", "control", "definition", "definition"], [(0, 1), (1, 3), (2, 3)])


@pytest.fixture
def long_sample() -> Sample:
    """2,000 lines, an item each, 6,000 edges, about 20,000 tokens."""
    pieces = [f"value_{n} = combine(value_{n // 2}, value_{n // 3}, {n})" for n in range(2000)]
    edges = [(n // by, n) for n in range(2000) for by in (2, 3)] + [(max(0, n - 7), n) for n in range(2000)]
    return make_sample("\n".join(pieces) + "\n", pieces, ["definition"] * 2000, edges, id="long")


@pytest.fixture
def build() -> Callable[..., Sample]:
    """`make_sample`, for tests that bring their own response."""
    return make_sample
