"""The grader on the answers of public benchmarks and on labelled model solutions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fipo.tasks import grade, grade_many
from fipo.tasks.isolation import pool
from fipo.tasks.notation import canonical
from fipo.tasks.numerals import read_number

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def records(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data not found: ../shared/data/{name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def boxed(text: str) -> str:
    return f"so it is \\boxed{{{text}}}"


def test_agreement_with_labelled_model_solutions() -> None:
    samples = [
        (entry["solution"], record["ground_truth"], entry["is_correct"], f"line {number}, {model}")
        for number, record in enumerate(records("gsm8k_model_solutions.jsonl"), 1)
        for model, entry in record.items()
        if isinstance(entry, dict)
    ]
    results = grade_many([sample[0] for sample in samples], [sample[1] for sample in samples])
    assert len(results) == 2640
    assert [(sample[3], result) for sample, result in zip(samples, results) if result.correct != sample[2]] == []


def test_math500_solutions_are_right() -> None:
    rows = records("math500.jsonl")
    results = grade_many([row["solution"] for row in rows], [row["answer"] for row in rows])
    assert [(row["answer"], result) for row, result in zip(rows, results) if not result.correct] == []


def test_math500_answers_are_equal_to_themselves_by_computer_algebra() -> None:
    forms = {canonical(record["answer"]) for record in records("math500.jsonl")}
    failed = [form for form in sorted(forms) if pool.compare(form, form, 20) != "equal"]
    assert len(failed) <= 1, failed


def test_math500_answers_in_another_spelling_are_right() -> None:
    rows = [record["answer"] for record in records("math500.jsonl")]
    spelled = [
        answer.replace(r"\frac", r"\dfrac").replace("(", r"\left( ").replace(")", r" \right)").replace(",", ", ")
        if r"\left" not in answer and not canonical(answer).replace(",", "").isdecimal()
        else f" {answer} "
        for answer in rows
    ]
    results = grade_many([boxed(answer) for answer in spelled], rows)
    wrong = [(answer, result) for answer, result in zip(rows, results) if not result.correct]
    assert wrong == []


def test_math500_answers_with_a_changed_digit_are_wrong() -> None:
    pairs = []
    for record in records("math500.jsonl"):
        answer = record["answer"]
        # The exponent of a unit is dropped with the unit.
        places = [i for i, symbol in enumerate(answer) if symbol.isdigit() and "box{" not in answer[:i]]
        if places:
            changed = answer[: places[-1]] + str((int(answer[places[-1]]) + 1) % 10) + answer[places[-1] + 1 :]
            pairs.append((changed, answer))
    results = grade_many([boxed(changed) for changed, _ in pairs], [answer for _, answer in pairs])
    assert len(pairs) > 400
    assert [pair for pair, result in zip(pairs, results) if result.correct] == []


def test_math500_answers_are_not_those_of_other_problems() -> None:
    answers = sorted({canonical(record["answer"]) for record in records("math500.jsonl")})
    # One with its neighbours in the alphabet, which look most alike.
    pairs = [(answers[i], answers[i + step]) for step in (1, 2, 3) for i in range(len(answers) - step)]
    results = grade_many([boxed(candidate) for candidate, _ in pairs], [reference for _, reference in pairs])
    assert [pair for pair, result in zip(pairs, results) if result.reason == "symbolically equal"] == []
    # Of numbers, those that differ in their unit alone: "40" and "40_9", "90" and "90^\\circ".
    numbers = [(read_number(left), read_number(right)) for left, right in pairs]
    same = [pair for pair, result in zip(pairs, results) if result.correct]
    assert same == [pair for pair, (left, right) in zip(pairs, numbers) if left and right and left.value == right.value]


@pytest.mark.parametrize("name", ["aime24.jsonl", "aime25.jsonl"])
def test_aime_answers_in_every_wrapper(name: str) -> None:
    wrappers = [
        r"\boxed{%s}",
        r"$$\boxed{ %s }$$",
        r"\boxed{\text{%s}}",
        r"\boxed{\mathbf{%s}}",
        r"\boxed{\mathbf %s}",
        r"\boxed{\,%s\,}",
        r"\boxed{(%s)}",
        r"\boxed{%s^\circ}",
        r"\boxed{%s.}",
        r"\boxed{x = %s}",
        r"<think>\boxed{12}</think>\boxed{%s}",
        "<think>Answer: 12</think>\nAnswer: %s",
        "Answer: %s",
        "Answer: $%s$.",
        r"Answer: \(%s\)",
        "**Answer:** %s",
        "**Answer: %s**",
        "Final Answer: The final answer is $%s$. I hope it is correct.",
        "Answer:\n\\[\n%s\n\\]",
        "The answer is: %s",
        "#### %s",
        "A: %s",
    ]
    rows = records(name)
    assert len(rows) == 30
    for record in rows:
        value = int(record["answer"])
        for wrapper in wrappers:
            for written in (f"{value}", f"{value:03d}", f" {value} ", f"00{value}"):
                assert grade(f"With 12 we get\n{wrapper % written}", record["answer"]).correct, wrapper % written
            for wrong in (value + 1, value - 1, 10 * value, -value, value + 1000):
                assert not grade(f"With 12 we get\n{wrapper % wrong}", record["answer"]).correct
        assert grade(f"Answer: {value * 1000:,}", value * 1000).correct
