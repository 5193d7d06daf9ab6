"""The grader as a reward function, for TRL and for verl."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fipo.errors import FIPOError
from fipo.tasks.completions import completion_text
from fipo.tasks.grading import TIME_LIMIT, grade, grade_many


def math_reward(completions: Sequence[Any], answer: Sequence[Any], **kwargs: Any) -> list[float]:
    """1.0 for each completion whose final answer is its reference answer (`fipo.tasks.grade`), else 0.0.

    Arguments:
        completions: texts, or lists of chat messages, of which the last assistant message is graded.
        answer: one reference answer a completion (the column `answer` of the data).
        kwargs: the other columns and what the trainer adds; not used.

    Raises `FIPOError` when the lengths differ or a completion is neither text nor messages.
    """
    if isinstance(answer, str) or len(completions) != len(answer):
        raise FIPOError(
            f"math_reward needs one answer a completion: got {len(completions)} completions and "
            + ("one text as answer" if isinstance(answer, str) else f"{len(answer)} answers")
        )
    texts = [completion_text(completion, index) for index, completion in enumerate(completions)]
    return [float(result.correct) for result in grade_many(texts, answer)]


def compute_score(
    data_source: Any,
    solution_str: str,
    ground_truth: Any,
    extra_info: Any = None,
    *,
    correct_score: float = 1.0,
    incorrect_score: float = -1.0,
    timeout: float = TIME_LIMIT,
    **kwargs: Any,
) -> dict[str, float | str]:
    """The score of one response for verl (`custom_reward_function.name=compute_score`, `.path` this file).

    Arguments:
        data_source, extra_info: what verl knows of the sample; they name it in errors, and do not change the score.
        solution_str: the decoded response.
        ground_truth: the reference answer, as for `fipo.tasks.grade`.
        correct_score, incorrect_score: the two scores. 1 and -1 are those of DAPO, to which the overlong penalty of
            verl, from 0 to -1, is relative; `math_reward` gives 1 and 0 instead.
        timeout: seconds for a symbolic comparison.
        kwargs: what a version of verl may add; not used.

    Returns `score`, `acc` (1.0 for a right answer, else 0.0) and `pred` (the answer found, or an empty text).

    Raises `FIPOError`, in one line that names the sample, for a response that is not text, a ground truth that is
    missing, empty or neither text nor number, and a setting that is out of range.
    """
    for name, score in (("correct_score", correct_score), ("incorrect_score", incorrect_score)):
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise FIPOError(f"{name} must be a finite number, not {score!r}")
    if isinstance(ground_truth, str) and not ground_truth.strip():
        raise FIPOError(f"{_sample(data_source, extra_info)}: ground_truth is empty; every sample needs an answer")
    try:
        result = grade(solution_str, ground_truth, timeout=timeout)
    except FIPOError as error:
        raise FIPOError(f"{_sample(data_source, extra_info)}: {error}") from error
    return {
        "score": float(correct_score if result.correct else incorrect_score),
        "acc": float(result.correct),
        "pred": result.extracted or "",
    }


def _sample(data_source: Any, extra_info: Any) -> str:
    index = extra_info.get("index") if isinstance(extra_info, dict) else None
    return f"sample of {data_source!r:.60}" + (f", index {index!r:.60}" if index is not None else "")
