"""Evaluation: generate answers for a benchmark, grade them in a sandbox, compute pass@k.

    from codeblock.evaluate import grade, load
    result = grade([{"task_id": "HumanEval/0", "completion": "..."}], load("humaneval", "HumanEval.jsonl.gz"))

Generation over a Ray cluster is in `driver.py`; nothing here imports Ray.
"""

from codeblock.evaluate.benchmarks import Benchmark, Task, load
from codeblock.evaluate.grading import Settings, grade, grade_samples_file
from codeblock.evaluate.result import GradeResult, Sample
from codeblock.sandbox.sandbox import Verdict

__all__ = ["Benchmark", "GradeResult", "Sample", "Settings", "Task", "Verdict", "grade", "grade_samples_file", "load"]
