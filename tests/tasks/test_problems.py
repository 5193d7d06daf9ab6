from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fipo.errors import FIPOError
from fipo.tasks import PROMPT_STYLES, grade, load_problems
from fipo.tasks.prompts import bare_problem, prompt_style
from fipo.tasks.sources import HUB_SOURCES

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
COLUMNS = ["prompt", "answer", "problem", "id"]
VERL_TEXT = (
    "Solve the following math problem step by step. The last line is of the form Answer: $Answer.\n\n"
    'What is 1+1?\n\nRemember to put your answer on its own line after "Answer:".'
)
VERL_ROW = {
    "data_source": "math",
    "prompt": [{"role": "user", "content": VERL_TEXT}],
    "reward_model": {"ground_truth": "2", "style": "rule"},
    "extra_info": {"index": "a"},
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "problems.jsonl"


def message_of(source: str | Path, **options: Any) -> str:
    with pytest.raises(FIPOError) as caught:
        load_problems(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_columns_and_text(file: Path) -> None:
    data = load_problems(write(file, {"problem": " What is 1+1? ", "answer": " 2 ", "other": [1]}))
    assert data.column_names == COLUMNS
    assert data[0]["problem"] == "What is 1+1?"
    assert data[0]["answer"] == "2"
    assert "What is 1+1?" in data[0]["prompt"]
    assert "Answer:" in data[0]["prompt"]


@pytest.mark.parametrize("key", ["problem", "question", "prompt", "query"])
@pytest.mark.parametrize("answer_key", ["answer", "ground_truth", "final_answer", "expected_answer"])
def test_keys_are_found(file: Path, key: str, answer_key: str) -> None:
    row = load_problems(write(file, {key: "1+1?", answer_key: 2}))[0]
    assert (row["problem"], row["answer"]) == ("1+1?", "2")


def test_keys_by_name_reach_into_rows_and_json_text(file: Path) -> None:
    rows = [{"a": {"q": "1+1?"}, "b": '{"c": {"d": 2}}', "x.y": "3"}]
    assert load_problems(write(file, *rows), problem_key="a.q", answer_key="b.c.d")[0]["answer"] == "2"
    assert load_problems(file, problem_key="a.q", answer_key="x.y")[0]["answer"] == "3"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Some reasoning <<1+1=2>>2\n#### 70,000", "70,000"),
        ("She has 2.\nA: 18", "18"),
        ("two lines\nwithout a mark", "two lines\nwithout a mark"),
        (r"\boxed{5}", r"\boxed{5}"),
        (5, "5"),
        (5.0, "5"),
        (0.5, "0.5"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
    ],
)
def test_answers(file: Path, answer: Any, expected: str) -> None:
    assert load_problems(write(file, {"question": "?", "answer": answer}))[0]["answer"] == expected


def test_a_solution_gives_its_boxed_answer(file: Path) -> None:
    assert load_problems(write(file, {"problem": "?", "solution": r"So $\boxed{\frac{1}{2}}$."}))[0]["answer"] == (
        r"\frac{1}{2}"
    )
    both = {"problem": "?", "solution": r"\boxed{1}", "answer": "2"}
    assert load_problems(write(file, both))[0]["answer"] == "2"


def test_prompt_styles(file: Path) -> None:
    write(file, {"problem": "1+1?", "answer": "2"})
    prompts = {style: load_problems(file, prompt_style=style)[0]["prompt"] for style in PROMPT_STYLES}
    assert prompts["raw"] == "1+1?"
    assert prompts["dapo"] == load_problems(file)[0]["prompt"]
    assert "\\boxed{}" in prompts["boxed"]
    assert prompts["chat"] == [{"role": "user", "content": prompts["boxed"]}]
    assert len(set(map(str, prompts.values()))) == len(PROMPT_STYLES)
    assert all("1+1?" in str(prompt) for prompt in prompts.values())


def test_an_answer_as_each_prompt_asks_for_it_is_graded() -> None:
    assert grade("Adding up.\nAnswer: 2", "2").correct
    # A model that only repeats the instruction has not answered.
    for name in PROMPT_STYLES:
        assert not grade(str(prompt_style(name)("Which number is it?")), "2").correct


def test_verl_rows_keep_their_own_messages_unless_a_style_is_given(file: Path) -> None:
    write(file, VERL_ROW)
    row = load_problems(file)[0]
    assert row["prompt"] == VERL_ROW["prompt"]
    assert (row["problem"], row["answer"]) == ("What is 1+1?", "2")
    assert load_problems(file, prompt_style="raw")[0]["prompt"] == "What is 1+1?"
    system = {"role": "system", "content": "Be brief."}
    other = {
        "prompt": [system, {"role": "user", "content": "1+2?", "extra": 1}],
        "reward_model": VERL_ROW["reward_model"],
    }
    assert load_problems(write(file, other))[0]["prompt"] == [system, {"role": "user", "content": "1+2?"}]


def test_bare_problem_leaves_other_text_alone() -> None:
    assert bare_problem(VERL_TEXT) == "What is 1+1?"
    assert bare_problem(" Solve x = 1.\n\nShow it. ") == "Solve x = 1.\n\nShow it."


@pytest.mark.parametrize("nested", [VERL_ROW["reward_model"], json.dumps(VERL_ROW["reward_model"])])
def test_parquet_with_the_verl_schema(tmp_path: Path, nested: Any) -> None:
    path = tmp_path / "verl.parquet"
    rows = [{**VERL_ROW, "reward_model": nested}] * 3
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    data = load_problems(path, limit=2)
    assert data["answer"][:] == ["2", "2"]
    assert data[0]["prompt"] == VERL_ROW["prompt"]


def test_ids(file: Path) -> None:
    one, two = {"problem": "1?", "answer": "1"}, {"problem": "2?", "answer": "2"}
    ids = load_problems(write(file, one, two, one, one))["id"][:]
    assert len(set(ids)) == 4
    assert ids[2] == f"{ids[0]}-2"
    assert ids[3] == f"{ids[0]}-3"
    assert load_problems(write(file, two, one))["id"][:] == [ids[1], ids[0]]
    assert load_problems(write(file, {**one, "id": 7}, {**two, "unique_id": "b"}))["id"][:] == ["7", "b"]


def test_limit_blank_lines_and_byte_order_mark(file: Path) -> None:
    write(file, *({"problem": f"{n}?", "answer": n} for n in range(5)))
    assert load_problems(str(file), limit=3)["answer"][:] == ["0", "1", "2"]
    assert len(load_problems(file, limit=9)) == 5
    file.write_bytes(b'\xef\xbb\xbf{"problem": "1?", "answer": "1"}\r\n\r\n  \n{"problem": "2?", "answer": "2"}')
    assert load_problems(file)["answer"][:] == ["1", "2"]


GOOD = {"problem": "1?", "answer": "1"}


@pytest.mark.parametrize(
    ("bad", "parts"),
    [
        ({"problem": "2?"}, ["no key 'answer'"]),
        ({"answer": "2"}, ["no key 'problem'"]),
        ({"problem": "2?", "answr": "2"}, ["no key 'answer'", "did you mean 'answr'?"]),
        ({"problem": "2?", "answer": None}, ["key 'answer' is empty"]),
        ({"problem": "2?", "answer": "  "}, ["key 'answer' is empty"]),
        ({"problem": "2?", "answer": ["2"]}, ["key 'answer' must be text or a number, not list"]),
        ({"problem": "2?", "answer": {"a": 2}}, ["key 'answer' must be text or a number, not dict"]),
        ({"problem": "2?", "answer": True}, ["key 'answer' must be text or a number, not bool"]),
        ({"problem": "2?", "answer": float("nan")}, ["key 'answer' must be a finite number"]),
        ({"problem": "", "answer": "2"}, ["key 'problem' is empty"]),
        ({"problem": None, "answer": "2"}, ["key 'problem' is empty"]),
        ({"problem": 5, "answer": "2"}, ["key 'problem' must be text or chat messages, not int"]),
        ({"problem": [], "answer": "2"}, ["key 'problem' is empty", "no user message"]),
        ({"problem": ["2?"], "answer": "2"}, ["key 'problem' holds a list whose items are not chat messages"]),
        ({"problem": [{"role": "user"}], "answer": "2"}, ["key 'problem' holds a list"]),
        ({"problem": [{"role": "user", "content": "2?"}], "answer": "2"}, ["mixes text and chat messages"]),
        ({"problem": "\ud800", "answer": "2"}, ["key 'problem'", "not valid Unicode"]),
        ({"problem": "2?", "answer": "2", "id": ["x"]}, ["the id must be text or a whole number, not list"]),
        (["problem"], ["a list, not an object"]),
        (5, ["a int, not an object"]),
    ],
)
def test_bad_rows_name_file_line_and_key(file: Path, bad: Any, parts: list[str]) -> None:
    message = message_of(write(file, GOOD, bad))
    for part in [f"{file}, line 2: ", *parts]:
        assert part in message


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"{'problem': 1}", "not valid JSON"),
        (b'{"problem": "2?", ', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"problem": "2?", "answer": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"problem": "\xff", "answer": "2"}', "not UTF-8 (byte 14 of the line)"),
    ],
)
def test_bad_lines_name_file_and_line(file: Path, line: bytes, part: str) -> None:
    file.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + line + b"\n")
    message = message_of(file)
    assert f"{file}, line 3: {part}" in message


