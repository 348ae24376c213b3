"""What one worker does: train one selection, then the nll of the references; and answers to one benchmark.

work/ARM-seedK/                 one directory for each trained selection, and for `base-seed0`, the untrained model
    history.parquet, dev.parquet      as the platform's training writes them
    reference_nll-BENCHMARK.parquet   as the platform's evaluation writes it (REFERENCE_NLL)
    answers/BENCHMARK-*.jsonl.gz      evaluate.answers.Answer, one file for some batches
    trained.pt                  the trained weights; stays on the machine
    train.json, generate-BENCHMARK.json   facts; written last: what has them is done
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from tests.proof.pack import Job

from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models import load as models
from codeblock.core.storage import tables
from codeblock.evaluate.answers import Answer, Decoding, Request
from codeblock.evaluate.benchmarks import Benchmark, load
from codeblock.evaluate.generate import generate_answers
from codeblock.evaluate.prompts import make_requests
from codeblock.evaluate.reference_nll import reference_nll, render
from codeblock.train.loop import DEV_SCHEMA, HISTORY_SCHEMA, Session
from codeblock.train.model import MaskedLM, add_lora, checkpoint_activations
from codeblock.train.rows import read_pairs, trim_all
from codeblock.train.step import DistContext

BASE = "base"
TRAINED = "trained.pt"
NLL_BATCH_TOKENS = 16384
SAVED_BATCHES = 3
"""Batches of answers that are generated, and lost by a kill, together: they fill each other's gaps."""


@dataclass(frozen=True)
class Setting:
    """Where a worker finds and leaves things, and until when it begins new work."""

    job: Path
    """What was packed."""
    model: Path
    selections: Path
    work: Path
    deadline: float
    """`time.time()` after which no batch of answers is begun."""
    threads: int = 2
    stride: int | None = 96
    """Tokens after which answers are batched anew (`generate_answers`)."""
    merge: bool = False
    """Generate with the adapters added to the weights: faster, and rounded once more where the arithmetic is bfloat16."""

    def directory(self, arm: str, seed: int) -> Path:
        return self.work / f"{arm}-seed{seed}"


@dataclass(frozen=True)
class Task:
    """One piece of work."""

    arm: str
    seed: int
    benchmark: str | None = None
    """Answer this benchmark; None: train, and take the nll of the references."""

    @property
    def name(self) -> str:
        return f"{self.arm}-seed{self.seed} {'train' if self.benchmark is None else 'generate ' + self.benchmark}"

    def facts(self, setting: Setting) -> Path:
        """The file whose being there says that the task is done."""
        file = "train.json" if self.benchmark is None else f"generate-{self.benchmark}.json"
        return setting.directory(self.arm, self.seed) / file


def carry_out(task: Task, setting: Setting) -> dict[str, Any]:
    """Do a task, or what is missing of it; its facts."""
    torch.set_num_threads(setting.threads)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    started = time.time()
    job = Job.read(setting.job)
    facts = _train(task, job, setting) if task.benchmark is None else _generate(task, job, setting)
    facts |= {"started": started, "seconds": time.time() - started, "peak_memory_mb": worker_peak_mb()}
    if not facts.get("unfinished"):
        tables.write_text(task.facts(setting), json.dumps(facts, indent=1))
    return facts


def _train(task: Task, job: Job, setting: Setting) -> dict[str, Any]:
    device, directory = models.device(), setting.directory(task.arm, task.seed)
    if task.arm == BASE:
        model = models.load_model(str(setting.model)).to(device)
        return _references(model, job, setting, directory)
    config = job.train_config
    pairs, saved = trim_all(read_pairs(setting.selections / directory.name, "train"))
    torch.manual_seed(task.seed)  # of the adapters' first values
    model = models.load_model(str(setting.model))
    if config.gradient_checkpointing:
        checkpoint_activations(model)
    if config.mode == "lora":
        model = add_lora(model, config.lora)
    masked = MaskedLM(model, config.dtype).to(device)
    dev = read_pairs(setting.selections / directory.name, "dev")
    session = Session(masked, pairs, dev, config, task.seed, DistContext(device))
    started = time.perf_counter()
    session.run()
    facts = {
        "pairs": saved.pairs,
        "dropped_pairs": saved.dropped_pairs,
        "trimmed_tokens": saved.tail_inputs,
        "dropped_tokens": saved.dropped_inputs,
        "steps": session.step,
        "supervised_tokens": sum(row["supervised_tokens"] for row in session.history),
        "processed_tokens": sum(row["processed_tokens"] for row in session.history),
        "train_seconds": sum(row["seconds"] for row in session.history),
        "train_seconds_with_dev": time.perf_counter() - started,
    }
    tables.write_part(directory / "history.parquet", pa.Table.from_pylist(session.history, HISTORY_SCHEMA))
    tables.write_part(directory / "dev.parquet", pa.Table.from_pylist(session.dev, DEV_SCHEMA))
    trained = {name: weight.detach().cpu() for name, weight in model.named_parameters() if weight.requires_grad}
    torch.save(trained, directory / TRAINED)
    return facts | _references(model.eval(), job, setting, directory)


