"""The training of one worker from its first step to its last. Knows torch, and nothing of Ray.

A worker's state is its step: the plan, the shares and the random numbers of a step follow from (seed, step, rank), so
a session that was restored goes on with exactly the losses of one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from codeblock.core.errors import CodeBlockError
from codeblock.core.memory import worker_peak_mb
from codeblock.core.models.causal import name_of
from codeblock.train.batches import CPU_CALL, GPU_CALL, MicroBatch, micro_batches, plan_steps, plan_steps_by_tokens, share_of
from codeblock.train.best import Best
from codeblock.train.dev import dev_nll
from codeblock.train.rows import TokenPair
from codeblock.train.shard import even_out, load_parts, save_parts
from codeblock.train.step import DistContext, Update, make_optimizer, take_step
from codeblock.train.stored import supervised_of

if TYPE_CHECKING:
    from codeblock.core.config import TrainConfig

STATE = "state.pt"

HISTORY_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("loss", pa.float64()),  # sum(w * nll) / sum(w) of the global batch, before the update
        ("learning_rate", pa.float64()),
        ("grad_norm", pa.float64()),  # before clipping
        ("supervised_tokens", pa.int64()),
        ("processed_tokens", pa.int64()),  # inputs of the model, without padding
        ("seconds", pa.float64()),
    ]
)

DEV_SCHEMA = pa.schema(
    [
        ("step", pa.int32()),
        ("token_class", pa.string()),  # text, code, core, stop
        ("supervised", pa.bool_()),
        ("nll", pa.float64()),  # mean
        ("tokens", pa.int64()),
    ]
)


def plan_run(supervised_P: NDArray[np.int32], config: TrainConfig, seed: int) -> list[NDArray[np.int64]]:
    """The pair numbers of every optimiser step; `supervised_P`: chosen tokens of each pair (`stored.supervised_of`)."""
    if config.batch_supervised_tokens is None:
        return plan_steps(supervised_P.size, config.batch_pairs, seed, config.steps, config.epochs)
    return plan_steps_by_tokens(supervised_P, config.batch_supervised_tokens, seed, config.steps, config.epochs)


def _may_pack(masked: Any, asked: str, on_gpu: bool) -> bool:
    """Whether pairs are packed: where that is asked for, or faster, and the model keeps them apart."""
    if asked == "never" or (asked == "auto" and not on_gpu):
        return False
    packs: bool = masked.packs()
    if asked == "always" and not packs:
        raise CodeBlockError(f"train.pack=always: {name_of(masked.model)} does not keep packed pairs apart; set auto or never")
    return packs


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A fit ended before its last step because it was asked to."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped early after {step} steps")
        self.step = step


class Session:
    """One worker's training run.

    model: a `MaskedLM`, or DDP around one, on `dist_context.device`.
    pairs: trimmed pairs with a supervised token each (`rows.trim_all`, `stored.store_pairs`), the same on every worker.
    dev: held-out pairs, untrimmed.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: Sequence[TokenPair],
        dev: Sequence[TokenPair],
        config: TrainConfig,
        seed: int,
        dist_context: DistContext,
    ) -> None:
        self.model, self.pairs, self.dev_pairs = model, pairs, dev
        self.config, self.seed, self.dist_context = config, seed, dist_context
        self.masked: Any = getattr(model, "module", model)
        self.plan = plan_run(supervised_of(pairs), config, seed)
        self.optimizer = make_optimizer(model, config.learning_rate, config.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate_at)
        on_gpu = dist_context.device.type == "cuda"
        self.pack = _may_pack(self.masked, config.pack, on_gpu)
        self.call = GPU_CALL if on_gpu else CPU_CALL
        self._run = [seed, len(pairs), len(self.plan), config.batch_pairs, config.batch_supervised_tokens or 0]
        self.step = 0
        self.stopped = False
        """Whether the run ended before its last step because it was asked to."""
        self.history: list[dict[str, Any]] = []
        """Per step: step, loss, learning_rate, grad_norm, supervised_tokens, processed_tokens, seconds."""
        self.dev: list[dict[str, Any]] = []
        """Per look and group: step, token_class, supervised, nll, tokens."""
        self.best = Best(config.keep == "best")

    def run(
        self,
        on_step: Callable[[dict[str, Any]], None] | None = None,
        on_checkpoint: Callable[[Session], None] | None = None,
        ends: Callable[[], bool] | None = None,
    ) -> None:
        """Train to the end of the plan, or until the held-out nll no longer falls (`stop_after_looks`).

        `on_checkpoint` is called every `checkpoint_every` steps, not after the last.
        `ends` is asked after each look at the held-out pairs, on the first worker, whether all are to end here.
        """
        self.model.train()
        if self.step == 0:
            self._evaluate_dev()
        while self.step < len(self.plan) and not self._stalled():
            row = self._take_step()
            if on_step is not None:
                on_step(row)
            done = self.step == len(self.plan)
            if done or self.step % self.config.dev_every == 0:
                self._evaluate_dev()
                if ends is not None and not done and self._all_end(ends):
                    self.stopped = True
                    return
            every = self.config.checkpoint_every
            if on_checkpoint is not None and every and not done and self.step % every == 0:
                on_checkpoint(self)
        self.best.put_back(self._trained())

    def save(self, directory: Path) -> None:
        """Write the state: trained weights, optimiser, schedule, step and the rows so far.

        Of sharded weights each worker writes its own; all else is rank 0's.
        """
        parts = {} if self.config.shard else {"weights": self._trained(), "optimizer": self.optimizer.state_dict()}
        if self.config.shard:
            save_parts(self.masked, self.optimizer, directory)
        state = {
            **parts,
            "scheduler": self.scheduler.state_dict(),
            "step": self.step,
            "run": self._run,
            "history": self.history,
            "dev": self.dev,
            "best": self.best.state(),
        }
        if self.dist_context.rank == 0:
            torch.save(state, directory / STATE)

    def load(self, directory: Path) -> None:
        """Go on from a state written by `save` of a session with the same model, pairs, config and seed."""
        state = torch.load(directory / STATE, map_location=self.dist_context.device, weights_only=True)
        trained = self._trained()
        other = "weights" in state and trained.keys() != state["weights"].keys()
        if other or ("weights" in state) == self.config.shard or state["run"] != self._run:
            raise CodeBlockError(f"checkpoint {directory}: of another model or run; delete the directory of this training")
        if self.config.shard:
            load_parts(self.masked, self.optimizer, directory)
        else:
            with torch.no_grad():
                for name, weight in state["weights"].items():
                    trained[name].copy_(weight)
            self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step, self.history, self.dev = state["step"], state["history"], state["dev"]
        self.best.load(state["best"])

    def peak_memory_mb(self) -> float:
        """The largest peak of any worker: of the GPU's memory where there is one, else of the process."""
        largest = torch.tensor(worker_peak_mb(), device=self.dist_context.device)
        if self.dist_context.world > 1:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return float(largest)

    def _take_step(self) -> dict[str, Any]:
        started = time.perf_counter()
        pairs = [self.pairs[number] for number in self.plan[self.step].tolist()]
        learning_rate = self.optimizer.param_groups[0]["lr"]
        # Dropout of a step must not depend on the steps before it, or a restored session would differ.
        torch.manual_seed(hash((self.seed, self.step, self.dist_context.rank)))
        loss, norm = take_step(
            self.model,
            self._batches(pairs),
            sum(pair.weight for pair in pairs),
            Update(self.optimizer, self.scheduler, self.config.max_grad_norm),
            self.dist_context,
            self.step + 1,
        )
        self.step += 1
        row = {
            "step": self.step,
            "loss": loss,
            "learning_rate": learning_rate,
            "grad_norm": norm,
            "supervised_tokens": sum(pair.supervised for pair in pairs),
            "processed_tokens": sum(pair.inputs for pair in pairs),
            "seconds": time.perf_counter() - started,
        }
        self.history.append(row)
        return row

    def _rate_at(self, step: int) -> float:
        """The share of the peak learning rate at a step counted from 0; no step has a rate of 0."""
        steps = len(self.plan)
        warmup = round(self.config.warmup_share * steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.config.schedule == "constant":
            return 1.0
        gone = (step - warmup) / max(1, steps - warmup)
        return 1 - gone if self.config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * gone))

    def _batches(self, pairs: Sequence[TokenPair]) -> list[MicroBatch]:
        share = share_of(pairs, self.dist_context.rank, self.dist_context.world)
        batches = micro_batches(share, self.config.micro_batch_tokens, self.pack, self.call)
        return even_out(batches, share[0], self.dist_context) if self.config.shard else batches

    def _evaluate_dev(self) -> None:
        how = (self.config.micro_batch_tokens, self.pack, self.call, self.dist_context, self.config.shard)
        rows = dev_nll(self.masked, self.dev_pairs, *how)
        self.dev.extend({"step": self.step, **row} for row in rows)
        self.best.see(self.step, rows, self._trained())

    def _stalled(self) -> bool:
        most = self.config.stop_after_looks
        return most is not None and self.best.looks_since >= most

    def _all_end(self, ends: Callable[[], bool]) -> bool:
        answer = torch.tensor(float(self.dist_context.rank == 0 and ends()), device=self.dist_context.device)
        if self.dist_context.world > 1:
            dist.broadcast(answer, 0)
        return bool(answer)

    def _trained(self) -> dict[str, torch.Tensor]:
        return {name: weight for name, weight in self.masked.named_parameters() if weight.requires_grad}