def test_duplicate_ids_name_both_places(file: Path) -> None:
    message = message_of(write(file, {**GOOD, "id": 7}, GOOD, {**GOOD, "id": "7"}))
    assert f"{file}, line 3: id '7' is also that of {file}, line 1" in message


def test_unknown_and_missing_keys(file: Path) -> None:
    write(file, {"task": "1?", "answer": "1", "final": {"value": 1}})
    message = message_of(file)
    assert f"{file}, line 1: no problem under any of the keys problem, question" in message
    assert "give problem_key, the row has 'task', 'answer', 'final'" in message
    message = message_of(file, problem_key="tsk")
    assert "line 1: no key 'tsk' (did you mean 'task'?)" in message
    assert "no key 'final.valu'" in message_of(file, problem_key="task", answer_key="final.valu")
    assert "no answer under any of the keys" in message_of(write(file, {"problem": "1?"}))


def test_solution_without_a_box(file: Path) -> None:
    message = message_of(write(file, {"problem": "1?", "solution": "It is one."}))
    assert f"{file}, line 1: key 'solution' is a solution without \\boxed{{}}" in message


def test_parquet_errors_name_the_row(tmp_path: Path) -> None:
    path = tmp_path / "problems.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([GOOD, {"problem": "2?", "answer": None}]), path)
    assert f"{path}, row 2: key 'answer' is empty" in message_of(path)
    path.write_bytes(b"not parquet")
    assert f"{path}: cannot be read as parquet" in message_of(path)


