"""Who follows a run: what it is told, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.plan import Plan
from codeblock.experiment.results import ArmResult

Ends = Callable[[], bool]


@contextmanager
def telling(ended_by: Callable[[BaseException], None]) -> Iterator[None]:
    """Tell of an early end at once: before Ray is shut down, which may take longer than a stopped job is given."""
    try:
        yield
    except BaseException as error:
        ended_by(error)
        raise


class Watch:
    """Is told how far a run is. This one does nothing with it; `tracking.Tracked` shows it in MLflow."""

    ends: Ends | None = None
    """Asked by a fit, wherever it runs, at each look at its held-out pairs: whether it is to end there (`Stopped`)."""

    def begin(self, plan: Plan) -> None:
        """All that can be checked before the work is checked."""

    def row(self, arm: ArmPlan, row: Mapping[str, Any]) -> None:
        """A row of the history or of the held-out nll of an arm that trains now. From another thread; must not raise."""

    def arm_done(self, result: ArmResult) -> None:
        """An arm has gone through all its stages. Must not raise."""

    def ended_by(self, error: BaseException) -> None:
        """The run ends before its time. Must not raise."""
