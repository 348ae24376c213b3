"""What arms have cost, found from what their steps left: held against torch's counter over the real passes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from codeblock.core.config import Config, EvaluateConfig, SelectConfig, TrainConfig
from codeblock.core.models.causal import logit_head
from codeblock.core.models.load import load_model, load_tokenizer
from codeblock.core.schema import SELECTED, TokenClass
from codeblock.core.storage.tables import mark_complete, part_name, write_part
from codeblock.evaluate.answers import Decoding
from codeblock.evaluate.benchmarks import load
from codeblock.evaluate.driver import write_answers
from codeblock.evaluate.generate import generate_answers
from codeblock.evaluate.prompts import make_requests
from codeblock.evaluate.reference_nll import reference_nll, render
from codeblock.evaluate.reference_nll_driver import BATCH_TOKENS
from codeblock.evaluate.stored_nll import FILE
from codeblock.experiment.arm_cost import ArmCost
from codeblock.experiment.arms import ArmPlan, ExtraColumn, Model, Round
from codeblock.experiment.cache import Step
from codeblock.experiment.cost import forward_flops, padded_forward_flops, shape_of
from codeblock.experiment.spending import Ledger, reads_nll
from codeblock.train.loop import Session
from codeblock.train.model import MaskedLM
from codeblock.train.rows import read_pairs, trim_all
from codeblock.train.step import DistContext

LENGTHS = [20, 35, 50, 28, 44, 31]
STARTS = [8, 10, 12, 9, 11, 10]
TRAIN = TrainConfig(steps=3, batch_pairs=4, micro_batch_tokens=120, dev_pairs=0)


@dataclass
class StandIn:
    """The parts of a plan that the ledger reads."""

    config: Config
    model: Model
    reference: Model
    scored: Step
    kept: Step
    tasks: str
    segmented: Step | None = None
    pool_scored: Step | None = None
    embedded: Step | None = None
    ranked: Step | None = None
    arms: list[ArmPlan] = field(default_factory=list)
    reach: int = 6

    def selection(self, arm: ArmPlan) -> Any:  # noqa: ARG002
        return SimpleNamespace(split=lambda: SimpleNamespace(reach=self.reach))

    @property
    def inputs(self) -> Any:
        return self

    def benchmark_path(self, name: str) -> str:  # noqa: ARG002
        return self.tasks


def write_scored(directory: Path) -> dict[str, Any]:
    nll = [[float("nan")] * start + [1.0] * (length - start) for length, start in zip(LENGTHS, STARTS, strict=True)]
    table = pa.table({"id": [str(n) for n in range(6)], "nll": pa.array(nll, pa.list_(pa.float32()))})
    write_part(directory / part_name(0), table)
    return {"worker_peak_mb": 300.0}


def write_kept(directory: Path) -> dict[str, Any]:
    write_part(directory / part_name(0), pa.table({"id": [str(n) for n in range(6)]}))
    return {}


def write_selected(directory: Path) -> dict[str, Any]:
    rows = []
    for number, (length, start) in enumerate(zip(LENGTHS, STARTS, strict=True)):
        weight = np.zeros(length, np.float32)
        weight[start : start + 2] = 1
        weight[-1] = number % 2
        classes = [int(TokenClass.CODE)] * length
        ids = ((np.arange(length) * 5 + number) % 300).tolist()
        masks = {"weight": weight.tolist(), "selected": (weight > 0).tolist()}
        rows.append({"id": str(number), "split": "train", "input_ids": ids, "token_class": classes, **masks})
    write_part(directory / part_name(0), pa.Table.from_pylist(rows, SELECTED))
    return {}


@pytest.fixture
def plan(small_model: Path, tmp_path: Path) -> StandIn:
    tasks = tmp_path / "tasks.jsonl"
    rows = [
        {
            "task_id": f"t{n}",
            "instruction": "Add. " * (n + 1),
            "entry_point": "f",
            "test": "assert f",
            "reference": f"def f(x):\n    return x + {n}\n",
        }
        for n in range(5)
    ]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = Config(evaluate=EvaluateConfig(benchmarks={"tiny": str(tasks)}, batch_size=2), train=TRAIN)
    model = Model(str(small_model), None, "m")
    scored = Step("scored", "score", {}, tmp_path)
    scored.run(write_scored)
    kept = Step("kept", "keep", {}, tmp_path)
    kept.run(write_kept)
    return StandIn(config, model, model, scored, kept, str(tasks))


def arm_of(plan: StandIn, strategy: str = "codeblock", extra: dict[str, ExtraColumn] | None = None) -> ArmPlan:
    """An arm with a finished selection and fit."""
    cache = plan.scored.cache
    selected, trained = (Step(stage, stage, {"strategy": strategy}, cache) for stage in ("selected", "trained"))
    selected.run(write_selected)
    trained.run(lambda _: {"train_seconds": 7.5, "peak_memory_mb": 900.0, "world_size": 1})
    round_ = Round(extra or {}, selected, trained, plan.model, plan.config.train, (0, 1))
    return ArmPlan(strategy, 3, strategy, strategy, SelectConfig(), [round_], {}, {})


def counted(work: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


@pytest.mark.parametrize("by_tokens", [None, 7])
def test_training_is_what_the_session_computes(plan: StandIn, small_model: Path, by_tokens: int | None) -> None:
    """Trimmed pairs, cut into micro-batches with their padding, in the order of the arm's own seed; steps of so many tokens."""
    train = TRAIN.model_copy(update={"batch_supervised_tokens": by_tokens})
    plan.config = plan.config.model_copy(update={"train": train})
    arm = arm_of(plan)
    assert arm.selected is not None
    pairs, _ = trim_all(read_pairs(arm.selected.directory, "train"))
    masked = MaskedLM(load_model(str(small_model), attention="eager"))
    session = Session(masked, pairs, [], train, 3, DistContext(torch.device("cpu")))
    ours = Ledger(plan).of(arm).stages["training"]  # type: ignore[arg-type]
    # The sparse last layer's fused attention, about 1%, is not in torch's count.
    assert counted(session.run) == pytest.approx(ours.flops, rel=0.02)
    assert (ours.seconds, ours.peak_mb >= 900.0) == (7.5, True)