def test_files_that_cannot_serve(tmp_path: Path, file: Path) -> None:
    file.write_text("\n\n")
    assert message_of(file) == f"{file}: holds no problems"
    assert "no such file (did you mean 'problems.jsonl'?)" in message_of(tmp_path / "problem.jsonl")
    assert "no such file" in message_of(tmp_path / "no" / "folder.jsonl")
    (tmp_path / "problems.csv").write_text("a,b")
    assert ".jsonl, .json (one object a line) or .parquet" in message_of(str(tmp_path / "problems.csv"))
    assert "is a folder" in message_of(str(tmp_path))
    assert "has no splits" in message_of(write(file, GOOD), split="test")


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"])
def test_limit_must_be_a_positive_whole_number(file: Path, limit: Any) -> None:
    assert "limit must be a whole number of rows from 1 up" in message_of(write(file, GOOD), limit=limit)


def test_unknown_style_and_name_suggest_the_nearest(file: Path) -> None:
    message = message_of(write(file, GOOD), prompt_style="boxd")
    assert "no prompt style 'boxd' (did you mean 'boxed'?)" in message
    assert "dapo, boxed, chat, raw" in message
    message = message_of("aime42")
    assert "no data set 'aime42' (did you mean 'aime" in message
    assert "math500" in message
    assert "(did you mean 'gsm8k'?)" in message_of("GSM8")
    with pytest.raises(FIPOError, match="must be a path or a name, not NoneType"):
        load_problems(None)  # type: ignore[arg-type]


