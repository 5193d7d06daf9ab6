from __future__ import annotations

import random
import statistics
from collections import Counter

import pytest

from fipo.tasks.arithmetic import Document, Problem, parse_response, sample_document
from fipo.tasks.arithmetic.corpus import Mixture, hard_facts, sample_pass, sample_response
from fipo.tasks.arithmetic.problem import OPERATIONS, apply_operation, generate_problems, split_of

COUNT = 12000


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    rng = random.Random(11)
    return [sample_document(rng) for _ in range(COUNT)]


def answer_of(prompt: str) -> int:
    words = prompt.split()
    return Problem(int(words[0]), tuple(words[2:-1:2])).values[-1]


def test_mixture_shares(documents: list[Document]) -> None:
    shares = {kind: count / COUNT for kind, count in Counter(d.kind for d in documents).items()}
    assert shares == pytest.approx(
        {"direct": 0.70, "chain": 0.17, "guess_checks": 0.05, "chain_checks": 0.08}, abs=0.015
    )


def test_lengths(documents: list[Document]) -> None:
    lengths = sorted(len(d.response.split()) for d in documents)
    assert statistics.fmean(lengths) == pytest.approx(12.7, abs=0.8)
    assert lengths[COUNT // 4] == lengths[COUNT // 2] == 3
    assert 15 <= lengths[3 * COUNT // 4] <= 19
    assert 85 <= lengths[99 * COUNT // 100] <= 105


def test_kinds_have_their_form(documents: list[Document]) -> None:
    for document in documents:
        parsed = parse_response(document.response)
        words = document.response.split()
        assert words[-3:] == ["so", str(parsed.final), "."]
        assert len(parsed.answers) == parsed.num_checks + 1
        assert (parsed.num_checks > 0) == document.kind.endswith("_checks")
        assert parsed.num_checks <= 4
        assert (words[0] == "so") == (document.kind in ("direct", "guess_checks"))


def test_direct_answers_are_always_right(documents: list[Document]) -> None:
    direct = [d for d in documents if d.kind == "direct"]
    assert all(parse_response(d.response).final == answer_of(d.prompt) for d in direct)


def test_only_train_problems_are_shown(documents: list[Document]) -> None:
    assert {split_of(d.prompt) for d in documents} == {"train"}


def test_chains_copy_the_problem_in_order(documents: list[Document]) -> None:
    for document in documents:
        if document.kind != "chain":
            continue
        words = document.response.split()[:-3]
        kept = [word for i, word in enumerate(words) if word != "=" and (i == 0 or words[i - 1] != "=")]
        assert kept == document.prompt.split()[1:-1]


def test_verdicts_say_whether_the_check_agrees() -> None:
    rng = random.Random(5)
    kept_old = disagreed = 0
    for problem in generate_problems(2000, seed=1, split="train"):
        words = sample_response(rng, problem, "chain_checks").split()
        answers = [words[i + 1] for i, word in enumerate(words) if word == "so"]
        verdicts = [word for word in words if word in ("yes", "no")]
        for before, after, verdict in zip(answers, answers[1:], verdicts, strict=False):
            assert verdict == "no" or before == after
            disagreed += verdict == "no"
            kept_old += verdict == "no" and before == after
    assert kept_old / disagreed == pytest.approx(0.1, abs=0.04)


def test_documents_stop_after_each_check_with_the_stated_probability(documents: list[Document]) -> None:
    checks = Counter(parse_response(d.response).num_checks for d in documents if d.kind.endswith("_checks"))
    total = sum(checks.values())
    shares = [checks[count] / total for count in (1, 2, 3, 4)]
    assert shares == pytest.approx([0.6, 0.24, 0.096, 0.064], abs=0.04)


@pytest.mark.parametrize(("waits", "accuracy"), [(0, 0.345), (1, 0.55), (2, 0.825), (4, 0.825)])
def test_later_passes_are_right_more_often(waits: int, accuracy: float) -> None:
    rng = random.Random(waits)
    problems = generate_problems(4000, seed=2, split="train")
    right = sum(sample_pass(rng, problem, waits)[1] == problem.values[-1] for problem in problems)
    assert right / 4000 == pytest.approx(accuracy, abs=0.035)


def test_the_table_of_hard_facts() -> None:
    facts = hard_facts()
    assert Counter(fact.level for fact in facts.values()) == {1: 38, 2: 25}
    assert all(fact.wrong != apply_operation(*pair) for pair, fact in facts.items())
    assert all(0 <= fact.wrong <= 9 for fact in facts.values())


@pytest.mark.parametrize("level", [1, 2])
def test_a_hard_fact_is_wrong_until_its_level(level: int) -> None:
    rng = random.Random(level)
    pairs = [pair for pair, fact in hard_facts().items() if fact.level == level]
    for waits in range(4):
        wrong = 0
        for _ in range(1500):
            value, operation = rng.choice(pairs)
            end = sample_pass(rng, Problem(value, (operation,)), waits)[1]
            wrong += end == hard_facts()[value, operation].wrong
        # A slip leaves the wrong value in 3 % of the cases, and seldom makes it.
        expected = (0.85 if waits < level else 0.05) * 0.97
        assert wrong / 1500 == pytest.approx(expected, abs=0.03)


def test_other_facts_only_slip() -> None:
    rng = random.Random(3)
    easy = [(v, op) for v in range(10) for op in OPERATIONS if (v, op) not in hard_facts()]
    assert len(easy) == 187
    wrong = 0
    for _ in range(6000):
        value, operation = rng.choice(easy)
        wrong += sample_pass(rng, Problem(value, (operation,)), 0)[1] != apply_operation(value, operation)
    assert wrong / 6000 == pytest.approx(0.03, abs=0.01)


def test_a_mixture_can_ask_for_one_operation_and_one_kind() -> None:
    rng = random.Random(8)
    mixture = Mixture(direct=0, chain=1, guess_checks=0, chain_checks=0, one_operation=0.6)
    sampled = [sample_document(rng, mixture) for _ in range(2000)]
    assert {d.kind for d in sampled} == {"chain"}
    short = sum(len(d.prompt.split()) == 4 for d in sampled) / 2000
    assert short == pytest.approx(0.6, abs=0.04)
    assert sample_document(rng, mixture, kind="direct").kind == "direct"
