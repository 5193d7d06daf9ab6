"""Comparing two evaluations: pairing, values, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fipo.errors import FIPOError
from fipo.evaluation import compare_evaluations
from fipo.runs import EvaluationFolder

pytest.importorskip("datasets", reason="reading data needs the extra [eval]")


@pytest.fixture
def make(tmp_path):
    """Writes an evaluation: per data set and problem, the answers that were given; "1" is right."""

    def write(name, data, answer="1", prompt="", **config):
        n = len(next(iter(next(iter(data.values())).values())))
        settings = {
            "model": name,
            "data": list(data),
            "n": n,
            "temperature": 1.0,
            "top_p": 0.7,
            "max_tokens": None,
            "engine": "auto",
            "dtype": "auto",
            "allow_last_number": False,
            "benchmarks": {key: {"problems": len(problems), "prompt_style": "dapo"} for key, problems in data.items()},
            **config,
        }
        folder = EvaluationFolder.create(tmp_path / name, config=settings, environment={})
        folder.write_json("engine.json", {"name": "transformers", "max_tokens": 100, "dtype": "float32"})
        rows = [
            {
                **{"data": key, "id": problem, "sample": sample, "correct": given == "1", "extracted": given},
                **{
                    "answer": answer,
                    "prompt": f"{prompt}{problem}",
                    "reason": "different number",
                    "length": 5,
                    "finish_reason": "stop",
                },
            }
            for key, problems in data.items()
            for problem, answers in problems.items()
            for sample, given in enumerate(answers)
        ]
        folder.append("responses.jsonl", rows[::-1])
        return tmp_path / name

    return write


def test_values_are_paired_by_problem_whatever_the_order(make):
    first = make("a", {"x": {"p": "1100", "q": "0000", "r": "1111"}})
    second = make("b", {"x": {"r": "1111", "q": "1000", "p": "1110"}})
    result = compare_evaluations(first, second)
    figures = result["benchmarks"]["x"]
    assert (result["models"], result["notes"], figures["problems"], figures["k"]) == (["a", "b"], [], 3, 4)
    assert figures["avg"]["first"]["value"] == pytest.approx(0.5)
    assert figures["avg"]["difference"]["value"] == pytest.approx((0.25 + 0.25) / 3)
    # p: two against two is half a vote.
    assert figures["majority"]["difference"]["value"] == pytest.approx(0.5 / 3)
    assert figures["pass"]["difference"]["value"] == pytest.approx(1 / 3)
    assert {row["id"]: (row["first"], row["second"]) for row in figures["by_problem"]} == {
        "p": (0.5, 0.75),
        "q": (0.0, 0.25),
        "r": (1.0, 1.0),
    }
    assert figures["by_problem"][-1]["id"] == "r"
    json.dumps(result)


def test_wrong_answers_vote_by_what_they_say(make):
    first = make("a", {"x": {"p": ["1", "1", "2", "3"]}})
    second = make("b", {"x": {"p": ["1", "1", "2", "2.0"]}})
    figures = compare_evaluations(first, second)["benchmarks"]["x"]
    assert figures["majority"]["first"]["value"] == 1
    assert figures["majority"]["second"]["value"] == 0.5


def test_the_other_way_round_is_the_other_sign(make):
    rng = np.random.default_rng(0)
    data = [{"x": {str(i): "".join(rng.choice(["0", "1"], 4)) for i in range(20)}} for _ in range(2)]
    first, second = make("a", data[0]), make("b", data[1])
    there, back = (compare_evaluations(*pair)["benchmarks"]["x"] for pair in ((first, second), (second, first)))
    for key in ("avg", "majority", "pass"):
        assert there[key]["difference"]["value"] == pytest.approx(-back[key]["difference"]["value"])
        assert there[key]["difference"]["low"] == pytest.approx(-back[key]["difference"]["high"])
        assert there[key]["p_value"] == pytest.approx(back[key]["p_value"])


def test_several_data_sets_are_also_pooled(make):
    first = make("a", {"x": {"p": "0"}, "y": {"p": "1", "q": "1"}})
    second = make("b", {"x": {"p": "1"}, "y": {"p": "1", "q": "0"}, "z": {"p": "1"}})
    benchmarks = compare_evaluations(first, second)["benchmarks"]
    assert list(benchmarks) == ["x", "y", "all data sets"]
    assert benchmarks["all data sets"]["problems"] == 3
    assert benchmarks["all data sets"]["avg"]["difference"]["value"] == pytest.approx(0)
    assert "majority" not in benchmarks["x"]


def test_a_clear_difference_is_certain_and_a_small_one_is_not(make):
    first = make("a", {"x": {str(i): "0000" for i in range(30)}})
    clear = make("b", {"x": {str(i): "1111" for i in range(30)}})
    small = make("c", {"x": {str(i): "1000" if i < 2 else "0000" for i in range(30)}})
    sure = compare_evaluations(first, clear)["benchmarks"]["x"]["avg"]
    assert sure["p_value"] < 0.001
    assert sure["difference"]["low"] > 0.5
    unsure = compare_evaluations(first, small)["benchmarks"]["x"]["avg"]
    assert unsure["p_value"] == pytest.approx(0.5)
    assert unsure["difference"]["low"] < 0
    assert unsure["needed"] > 30
    assert sure["needed"] is None
    seen = unsure["difference"]["value"]
    assert unsure["needed"] == pytest.approx(30 * (unsure["detectable"] / seen) ** 2, abs=1)


def test_prompts_that_differ_are_said(make):
    first = make("a", {"x": {"p": "1", "q": "0"}})
    second = make("b", {"x": {"p": "1", "q": "0"}}, prompt="Think. ")
    (note,) = compare_evaluations(first, second)["notes"]
    assert note.startswith("x: 2 prompts differ")


def test_what_else_differs_is_said(make):
    first = make("a", {"x": {"p": "11", "q": "00"}})
    second = make("b", {"x": {"p": "1110"}}, temperature=0.6)
    notes = compare_evaluations(first, second)["notes"]
    assert any(note.startswith("temperature differs: 1.0 and 0.6") for note in notes)
    assert any("2 and 4 samples per problem" in note for note in notes)
    assert any("x: 1 problems that only one of them holds" in note for note in notes)


@pytest.mark.parametrize(
    ("other", "answer", "message"),
    [
        ({"y": {"p": "1"}}, "1", "no data set in common"),
        ({"x": {"z": "1"}}, "1", "share no problem id"),
        ({"x": {"p": "1"}}, "2", "problem p has the answer '1' in one evaluation and '2' in the other"),
    ],
)
def test_what_cannot_be_compared_is_refused(make, other, answer, message):
    with pytest.raises(FIPOError, match=message):
        compare_evaluations(make("a", {"x": {"p": "1"}}), make("b", other, answer=answer))
