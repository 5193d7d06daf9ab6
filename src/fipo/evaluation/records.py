"""The responses of an evaluation as tables, problem by problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fipo.errors import FIPOError
from fipo.runs import EvaluationFolder
from fipo.runs.base import CONFIG_FILE
from fipo.runs.evaluation import RESPONSES_FILE


@dataclass(frozen=True)
class Records:
    """The graded responses to one data set: N problems, n samples each.

    Attributes:
        name: of the data set.
        ids: (N,) problem ids, sorted.
        answers: (N,) reference answers.
        rows: N lists of n rows of `responses.jsonl`, by sample number.
    """

    name: str
    ids: tuple[str, ...]
    answers: tuple[str, ...]
    rows: tuple[tuple[dict[str, Any], ...], ...]

    @property
    def correct(self) -> np.ndarray:
        """(N, n) bool."""
        return np.array([[row["correct"] for row in group] for group in self.rows], dtype=bool)

    @property
    def lengths(self) -> np.ndarray:
        """(N, n) tokens."""
        return np.array([[row["length"] for row in group] for group in self.rows])

    @property
    def truncated(self) -> np.ndarray:
        """(N, n) bool: hit the length limit."""
        return np.array([[row["finish_reason"] == "length" for row in group] for group in self.rows], dtype=bool)

    @property
    def samples(self) -> int:
        """Responses per problem."""
        return len(self.rows[0])

    def choose(self, places: Sequence[int]) -> Records:
        """The problems at these places, in this order."""
        return Records(
            self.name,
            tuple(self.ids[place] for place in places),
            tuple(self.answers[place] for place in places),
            tuple(self.rows[place] for place in places),
        )

    def flat(self, key: str) -> list[Any]:
        """One value per response, problem by problem."""
        return [row[key] for group in self.rows for row in group]


def load_records(folder: EvaluationFolder) -> dict[str, Records]:
    """The responses of a finished evaluation, by data set.

    Raises:
        FIPOError: responses are missing, stand there twice, or lack a key.
    """
    config = folder.config()
    groups: dict[str, dict[str, dict[int, dict[str, Any]]]] = {name: {} for name in config["benchmarks"]}
    for number, row in enumerate(folder.responses(), start=1):
        where = f"{folder.path / RESPONSES_FILE}, line {number}"
        if row["data"] not in groups or row["sample"] >= config["n"]:
            raise FIPOError(f"{where}: no response of this evaluation; remove the line")
        samples = groups[row["data"]].setdefault(row["id"], {})
        if row["sample"] in samples:
            raise FIPOError(
                f"{where}: sample {row['sample']} of problem {row['id']} stands there twice; remove one of the lines"
            )
        samples[row["sample"]] = row
    for name, entry in config["benchmarks"].items():
        _refuse_incomplete(folder, name, groups[name], entry, config["n"])
    return {name: _records(name, problems) for name, problems in groups.items()}


def _refuse_incomplete(
    folder: EvaluationFolder, name: str, problems: dict[str, dict[int, Any]], entry: Any, n: int
) -> None:
    wanted = entry.get("problems") if isinstance(entry, dict) else None
    if not isinstance(wanted, int) or wanted < 1:
        raise FIPOError(f"{folder.path / CONFIG_FILE}: benchmarks.{name}.problems must be a number of problems")
    there = sum(map(len, problems.values()))
    if len(problems) > wanted:
        raise FIPOError(
            f"{folder.path / RESPONSES_FILE} has {len(problems)} problems of {name}, and the evaluation {wanted}: "
            "remove the lines that are not its own"
        )
    if there < n * wanted:
        raise FIPOError(
            f"{folder.path} holds {there} of {n * wanted} responses to {name}: finish it with "
            f"fipo eval --resume {folder.path}"
        )


def _records(name: str, problems: dict[str, dict[int, dict[str, Any]]]) -> Records:
    # Sorted, so that no sum depends on which response finished first.
    ids = tuple(sorted(problems))
    rows = [tuple(problems[problem][number] for number in sorted(problems[problem])) for problem in ids]
    return Records(name, ids, tuple(group[0]["answer"] for group in rows), tuple(rows))
