"""How fast this machine trains and answers, in a minute: what the number of processes and the size of batches are set by."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import torch
from tests.proof.pack import Job
from tests.proof.work import Setting, Task, answering_model, benchmarks_of

from codeblock.core.memory import worker_peak_mb
from codeblock.core.models import load as models
from codeblock.evaluate.answers import Decoding
from codeblock.evaluate.generate import generate_answers
from codeblock.evaluate.prompts import make_requests
from codeblock.train.batches import micro_batches
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM, add_lora
from codeblock.train.rows import read_pairs, trim_all
from codeblock.train.step import DistContext

Facts = dict[str, Any]


def measure(job: Job, setting: Setting, processes: int, steps: int, batch_sizes: list[int], new_tokens: int) -> Facts:
    """Training in one process and in several; answers of the untrained model and through adapters, batch by batch."""
    facts: Facts = {"packing": packing_gap(job, setting)}
    facts["train"] = {count: train_speed(setting, count, steps) for count in sorted({1, processes})}
    facts["profile"] = profile_of_answers(job, setting, max(batch_sizes), new_tokens)
    facts["answers"] = [row for size in batch_sizes for row in answer_speeds(job, setting, size, new_tokens)]
    return facts


@torch.no_grad()
def packing_gap(job: Job, setting: Setting, pairs: int = 16) -> Facts:
    """The loss of some pairs packed into rows, and of the same pairs one a row, in float32: they have to be equal.

    Another version of transformers could let packed pairs see each other without a word.
    """
    arm, seed = job.selections[0]
    kept, _ = trim_all(read_pairs(setting.selections / f"{arm}-seed{seed}", "train"))
    masked = MaskedLM(models.load_model(str(setting.model))).to(models.device())
    packed, apart = (
        float(sum(masked(batch.to(models.device())) for batch in micro_batches(kept[:pairs], 4096, pack)))
        for pack in (True, False)
    )
    return {"pairs": len(kept[:pairs]), "packed": packed, "apart": apart, "relative_gap": abs(packed / apart - 1)}


def train_speed(setting: Setting, processes: int, steps: int) -> Facts:
    """Tokens per second of `processes` trainings that share the device, after their first steps."""
    if processes == 1:
        rows = [_train_some(setting, steps)]
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
            rows = list(executor.map(_train_some, [setting] * processes, [steps] * processes))
    begun, ended = max(row["begun"] for row in rows), min(row["ended"] for row in rows)
    return {
        "tokens_per_second": sum(row["tokens"] / row["seconds"] for row in rows),
        "seconds_per_step": sum(row["seconds"] for row in rows) / len(rows) / steps,
        "peak_memory_mb": max(row["peak_memory_mb"] for row in rows),
        "seconds_together": ended - begun,
    }


def _train_some(setting: Setting, steps: int) -> Facts:
    torch.set_num_threads(setting.threads)
    job, device = Job.read(setting.job), models.device()
    arm, seed = job.selections[0]
    warm = 3
    config = job.train_config.model_copy(update={"steps": warm + steps, "epochs": None})
    pairs, _ = trim_all(read_pairs(setting.selections / f"{arm}-seed{seed}", "train"))
    model = models.load_model(str(setting.model))
    model = add_lora(model, config.lora) if config.mode == "lora" else model
    session = Session(MaskedLM(model, config.dtype).to(device), pairs, [], config, seed, DistContext(device))
    times: list[float] = []
    session.run(on_step=lambda _: times.append(time.time()))
    tokens = sum(row["processed_tokens"] for row in session.history[warm:])
    begun, ended = times[warm - 1], times[-1]
    return {
        "tokens": tokens, "seconds": ended - begun, "begun": begun, "ended": ended, "peak_memory_mb": worker_peak_mb(),
    }  # fmt: skip


def answer_speeds(job: Job, setting: Setting, batch_size: int, new_tokens: int) -> list[Facts]:
    """Seconds per token of a batch: greedy and as the config samples, of the untrained model and through adapters."""
    arm, seed = job.selections[0]
    rows = []
    for what, task in {"untrained": Task("base", 0), "trained": Task(arm, seed)}.items():
        for merge in (False, True) if what == "trained" and task.facts(setting).exists() else (False,):
            if what == "trained" and not task.facts(setting).exists():
                continue
            model = answering_model(task, job, replace(setting, merge=merge))
            for sampled in (False, True):
                seconds = _answer_some(job, setting, model, batch_size, new_tokens, sampled)
                row = {"model": what, "merged": merge, "sampled": sampled, "batch_size": batch_size}
                rows.append({**row, "seconds_per_token": seconds, "peak_memory_mb": worker_peak_mb()})
    return rows


def profile_of_answers(job: Job, setting: Setting, batch_size: int, new_tokens: int) -> list[Facts]:
    """What sampled answers of the untrained model spend their time on: the ten longest operations here and on the device."""
    model = answering_model(Task("base", 0), job, setting)
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        _answer_some(job, setting, model, batch_size, new_tokens, sampled=True)
    rows = [
        {
            "name": each.key,
            "calls": each.count,
            "here_ms": each.self_cpu_time_total / 1e3,
            "device_ms": each.self_device_time_total / 1e3,
        }
        for each in profile.key_averages()
    ]
    longest = [row["name"] for what in ("here_ms", "device_ms") for row in sorted(rows, key=lambda row: -row[what])[:10]]
    return [row for row in rows if row["name"] in longest]


def _answer_some(job: Job, setting: Setting, model: Any, batch_size: int, new_tokens: int, sampled: bool) -> float:
    config, tokenizer = job.evaluate_config, models.load_tokenizer(str(setting.model))
    _, benchmark = next(benchmarks_of(job, setting.job))
    wanted = [(task, 0) for task in islice(cycle(benchmark.tasks), batch_size)]
    requests = make_requests(tokenizer, benchmark, wanted, config.prompt, 0)
    seconds = []
    for count in (4, 4 + new_tokens):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        answers = generate_answers(
            model, tokenizer, requests, Decoding(count, batch_size, config.temperature if sampled else 0.0, config.top_p)
        )
        seconds.append(time.perf_counter() - started)
    longest = max(answer.tokens for answer in answers) - 4
    return (seconds[1] - seconds[0]) / max(1, longest)
