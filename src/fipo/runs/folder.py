"""The run folder: what a training run leaves on disk, where, and in which schema (docs/run-folder.md)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fipo.runs.base import RUN_FILE, Folder
from fipo.runs.files import json_line, write_text_atomically

METRICS_FILE = "metrics.jsonl"
SAMPLES_FILE = "samples.jsonl"
MODEL_FOLDER = "model"
CHECKPOINT_PREFIX = "checkpoint-"
# Written last into a checkpoint: one without it was cut off while it was being saved.
CHECKPOINT_STATE_FILE = "fipo_state.json"


class RunFolder(Folder):
    """One training run on disk. Lines are flushed as they are written, so a killed process loses none."""

    kind = "train"

    def refuse_existing(self) -> None:
        """Raise `FIPOError` where a new run must not be started."""
        if self.holds_run(self.path) and self._ended_before_its_first_step():
            return
        super().refuse_existing()

    def _ended_before_its_first_step(self) -> bool:
        """A run that failed at its start left nothing to protect; its folder may be used again."""
        state = self.read_json(RUN_FILE)
        failed = state.get("kind") == self.kind and state.get("status") in ("failed", "interrupted")
        return failed and not self.metrics() and not self.checkpoints()

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
                write_text_atomically(file, "".join(json_line(row) for row in kept))

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        named = [path for path in self.path.glob(f"{CHECKPOINT_PREFIX}*") if checkpoint_number(path) >= 0]
        complete = [path for path in named if (path / CHECKPOINT_STATE_FILE).is_file()]
        return sorted(complete, key=checkpoint_number)

    def last_checkpoint(self) -> Path | None:
        """The newest complete checkpoint, or None."""
        return (self.checkpoints() or [None])[-1]  # type: ignore[list-item]

    def model(self) -> Path | None:
        """The folder of the final model; of the newest checkpoint where the run has none; or None."""
        final = self.path / MODEL_FOLDER
        return (
            final
            if (final / "config.json").is_file() or (final / "adapter_config.json").is_file()
            else (self.last_checkpoint())
        )

    def remove_checkpoint(self, path: Path) -> None:
        """Delete a checkpoint so that it never looks complete while half of it is gone."""
        (path / CHECKPOINT_STATE_FILE).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def checkpoint_number(path: Path) -> int:
    """N of `checkpoint-N`; −1 for any other name."""
    number = path.name.removeprefix(CHECKPOINT_PREFIX)
    return int(number) if path.name.startswith(CHECKPOINT_PREFIX) and number.isdigit() else -1
