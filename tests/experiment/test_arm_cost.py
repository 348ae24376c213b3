"""Costs are found once and remembered, as long as nothing that they are found from has changed."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from codeblock.core.config import Config, SelectConfig
from codeblock.experiment import spending
from codeblock.experiment.arm_cost import MEMO, ArmCost, costs_of
from codeblock.experiment.arms import ArmPlan
from codeblock.experiment.cache import Step

ARMS = [ArmPlan(name, 0, name, None, SelectConfig(), [], {}, {}) for name in ("base", "full")]


@dataclass
class StandIn:
    """The parts of a plan that decide its costs."""

    cache: Path
    config: Config = field(default_factory=Config)
    asked: dict[str, Any] = field(default_factory=dict)

    @property
    def inputs(self) -> Any:
        return SimpleNamespace(cache=self.cache)

    def steps(self) -> list[Step]:
        return [Step("scored", "score", self.asked, self.cache)]


class Pricing:
    """In place of the ledger: what an arm costs, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.flops: float | None = 2e12

    def __call__(self, _: Any) -> Any:
        return SimpleNamespace(of=self._of)

    def _of(self, arm: ArmPlan) -> ArmCost:
        self.asked.append(arm.name)
        cost = ArmCost()
        cost.stages["training"].add(self.flops, {"train_seconds": 4.5, "peak_memory_mb": 50.0}, ("train_seconds",))
        return cost


@pytest.fixture
def pricing(monkeypatch: pytest.MonkeyPatch) -> Pricing:
    pricing = Pricing()
    monkeypatch.setattr(spending, "Ledger", pricing)
    return pricing


def test_costs_are_found_once(tmp_path: Path, pricing: Pricing) -> None:
    first = costs_of(StandIn(tmp_path), ARMS)
    assert costs_of(StandIn(tmp_path), ARMS) == first
    assert list(first) == pricing.asked == ["base", "full"]


@pytest.mark.parametrize(
    "other",
    [
        {"asked": {"seed": 1}},
        {"config": Config(seed=1)},
    ],
)
def test_costs_of_another_step_or_config_are_found_anew(tmp_path: Path, pricing: Pricing, other: dict[str, Any]) -> None:
    costs_of(StandIn(tmp_path), ARMS)
    costs_of(StandIn(tmp_path, **other), ARMS)
    assert len(pricing.asked) == 4


def test_costs_are_found_anew_once_a_step_has_finished_or_grown(tmp_path: Path, pricing: Pricing) -> None:
    plan = StandIn(tmp_path)
    costs_of(plan, ARMS)
    plan.steps()[0].run(lambda _: {"kept": 3})
    costs_of(plan, ARMS)
    assert len(pricing.asked) == 4
    costs_of(plan, ARMS)
    assert len(pricing.asked) == 4


def test_what_is_not_known_is_not_remembered(tmp_path: Path, pricing: Pricing) -> None:
    pricing.flops = None
    assert costs_of(StandIn(tmp_path), ARMS)["full"].total_flops is None
    pricing.flops = 2e12
    assert costs_of(StandIn(tmp_path), ARMS)["full"].total_flops == 2e12


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{"base": {"training": {"flop": 1}}}', '{"base": 3}'])
def test_a_damaged_memo_costs_time_alone(tmp_path: Path, pricing: Pricing, damaged: str) -> None:
    first = costs_of(StandIn(tmp_path), ARMS)
    (memo,) = (tmp_path / MEMO).iterdir()
    memo.write_text(damaged)
    assert costs_of(StandIn(tmp_path), ARMS) == first


def test_a_storage_that_cannot_be_written_is_no_error(tmp_path: Path, pricing: Pricing) -> None:
    (tmp_path / MEMO).write_text("a file is in the way")
    assert costs_of(StandIn(tmp_path), ARMS)["full"].total_flops == 2e12
