"""The folder of an evaluation: its settings, every response, the summary (docs/run-folder.md)."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from fipo.errors import FIPOError
from fipo.runs.base import CONFIG_FILE, Folder
from fipo.runs.files import clear_disk_errors, json_line

RESPONSES_FILE = "responses.jsonl"
ENGINE_FILE = "engine.json"
SUMMARY_FILE = "summary.json"
VOTES_FILE = "votes.json"
# A kill loses nothing that was handed to the system; a power cut may lose this many seconds.
SYNC_SECONDS = 1.0


_ROW: dict[str, tuple[type, ...]] = {
    "data": (str,),
    "id": (str,),
    "sample": (int,),
    "correct": (bool,),
    "extracted": (str, type(None)),
    "reason": (str,),
    "answer": (str,),
    "length": (int,),
    "finish_reason": (str,),
}


class EvaluationFolder(Folder):
    """One evaluation on disk; `responses.jsonl` only ever grows."""

    kind = "eval"

    @classmethod
    def find(cls, path: str | Path, *, config: dict[str, Any]) -> EvaluationFolder | None:
        """The evaluation in `path`, if there is one with responses, made with these very settings.

        Raises:
            FIPOError: `path` holds something else, or an evaluation with other settings (each is named).
        """
        if not cls.holds_run(path):
            return None
        folder = cls.open(path)
        if not folder.has_responses():
            return None
        differences = list(_differences(folder.read_json(CONFIG_FILE), config))
        if differences:
            raise FIPOError(
                f"{path} holds an evaluation with other settings ({'; '.join(differences)}): "
                "give these, or another folder with --out"
            )
        return folder

    def refuse_existing(self) -> None:
        """Raise `FIPOError` where `path` is in use; an evaluation without responses has nothing to protect."""
        if self.holds_run(self.path):
            type(self).open(self.path)
            if not self.has_responses():
                return
        super().refuse_existing()
        if self.has_responses() or (self.path.is_dir() and set(os.listdir(self.path)) - {RESPONSES_FILE}):
            raise FIPOError(f"{self.path} is not empty and holds no run: choose another folder with --out")

    def has_responses(self) -> bool:
        """Whether there is anything to continue, or to protect."""
        file = self.path / RESPONSES_FILE
        return file.is_file() and file.stat().st_size > 0

    def config(self) -> dict[str, Any]:
        """`config.json`, with what it must have. Raises `FIPOError` where that is missing or of another kind."""
        return self._checked(CONFIG_FILE, {"model": str, "data": list, "n": int, "benchmarks": dict})

    def engine(self) -> dict[str, Any]:
        """`engine.json`, with what it must have. Raises `FIPOError` where that is missing or of another kind."""
        return self._checked(ENGINE_FILE, {"name": str, "max_tokens": int})

    def _checked(self, name: str, types: dict[str, type]) -> dict[str, Any]:
        content = self.read_json(name)
        for key, kind in types.items():
            if not isinstance(content.get(key), kind) or isinstance(content[key], bool):
                raise FIPOError(f"{self.path / name}: {key} must be a {kind.__name__}, found {content.get(key)!r:.60}")
        return content

    def responses(self) -> Iterator[dict[str, Any]]:
        """`responses.jsonl`, in the order in which they finished; `FIPOError` names a line that is no response."""
        for number, row in enumerate(self.rows(RESPONSES_FILE), start=1):
            wrong = next((key for key, kinds in _ROW.items() if not _is(row, key, kinds)), None)
            if wrong is not None:
                found = row.get(wrong, "nothing") if isinstance(row, dict) else row
                raise FIPOError(
                    f"{self.path / RESPONSES_FILE}, line {number}: no response with a proper {wrong!r} (found "
                    f"{found!r:.60}): mend or remove the line"
                )
            yield row

    def finished(self) -> set[tuple[str, str, int]]:
        """(data, problem id, sample) of the responses that are there."""
        return {(row["data"], row["id"], row["sample"]) for row in self.responses()}

    def writer(self) -> ResponseWriter:
        """Appends responses; a context manager. The folder is made if need be."""
        with clear_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        return ResponseWriter(self.path / RESPONSES_FILE)


class ResponseWriter:
    """Appends JSON lines; only one process at a time may hold it.

    Raises:
        FIPOError: on entering, where another process is writing there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stream: io.FileIO | None = None
        self._synced = 0.0

    def __enter__(self) -> ResponseWriter:
        with clear_disk_errors(self.file):
            # Not "append": a cut last line has to be taken back.
            stream = io.FileIO(self.file, "r+" if self.file.exists() else "w+")
        try:
            _lock(stream, self.file)
            stream.seek(_end_of_last_line(stream))
            stream.truncate()
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows; they are with the operating system when this returns."""
        assert self._stream is not None
        start = self._stream.tell()
        content = memoryview("".join(map(json_line, rows)).encode("utf-8", errors="replace"))
        try:
            with clear_disk_errors(self.file):
                while content:
                    content = content[self._stream.write(content) :]
                if time.monotonic() - self._synced > SYNC_SECONDS:
                    os.fsync(self._stream.fileno())
                    self._synced = time.monotonic()
        except BaseException:
            # Half a line, on a full disk or at Ctrl-C, would spoil the next one.
            self._stream.seek(start)
            self._stream.truncate()
            raise


def _is(row: Any, key: str, kinds: tuple[type, ...]) -> bool:
    """Whether `row` is an object that has `key`, of one of these types; true and false are no numbers."""
    if not isinstance(row, dict) or key not in row or (isinstance(row[key], bool) and bool not in kinds):
        return False
    return isinstance(row[key], kinds) and not (kinds == (int,) and row[key] < 0)


def _differences(there: dict[str, Any], here: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*there, *here]):
        old, new = there.get(key), here.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key} is {old!r:.60} there and {new!r:.60} now"


def _lock(stream: io.FileIO, file: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FIPOError(f"{file} is being written by another process: wait for it, or choose another --out") from None
    except OSError:
        # Some network file systems know no locks.
        return


def _end_of_last_line(stream: io.FileIO) -> int:
    """Where the last whole line ends, read from the back in blocks."""
    position = stream.seek(0, os.SEEK_END)
    while position > 0:
        start = max(0, position - (1 << 16))
        stream.seek(start)
        newline = stream.read(position - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0
