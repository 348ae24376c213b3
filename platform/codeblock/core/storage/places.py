"""How places are named: directories by their paths, places in object stores by URLs, and these by the paths of their mirrors.

`s3://bucket/runs/x` is named within this program by SCRATCH/codeblock-stores/s3/bucket/runs/x, the path of its mirror on local
disk, which says by itself what it mirrors: so a path means the same on each machine of a cluster. store.py fetches and puts.
"""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from codeblock.core.errors import CodeBlockError, is_full

MIRRORS = "codeblock-stores"
"""The directory of all mirrors in the scratch directory."""
SCRATCH = "CODEBLOCK_SCRATCH"
"""Environment variable with a directory of each node's own disk; else CODEBLOCK-USER in the directory for temporary files."""
OWN_NAMES = {"s3a": "s3", "gcs": "gs", "abfss": "abfs"}
WRITABLE = {"s3": "codeblock[s3]", "gs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""Schemes of stores that can create an object only where it does not exist, with what pip installs for them."""
BUSY = (500, 502, 503, 504)
"""Statuses of a store that may answer the same request a little later."""
_CHECK = "check the name of the bucket, the credentials (AWS_ACCESS_KEY_ID and such) and the address (AWS_ENDPOINT_URL)"
_WAIT = "the store has been busy for too long; run the same command again, and what was finished is kept"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_IN_PATH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])")
"""What pathlib makes of a scheme."""
MIRRORED = re.compile(rf"(.*)/{MIRRORS}/([a-z0-9]+)/(.+)")


@dataclass(frozen=True)
class ObjectPath:
    """An object, or the prefix of several."""

    scheme: str
    key: str
    """With the bucket before it."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.key}"

    @property
    def filesystem(self) -> Any:
        return filesystem_of(self.scheme)


def check_scheme(text: str) -> str:
    """The text itself. Raises ValueError where it is a URL of a scheme that is not known or not installed here."""
    for scheme in dict.fromkeys(match[1].lower() for match in _SCHEME.finditer(text)):
        _require(scheme, text)
    return text


def check_stored(text: str) -> str:
    """The text itself. Raises ValueError where it is a URL, and not one of a store whose files can be fetched by name."""
    if _SCHEME.match(text):
        place(text)
    return text


def place(text: str | Path) -> Path:
    """The path by which a directory or URL for files is named. Raises ValueError where nothing can be written there."""
    match = _SCHEME.match(str(text)) or (_IN_PATH.match(str(text)) if isinstance(text, Path) else None)
    if match is None:
        return Path(text)
    scheme, rest = match[1].lower(), str(text)[match.end() :].strip("/")
    if scheme in ("file", "local"):
        return Path("/" + rest)
    _require(scheme, str(text))
    scheme = OWN_NAMES.get(scheme, scheme)
    if scheme not in WRITABLE or not rest:
        stores = ", ".join(f"{name}://BUCKET/DIR" for name in WRITABLE)
        raise ValueError(f"{text}: no place for files; name a directory, or one of {stores}")
    return _scratch() / MIRRORS / scheme / rest


def place_of(text: str | Path) -> Path:
    """`place` of an argument of the command line. Raises CodeBlockError."""
    try:
        return place(text)
    except ValueError as error:
        raise CodeBlockError(str(error)) from error


def local_path(text: str) -> str:
    """What a library that knows local files alone is given in place of a URL, once it is fetched; other texts stay."""
    return str(place_of(text)) if _SCHEME.match(text) else text


def here(path: str) -> str:
    """The path of a mirror as this machine has it, of one that another machine may have named."""
    remote = remote_of(str(path))
    return path if remote is None else str(_scratch() / MIRRORS / remote.scheme / remote.key)


def show(path: str | Path) -> str:
    """The path as the user knows it."""
    remote = remote_of(str(path))
    return str(path) if remote is None else remote.url


def nearest(path: Path) -> Path:
    """The nearest directory of this machine, from an absolute path upwards, that is there: the path itself, if it is."""
    return next(each for each in (path, *path.parents) if each.exists())


def is_remote(path: Path) -> bool:
    """Whether the path is the mirror of something in an object store."""
    return remote_of(str(path)) is not None


def file_path(path: Path | None) -> Path | None:
    """The path itself. Raises CodeBlockError for what pathlib has made of a URL, where a path here is asked for."""
    if path is not None and _IN_PATH.match(str(path)):
        raise CodeBlockError(f"{path}: a path on this machine is needed here, not a URL")
    return path


@lru_cache(maxsize=65536)
def remote_of(path: str) -> ObjectPath | None:
    match = MIRRORED.fullmatch(path)
    return None if match is None else ObjectPath(match[2], match[3])


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL and the place there. Raises ValueError or ImportError for a scheme that there is not."""
    import fsspec

    scheme = _SCHEME.match(url)
    listings = {"use_listings_cache": False} if scheme and OWN_NAMES.get(scheme[1], scheme[1]) in WRITABLE else {}
    if scheme and OWN_NAMES.get(scheme[1], scheme[1]) == "s3":
        _have_patience()
    filesystem, root = fsspec.core.url_to_fs(url, **listings)
    return filesystem, str(root)