def test_scores_count_for_the_arms_that_read_them(plan: StandIn, small_model: Path) -> None:
    ledger = Ledger(plan)  # type: ignore[arg-type]
    responses = [length - start for length, start in zip(LENGTHS, STARTS, strict=True)]
    flops = padded_forward_flops(shape_of(str(small_model)), LENGTHS, responses, plan.config.score.batch_tokens)
    cost = ledger.of(arm_of(plan))
    assert cost.stages["scoring"].flops == flops
    assert cost.stages["scoring"].seconds == (plan.scored.facts or {})["wall_seconds"]
    assert cost.total_flops == flops + (cost.stages["training"].flops or 0)
    random = ledger.of(arm_of(plan, "random_tokens"))
    assert (random.stages["scoring"].flops, random.stages["scoring"].seconds) == (0, 0)
    assert random.total_flops == random.stages["training"].flops == cost.stages["training"].flops


def test_an_arm_does_not_pay_for_scores_that_only_others_look_at(plan: StandIn, small_model: Path) -> None:
    """A wider arm had a second part scored, of as many tokens."""
    found = plan.scored.facts
    for step in (plan.scored, plan.kept):
        table = pa.parquet.read_table(step.directory / part_name(0))
        ids = pa.array([f"other {id_}" for id_ in table["id"].to_pylist()])
        write_part(step.directory / part_name(1), table.set_column(0, "id", ids))
        mark_complete(step.directory, {"identity": step.identity, "facts": found})
    responses = [length - start for length, start in zip(LENGTHS, STARTS, strict=True)]
    flops = padded_forward_flops(shape_of(str(small_model)), LENGTHS, responses, plan.config.score.batch_tokens)
    seconds = (plan.scored.facts or {})["wall_seconds"]
    for reach, paid in ((5, 1), (6, 1), (7, 2)):
        plan.reach = reach
        scoring = Ledger(plan).of(arm_of(plan)).stages["scoring"]  # type: ignore[arg-type]
        assert scoring.flops == paid * flops
        assert scoring.seconds == pytest.approx(seconds * paid / 2)


@pytest.mark.parametrize("embedding", ["model", "layers"])
def test_ranking_by_the_reference_is_part_of_the_selection(plan: StandIn, small_model: Path, embedding: str) -> None:
    """All layers over whole pairs, or the first layers (both that this model has) over the prompts."""

    def write_segmented(directory: Path) -> dict[str, Any]:
        ids = pa.array([[1] * length for length in LENGTHS], pa.list_(pa.int32()))
        write_part(directory / part_name(0), pa.table({"input_ids": ids, "response_start": pa.array(STARTS, pa.int32())}))
        return {}

    plan.segmented, plan.embedded = (Step(stage, stage, {}, plan.scored.cache) for stage in ("segmented", "embedded"))
    plan.segmented.run(write_segmented)
    plan.embedded.run(lambda _: {"worker_peak_mb": 1e6})
    plan.config = plan.config.model_copy(update={"rank": plan.config.rank.model_copy(update={"embedding": embedding})})
    spent = Ledger(plan).of(arm_of(plan, "full")).stages["selection"]  # type: ignore[arg-type]
    lengths = LENGTHS if embedding == "model" else STARTS
    assert spent.flops == padded_forward_flops(shape_of(str(small_model)), lengths, [0] * 6, plan.config.score.batch_tokens)
    assert spent.peak_mb == 1e6


