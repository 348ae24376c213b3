"""The table of cost: FLOPs, seconds and memory of each arm by stage, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

DASH = "—"
NOTE = (
    "TFLOPs (10^12 floating-point operations) of what really went through the model, padding included; see experiment/cost.py. "
    "Total: scoring, selection and training; evaluation is what knowing costs. Scores that arms share count for each that "
    "reads them. Means over seeds."
)
COLUMNS = (
    ("scoring TFLOPs", "scoring_tflops"),
    ("scoring s", "scoring_seconds"),
    ("selection TFLOPs", "selection_tflops"),
    ("selection s", "selection_seconds"),
    ("training TFLOPs", "training_tflops"),
    ("training s", "training_seconds"),
    ("**total TFLOPs**", "total_tflops"),
    ("total s", "total_seconds"),
    ("evaluation TFLOPs", "evaluation_tflops"),
    ("evaluation s", "evaluation_seconds"),
    ("peak MiB", "peak_mb"),
)


def cost_markdown(costs: Mapping[str, Mapping[str, float]]) -> str:
    """A row per arm of the numbers in `arm_cost.ArmCost.facts`; one that is not known is a dash."""
    lines = [["arm", *(heading for heading, _ in COLUMNS)], ["---", *["---:"] * len(COLUMNS)]]
    lines += [[arm.replace("|", r"\|"), *(_number(facts.get(key)) for _, key in COLUMNS)] for arm, facts in costs.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{NOTE}\n"


def _number(value: float | None) -> str:
    """Three digits, and whole numbers in full."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