class Hub:
    def __init__(self, rows: list[dict[str, Any]] | Exception) -> None:
        self.rows, self.calls = rows, []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        if isinstance(self.rows, Exception):
            raise self.rows
        return datasets.Dataset.from_list(self.rows)


def hub(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]] | Exception) -> Hub:
    fake = Hub(rows)
    monkeypatch.setattr(datasets, "load_dataset", fake)
    return fake


@pytest.mark.parametrize("name", HUB_SOURCES)
def test_short_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = HUB_SOURCES[name]
    row: dict[str, Any] = {entry.problem_key: "1?", "solution": "no box", "url": "x"}
    row |= {"reward_model": {"ground_truth": "1"}} if "." in entry.answer_key else {entry.answer_key: "1"}
    fake = hub(monkeypatch, [row])
    assert load_problems(name.upper())["answer"][:] == ["1"]
    load_problems(name, split="other")
    assert fake.calls == [
        ((entry.repository, entry.config), {"split": entry.split}),
        ((entry.repository, entry.config), {"split": "other"}),
    ]


def test_hub_ids_and_their_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = hub(monkeypatch, [GOOD, {"problem": "2?", "answer": None}])
    assert len(load_problems("org/name", limit=1)) == 1
    assert fake.calls == [(("org/name", None), {"split": "train"})]
    assert "org/name (test), row 2: key 'answer' is empty" in message_of("org/name", split="test")
    hub(monkeypatch, [])
    assert message_of("org/name") == "org/name: holds no problems"
    hub(monkeypatch, ConnectionError("no network\nwith a long trace"))
    message = message_of("aime24")
    assert "HuggingFaceH4/aime_2024: cannot load split 'train' (no network)" in message
    assert "or give a local file" in message


def test_missing_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "needs datasets; install fipo[eval]" in message_of("org/name")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    assert "needs pyarrow; install fipo[eval]" in message_of(tmp_path / "a.parquet")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "a"]), inner),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["problem", "prompt", "answer", "solution", "id"]), json_values), max_size=3
    )
)
def test_any_rows_load_or_are_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    path = write(tmp_path_factory.mktemp("rows") / "any.jsonl", *rows)
    try:
        assert len(load_problems(path)) == len(rows) > 0
    except FIPOError:
        assert str(path) in message_of(path)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    for suffix in ("jsonl", "parquet"):
        path = folder / f"any.{suffix}"
        path.write_bytes(content)
        with pytest.raises(FIPOError):
            load_problems(path)


@pytest.mark.parametrize(
    ("name", "count", "options"),
    [
        ("aime24.jsonl", 30, {}),
        ("aime25.jsonl", 30, {"prompt_style": "chat"}),
        ("math500.jsonl", 500, {"prompt_style": "boxed"}),
        ("math500.jsonl", 500, {"answer_key": "solution"}),
        ("gsm8k_test.jsonl", 1319, {}),
        ("gsm8k_model_solutions.jsonl", 660, {}),
    ],
)
def test_real_files(name: str, count: int, options: dict[str, Any]) -> None:
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"real data not found: ../shared/data/{name}")
    data = load_problems(path, **options)
    assert data.column_names == COLUMNS
    assert len(data) == count == len(set(data["id"]))
    assert all(len(answer) < 100 and "\n" not in answer for answer in data["answer"])
    if "gsm8k" in name:
        assert all(answer.replace(",", "").lstrip("-").isdigit() for answer in data["answer"])