def test_a_second_models_scores_are_counted_too(plan: StandIn) -> None:
    second = Step("scored", "score[nll_second]", {"column": "nll_second"}, plan.scored.cache)

    def write(directory: Path) -> dict[str, Any]:
        write_scored(directory)
        table = pa.parquet.read_table(directory / part_name(0)).rename_columns(["id", "nll_second"])
        write_part(directory / part_name(0), table)
        return {}

    second.run(write)
    ledger = Ledger(plan)  # type: ignore[arg-type]
    one = ledger.of(arm_of(plan)).stages["scoring"].flops
    both = ledger.of(arm_of(plan, "rho1", {"nll_second": ExtraColumn(second, plan.model)})).stages["scoring"].flops
    assert one is not None
    assert both == 2 * one


def test_evaluation_is_the_batches_that_were_generated_and_the_references(plan: StandIn, small_model: Path) -> None:
    config = plan.config.evaluate
    tokenizer, model = load_tokenizer(str(small_model)), load_model(str(small_model), attention="eager")
    logit_head(model)  # the probe of a model is not counted
    benchmark = load("tiny", plan.tasks)
    answered, measured = (Step(stage, stage, {}, plan.scored.cache) for stage in ("generated", "reference_nll"))
    graded = Step("graded", "graded", {}, plan.scored.cache)
    requests = make_requests(tokenizer, benchmark, [(task, 0) for task in benchmark.tasks], "auto", 0)
    requests.sort(key=lambda request: -len(request.ids))
    seen: list[float] = []

    def answer(directory: Path) -> dict[str, Any]:
        for start in range(0, 5, 2):
            chunk = requests[start : start + 2]

            def work(chunk: Any = chunk) -> None:
                write_answers(directory, generate_answers(model, tokenizer, chunk, Decoding(max_new_tokens=6, batch_size=2)))

            seen.append(counted(work))
        return {"generate_seconds": 2.0}

    def measure(directory: Path) -> dict[str, Any]:
        rendered = [render(tokenizer, benchmark, task, config.prompt) for task in benchmark.tasks]
        table: list[pa.Table] = []
        seen.append(counted(lambda: table.append(reference_nll(model, rendered, 256, BATCH_TOKENS))))
        write_part(directory / FILE, table[0])
        return {"seconds": 1.0}

    answered.run(answer)
    graded.run(lambda _: {"grade_seconds": 3.0})
    measured.run(measure)
    base = ArmPlan("base", 0, "base", None, SelectConfig(), [], {"tiny": answered}, {"tiny": graded}, {"tiny": measured})
    cost = Ledger(plan).of(base)  # type: ignore[arg-type]
    assert cost.stages["evaluation"].flops == pytest.approx(sum(seen), rel=0.02)
    assert cost.stages["evaluation"].seconds == 6.0
    assert (cost.total_flops, cost.total_seconds) == (0, 0), "the model was there already"


def test_a_model_whose_layers_are_not_known_has_no_flops(plan: StandIn, tmp_path: Path) -> None:
    plan.model = plan.reference = Model(str(tmp_path / "nowhere"), None, "x")
    cost = Ledger(plan).of(arm_of(plan))  # type: ignore[arg-type]
    assert cost.total_flops is None
    facts = cost.facts()
    assert "training_tflops" not in facts
    assert facts["training_seconds"] == 7.5


def test_facts_are_flat_numbers() -> None:
    cost = ArmCost()
    cost.stages["training"].add(2e12, {"train_seconds": 4.0, "peak_memory_mb": 50.0}, ("train_seconds",))
    facts = cost.facts()
    assert (facts["training_tflops"], facts["total_tflops"], facts["total_seconds"], facts["peak_mb"]) == (2, 2, 4, 50)


@pytest.mark.parametrize(
    ("strategy", "reads"),
    [("codeblock", True), ("top_loss_tokens", True), ("rho1", True), ("full", False), ("random_items", False), (None, False)],
)
def test_only_rules_that_look_at_the_scores_pay_for_them(strategy: str | None, reads: bool) -> None:
    assert reads_nll(ArmPlan("x", 0, "x", strategy, SelectConfig(), [], {}, {})) is reads


def test_padding_is_paid_for(small_model: Path) -> None:
    shape = shape_of(str(small_model))
    assert padded_forward_flops(shape, [10, 30], [0, 0], 60) == forward_flops(shape, 2, 30, 0)
