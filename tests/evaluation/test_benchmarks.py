"""Data sets of an evaluation: names, prompts, graders, what is refused."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("datasets", reason="reading data needs the extra [train]")

from fipo.errors import FIPOError
from fipo.evaluation.benchmarks import load_benchmarks
from fipo.evaluation.settings import EvalSettings


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"problem": f"{i} + {i}?", "answer": str(2 * i)}) + "\n" for i in range(3)))
    return path


def load(*data, **settings):
    return load_benchmarks(EvalSettings("m", tuple(map(str, data)), **settings))


def test_a_file_is_called_by_its_stem_and_has_the_style_that_was_asked_for(file):
    (plain,) = load(file)
    assert (plain.name, plain.style, len(plain.problems)) == ("mine", "dapo", 3)
    assert "Answer:" in plain.problems[0].prompt
    (chat,) = load(file, prompt_style="chat", limit=2)
    assert (chat.style, len(chat.problems)) == ("chat", 2)
    assert chat.problems[1].prompt[0]["role"] == "user"


def test_verl_rows_keep_their_own_chats(tmp_path):
    path = tmp_path / "dapo.jsonl"
    row = {
        "prompt": [{"role": "user", "content": "Say 2."}],
        "reward_model": {"ground_truth": "2", "style": "rule"},
        "data_source": "math_dapo",
    }
    path.write_text(json.dumps(row) + "\n")
    (benchmark,) = load(path)
    assert benchmark.style == "own"
    assert benchmark.problems[0].prompt == row["prompt"]
    assert benchmark.problems[0].answer == "2"


def test_the_description_follows_every_prompt_and_answer(file):
    digests = {load(file, prompt_style=style)[0].describe()["digest"] for style in ("dapo", "boxed", "raw")}
    assert len(digests) == 3
    before = load(file)[0].describe()
    file.write_text(file.read_text().replace('"4"', '"5"'))
    assert load(file)[0].describe() != before


def test_grades_are_those_of_the_task(file):
    (mine,) = load(file)
    grades = mine.grade(mine.problems, ["Answer: 0", "Answer: 3", "no idea 4"], allow_last_number=False)
    assert [(grade.correct, grade.extracted) for grade in grades] == [(True, "0"), (False, "3"), (False, None)]
    assert mine.grade(mine.problems[2:], ["no idea 4"], allow_last_number=True)[0].correct
    (embedded,) = load("arithmetic", limit=2)
    problem = embedded.problems[0]
    texts = [f"so {problem.answer}", f"so {problem.answer} wait so {(int(problem.answer) + 1) % 10}", "\\boxed{1}"]
    grades = embedded.grade([problem] * 3, texts, allow_last_number=False)
    assert [grade.correct for grade in grades] == [True, False, False]
    assert grades[2].reason == "no answer"


def test_the_embedded_task_is_the_same_in_every_evaluation():
    few, many = load("arithmetic", limit=4)[0], load("arithmetic")[0]
    assert few.problems == many.problems[:4]
    assert len(many.problems) == 256
    with pytest.raises(FIPOError, match="has its own prompts"):
        load("arithmetic", prompt_style="boxed")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("aimee24", "no data set 'aimee24' .did you mean 'aime24'"),
        ("arithmetics", "did you mean 'arithmetic'"),
        ("nowhere.jsonl", "no such file"),
    ],
)
def test_an_unknown_name_brings_the_nearest_one(source, message):
    with pytest.raises(FIPOError, match=message):
        load(source)


def test_two_data_sets_of_one_name_are_refused(file, tmp_path):
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    other.write_bytes(file.read_bytes())
    with pytest.raises(FIPOError, match="two data sets are called 'mine'"):
        load(file, other)
    with pytest.raises(FIPOError, match="two data sets are called 'mine'"):
        load(file, file)


def test_bad_rows_name_their_place(file, tmp_path):
    file.write_text(file.read_text() + json.dumps({"problem": "?"}) + "\n")
    with pytest.raises(FIPOError, match=r"mine\.jsonl, line 4: no key 'answer'"):
        load(file)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(FIPOError, match="holds no problems"):
        load(empty)
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"id": 7, "problem": "a", "answer": 1}\n{"id": 7, "problem": "b", "answer": 2}\n')
    with pytest.raises(FIPOError, match=r"line 2: id '7' is also that of .*line 1"):
        load(twice)
