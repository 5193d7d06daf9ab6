"""What the folder of a training run and that of an evaluation have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from fipo.errors import FIPOError
from fipo.runs.files import clear_disk_errors, json_line, json_lines, read_json, write_json_atomically
from fipo.runs.files import write_text_atomically as write_text

SCHEMA_VERSION = 1
RUN_FILE = "run.json"
CONFIG_FILE = "config.json"
ENVIRONMENT_FILE = "environment.json"
KINDS = {"train": "a training run", "eval": "an evaluation"}

FolderType = TypeVar("FolderType", bound="Folder")


class Folder:
    """A folder with `run.json`, `config.json` and `environment.json`.

    Args:
        path: the folder. It is made by `create`, found by `open`.
    """

    kind: ClassVar[str]

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls: type[FolderType], path: str | Path, *, config: Any, environment: dict[str, Any]) -> FolderType:
        """Start anew. Raises `FIPOError` where `path` is in use, or is a file."""
        folder = cls(path)
        folder.refuse_existing()
        with clear_disk_errors(folder.path):
            folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_json(CONFIG_FILE, config)
        folder.write_json(ENVIRONMENT_FILE, environment)
        folder.set_status("running")
        return folder

    def refuse_existing(self) -> None:
        """Raise `FIPOError` where nothing new must be started."""
        if self.path.is_file():
            raise FIPOError(f"{self.path} is a file: give a folder for the run")
        if self.holds_run(self.path):
            raise FIPOError(f"{self.path} already holds a run: continue it with --resume, or choose another folder")

    @classmethod
    def open(cls: type[FolderType], path: str | Path) -> FolderType:
        """An existing one. Raises `FIPOError` where there is none, or its kind or schema is another."""
        folder = cls(path)
        if not cls.holds_run(path):
            raise FIPOError(f"{folder.path} is no run folder: it has no {RUN_FILE}")
        state = folder.read_json(RUN_FILE)
        if state.get("schema_version") != SCHEMA_VERSION:
            found = state.get("schema_version")
            raise FIPOError(f"{folder.path} has run schema {found!r}; this version reads {SCHEMA_VERSION}")
        if state.get("kind") != cls.kind:
            found = KINDS.get(str(state.get("kind")), f"of kind {state.get('kind')!r}")
            raise FIPOError(f"{folder.path} is {found}, not {KINDS[cls.kind]}")
        return folder

    @staticmethod
    def holds_run(path: str | Path) -> bool:
        """Whether `path` was made by `create`, of whatever kind."""
        return (Path(path) / RUN_FILE).is_file()

    def status(self) -> str:
        """ "running", "finished", "failed" or "interrupted"; also "running" where the process was killed."""
        return str(self.read_json(RUN_FILE).get("status"))

    def set_status(self, status: str, **details: Any) -> None:
        """Write the status; `details` (such as the error line) stand beside it."""
        self.write_json(RUN_FILE, {"schema_version": SCHEMA_VERSION, "kind": self.kind, "status": status, **details})

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the JSON files. Raises `FIPOError` where it is missing or not JSON."""
        return read_json(self.path / name)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a file whole or not at all."""
        write_json_atomically(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run whole or not at all, making the folder if need be."""
        with clear_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / name, text)

    def append(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Add JSON lines to a file and flush them to the disk."""
        file = self.path / name
        with clear_disk_errors(file), open(file, "a", encoding="utf-8", errors="replace") as stream:
            for row in rows:
                stream.write(json_line(row))
            stream.flush()
            os.fsync(stream.fileno())

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The JSON lines of a file; a last line that was cut off is left out."""
        return json_lines(self.path / name)
