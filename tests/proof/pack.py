"""What a machine with a GPU needs for the proof, in few and small files, and how it is laid out again there.

job/job.json            arms, seeds and the sections `train` and `evaluate` of the config
job/pairs.parquet       the tokens of every pair that some arm keeps, once
job/weights/ARM-seedK.parquet   which of these pairs an arm keeps, and their weights
job/benchmarks/         files of the benchmarks
job/tokenizer/          the tokenizer as the platform loads it
pool/pairs.parquet      id, input_ids, response_start of the pool, to be scored
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tests.proof.parts import MIB, split_file

from codeblock.core.config import Config, EvaluateConfig, TrainConfig
from codeblock.core.config.file import load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.load import load_tokenizer
from codeblock.core.schema import SELECTED
from codeblock.core.storage import tables

SELECTION = re.compile(r"(?P<arm>.+)-seed(?P<seed>\d+)")


@dataclass(frozen=True)
class Job:
    """What is trained and evaluated, and how."""

    selections: list[tuple[str, int]]
    """(arm, seed), in the order in which they are trained: seed 0 of every arm first."""
    generate: list[str]
    """Arms whose answers are wanted, `base` (the untrained model) among them, in this order."""
    generate_seeds: int
    """How many seeds of each of these arms."""
    train: dict[str, Any]
    evaluate: dict[str, Any]
    benchmarks: dict[str, str]
    """Names of the files in `benchmarks/`, by benchmark."""

    @property
    def train_config(self) -> TrainConfig:
        return TrainConfig.model_validate(self.train)

    @property
    def evaluate_config(self) -> EvaluateConfig:
        return EvaluateConfig.model_validate(self.evaluate)

    @classmethod
    def read(cls, directory: Path) -> Job:
        values = json.loads((directory / "job.json").read_text(encoding="utf-8"))
        return cls(**{**values, "selections": [(arm, seed) for arm, seed in values["selections"]]})


def pack_job(
    selections: Path, config: Config, model: str, output: Path, generate: Sequence[str] = (), generate_seeds: int = 1
) -> Job:
    """Write `output` from directories `selections/ARM-seedK` (schema SELECTED); the job.

    Raises CodeBlockError where there is no such directory, and where one pair has different tokens in two of them.
    """
    found = sorted((path for path in selections.iterdir() if SELECTION.fullmatch(path.name)), key=lambda path: path.name)
    if not found:
        raise CodeBlockError(f"{selections}: no directory such as codeblock-seed0; export the selections there")
    named = [(path, match["arm"], int(match["seed"])) for path in found if (match := SELECTION.fullmatch(path.name))]
    order = {arm: place for place, arm in enumerate(config.arms)}
    named.sort(key=lambda each: (each[2], order.get(each[1], len(order)), each[1]))
    _write_selections([path for path, _, _ in named], output)
    (output / "benchmarks").mkdir(exist_ok=True)
    benchmarks = {}
    for name, source in config.evaluate.benchmarks.items():
        file = Path(source.partition("#sha256=")[0])
        shutil.copyfile(file, output / "benchmarks" / f"{name}-{file.name}")
        benchmarks[name] = f"{name}-{file.name}"
    load_tokenizer(model).save_pretrained(output / "tokenizer")
    job = Job(
        selections=[(arm, seed) for _, arm, seed in named],
        generate=list(generate),
        generate_seeds=generate_seeds,
        train=config.train.model_dump(mode="json"),
        evaluate=config.evaluate.model_dump(mode="json"),
        benchmarks=benchmarks,
    )
    tables.write_text(output / "job.json", json.dumps(asdict(job), indent=1))
    return job


def _write_selections(directories: Sequence[Path], output: Path) -> None:
    """The tokens of all pairs once; of each selection only ids, splits and weights, in its own order."""
    pairs: dict[str, tuple[Any, Any]] = {}
    for directory in directories:
        table = tables.read_table(directory, SELECTED.names).combine_chunks()
        ids = table["id"].to_pylist()
        tokens, classes = (table[name].to_numpy(zero_copy_only=False) for name in ("input_ids", "token_class"))
        for id_, input_ids_T, class_T in zip(ids, tokens, classes, strict=True):
            known = pairs.setdefault(id_, (input_ids_T, class_T))
            if not np.array_equal(known[0], input_ids_T):
                raise CodeBlockError(f"{directory}: pair {id_} has other tokens than in another selection; select again")
        tables.write_part(output / "weights" / f"{directory.name}.parquet", table.select(["id", "split", "weight"]))
    columns = {
        "id": pa.array(list(pairs)),
        "input_ids": _compact([ids for ids, _ in pairs.values()]),
        "token_class": pa.array([of for _, of in pairs.values()], SELECTED.field("token_class").type),
    }
    tables.write_part(output / "pairs.parquet", pa.table(columns))


def unpack_selections(job: Path, output: Path) -> None:
    """The directories `output/ARM-seedK` as the selection wrote them (schema SELECTED), each of one part."""
    pairs = tables.read_part(job / "pairs.parquet").combine_chunks()
    place = {id_: number for number, id_ in enumerate(pairs["id"].to_pylist())}
    for path in sorted((job / "weights").glob("*.parquet")):
        weights = tables.read_part(path).combine_chunks()
        kept = pairs.take(pa.array([place[id_] for id_ in weights["id"].to_pylist()], pa.int64()))
        columns = {**{name: kept[name] for name in pairs.column_names}, **{n: weights[n] for n in ("split", "weight")}}
        table = pa.table([columns[name] for name in SELECTED.names], names=SELECTED.names).cast(SELECTED)
        tables.write_part(output / path.stem / tables.part_name(0), table)


def pack_pool(prepared: Path, output: Path) -> int:
    """Write `output/pairs.parquet` from a prepared directory; the number of pairs."""
    table = tables.read_table(prepared, ["id", "input_ids", "response_start"]).combine_chunks()
    ids = list(table["input_ids"].to_numpy(zero_copy_only=False))
    tables.write_part(output / "pairs.parquet", table.set_column(1, "input_ids", _compact(ids)))
    return table.num_rows


def _compact(input_ids: Sequence[Any]) -> pa.Array:
    """Lists of tokens, in 16 bits where they fit."""
    largest = max((int(ids.max()) for ids in input_ids if len(ids)), default=0)
    return pa.array(input_ids, pa.list_(pa.uint16() if largest < 2**16 else pa.int32()))


def size_mib(directory: Path) -> float:
    """MiB of all files under a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / MIB


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    split = commands.add_parser("split", help="cut a file into folders part-0, part-1, ...")
    split.add_argument("file", type=Path)
    split.add_argument("output", type=Path)
    split.add_argument("--most-mib", type=float, default=55)
    pool = commands.add_parser("pool", help="the tokens of a prepared directory")
    pool.add_argument("prepared", type=Path)
    pool.add_argument("output", type=Path)
    job = commands.add_parser("job", help="selections, config and benchmarks")
    job.add_argument("config", type=Path)
    job.add_argument("selections", type=Path)
    job.add_argument("output", type=Path)
    job.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override of the config")
    job.add_argument("--generate", nargs="*", default=[], metavar="ARM", help="arms whose answers are wanted; base: untrained")
    job.add_argument("--generate-seeds", type=int, default=1)
    asked = parser.parse_args(arguments)
    if asked.command == "split":
        for folder in split_file(asked.file, asked.output, int(asked.most_mib * MIB)):
            print(f"{folder}: {size_mib(folder):.1f} MiB")
        return
    if asked.command == "pool":
        pairs = pack_pool(asked.prepared, asked.output)
        print(f"{asked.output}: {pairs} pairs, {size_mib(asked.output):.1f} MiB")
        return
    config = load_config(asked.config, asked.set)
    packed = pack_job(asked.selections, config, config.model.path, asked.output, asked.generate, asked.generate_seeds)
    print(f"{asked.output}: {len(packed.selections)} selections, {size_mib(asked.output):.1f} MiB")


if __name__ == "__main__":
    try:
        main()
    except CodeBlockError as error:
        sys.exit(f"error: {error}")