def _references(model: Any, job: Job, setting: Setting, directory: Path) -> dict[str, Any]:
    """Write the nll of the references under the model, in its float32 weights."""
    started = time.perf_counter()
    tokenizer, context = models.load_tokenizer(str(setting.model)), models.context_length(str(setting.model))
    prompt = job.evaluate_config.prompt
    means = {}
    for name, benchmark in benchmarks_of(job, setting.job):
        rendered = [render(tokenizer, benchmark, task, prompt) for task in benchmark.tasks]
        table = reference_nll(model, rendered, context, NLL_BATCH_TOKENS)
        tables.write_part(directory / f"reference_nll-{name}.parquet", table)
        means[name] = pc.mean(table["nll"]).as_py()
    return {"reference_nll": means, "reference_seconds": time.perf_counter() - started}


def _generate(task: Task, job: Job, setting: Setting) -> dict[str, Any]:
    """Write the answers that are missing, some batches at a time, longest prompts first."""
    config, directory = job.evaluate_config, setting.directory(task.arm, task.seed)
    benchmark = dict(benchmarks_of(job, setting.job))[task.benchmark or ""]
    model, tokenizer = answering_model(task, job, setting), models.load_tokenizer(str(setting.model))
    done = {(answer.task_id, answer.sample) for answer in read_answers(directory, benchmark.name)}
    wanted = [(each, sample) for each in benchmark.tasks for sample in range(config.samples)]
    missing = [key for key in wanted if (key[0].task_id, key[1]) not in done]
    requests = sorted(make_requests(tokenizer, benchmark, missing, config.prompt, task.seed), key=lambda each: -len(each.ids))
    started, tokens, begun = time.perf_counter(), 0, 0
    most = config.max_new_tokens or benchmark.max_new_tokens
    decoding = Decoding(most, config.batch_size, config.temperature, config.top_p, setting.stride)
    for batch in _batches(requests, SAVED_BATCHES * config.batch_size):
        if time.time() > setting.deadline:
            break
        begun += len(batch)
        answers = generate_answers(
            model,
            tokenizer,
            batch,
            decoding,
        )
        tokens += sum(answer.tokens for answer in answers)
        _write_answers(directory, benchmark.name, answers)
    return {
        "answers": len(done) + begun,
        "tokens_generated": tokens,
        "generate_seconds": time.perf_counter() - started,
        "unfinished": len(requests) - begun,
    }


def answering_model(task: Task, job: Job, setting: Setting) -> Any:
    """The model of a task as the evaluation loads it, on its device. Raises CodeBlockError where it was not trained."""
    config, dtype = job.train_config, job.evaluate_config.dtype
    if task.arm == BASE:
        return models.load_model(str(setting.model), dtype=dtype).to(models.device())
    file = setting.directory(task.arm, task.seed) / TRAINED
    if not file.exists():
        raise CodeBlockError(f"{file}: is not there; train {task.arm} with seed {task.seed} first")
    model = models.load_model(str(setting.model), dtype="float32" if setting.merge else dtype)
    if config.mode == "lora":
        model = add_lora(model, config.lora)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in torch.load(file, weights_only=True).items():
            weights[name].copy_(weight)
    if setting.merge and config.mode == "lora":
        model = model.merge_and_unload()
    return (model.to(getattr(torch, dtype)) if setting.merge else model).eval().to(models.device())


def benchmarks_of(job: Job, directory: Path) -> Iterator[tuple[str, Benchmark]]:
    """The benchmarks that were packed, with their names, cut to the config's limit."""
    for name, file in job.benchmarks.items():
        yield name, load(name, str(directory / "benchmarks" / file), job.evaluate_config.limit)


def _batches(requests: Sequence[Request], size: int) -> Iterator[Sequence[Request]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


def _write_answers(directory: Path, benchmark: str, answers: Iterable[Answer]) -> None:
    lines = "".join(json.dumps(asdict(answer)) + "\n" for answer in answers)
    name = f"{benchmark}-{hashlib.sha256(lines.encode()).hexdigest()[:12]}.jsonl.gz"
    whole_or_not_at_all(directory / "answers" / name, lambda path: path.write_bytes(gzip.compress(lines.encode(), mtime=0)))


def read_answers(directory: Path, benchmark: str) -> list[Answer]:
    """The answers to a benchmark that lie in the directory of an arm."""
    return [
        Answer(**json.loads(line))
        for path in sorted((directory / "answers").glob(f"{benchmark}-*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()
    ]


def whole_or_not_at_all(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    temporary.replace(path)
