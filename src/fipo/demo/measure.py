"""What responses to the embedded task amount to: accuracy, length, checks, and what the checks changed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fipo.evaluation import Estimate, Response, share
from fipo.tasks.arithmetic import grade_arithmetic, moment, parse_response


@dataclass(frozen=True)
class Measurement:
    """Figures over `n` responses; lengths are in tokens, the closing `.` included.

    Attributes:
        n: responses.
        correct: of them, right final answers.
        length_mean: mean length.
        length_quartiles: lower quartile, median, upper quartile of the length.
        truncated: responses that hit the length limit.
        by_checks: (right, all) by the number of checks in the response.
        aha: responses with a wrong first and a right last answer.
        oops: responses with a right first and a wrong last answer.
    """

    n: int
    correct: int
    length_mean: float
    length_quartiles: tuple[float, float, float]
    truncated: int
    by_checks: dict[int, tuple[int, int]]
    aha: int
    oops: int

    @property
    def accuracy(self) -> Estimate:
        """Share of right final answers, Wilson interval (responses to different problems)."""
        return share(self.correct, self.n)


def measure_responses(responses: Sequence[Response], answers: Sequence[str]) -> Measurement:
    """The figures of responses to problems with these answers, one answer per response; 1 or more of them."""
    right = [grade_arithmetic(response.text, answer) for response, answer in zip(responses, answers, strict=True)]
    checks: dict[int, list[bool]] = {}
    for response, verdict in zip(responses, right):
        checks.setdefault(parse_response(response.text).num_checks, []).append(verdict)
    moments = Counter(moment(response.text, answer) for response, answer in zip(responses, answers))
    lengths = [float(response.length) for response in responses]
    low, middle, high = statistics.quantiles(lengths, n=4, method="inclusive") if len(lengths) > 1 else lengths * 3
    return Measurement(
        n=len(responses),
        correct=sum(right),
        length_mean=statistics.fmean(lengths),
        length_quartiles=(low, middle, high),
        truncated=sum(response.truncated for response in responses),
        by_checks={count: (sum(verdicts), len(verdicts)) for count, verdicts in sorted(checks.items())},
        aha=moments["aha"],
        oops=moments["oops"],
    )
