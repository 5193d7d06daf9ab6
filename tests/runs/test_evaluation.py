"""The folder of an evaluation: same settings or refused, lines that survive, one writer."""

from __future__ import annotations

import errno
import io
import json
import os

import pytest

from fipo.errors import FIPOError
from fipo.runs import EvaluationFolder, RunFolder
from fipo.runs.evaluation import RESPONSES_FILE

CONFIG = {"model": "m", "data": ["aime24"], "n": 4, "benchmarks": {"aime24": {"problems": 30, "digest": "a"}}}


def row(identifier, **values):
    usual = {"correct": False, "extracted": None, "reason": "no answer", "answer": "1", "length": 3}
    return {"data": "aime24", "id": identifier, "sample": 0, **usual, "finish_reason": "stop", **values}


@pytest.fixture
def folder(tmp_path):
    folder = EvaluationFolder.create(tmp_path / "eval", config=CONFIG, environment={})
    with folder.writer() as writer:
        writer.write([row("1")])
    return folder


def test_an_evaluation_is_found_again_with_the_same_settings_only(folder, tmp_path):
    assert EvaluationFolder.find(folder.path, config=CONFIG).path == folder.path
    assert EvaluationFolder.find(tmp_path / "nowhere", config=CONFIG) is None
    other = {**CONFIG, "n": 8, "benchmarks": {"aime24": {"problems": 30, "digest": "b"}}}
    with pytest.raises(FIPOError) as caught:
        EvaluationFolder.find(folder.path, config=other)
    assert "n is 4 there and 8 now" in str(caught.value)
    assert "benchmarks.aime24.digest is 'a' there and 'b' now" in str(caught.value)
    assert "--out" in str(caught.value)


def test_an_evaluation_without_responses_may_be_replaced_and_one_with_them_not(folder, tmp_path):
    EvaluationFolder.create(tmp_path / "empty", config=CONFIG, environment={})
    assert EvaluationFolder.find(tmp_path / "empty", config={**CONFIG, "n": 8}) is None
    EvaluationFolder.create(tmp_path / "empty", config={**CONFIG, "n": 8}, environment={})
    assert EvaluationFolder.open(tmp_path / "empty").read_json("config.json")["n"] == 8
    with pytest.raises(FIPOError, match="already holds a run"):
        EvaluationFolder.create(folder.path, config=CONFIG, environment={})


def test_the_folder_of_a_training_run_is_not_taken_for_an_evaluation_nor_the_reverse(folder, tmp_path):
    RunFolder.create(tmp_path / "run", config={}, environment={})
    with pytest.raises(FIPOError, match="is a training run, not an evaluation"):
        EvaluationFolder.find(tmp_path / "run", config=CONFIG)
    with pytest.raises(FIPOError, match="is a training run, not an evaluation"):
        EvaluationFolder.create(tmp_path / "run", config=CONFIG, environment={})
    with pytest.raises(FIPOError, match="is an evaluation, not a training run"):
        RunFolder.open(folder.path)
    with pytest.raises(FIPOError, match="already holds a run"):
        RunFolder.create(folder.path, config={}, environment={})


@pytest.mark.parametrize("rest", ['{"data": "aime24", "id": "2", "sam', '{"id": "' + "x" * 200_000, "\udcff"])
def test_a_cut_last_line_is_taken_back_before_more_is_written(folder, rest):
    file = folder.path / RESPONSES_FILE
    with open(file, "a", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(rest)
    assert folder.finished() == {("aime24", "1", 0)}
    with folder.writer() as writer:
        writer.write([row("3")])
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["1", "3"]


def test_any_text_can_be_written(folder):
    text = "\ud800 \x00 \u202e\u2028 </script> \n"
    with folder.writer() as writer:
        writer.write([row("2", response=text)])
    assert [found["id"] for found in folder.responses()] == ["1", "2"]
    assert list(folder.responses())[1]["response"] == text.replace("\ud800", "?")


def test_only_one_process_writes(folder):
    with folder.writer(), pytest.raises(FIPOError, match="is being written by another process"), folder.writer():
        pass
    with folder.writer():
        pass


class FullDisk(io.FileIO):
    """Takes five bytes, then has no room."""

    def write(self, data):
        super().write(bytes(data[:5]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_write_that_breaks_off_leaves_whole_lines(folder):
    file = folder.path / RESPONSES_FILE
    before = file.read_bytes()
    with folder.writer() as writer:
        whole = writer._stream
        writer._stream = FullDisk(os.dup(whole.fileno()), "r+")
        with writer._stream, pytest.raises(FIPOError, match="no disk space left to write"):
            writer.write([{"id": "2", "response": "longer than five bytes"}])
        writer._stream = whole
        assert file.read_bytes() == before
        writer.write([row("3")])
    assert [found["id"] for found in folder.responses()] == ["1", "3"]


@pytest.mark.parametrize(
    ("broken", "key"),
    [
        ([], "data"),
        (None, "data"),
        ({"data": "aime24"}, "id"),
        (row(["1"]), "id"),
        (row("1", sample="0"), "sample"),
        (row("1", sample=True), "sample"),
        (row("1", sample=-1), "sample"),
        (row("1", correct=1), "correct"),
        (row("1", extracted=7), "extracted"),
        (row("1", length=None), "length"),
        (row("1", finish_reason=None), "finish_reason"),
        (row("1", reason=[]), "reason"),
    ],
)
def test_a_line_that_is_no_response_is_named(folder, broken, key):
    folder.append(RESPONSES_FILE, [broken])
    with pytest.raises(FIPOError, match=rf"responses\.jsonl, line 2: no response with a proper '{key}'"):
        list(folder.responses())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {**CONFIG, "n": "4"}, "n must be a int, found '4'"),
        ("config.json", {**CONFIG, "benchmarks": None}, "benchmarks must be a dict, found None"),
        ("config.json", [], "holds a list, not an object"),
        ("engine.json", {"name": "vllm"}, "max_tokens must be a int, found None"),
    ],
)
def test_a_broken_file_names_its_key(folder, name, content, message):
    folder.write_json(name, content)
    with pytest.raises(FIPOError, match=rf"{name}.*{message}"):
        folder.config() if name == "config.json" else folder.engine()


def test_a_status_file_that_is_no_object_is_refused(folder):
    folder.write_json("run.json", [])
    with pytest.raises(FIPOError, match=r"run\.json holds a list, not an object"):
        EvaluationFolder.open(folder.path)
