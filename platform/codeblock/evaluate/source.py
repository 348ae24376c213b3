"""Where a benchmark's file comes from: a path, or a file of a hub dataset at a pinned revision.

    HumanEval.jsonl.gz
    bigcode/bigcodebench@b2a9b2c:data/v0.1.4-00000-of-00001.parquet
    HumanEval.jsonl.gz#sha256=b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef

The file may be left out where the dataset holds only one. The hub's own library keeps what it fetched; a file that it has is
not asked for again where the revision is a commit.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

from codeblock.core.digests import file_digest
from codeblock.core.errors import CodeBlockError
from codeblock.core.home import expand_home
from codeblock.core.storage import places
from codeblock.core.storage.manifest import check_file

HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)(?::(?P<file>[^:#]+))?")
CHECKSUM = re.compile(r"(?P<place>.*)#sha256=(?P<digest>.*)")
DIFFERS = "differs from"
FORMATS = (".jsonl", ".jsonl.gz", ".json", ".parquet")

BIGCODEBENCH = {"33baf4f414eb34507f1a8fd55ef9bcd79c1f9b4c3e8e2544f023edac1b20afec"}
BIGCODEBENCH_HARD = {"6aecfe7a8791800a431d29f0d5da39f39d29782d1579c4cf68b662c0d6e2a480"}
MBPP = {
    "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    "8ac32b2799150228e2d745aed09c870b7e4444246d4727d1004576207ef40769",  # sanitized
}
OFFICIAL = {
    "humaneval": {"1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2"},
    "humanevalplus": {"42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f"},
    "humanevalx_js": {"da529500a73fcbc86bc8f6c7855c0f2c0fc7af1c4dc530e26a54bbfd17f97cef"},
    "mbpp": MBPP,
    "mbpp_all": MBPP,
    "mbppplus": {"b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad"},
    "bigcodebench_complete": BIGCODEBENCH,
    "bigcodebench_instruct": BIGCODEBENCH,
    "bigcodebench_hard_complete": BIGCODEBENCH_HARD,
    "bigcodebench_hard_instruct": BIGCODEBENCH_HARD,
}
"""SHA-256 of the content of the published files: HumanEval, HumanEval+ v0.1.10, HumanEval-X, MBPP and its sanitized tasks,
MBPP+ v0.2.0, BigCodeBench v0.1.0 and the Hard tasks of OpenCoder's mirror."""


def resolve(source: str) -> Path:
    """The file that a source names, fetched where it is on the hub, its checksum verified where one is given.

    A local path comes back whether or not it is there. Raises CodeBlockError for a hub dataset without a revision or out of
    reach, for several files where none is named, and for a checksum that differs.
    """
    source = expand_home(source)
    match = None if Path(source).exists() else CHECKSUM.fullmatch(source)
    place, digest = (match["place"], match["digest"]) if match else (source, "")
    path = check_file(Path(places.local_path(place)))
    if places.is_remote(path) and not path.exists():
        raise CodeBlockError(f"{places.show(path)}: no such object; give the path or URL of the benchmark's file")
    if not path.exists():
        hub = HUB.fullmatch(place)
        if hub is not None:
            path = _fetch(hub["name"], hub["revision"], hub["file"])
        elif re.fullmatch(r"[\w.-]+/[\w.-]+", place) and not place.endswith(FORMATS):
            raise CodeBlockError(
                f"{place}: neither a path nor a pinned hub dataset; give the path of a file, or {place}@COMMIT:FILE"
            )
    if match:
        _verify(path, digest.lower())
    return path


def provenance(benchmark: str, path: Path) -> str:
    """Whether a file is the published one, as a note for the report: its content is compared, compressed or not."""
    official = OFFICIAL.get(benchmark)
    if official is None:
        return ""
    if content_hash(path) in official:
        return f"official {benchmark} file"
    return f"{DIFFERS} the official {benchmark} file"


def content_hash(path: Path) -> str:
    """SHA-256 of a file, of a .gz file's content. Raises CodeBlockError where it cannot be read."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            return file_digest(stream)
    except (OSError, EOFError) as error:
        raise CodeBlockError(f"{path}: not readable ({error}); give the path of the benchmark's file") from error


def _verify(path: Path, digest: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise CodeBlockError(f"{path}#sha256={digest}: no SHA-256; it has 64 hexadecimal digits")
    try:
        found = file_digest(path)
    except OSError as error:
        raise CodeBlockError(f"{path}: not readable ({error}); give the path of the benchmark's file") from error
    if found != digest:
        raise CodeBlockError(f"{path}: its SHA-256 is {found}, not {digest}; fetch the file again or mend the checksum")


def _fetch(name: str, revision: str, file: str | None) -> Path:
    """The path in the hub library's cache of a file of a dataset."""
    hub = _hub()
    try:
        if file is None:
            files = hub.list_repo_files(name, revision=revision, repo_type="dataset")
            file = _only([each for each in files if each.endswith(FORMATS)], f"{name}@{revision}")
        return Path(hub.hf_hub_download(name, file, revision=revision, repo_type="dataset"))
    except CodeBlockError:
        raise
    except Exception as error:  # whatever the hub's client and the network raise
        cause = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise CodeBlockError(
            f"{name}@{revision}{':' + file if file else ''}: cannot be fetched from the hub ({cause}); "
            "check name, revision and network, or give the path of a local file"
        ) from error


def _only(files: list[str], what: str) -> str:
    if len(files) != 1:
        found = f"holds {', '.join(sorted(files))}" if files else f"holds no file of the formats {', '.join(FORMATS)}"
        raise CodeBlockError(f"{what}: {found}; name one file as {what}:FILE")
    return files[0]


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise CodeBlockError("a benchmark on the hub needs huggingface_hub; pip install huggingface_hub") from error
    return huggingface_hub
