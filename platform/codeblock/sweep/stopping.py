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

from codeblock.config import StoppingConfig
from codeblock.sweep.record import Record

STEP, NLL = "training_step", "dev_core_nll"
"""What a trial reports at a look: optimiser steps, and the nll of the held-out pairs' core tokens."""


@ray.remote(num_cpus=0)
class Board:
    """Who was asked to stop. An actor, for those who ask and those who are asked are in several processes."""

    def __init__(self) -> None:
        self._asked: set[str] = set()
        self._ended = False

    def stop(self, trial: str) -> None:
        """Ask one trial to stop."""
        self._asked.add(trial)

    def end(self) -> None:
        """Ask all trials to stop, those that begin later too."""
        self._ended = True

    def asked(self, trial: str) -> bool:
        """Whether a trial is to stop."""
        return self._ended or trial in self._asked

    def ended(self) -> bool:
        """Whether all are."""
        return self._ended


@dataclass(frozen=True)
class Ends:
    """What a fit asks at each look, in a worker."""

    board: Any
    trial: str

    def __call__(self) -> bool:
        """Whether the trial was asked to stop."""
        return bool(ray.get(self.board.asked.remote(self.trial)))


class PoliteASHA(ASHAScheduler):  # type: ignore[misc]
    """Decides as ASHA does; the trial is asked to stop instead of being killed."""

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
        self.asked: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ask the trial to stop where ASHA would end it."""
        if super().on_trial_result(tune_controller, trial, result) == TrialScheduler.STOP:
            self._board.stop.remote(trial.trial_id)
            self.asked.add(trial.trial_id)
        return str(TrialScheduler.CONTINUE)

    def remember(self, records: Iterable[Record]) -> None:
        """Put the looks of trials of an earlier command into the rungs that decisions are made by."""
        for number, record in enumerate(records):
            for step, nll in sorted(record.looks):
                self._brackets[0].on_result(SimpleNamespace(trial_id=f"before-{number}"), step, -nll)
