"""Early stopping that asks: ASHA decides, the training loop ends itself at its next look, and the trial says so.

A trial that Tune kills leaves its placement group behind where a second Ray instance runs on the machine, and the sweep hangs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import ray
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from codeblock.core.config import StoppingConfig
from codeblock.sweep.record import Record

STEP, NLL, POINT = "training_step", "dev_core_nll", "point_key"
"""What a trial reports at a look: optimiser steps, the nll of the held-out pairs' core tokens, and the key of its point."""


@ray.remote(num_cpus=0)
class Board:
    """Who was asked to stop. An actor, for those who ask and those who are asked are in several processes."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._ended = False

    def stop(self, point: str) -> None:
        """Ask the trials of a point to stop."""
        self._asked.add(point)

    def end(self) -> None:
        """Ask all trials to stop, those that begin later too."""
        self._ended = True

    def asked(self, point: str) -> bool:
        """Whether the trials of a point are to stop."""
        return self._ended or point in self._asked

    def ended(self) -> bool:
        """Whether all are."""
        return self._ended


@dataclass(frozen=True)
class StopAsked:
    """What a fit asks at each look, in a worker."""

    board: Any
    point: str

    def __call__(self) -> bool:
        """Whether the point was asked to stop."""
        return bool(ray.get(self.board.asked.remote(self.point)))


class PoliteASHA(ASHAScheduler):  # type: ignore[misc]
    """Decides as ASHA does, by points; their trials are asked to stop instead of being killed.

    A point is judged by the seed that comes to a rung first, against other points. Judged by trials, every other seed of a good
    point would be stopped, for the half that is worse than the rest goes, however small the difference.
    """

    def __init__(self, board: Any, config: StoppingConfig, steps: int) -> None:
        # A trial that reaches max_t would be ended before it is evaluated, so there is none that one can reach.
        super().__init__(
            time_attr=STEP,
            metric=NLL,
            mode="min",
            grace_period=config.after,
            reduction_factor=config.factor,
            max_t=max(steps, config.after) + 1,
        )
        self._board = board

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ask the point to stop where ASHA would end it."""
        if STEP in result and self._judge(result[POINT], result[STEP], result[NLL]) == TrialScheduler.STOP:
            self._board.stop.remote(result[POINT])
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Nothing more is learnt of it: the last look was judged when it came."""
        self._trial_info.pop(trial.trial_id, None)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """It has failed."""
        self._trial_info.pop(trial.trial_id, None)

    def remember(self, records: Iterable[Record]) -> None:
        """What trials of an earlier command have come to: rungs as they were, and points that stay stopped."""
        for record in records:
            for step, nll in sorted(record.looks):
                self._judge(record.point.key, step, nll)
            if record.status == "stopped":
                self._board.stop.remote(record.point.key)

    def _judge(self, point: str, step: int, nll: float) -> str:
        return str(self._brackets[0].on_result(SimpleNamespace(trial_id=point), step, -nll))
