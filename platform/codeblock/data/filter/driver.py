"""The stage `filtered` over all parts: screen them with Ray Data, group the signatures, finish them with Ray Data.

What the passes hand on lies in `work/` below the stage's directory and is removed at the end. Finished parts stay, so that a
run that was cut off does not ask for ratings twice.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codeblock.core.cluster import map_parts, peak_of, pending
from codeblock.core.config import ClusterConfig, FilterConfig, RatingConfig
from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import process_peak_mb
from codeblock.core.quality import factor_to_scale
from codeblock.core.storage.tables import count_rows, parts, read_part, write_part
from codeblock.data.filter.contamination import BenchmarkText, Index, write_index
from codeblock.data.filter.group import Groups, SignatureStore, group
from codeblock.data.filter.minhash import PERMUTATIONS, Bands, band_hashes, bands_for
from codeblock.data.filter.rating import Rater, Rating, read_key
from codeblock.data.filter.stage import NearDuplicate, Rate, Screened, finish, screen
from codeblock.data.filter.words import Messages

NEAR_DUPLICATES: pa.Schema = pa.schema([("row", pa.int32()), ("id", pa.string()), ("jaccard", pa.float32())])
GONE_AFTER = 8
"""A part of at least so many requests without one reply ends the run: the endpoint is down, and what was rated is kept."""


def filter_pairs(
    pairs: Path, output: Path, config: FilterConfig, references: Iterable[BenchmarkText], cluster: ClusterConfig
) -> dict[str, Any]:
    """Filter every part of `pairs` into a part of `output` of the same name, rejections beside; returns the counts."""
    work = output / "work"
    shutil.rmtree(work, ignore_errors=True)
    if config.decontaminate:
        write_index(references, config.decontaminate_ngram, work / "index.parquet")
    bands = bands_for(config.near_duplicates) if config.near_duplicates is not None else None
    screened = map_parts(
        partial(_screen_part, work=work, config=config, bands=bands),
        [{"path": str(path)} for path in parts(pairs)],
        what="screen",
    )
    if config.near_duplicates is not None and bands is not None:
        write_near_duplicates(work, bands, config.near_duplicates)
    factor = factor_to_scale(max((result["largest"] for result in screened), default=0.0))
    settings: dict[str, Any] = {"output": output, "config": config, "factor": factor}
    waiting = [{"path": str(path)} for path in pending(parts(pairs), output)]
    if config.rating is None:
        finished = map_parts(partial(_finish_part, **settings), waiting, what="filter")
    else:
        finished = map_parts(
            RatingActor,
            waiting,
            what="rate",
            cpus=cluster.cpus_per_worker,
            constructor={**settings, "key": read_key(config.rating)},
        )
    shutil.rmtree(work)
    return {"read": count_rows(pairs), **_counts(output), "worker_peak_mb": max(peak_of(screened), peak_of(finished))}


def _counts(output: Path) -> dict[str, Any]:
    """Counts from what lies there, since an interrupted call made some of it."""
    reasons: Counter[str] = Counter()
    for path in parts(output / "rejected"):
        reasons.update(read_part(path, ["reason"])["reason"].to_pylist())
    datasets = Counter(name for path in parts(output) for name in read_part(path, ["dataset"])["dataset"].to_pylist())
    counts: dict[str, Any] = {"kept": count_rows(output), "datasets": dict(datasets), "reasons": dict(reasons)}
    ratings = [read_part(path, ["quality"])["quality"] for path in parts(output / "ratings")]
    if ratings:
        counts["rating_asked"] = sum(len(quality) for quality in ratings)
        counts["rating_failed"] = sum(quality.null_count for quality in ratings)
    return counts


def _screen_part(row: dict[str, Any], work: Path, config: FilterConfig, bands: Bands | None) -> dict[str, Any]:
    path = Path(row["path"])
    pairs = read_part(path)
    index = _index(work / "index.parquet", config.decontaminate_ngram) if config.decontaminate else None
    found = screen(pairs, config, index)
    write_part(work / "rejected" / path.name, found.rejected)
    write_part(work / "screened" / path.name, _screened_table(pairs, found, bands))
    largest = max((value for value in pairs["quality"].to_pylist() if value is not None), default=0.0)
    return {"largest": largest, "peak_mb": process_peak_mb()}


def _screened_table(pairs: pa.Table, found: Screened, bands: Bands | None) -> pa.Table:
    columns = {"row": pa.array(found.kept, pa.int32()), "id": pairs["id"].take(pa.array(found.kept))}
    if found.signatures is not None and bands is not None:
        columns["signature"] = _binary(found.signatures)
        columns["bands"] = _binary(band_hashes(found.signatures, bands))
    return pa.table(columns)


def _binary(rows: np.ndarray[Any, Any]) -> pa.Array:
    """One binary value a row, without a Python object per element."""
    width = rows.shape[1] * rows.itemsize
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows.shape[0], [None, pa.py_buffer(rows.tobytes())])


def _numbers(column: pa.ChunkedArray, dtype: type[np.generic], width: int) -> np.ndarray[Any, Any]:
    return np.frombuffer(b"".join(column.to_pylist()), dtype=dtype).reshape(-1, width)


@cache
def _index(path: Path, length: int) -> Index:
    return Index(path, length)


def write_near_duplicates(work: Path, bands: Bands, threshold: float) -> None:
    """Group all screened rows; write the near duplicates of each part, with the id of the pair that is kept for each."""
    screened = parts(work / "screened")
    store = SignatureStore(work / "store", bands.count)
    starts = [0]
    for path in screened:
        table = read_part(path, ["signature", "bands"])
        signed = _numbers(table["signature"], np.uint32, PERMUTATIONS)
        store.add(signed, _numbers(table["bands"], np.uint64, bands.count))
        starts.append(store.rows)
    groups = group(store, threshold)
    shutil.rmtree(work / "store")
    owners, ids = _ids_of_owners(screened, starts, groups)
    for path, start, end in zip(screened, starts, starts[1:], strict=False):
        lost = start + np.flatnonzero(groups.owner[start:end] != np.arange(start, end))
        rows = read_part(path, ["row"])["row"].take(pa.array(lost - start))
        names = ids[np.searchsorted(owners, groups.owner[lost])]
        duplicates = [rows, pa.array([name.decode() for name in names], pa.string()), pa.array(groups.jaccard[lost])]
        write_part(work / "duplicates" / path.name, pa.table(duplicates, schema=NEAR_DUPLICATES))


def _ids_of_owners(
    screened: list[Path], starts: list[int], groups: Groups
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The rows that stand for others, in order, and their ids as bytes."""
    owners = np.unique(groups.owner[groups.owner != np.arange(groups.owner.size)])
    found: list[np.ndarray[Any, Any]] = [np.empty(0, dtype="S1")]
    for path, start, end in zip(screened, starts, starts[1:], strict=False):
        here = owners[(owners >= start) & (owners < end)]
        if here.size:
            ids = read_part(path, ["id"])["id"].take(pa.array(here - start))
            found.append(np.array([name.encode() for name in ids.to_pylist()]))
    return owners, np.concatenate(found)


