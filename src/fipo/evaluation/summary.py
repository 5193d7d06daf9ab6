"""What an evaluation says: accuracies with intervals, lengths, and how the responses ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fipo.errors import FIPOError
from fipo.evaluation.estimators import avg_at_k, maj_at_k, pass_at_k, repeat_interval
from fipo.evaluation.lengths import accuracy_by_length, length_summary
from fipo.evaluation.records import Records, load_records
from fipo.evaluation.settings import parse_counts
from fipo.runs import SCHEMA_VERSION, EvaluationFolder
from fipo.runs.evaluation import VOTES_FILE
from fipo.tasks import group_answers

# To be raised when answers are grouped by other rules, so that no old grouping is taken for a new one.
GROUPING = 1


def summarise(folder: EvaluationFolder, *, counts: Sequence[int] | None = None) -> dict[str, Any]:
    """The content of `summary.json` (docs/evaluation.md) of a finished evaluation.

    Args:
        folder: of the evaluation.
        counts: the k of pass@k and maj@k, each ≤ n; default powers of two and n.

    Raises:
        FIPOError: responses are missing.
    """
    config, engine = folder.config(), folder.engine()
    records = load_records(folder)
    classes = answer_classes(folder, records)
    sampling = {key: config.get(key) for key in ("n", "temperature", "top_p", "seed")}
    return {
        "schema_version": SCHEMA_VERSION,
        "model": config["model"],
        "engine": engine["name"],
        "sampling": {**sampling, "max_tokens": engine["max_tokens"]},
        "benchmarks": {
            name: {
                "prompt_style": config["benchmarks"][name]["prompt_style"],
                **summarise_records(table, classes[name], counts),
            }
            for name, table in records.items()
        },
    }


def summarise_records(
    records: Records, classes: Sequence[Sequence[int | None]], counts: Sequence[int] | None = None
) -> dict[str, Any]:
    """The figures of one data set; `classes` as from `answer_classes`."""
    correct = records.correct
    # n always: it is cons@n and pass@n.
    ks = sorted({*(counts or parse_counts(None, records.samples)), records.samples})
    flat, truncated = correct.ravel(), records.truncated.ravel()
    problem_index = [index for index, group in enumerate(records.rows) for _ in group]
    bins = accuracy_by_length(records.lengths.ravel(), flat, problem_index)
    return {
        "problems": len(records.ids),
        "samples": records.samples,
        "avg": asdict(avg_at_k(correct)),
        "avg_if_repeated": asdict(repeat_interval(correct)) if records.samples > 1 else None,
        "pass": {str(k): asdict(pass_at_k(correct, k)) for k in ks},
        "majority": {str(k): asdict(maj_at_k(correct, classes, k)) for k in ks},
        "length": asdict(length_summary(records.lengths.ravel(), truncated)),
        "truncated": {"responses": int(truncated.sum()), "correct": int(flat[truncated].sum())},
        "no_answer": records.flat("extracted").count(None),
        "verdicts": dict(Counter(records.flat("reason")).most_common()),
        "finish_reasons": dict(Counter(records.flat("finish_reason")).most_common()),
        "accuracy_by_length": [asdict(part) for part in bins],
    }


def answer_classes(folder: EvaluationFolder, records: dict[str, Records]) -> dict[str, list[list[int | None]]]:
    """Per data set, (N, n) vote classes: equal answers of a problem have one number; None where there is no answer.

    Comparing unequal formulas takes minutes where there are many, so the classes are kept in `votes.json`, with a
    digest of the answers that they belong to.
    """
    answers = {name: [[row["extracted"] for row in group] for group in table.rows] for name, table in records.items()}
    ids = [table.ids for table in records.values()]
    digest = hashlib.sha256(json.dumps([ids, answers, GROUPING]).encode()).hexdigest()
    # Missing, broken or of other answers: it is made again.
    with contextlib.suppress(FIPOError, KeyError):
        kept = folder.read_json(VOTES_FILE)
        if kept["digest"] == digest:
            return kept["classes"]
    classes = {name: [group_answers(group) for group in groups] for name, groups in answers.items()}
    # An evaluation that is only compared may lie where nothing can be written.
    with contextlib.suppress(FIPOError):
        folder.write_json(VOTES_FILE, {"digest": digest, "classes": classes})
    return classes
