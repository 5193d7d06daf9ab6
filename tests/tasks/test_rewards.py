from __future__ import annotations

import importlib.util
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from fipo.errors import FIPOError
from fipo.tasks import compute_score, math_reward, rewards


def reply(content: object) -> dict[str, object]:
    return {"role": "assistant", "content": content}


def test_texts() -> None:
    completions = [r"\boxed{3}", "Answer: 4", "no answer", r"\boxed{\frac{1}{2}}"]
    assert math_reward(completions, ["3", "5", "1", "0.5"]) == [1.0, 0.0, 0.0, 1.0]


def test_chat_completions_are_graded_by_their_last_reply() -> None:
    completions = [
        [reply(r"\boxed{3}")],
        [reply(r"\boxed{4}"), {"role": "tool", "content": r"\boxed{3}"}, reply("Answer: 3")],
        [reply([{"type": "text", "text": "Answer: "}, {"type": "text", "text": "3"}])],
        [reply(None)],
        [],
    ]
    assert math_reward(completions, [3] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_other_columns_are_ignored_and_the_name_is_kept_for_the_log() -> None:
    assert math_reward(prompts=["p"], completions=["A: 2"], answer=["2"], completion_ids=[[1]], trainer_state=None) == [
        1.0
    ]
    assert math_reward.__name__ == "math_reward"
    assert math_reward([], []) == []


@pytest.mark.parametrize(
    ("completions", "answer", "message"),
    [
        (["a", "b"], ["1"], "2 completions and 1 answers"),
        (["a"], "1", "one text as answer"),
        ([3], ["1"], "completion 0 is neither text nor a list of chat messages, but int 3"),
        (["a", ["b"]], ["1", "1"], "completion 1 is neither"),
        ([[reply(5)]], ["1"], "completion 0 is neither"),
        (["A: 1", "A: 1"], ["1", None], "sample 1: .*must be text or a number, not NoneType"),
        (["A: 1"], [["1"]], "must be text or a number, not list"),
    ],
)
def test_mistakes_are_named(completions: list[object], answer: list[object], message: str) -> None:
    with pytest.raises(FIPOError, match=message):
        math_reward(completions, answer)


def score(solution: str, truth: object, **options: Any) -> dict[str, Any]:
    return compute_score(
        data_source="math_dapo", solution_str=solution, ground_truth=truth, extra_info={"index": 7}, **options
    )


def test_verl_gets_a_score_an_accuracy_and_the_answer() -> None:
    assert score("Answer: 34", "34") == {"score": 1.0, "acc": 1.0, "pred": "34"}
    assert score("Answer: $33$", "34") == {"score": -1.0, "acc": 0.0, "pred": "33"}
    assert score("I do not know", "34") == {"score": -1.0, "acc": 0.0, "pred": ""}
    assert score(r"\boxed{x+x}", "2x")["acc"] == 1.0
    assert score("Answer: 34", 34)["acc"] == 1.0
    assert compute_score("math", "Answer: 1", "1")["score"] == 1.0


def test_verl_may_set_the_scores_and_add_arguments() -> None:
    assert score("Answer: 1", "1", correct_score=2, incorrect_score=0, reward_router_address=None)["score"] == 2.0
    assert score("Answer: 2", "1", correct_score=2, incorrect_score=0)["score"] == 0.0
    assert score(r"\boxed{9^{9^{9^9}}}", "x", timeout=0.3) == {"score": -1.0, "acc": 0.0, "pred": "9^{9^{9^9}}"}


@pytest.mark.parametrize(
    ("solution", "truth", "options", "message"),
    [
        ("A: 1", None, {}, "reference answer must be text or a number, not NoneType"),
        ("A: 1", "", {}, "ground_truth is empty"),
        ("A: 1", " \n ", {}, "ground_truth is empty"),
        ("A: 1", ["1"], {}, "reference answer must be text or a number, not list"),
        ("A: 1", float("nan"), {}, "finite number, not nan"),
        (None, "1", {}, "response to grade must be text, not NoneType"),
        ("A: 1", "1", {"timeout": 0}, "positive number of seconds"),
    ],
)
def test_a_bad_sample_is_named(solution: Any, truth: Any, options: Any, message: str) -> None:
    with pytest.raises(FIPOError, match=f"^sample of 'math_dapo', index 7: .*{message}") as caught:
        score(solution, truth, **options)
    assert "\n" not in str(caught.value)
    with pytest.raises(FIPOError, match=r"^sample of None: "):
        compute_score(None, solution, truth, "no dictionary", **options)


@pytest.mark.parametrize("value", ["1", None, True, float("inf")])
def test_scores_must_be_numbers(value: Any) -> None:
    with pytest.raises(FIPOError, match="correct_score must be a finite number"):
        score("A: 1", "1", correct_score=value)
    with pytest.raises(FIPOError, match="incorrect_score must be a finite number"):
        score("A: 1", "1", incorrect_score=value)


def _scores_by_path(path: str) -> list[float]:
    """As verl does: the file is loaded by its path, and its function called by keyword."""
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    samples = [("Answer: 1", "1"), (r"\boxed{x+x}", "2x"), (r"\boxed{x}", "y")]
    return [
        module.compute_score(data_source="a", solution_str=text, ground_truth=truth, extra_info={})["score"]
        for text, truth in samples
    ]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_verl_workers_score_in_processes(method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no start method {method} here")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as executor:
        assert list(executor.map(_scores_by_path, [str(rewards.__file__)] * 3)) == [[1.0, 1.0, -1.0]] * 3


def test_verl_workers_score_in_threads() -> None:
    results: list[float] = []
    threads = [
        threading.Thread(target=lambda: results.extend(_scores_by_path(str(rewards.__file__)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results.count(1.0) == 8
    assert results.count(-1.0) == 4
