"""Two evaluations on the same problems: paired differences, and the problems that make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fipo.errors import FIPOError
from fipo.evaluation.estimators import avg_values, estimate_mean, majority_values, pass_values
from fipo.evaluation.paired import compare_values
from fipo.evaluation.records import Records, load_records
from fipo.evaluation.summary import answer_classes
from fipo.evaluation.tables import Classes
from fipo.runs import EvaluationFolder

POOLED = "all data sets"
# Settings that make a difference of the numbers something else than one of the models.
PROTOCOL = ("temperature", "top_p", "max_tokens", "engine", "dtype", "allow_last_number")


def compare_evaluations(first: str | Path, second: str | Path) -> dict[str, Any]:
    """The second evaluation minus the first, problem by problem.

    Only problems that both hold are compared. cons@k and pass@k are taken at the smaller number of samples.

    Returns:
        `models`: both names; `notes`: what else differs, in words; `benchmarks`: for each common data set (and "all
        data sets" where there are several) `problems`, `k`, `by_problem` (largest differences first) and under `avg`,
        `majority` and `pass` the two values, the difference with its interval, p-value and detectable difference.

    Raises:
        FIPOError: a folder that is no finished evaluation; no common problems; different answers to one problem.
    """
    folders = [EvaluationFolder.open(path) for path in (first, second)]
    ours, theirs = (load_records(folder) for folder in folders)
    common = [name for name in ours if name in theirs]
    if not common:
        raise FIPOError(
            f"{first} and {second} have no data set in common ({', '.join(ours)}; {', '.join(theirs)}): "
            "evaluate both models on the same data"
        )
    notes = _different_protocol(folders)
    samples = [next(iter(side.values())).samples for side in (ours, theirs)]
    if samples[0] != samples[1]:
        notes.append(f"{samples[0]} and {samples[1]} samples per problem: votes and pass@k are of {min(samples)}")
    pairs = {}
    for name in common:
        pairs[name] = _pair(ours[name], theirs[name])
        left_out = len(set(ours[name].ids) ^ set(theirs[name].ids))
        both = zip(pairs[name][0].rows, pairs[name][1].rows)
        changed = sum(mine[0].get("prompt") != other[0].get("prompt") for mine, other in both)
        if changed:
            notes.append(f"{name}: {changed} prompts differ, so that the difference is not of the models alone")
        if left_out:
            notes.append(f"{name}: {left_out} problems that only one of them holds are left out")
    votes = [answer_classes(folder, side) for folder, side in zip(folders, (ours, theirs))]
    values = {
        name: _values(pair, [_classes_of(pair[i], (ours, theirs)[i][name], votes[i][name]) for i in (0, 1)])
        for name, pair in pairs.items()
    }
    benchmarks = {name: _compare(values[name]) for name in common}
    for name, pair in pairs.items():
        benchmarks[name]["by_problem"] = _by_problem(*pair)
    if len(common) > 1:
        pooled = {key: _pool([values[name][key] for name in common]) for key in values[common[0]]}
        benchmarks[POOLED] = _compare(pooled)
    for figures in benchmarks.values():
        figures["k"] = min(samples)
    models = [folder.config()["model"] for folder in folders]
    return {"folders": [str(first), str(second)], "models": models, "notes": notes, "benchmarks": benchmarks}


Pair = tuple[np.ndarray, np.ndarray]


def _pool(pairs: Sequence[Pair]) -> Pair:
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])


def _pair(left: Records, right: Records) -> tuple[Records, Records]:
    """Both, with the problems that they share in one order."""
    place = {problem: index for index, problem in enumerate(right.ids)}
    shared = [(index, place[problem]) for index, problem in enumerate(left.ids) if problem in place]
    if not shared:
        raise FIPOError(f"{left.name}: the two evaluations share no problem id; were they made from the same data?")
    for mine, other in shared:
        if left.answers[mine] != right.answers[other]:
            raise FIPOError(
                f"{left.name}: problem {left.ids[mine]} has the answer {left.answers[mine]!r:.60} in one evaluation "
                f"and {right.answers[other]!r:.60} in the other; evaluate both on the same data"
            )
    return left.choose([mine for mine, _ in shared]), right.choose([other for _, other in shared])


def _classes_of(chosen: Records, table: Records, classes: Classes) -> Classes:
    """The classes of the chosen problems, in their order."""
    by_problem = dict(zip(table.ids, classes))
    return [by_problem[problem] for problem in chosen.ids]


def _values(pair: tuple[Records, Records], classes: Sequence[Classes]) -> dict[str, Pair]:
    """Per problem, for both."""
    left, right = pair
    k = min(left.samples, right.samples)
    pairs = {"avg": (avg_values(left.correct), avg_values(right.correct))}
    if k > 1:
        votes = [majority_values(side.correct, names, k) for side, names in zip(pair, classes)]
        pairs["majority"] = (votes[0], votes[1])
        pairs["pass"] = (pass_values(left.correct, k), pass_values(right.correct, k))
    return pairs


def _compare(values: dict[str, Pair]) -> dict[str, Any]:
    result: dict[str, Any] = {"problems": len(values["avg"][0])}
    for key, (left, right) in values.items():
        comparison = asdict(compare_values(right, left))
        comparison.pop("problems")
        both = {"first": asdict(estimate_mean(left)), "second": asdict(estimate_mean(right))}
        result[key] = {**both, **comparison}
    return result


def _by_problem(left: Records, right: Records) -> list[dict[str, Any]]:
    """avg of each problem in both, largest differences first."""
    rows = [
        {"id": problem, "answer": answer, "first": float(mine), "second": float(other)}
        for problem, answer, mine, other in zip(
            left.ids, left.answers, avg_values(left.correct), avg_values(right.correct)
        )
    ]
    return sorted(rows, key=lambda row: -abs(row["second"] - row["first"]))


def _different_protocol(folders: Sequence[EvaluationFolder]) -> list[str]:
    first, second = (_protocol(folder) for folder in folders)
    return [
        f"{key} differs: {first[key]} and {second[key]}, so that the difference is not of the models alone"
        for key in first
        if key in second and first[key] != second[key]
    ]


def _protocol(folder: EvaluationFolder) -> dict[str, Any]:
    config, engine = folder.config(), folder.engine()
    settings = {key: config.get(key) for key in PROTOCOL}
    styles = {f"prompt style of {name}": entry.get("prompt_style") for name, entry in config["benchmarks"].items()}
    used = {"engine": engine["name"], "max_tokens": engine["max_tokens"], "dtype": engine.get("dtype")}
    return {**settings, **styles, **used}
