"""`fipo eval` and `fipo compare` as a user types them: tables, files, kills, mistakes."""

from __future__ import annotations

import json
import shutil
import signal
import time

import pytest

pytest.importorskip("typer", reason="the command line needs the extra [cli]")
pytest.importorskip("transformers", reason="sampling needs the extra [eval]")
pytest.importorskip("datasets", reason="reading data needs the extra [eval]")

from fipo.cli.evaluate import default_folder
from fipo.cli.main import run
from fipo.runs import EvaluationFolder, RunFolder
from fipo.tasks.arithmetic import base_model_path
from tests.cli.command import fipo, start

EMBEDDED = ("--model", "arithmetic-base", "--data", "arithmetic", "--top-p", "1", "--engine", "transformers")


def rows(out):
    return sorted(EvaluationFolder.open(out).responses(), key=lambda row: (row["id"], row["sample"]))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two evaluations of the shipped model on the same eight problems, with other seeds."""
    folder = tmp_path_factory.mktemp("evaluations")
    printed = []
    for seed in "01":
        code, out, err = fipo(
            "eval", *EMBEDDED, "--n", "4", "--limit", "8", "--seed", seed, "--out", str(folder / seed)
        )
        assert (code, err) == (0, "")
        printed.append(out)
    return folder, printed


def test_the_table_shows_what_the_summary_holds(two):
    folder, printed = two
    figures = json.loads((folder / "0" / "summary.json").read_text())["benchmarks"]["arithmetic"]
    value, low, high = (100 * figures["avg"][key] for key in ("value", "low", "high"))
    assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in printed[0]
    assert "32/32" in printed[0]
    for word in (
        "avg@4",
        "if repeated",
        "cons@4",
        "pass@4",
        "truncated",
        "no answer",
        "tokens/s",
        "left",
        "8 problems",
    ):
        assert word in printed[0], word
    assert "temperature 1, top-p 1, up to" in printed[0]
    assert "pass@2" not in printed[0]


def test_the_counts_asked_for_are_shown(two):
    folder, _ = two
    code, out, _ = fipo("eval", *EMBEDDED, "--n", "4", "--limit", "8", "--out", str(folder / "0"), "--k", "2,4")
    assert code == 0
    assert "pass@2" in out
    assert "maj@2" in out
    assert "pass@1 " not in out


def test_two_evaluations_are_compared_problem_by_problem(two, tmp_path):
    folder, _ = two
    file = tmp_path / "new" / "comparison.json"
    code, out, err = fipo("compare", str(folder / "0"), str(folder / "1"), "--out", str(file))
    assert (code, err) == (0, "")
    figures = json.loads(file.read_text())["benchmarks"]["arithmetic"]
    accuracy = [EvaluationFolder.open(folder / seed).read_json("summary.json") for seed in "01"]
    first, second = (entry["benchmarks"]["arithmetic"]["avg"]["value"] for entry in accuracy)
    assert figures["avg"]["difference"]["value"] == pytest.approx(second - first)
    assert f"{100 * (second - first):+.1f} [" in out
    assert "avg@4" not in out
    assert "cons@4" in out
    assert "note:" not in out
    assert len(figures["by_problem"]) == 8


def test_an_evaluation_compared_with_itself_differs_by_nothing(two):
    folder, _ = two
    code, out, _ = fipo("compare", str(folder / "0"), str(folder / "0"))
    assert code == 0
    assert "+0.0 [" in out
    assert "1.000" in out


def test_a_terminal_that_knows_ascii_alone_gets_the_numbers_too(two):
    folder, _ = two
    code, out, err = fipo("compare", str(folder / "0"), str(folder / "0"), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    assert "+0.0 [" in out


def test_differences_of_the_protocol_are_noted(two, tmp_path):
    folder, _ = two
    assert (
        fipo("eval", *EMBEDDED, "--n", "2", "--limit", "4", "--max-tokens", "9", "--out", str(tmp_path / "other"))[0]
        == 0
    )
    code, out, _ = fipo("compare", str(folder / "0"), str(tmp_path / "other"))
    assert code == 0
    assert "4 and 2 samples per problem: votes and pass@k are of 2" in out
    assert "max_tokens differs" in out
    assert "4 problems that only one of them holds are left out" in out
    assert "4 problems" in out
    assert "pass@2" in out


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_where_it_was(tmp_path):
    arguments = ("eval", *EMBEDDED, "--n", "8", "--limit", "40", "--batch-size", "4")
    process = start(*arguments, "--out", str(tmp_path / "cut"))
    deadline = time.monotonic() + 120
    file = tmp_path / "cut" / "responses.jsonl"
    while not (file.is_file() and file.read_bytes().count(b"\n") > 20) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    kept = file.read_bytes()
    kept = kept[: kept.rfind(b"\n") + 1]
    assert 20 < kept.count(b"\n") < 320
    with open(file, "ab") as stream:
        stream.write(b'{"data": "arithm')
    code, out, err = fipo("eval", "--resume", str(tmp_path / "cut"))
    assert (code, err) == (0, "")
    assert f"{len(kept.splitlines())} of 320 responses are there already" in out
    assert file.read_bytes().startswith(kept)
    assert fipo(*arguments, "--out", str(tmp_path / "whole"))[0] == 0
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_evaluation_says_how_to_go_on(tmp_path, number):
    out = tmp_path / "out"
    process = start("eval", *EMBEDDED, "--n", "32", "--batch-size", "2", "--out", str(out))
    deadline = time.monotonic() + 120
    while not (out / "responses.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(1)
    process.send_signal(number)
    said, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"continue with: fipo eval --resume {out}" in said
    assert "Traceback" not in err
    assert err.strip() == "error: interrupted"
    assert EvaluationFolder.open(out).status() == "interrupted"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval"], "no model: give --model"),
        (["eval", "--model", "arithmetic-base"], "no data: give --data"),
        (["eval", "--model", "arithmetic-bas", "--data", "arithmetic"], "did you mean 'arithmetic-base'?"),
        (["eval", "--model", "runs", "--data", "arithmetic"], "there are runs in it: runs/first"),
        (["eval", "--model", "arithmetic-base", "--data", "aime2"], "did you mean 'aime25'?"),
        (["eval", "--model", "arithmetic-base", "--data", "missing.jsonl"], "missing.jsonl: no such file"),
        (["eval", "--model", "arithmetic-base", "--data", "empty.jsonl"], "empty.jsonl: holds no problems"),
        (["eval", "--model", "arithmetic-base", "--data", "keys.jsonl"], "keys.jsonl, line 2: no key 'answer'"),
        (["eval", "--model", "arithmetic-base", "--data", "twice.jsonl"], "line 2: id '7' is also that of"),
        (["eval", *EMBEDDED, "--n", "0"], "--n 0 must be a whole number from 1 up"),
        (["eval", *EMBEDDED, "--n", "4", "--k", "8"], "--k '8' must be a whole number from 1 to 4"),
        (["eval", *EMBEDDED, "--temperature", "0"], "give --n 1"),
        (["eval", *EMBEDDED, "--engine", "vlm"], "did you mean 'vllm'?"),
        (["eval", *EMBEDDED, "--engine", "server"], "--base-url http://host:8000/v1"),
        (["eval", *EMBEDDED, "--base-url", "http://127.0.0.1:9"], "leave one of them out"),
        (["eval", *EMBEDDED, "--max-tokens", "5000"], "give at most"),
        (["eval", *EMBEDDED, "--prompt-style", "boxt"], "the embedded task has its own prompts"),
        (["eval", *EMBEDDED, "--device", "cuda:9"], "cuda:9"),
        (["eval", *EMBEDDED, "--device", "meta"], "--device 'meta' must be auto or one of cpu, cuda"),
        (["eval", *EMBEDDED, "--limit", "1000000000"], "must be at most 100000"),
        (["eval", *EMBEDDED, "--out", "file"], "file is a file"),
        (["eval", *EMBEDDED, "--out", "runs/first"], "is a training run, not an evaluation"),
        (["eval", "--resume", "nowhere"], "is no run folder"),
        (["eval", "--resume", "runs/first"], "is a training run, not an evaluation"),
        (["eval", "--resume", "x", "--data", "aime24"], "leave --data out"),
        (["eval", "--resume", "x", "--n", "3", "--temperature", "1"], "leave --n, --temperature out"),
        (["eval", *EMBEDDED, "--out", "runs"], "is not empty and holds no run"),
        (["compare", "runs/first", "runs/first"], "is a training run, not an evaluation"),
        (["compare", "nowhere", "nowhere"], "is no run folder"),
    ],
)
def test_a_mistake_is_one_line_with_the_fix(tmp_path, monkeypatch, capfd, arguments, message):
    RunFolder.create(tmp_path / "runs" / "first", config={}, environment={})
    (tmp_path / "file").touch()
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "keys.jsonl").write_text('{"problem": "a", "answer": 1}\n{"problem": "b"}\n')
    (tmp_path / "twice.jsonl").write_text(
        '{"id": 7, "problem": "a", "answer": 1}\n{"id": 7, "problem": "b", "answer": 2}\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fipo", *arguments])
    with pytest.raises(SystemExit) as exit_code:
        run()
    err = capfd.readouterr().err
    assert exit_code.value.code == 1
    assert message in err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: ")


def test_an_evaluation_of_other_settings_is_refused_with_the_difference(two):
    folder, _ = two
    code, _, err = fipo("eval", *EMBEDDED, "--n", "5", "--limit", "8", "--out", str(folder / "0"))
    assert code == 1
    assert "n is 4 there and 5 now" in err


def test_comparing_unfinished_or_unrelated_evaluations_is_refused(two, tmp_path):
    folder, _ = two
    cut = tmp_path / "cut"
    shutil.copytree(folder / "0", cut)
    lines = (cut / "responses.jsonl").read_text().splitlines(keepends=True)
    (cut / "responses.jsonl").write_text("".join(lines[:-1]))
    code, _, err = fipo("compare", str(folder / "0"), str(cut))
    assert (code, "holds 31 of 32 responses to arithmetic: finish it with fipo eval --resume" in err) == (1, True)
    data = tmp_path / "other.jsonl"
    data.write_text('{"problem": "b", "answer": 1}\n')
    other = tmp_path / "other"
    settings = ("--model", str(base_model_path()), "--data", str(data), "--prompt-style", "raw", "--n", "1")
    assert fipo("eval", *settings, "--engine", "transformers", "--out", str(other))[0] == 0
    code, _, err = fipo("compare", str(folder / "0"), str(other))
    assert (code, "have no data set in common" in err) == (1, True)


def test_the_default_folder_says_model_and_data():
    assert (
        str(default_folder("Qwen/Qwen2.5-0.5B", ("aime24", "my data/x.jsonl")))
        == "runs/eval/Qwen-Qwen2.5-0.5B-aime24-x"
    )
    assert str(default_folder("runs/demo/fipo/model", ("arithmetic",))) == "runs/eval/demo-fipo-arithmetic"
    assert str(default_folder("/", ("/",))).startswith("runs/eval/")
