"""The run folder: what a training run leaves on disk, where, and in which schema (docs/run-folder.md)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
CONFIG_FILE = "config.json"
ENVIRONMENT_FILE = "environment.json"
METRICS_FILE = "metrics.jsonl"
SAMPLES_FILE = "samples.jsonl"
CHECKPOINT_PREFIX = "checkpoint-"
# Written last into a checkpoint: one without it was cut off while it was being saved.
CHECKPOINT_STATE_FILE = "fipo_state.json"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class RunFolder:
    """One training run on disk. Lines are flushed as they are written, so a killed process loses none.

    Args:
        path: the folder. It is made by `create`, found by `open`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path, *, config: dict[str, Any], environment: dict[str, Any]) -> RunFolder:
        """Start a new run. Raises `FIPOError` where `path` already holds a run, or is a file."""
        folder = cls(path)
        folder.refuse_existing()
        with _clear_disk_errors(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_json(CONFIG_FILE, config)
        folder.write_json(ENVIRONMENT_FILE, environment)
        folder.set_status("running")
        return folder

    def refuse_existing(self) -> None:
        """Raise `FIPOError` where a new run must not be started."""
        if self.path.is_file():
            raise FIPOError(f"{self.path} is a file: give a folder for the run")
        if self.holds_run(self.path) and not self._ended_before_its_first_step():
            raise FIPOError(f"{self.path} already holds a run: continue it with --resume, or choose another folder")

    def _ended_before_its_first_step(self) -> bool:
        """A run that failed at its start left nothing to protect; its folder may be used again."""
        failed = self.read_json(RUN_FILE).get("status") in ("failed", "interrupted")
        return failed and not self.metrics() and not self.checkpoints()

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run. Raises `FIPOError` where there is none, or its schema is not this one."""
        folder = cls(path)
        if not cls.holds_run(path):
            raise FIPOError(f"{folder.path} is no run folder: it has no {RUN_FILE}")
        version = folder.read_json(RUN_FILE).get("schema_version")
        if version != SCHEMA_VERSION:
            raise FIPOError(f"{folder.path} has run schema {version!r}; this version reads {SCHEMA_VERSION}")
        return folder

    @staticmethod
    def holds_run(path: str | Path) -> bool:
        """Whether `path` was made by `create`."""
        return (Path(path) / RUN_FILE).is_file()

    def set_status(self, status: str, **details: Any) -> None:
        """`status`: "running", "finished" or "failed"; `details` (such as the error line) stand beside it."""
        self.write_json(RUN_FILE, {"schema_version": SCHEMA_VERSION, "kind": "train", "status": status, **details})

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the JSON files. Raises `FIPOError` where it is missing or not JSON."""
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FIPOError(f"{file} is missing") from None
        except ValueError as error:
            raise FIPOError(f"{file} is not valid JSON: {error}") from None

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        write_json_atomically(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run whole or not at all, making the folder if need be."""
        with _clear_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        _write_atomically(self.path / name, text)

    def append(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add JSON lines to `metrics.jsonl` or `samples.jsonl` and flush them to the disk."""
        with (
            _clear_disk_errors(self.path / name),
            open(self.path / name, "a", encoding="utf-8", errors="replace") as file,
        ):
            for row in rows:
                file.write(_json_line(row))
            file.flush()
            os.fsync(file.fileno())

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The JSON lines of a file; a last line that was cut off is left out."""
        file = self.path / name
        if not file.exists():
            return
        with open(file, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith("\n"):
                    return
                try:
                    yield json.loads(line)
                except ValueError:
                    raise FIPOError(f"{file}, line {number} is not valid JSON: mend or remove the line") from None

    def metrics(self) -> list[dict[str, Any]]:
        """`metrics.jsonl`, one row per rollout step."""
        return list(self.rows(METRICS_FILE))

    def samples(self) -> list[dict[str, Any]]:
        """`samples.jsonl`, one row per recorded response."""
        return list(self.rows(SAMPLES_FILE))

    def rewind(self, last_step: int, last_update: int) -> None:
        """Drop what came after `last_step`, lines and checkpoints: a resumed run makes them again."""
        for path in self.checkpoints():
            if checkpoint_number(path) > last_update:
                (path / CHECKPOINT_STATE_FILE).unlink()
        for name in (METRICS_FILE, SAMPLES_FILE):
            kept = [row for row in self.rows(name) if row.get("step", 0) <= last_step]
            file = self.path / name
            if file.exists():
                _write_atomically(file, "".join(_json_line(row) for row in kept))

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        named = [path for path in self.path.glob(f"{CHECKPOINT_PREFIX}*") if checkpoint_number(path) >= 0]
        complete = [path for path in named if (path / CHECKPOINT_STATE_FILE).is_file()]
        return sorted(complete, key=checkpoint_number)

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        return (self.checkpoints() or [None])[-1]  # type: ignore[list-item]

    def remove_checkpoint(self, path: Path) -> None:
        """Delete a checkpoint so that it never looks complete while half of it is gone."""
        (path / CHECKPOINT_STATE_FILE).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def checkpoint_number(path: Path) -> int:
    """N of `checkpoint-N`; −1 for any other name."""
    number = path.name.removeprefix(CHECKPOINT_PREFIX)
    return int(number) if path.name.startswith(CHECKPOINT_PREFIX) and number.isdigit() else -1


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, is the disk being full, in the words of the libraries that write."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        text = str(error)
        if any(sign in text for sign in ("No space left on device", "os error 28", "PytorchStreamWriter failed")):
            return True
        error = error.__cause__ or error.__context__
    return False


def write_json_atomically(file: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all (temporary file, then rename)."""
    _write_atomically(file, json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def _json_line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"


def _write_atomically(file: Path, text: str) -> None:
    with _clear_disk_errors(file):
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def _clear_disk_errors(file: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line each."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FIPOError(f"no disk space left to write {file}: free some, then continue with --resume") from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise FIPOError(f"cannot write {file}: {error.strerror}") from None
        raise
