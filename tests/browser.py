"""A real headless Chromium, driven through its DevTools protocol: what a person sees and presses."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

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

    def visit(self, url: str, ready: str, seconds: float = 60.0) -> None:
        """Go to an address and wait until an expression holds in the page."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        until = time.monotonic() + seconds
        while not self.js(ready):
            assert time.monotonic() < until, f"{ready} after {seconds:g} s: {self.js('document.body.innerText')[:2000]}"
            time.sleep(0.25)

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


@contextmanager
def browser(profile: Path) -> Iterator[Callable[[], Tab]]:
    """A browser with a profile of its own; gives what opens a new tab."""
    assert CHROMIUM is not None
    loop, tabs = asyncio.new_event_loop(), []
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

    try:
        yield make
    finally:
        for tab in tabs:
            tab.close()
        process.terminate()
        process.wait(10)
        loop.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Tab]]:
    """Opens a new tab of one browser."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with browser(tmp_path_factory.mktemp("chromium")) as make:
        yield make
