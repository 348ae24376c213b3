"""Fingerprints of models: equal weights and tokenizers have equal ones, wherever they lie."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from codeblock.core.digests import WHOLE, file_digest, value_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import base_of, load_config
from codeblock.core.storage import places, store
from codeblock.core.storage.tables import write_here

MEMO = "fingerprints.json"


def model_fingerprint(path: str, revision: str | None, cache: Path) -> str:
    """Hash of the files of a local model directory (with an adapter those of its base), or the commit of a hub model.

    Hashes of files are remembered in `cache` by path, size and time of change, since weights are large.
    Raises CodeBlockError where the model is neither here nor reachable.
    """
    directory = store.fetch_tree(Path(path))
    if places.is_remote(directory) and not directory.is_dir():
        raise CodeBlockError(f"model {places.show(path)}: nothing is there; check the path")
    if not directory.is_dir():
        return _hub_commit(path, revision)
    memo = _read_memo(cache / MEMO)
    known = dict(memo)
    files = sorted(file for file in directory.iterdir() if file.is_file() and not file.name.startswith("."))
    if not any(file.name in ("config.json", "adapter_config.json") for file in files):
        raise CodeBlockError(f"model.path={path}: no config.json there; give a Hugging Face model directory or a hub name")
    hashes = [[file.name, _file_hash(file, memo)] for file in files]
    base, base_revision = base_of(path, revision)
    if base != path:
        hashes.append(["base", model_fingerprint(base, base_revision, cache)])
        memo |= _read_memo(cache / MEMO)
    digest = value_digest(hashes, WHOLE)
    if memo != known and cache.is_dir():  # not for a plan alone
        with suppress(OSError):  # of a storage that is read alone
            write_here(cache / MEMO, json.dumps(memo, indent=1, sort_keys=True))
    return digest


def _file_hash(file: Path, memo: dict[str, str]) -> str:
    facts = file.stat()
    key = f"{file.resolve()}:{facts.st_size}:{facts.st_mtime_ns}"
    if key not in memo:
        memo[key] = file_digest(file)
    return memo[key]


def _read_memo(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):  # a memo that is lost costs time alone
        return {}


def _hub_commit(path: str, revision: str | None) -> str:
    return f"{path}@{load_config(path, revision)._commit_hash}"
