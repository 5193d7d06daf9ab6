"""Evaluation: sample from a model, grade, estimate with intervals, compare.

What needs torch, transformers or datasets is imported when it is first used.
"""

from __future__ import annotations

from typing import Any

from fipo.evaluation.engines.base import Response
from fipo.evaluation.estimators import (
    Estimate,
    avg_at_k,
    cons_at_k,
    estimate_mean,
    maj_at_k,
    pass_at_k,
    repeat_interval,
    share,
)
from fipo.evaluation.lengths import accuracy_by_length, length_summary
from fipo.evaluation.paired import Comparison, compare_values, paired_difference
from fipo.evaluation.sampling import sample_responses
from fipo.evaluation.settings import EvalSettings, Runtime

__all__ = [
    "Comparison",
    "Estimate",
    "EvalSettings",
    "Response",
    "Runtime",
    "accuracy_by_length",
    "avg_at_k",
    "compare_evaluations",
    "compare_values",
    "cons_at_k",
    "estimate_mean",
    "evaluate",
    "length_summary",
    "maj_at_k",
    "paired_difference",
    "pass_at_k",
    "repeat_interval",
    "sample_responses",
    "share",
]


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        from fipo.evaluation.run import evaluate

        return evaluate
    if name == "compare_evaluations":
        from fipo.evaluation.compare import compare_evaluations

        return compare_evaluations
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