def _finish_part(
    row: dict[str, Any], output: Path, config: FilterConfig, factor: float, rate: Rate | None = None
) -> dict[str, Any]:
    path = Path(row["path"])
    work = output / "work"
    kept_rows = read_part(work / "screened" / path.name, ["row"])["row"]
    duplicates: dict[int, NearDuplicate] = {}
    if config.near_duplicates is not None:
        place = {number: index for index, number in enumerate(kept_rows.to_pylist())}
        for duplicate in read_part(work / "duplicates" / path.name).to_pylist():
            duplicates[place[duplicate["row"]]] = NearDuplicate(duplicate["id"], duplicate["jaccard"])
    kept, rejected, ratings = finish(read_part(path).take(kept_rows), config, duplicates, rate, factor)
    rejected = pa.concat_tables([read_part(work / "rejected" / path.name), rejected])
    if rejected.num_rows:
        write_part(output / "rejected" / path.name, rejected)
    if ratings.num_rows:
        write_part(output / "ratings" / path.name, ratings)
    write_part(output / path.name, kept)
    return {"peak_mb": process_peak_mb()}


class RatingActor:
    """The one actor that rates, so that `concurrency` holds for the whole cluster."""

    def __init__(self, output: Path, config: FilterConfig, factor: float, key: str) -> None:
        rating = config.rating
        assert rating is not None
        self._rater, self._rating = Rater(rating, key), rating
        self._finish = partial(_finish_part, output=output, config=config, factor=factor, rate=self._rate)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return self._finish(row)

    def _rate(self, messages: list[Messages], responses: list[str]) -> list[Rating]:
        ratings = self._rater(messages, responses)
        if len(ratings) >= GONE_AFTER and all(rating.unreachable for rating in ratings):
            raise CodeBlockError(_gone(self._rating, ratings[0]))
        return ratings


def _gone(config: RatingConfig, rating: Rating) -> str:
    return (
        f"filter.rating.url={config.url}: {rating.failure} for a whole part, retries included; "
        "see to the server and run again, ratings that are there are not asked for again"
    )
