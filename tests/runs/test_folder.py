"""The run folder: whole or not at all, and clear about what is wrong."""

from __future__ import annotations

import datetime
import errno
import json
import os

import pytest

from fipo.errors import FIPOError
from fipo.runs import SCHEMA_VERSION, RunFolder, describe_environment
from fipo.runs.files import is_disk_full


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", config={"a": 1}, environment={"b": 2})


def test_a_new_run_holds_config_environment_and_status(folder):
    assert folder.read_json("config.json") == {"a": 1}
    assert folder.read_json("environment.json") == {"b": 2}
    assert folder.read_json("run.json") == {"schema_version": SCHEMA_VERSION, "kind": "train", "status": "running"}
    assert RunFolder.open(folder.path).path == folder.path


def test_an_existing_run_is_not_touched(folder):
    with pytest.raises(FIPOError, match="already holds a run: continue it with --resume"):
        RunFolder.create(folder.path, config={}, environment={})
    assert folder.read_json("config.json") == {"a": 1}


def test_the_folder_of_a_run_that_never_began_may_be_used_again(folder):
    folder.set_status("failed", error="ValueError: bad setting")
    assert RunFolder.create(folder.path, config={"a": 2}, environment={}).read_json("config.json") == {"a": 2}
    folder.append("metrics.jsonl", [{"step": 1}])
    folder.set_status("failed", error="later")
    with pytest.raises(FIPOError, match="already holds a run"):
        RunFolder.create(folder.path, config={}, environment={})


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(FIPOError, match="is a file"):
        RunFolder.create(tmp_path / "run", config={}, environment={})


def test_what_is_no_run_is_refused(tmp_path, folder):
    with pytest.raises(FIPOError, match="is no run folder"):
        RunFolder.open(tmp_path)
    folder.write_json("run.json", {"schema_version": 99})
    with pytest.raises(FIPOError, match="schema 99; this version reads 1"):
        RunFolder.open(folder.path)
    (folder.path / "run.json").write_text("{")
    with pytest.raises(FIPOError, match="not valid JSON"):
        RunFolder.open(folder.path)


def test_lines_are_on_disk_at_once_and_a_cut_line_is_left_out(folder):
    folder.append("metrics.jsonl", [{"step": 1, "x": 0.1}, {"step": 2, "x": 0.2}])
    assert len((folder.path / "metrics.jsonl").read_text().splitlines()) == 2
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "x"')
    assert folder.metrics() == [{"step": 1, "x": 0.1}, {"step": 2, "x": 0.2}]


def test_rewinding_drops_later_lines_and_keeps_numbers_exact(folder):
    value = 0.1 + 0.2
    folder.append("metrics.jsonl", [{"step": step, "x": value * step} for step in range(1, 6)])
    folder.append("samples.jsonl", [{"step": step, "prompt": "é\n"} for step in (1, 1, 4)])
    for number in (24, 32):
        (folder.path / f"checkpoint-{number}").mkdir()
        (folder.path / f"checkpoint-{number}" / "fipo_state.json").write_text("{}")
    folder.rewind(3, 24)
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-24"]
    assert folder.metrics() == [{"step": step, "x": value * step} for step in range(1, 4)]
    assert [row["step"] for row in folder.samples()] == [1, 1]


def test_a_broken_line_is_named(folder):
    (folder.path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(FIPOError, match=r"metrics.jsonl, line 2 is not valid JSON"):
        folder.metrics()


def test_anything_can_be_written_down(folder):
    folder.append("samples.jsonl", [{"step": 1, "answer": datetime.date(2026, 1, 2), "text": "lone \ud800 surrogate"}])
    row = folder.samples()[0]
    assert row["answer"] == "2026-01-02"
    assert "surrogate" in row["text"]


def test_a_full_disk_is_known_by_what_libraries_say():
    assert is_disk_full(OSError(errno.ENOSPC, "x"))
    assert is_disk_full(RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"))
    outer = RuntimeError("later")
    outer.__cause__ = OSError(errno.ENOSPC, "x")
    assert is_disk_full(outer)
    assert not is_disk_full(RuntimeError("shape mismatch"))


def test_only_complete_checkpoints_count_and_numbers_order_them(folder):
    for name in ("checkpoint-8", "checkpoint-16", "checkpoint-100", "checkpoint-x", "checkpoint-"):
        (folder.path / name).mkdir()
        if name != "checkpoint-100":
            (folder.path / name / "fipo_state.json").write_text("{}")
    assert [path.name for path in folder.checkpoints()] == ["checkpoint-8", "checkpoint-16"]
    assert folder.last_checkpoint() == folder.path / "checkpoint-16"


def test_a_run_without_checkpoints_has_no_last_one(folder):
    assert folder.last_checkpoint() is None


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "no disk space left"), (errno.EACCES, "cannot write"), (errno.EROFS, "cannot write")],
)
def test_a_full_or_closed_disk_is_one_line_and_loses_nothing(folder, monkeypatch, number, message):
    folder.append("metrics.jsonl", [{"step": 1}])

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(FIPOError, match=message) as caught:
            folder.write_json("config.json", {"a": 2})
        with pytest.raises(FIPOError, match=message):
            folder.append("samples.jsonl", [{"step": 1}])
    assert "\n" not in str(caught.value)
    assert folder.read_json("config.json") == {"a": 1}
    assert folder.metrics() == [{"step": 1}]
    assert not list(folder.path.glob(".config*"))


def test_the_environment_names_versions_and_hardware_but_no_person_or_place():
    environment = describe_environment()
    assert environment["packages"]["torch"]
    assert environment["cpu_cores"] >= 1
    text = json.dumps({k: v for k, v in environment.items() if k != "command"})
    assert os.path.expanduser("~") + "/" not in text
    assert os.uname().nodename not in text or len(os.uname().nodename) < 4


def test_the_command_is_noted_without_passwords(monkeypatch):
    monkeypatch.setattr("sys.argv", ["fipo", "eval", "--base-url", "http://user:secret@host:8000/v1"])
    assert describe_environment()["command"] == "fipo eval --base-url http://host:8000/v1"