def is_there_already(error: Exception) -> bool:
    """Whether a store refused to create an object because there is one."""
    return any(sign in str(error) for sign in ("PreconditionFailed", "pre-conditions", "ConditionalRequestConflict"))


@contextmanager
def told(url: str, writes: bool = False) -> Iterator[None]:
    """Turn what a store's client raises into one line; an object that is not there or there already stays what it is, and so
    does a disk here that is full."""
    try:
        yield
    except (CodeBlockError, FileExistsError):
        raise
    except Exception as error:  # clients of many stores, each with errors of its own
        if "://" not in url or (isinstance(error, FileNotFoundError) and not writes):
            raise
        if is_there_already(error) or is_full(error):
            raise
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        raise CodeBlockError(f"{url}: {reason.rstrip('.')}; {_CHECK if _status(error) not in BUSY else _WAIT}") from error


def _require(scheme: str, text: str) -> None:
    from fsspec.registry import known_implementations, registry

    scheme = OWN_NAMES.get(scheme, scheme)
    if scheme in registry:
        return
    known = known_implementations.get(scheme)
    if known is None:
        raise ValueError(f"{text}: unknown scheme {scheme}://; name a path, or {', '.join(f'{name}://' for name in WRITABLE)}")
    package = str(known["class"]).partition(".")[0]
    if importlib.util.find_spec(package) is None:
        raise ValueError(f'{text}: {scheme}:// needs a package; pip install "{WRITABLE.get(scheme, package)}"')


def filesystem_of(scheme: str) -> Any:
    import fsspec

    try:
        if scheme == "s3":
            _have_patience()
        # Listings that are remembered would hide what other processes write.
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        package = WRITABLE.get(scheme, scheme)
        raise CodeBlockError(f'{scheme}://: cannot be read here ({error}); pip install "{package}"') from error


@lru_cache(maxsize=1)
def _have_patience() -> None:
    """Have s3fs try again, half a minute and more, whatever request a busy store turns away.

    By itself it does where the text of an answer asks for it, and the answer to a HEAD has none.
    """
    with suppress(ImportError):
        from s3fs.core import set_custom_error_handler

        set_custom_error_handler(lambda error: _status(error) in BUSY)


def _status(error: BaseException | None) -> int | None:
    """The status of the answer that a client's error is about, as far as it says."""
    while error is not None and not isinstance(getattr(error, "response", None), dict):
        error = error.__cause__
    return None if error is None else error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")  # type: ignore[attr-defined]


def _scratch() -> Path:
    given = os.environ.get(SCRATCH)
    return Path(given).absolute() if given else Path(tempfile.gettempdir()) / f"codeblock-{os.getuid()}"
