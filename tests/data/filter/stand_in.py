"""A local server that speaks the chat-completions API, and behaves as the request's text asks."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "secret"


class StandIn(ThreadingHTTPServer):
    """`requests` counts what was asked by text; `busiest` is the most requests at the same time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: Counter[str] = Counter()
        self.prompts: list[str] = []
        self.lock = threading.Lock()
        self.now = self.busiest = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self.headers["Authorization"] == f"Bearer {KEY}":
            self._send(200, {"object": "list", "data": [{"id": "judge", "object": "model"}]})
        else:
            self._send(401, {"error": {"message": "wrong key"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"]
        word = next((word for word in ("busy", "slow", "broken", "talk", "down", "large") if f"<{word}>" in prompt), "good")
        server = self.server
        with server.lock:
            server.requests[word] += 1
            server.prompts.append(prompt)
            server.now += 1
            server.busiest = max(server.busiest, server.now)
        try:
            self._answer(word, body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The client has given up, as it is meant to.
        finally:
            with server.lock:
                server.now -= 1

    def _answer(self, word: str, body: dict) -> None:
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self._send(401, {"error": {"message": "wrong key"}})
        elif body["model"] != "judge":
            self._send(404, {"error": {"message": f"no model {body['model']}"}})
        elif word == "busy" and self.server.requests["busy"] == 1:
            self._send(429, {"error": {"message": "too many"}}, {"retry-after-ms": "10"})
        elif word == "down":
            self._send(500, {"error": {"message": "no"}}, {"retry-after-ms": "10"})
        elif word == "slow":
            time.sleep(2.5)
            self._reply("5")
        elif word == "broken":
            self._send(200, {"what": "is this"})
        else:
            time.sleep(0.05)
            self._reply({"talk": "I like it a lot.", "large": "9"}.get(word, "<think>5 would be too much</think>4.5 / 5"))

    def _reply(self, text: str) -> None:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self._send(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "judge", "choices": [choice]})

    def _send(self, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
