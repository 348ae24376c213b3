"""A proxy before a real dashboard that breaks its connections off, as routers and load balancers do."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class CuttingProxy:
    """Passes bytes on in both directions; a followed log is cut after so many bytes, so many times."""

    def __init__(self, port: int, cut_after: int, cuts: int) -> None:
        self.cuts = 0
        self._target = port
        self._cut_after = cut_after
        self._left = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._target))
        first = near.recv(65536)
        far.sendall(first)
        cut = b"/logs/tail" in first and self._left > 0
        self._left -= cut
        threading.Thread(target=_pass_on, args=(near, far, None), daemon=True).start()
        self.cuts += _pass_on(far, near, self._cut_after if cut else None)


def _pass_on(source: socket.socket, sink: socket.socket, most: int | None) -> bool:
    """Until one side ends, or `most` bytes went by and both are torn down; whether it was cut."""
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(4096):
            sink.sendall(data if most is None else data[: max(0, most - passed)])
            passed += len(data)
            if most is not None and passed >= most:
                break
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    return most is not None and passed >= most


@contextmanager
def cutting(address: str, cut_after: int, cuts: int) -> Iterator[CuttingProxy]:
    """A proxy before the dashboard at `address`."""
    proxy = CuttingProxy(int(address.rpartition(":")[2]), cut_after, cuts)
    try:
        yield proxy
    finally:
        proxy.close()
