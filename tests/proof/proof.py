"""The proof on a machine with a GPU, torch and transformers; it has no Ray, no MLflow, no grammars and no network.

python -m tests.proof.proof model --parts .proof/part-* --job .proof/job --to /tmp/proof/model
python -m tests.proof.proof score --pool .proof/pool --model /tmp/proof/model --work /tmp/proof --out OUT
python -m tests.proof.proof measure --job .proof/job --model /tmp/proof/model --work /tmp/proof --out OUT
python -m tests.proof.proof train --job .proof/job --model /tmp/proof/model --work /tmp/proof --out OUT
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.proof.pack import Job, unpack_selections
from tests.proof.parts import join_parts
from tests.proof.saving import machine, save_directories, write_json
from tests.proof.work import Setting

from codeblock.core.errors import CodeBlockError

STARTED = time.time()


def make_model(asked: argparse.Namespace) -> None:
    """The model's directory from its parts, with the tokenizer that was packed."""
    from codeblock.cli.smollm2 import convert

    if not (asked.to / "config.json").exists():
        convert(join_parts(asked.parts, asked.to.parent / "gguf"), asked.to)
    if asked.job is not None:
        shutil.copytree(asked.job / "tokenizer", asked.to, dirs_exist_ok=True)
    print(f"{asked.to}: {time.time() - STARTED:.0f} s")


def score(asked: argparse.Namespace) -> None:
    """Score the pool; `--files` are what comes back now, the others stay for another call."""
    from tests.proof.scoring import score_pool

    found = asked.work / "score"
    if not (found / "machine.json").exists():
        facts = score_pool(asked.pool, str(asked.model), found, asked.dtype, asked.batch_tokens, asked.layers, asked.limit)
        write_json(found / "machine.json", {**machine(), **facts})
    asked.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(found.glob("*")):
        if path.stem.partition("-")[0] in (*asked.files, "machine"):
            shutil.copyfile(path, asked.out / path.name)
    print((found / "machine.json").read_text())


def train(asked: argparse.Namespace) -> None:
    """Do the job until the deadline, delivering after each task."""
    from tests.proof.schedule import Queue, names

    job, setting = Job.read(asked.job), _setting(asked)
    _unpack(asked, setting)
    facts: dict[str, Any] = {**machine(), "processes": asked.processes, "started": STARTED, "deadline": setting.deadline}

    def save(queue: Queue) -> None:
        left_out = save_directories(setting.work, asked.out)
        state = {"done": queue.done, "failed": queue.failed, "left": names(queue.waiting), "already": names(queue.already)}
        write_json(asked.out / "machine.json", {**facts, **state, "left_out": left_out, "seconds": time.time() - STARTED})

    queue = Queue(job, setting, save)
    save(queue)
    if asked.processes == 0:
        queue.run_here()
    else:
        queue.run(asked.processes)
    save(queue)
    print(f"{len(queue.done)} done, {len(queue.failed)} failed, {len(queue.waiting)} left, {time.time() - STARTED:.0f} s")


def measure_speed(asked: argparse.Namespace) -> None:
    """Time training and generation, to set `--processes` and `evaluate.batch_size`."""
    from tests.proof.measure import measure
    from tests.proof.work import Task, carry_out

    job, setting = Job.read(asked.job), _setting(asked)
    _unpack(asked, setting)
    first = Task(*job.selections[0])
    facts: dict[str, Any] = machine()
    if not first.facts(setting).exists():
        facts[first.name] = carry_out(first, setting)
    facts |= measure(job, setting, asked.processes, asked.steps, asked.batch_sizes, asked.new_tokens)
    write_json(asked.out / "measured.json", facts)
    print((asked.out / "measured.json").read_text())


def _setting(asked: argparse.Namespace) -> Setting:
    return Setting(
        job=asked.job,
        model=asked.model,
        selections=asked.work / "selections",
        work=asked.work / "jobs",
        deadline=STARTED + asked.deadline_seconds,
        threads=max(1, (os.cpu_count() or 1) // max(1, asked.processes)),
        stride=asked.stride or None,
        merge=asked.merge,
    )


def _unpack(asked: argparse.Namespace, setting: Setting) -> None:
    # Another job may have left its own selections there: two jobs can share a directory of work.
    wanted = [setting.selections / f"{arm}-seed{seed}" for arm, seed in Job.read(asked.job).selections]
    if not all(directory.exists() for directory in wanted):
        unpack_selections(asked.job, setting.selections)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    model = commands.add_parser("model", help="join the parts and write the model's directory")
    model.set_defaults(run=make_model)
    model.add_argument("--parts", type=Path, nargs="+", required=True)
    model.add_argument("--job", type=Path, help="its tokenizer is put beside the weights")
    model.add_argument("--to", type=Path, required=True)

    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--model", type=Path, required=True)
    places.add_argument("--work", type=Path, required=True, help="directory that stays on the machine")
    places.add_argument("--out", type=Path, required=True, help="directory whose files come back")

    scoring = commands.add_parser("score", parents=[places], help="nll and embeddings of a pool")
    scoring.set_defaults(run=score)
    scoring.add_argument("--pool", type=Path, required=True)
    scoring.add_argument("--files", nargs="+", default=["nll", "response"], help="of nll, response, instruction")
    scoring.add_argument("--dtype", default="bfloat16")
    scoring.add_argument("--batch-tokens", type=int, default=65536)
    scoring.add_argument("--layers", type=int, default=4, help="layers of the embedding of the instruction")
    scoring.add_argument("--limit", type=int, help="score only the first pairs")

    working = argparse.ArgumentParser(add_help=False)
    working.add_argument("--job", type=Path, required=True)
    working.add_argument("--processes", type=int, default=4, help="tasks at a time; 0: one, in this process")
    working.add_argument("--deadline-seconds", type=float, default=420, help="no new task and no new batch after that")
    working.add_argument("--stride", type=int, default=96, help="tokens after which answers are batched anew; 0: never")
    working.add_argument("--merge", action="store_true", help="answer with the adapters added to the weights")
    training = commands.add_parser("train", parents=[places, working], help="train, references, answers")
    training.set_defaults(run=train)
    measuring = commands.add_parser("measure", parents=[places, working], help="time training and generation")
    measuring.set_defaults(run=measure_speed)
    measuring.add_argument("--steps", type=int, default=12)
    measuring.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512])
    measuring.add_argument("--new-tokens", type=int, default=48)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    asked = _parser().parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    try:
        main()
    except CodeBlockError as error:
        sys.exit(f"error: {error}")
