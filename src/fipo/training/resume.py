"""Where a run stands, written last into each checkpoint; and whether it can be continued from there."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fipo.errors import FIPOError
from fipo.runs.files import write_json_atomically
from fipo.runs.folder import CHECKPOINT_STATE_FILE, RunFolder, checkpoint_number

# A run continued with another value of these would be another run.
FIXED = ("seed", "prompts_per_rollout", "num_generations", "updates_per_rollout", "processes", "prompts")


@dataclass(frozen=True)
class CheckpointState:
    """What this trainer needs beside HF's own files.

    Attributes:
        rollout_step: rollouts whose updates have all been made.
        prompt_stream: state of the `PromptStream`.
        fixed: the settings of `FIXED`.
    """

    rollout_step: int
    prompt_stream: dict[str, int]
    fixed: dict[str, Any]

    def write(self, checkpoint: Path) -> None:
        """Mark `checkpoint` as complete."""
        write_json_atomically(checkpoint / CHECKPOINT_STATE_FILE, asdict(self))

    @classmethod
    def read(cls, checkpoint: Path) -> CheckpointState:
        """Raises `FIPOError` for a folder that is no complete checkpoint of this trainer."""
        if not (checkpoint / CHECKPOINT_STATE_FILE).is_file():
            raise FIPOError(
                f"{checkpoint} is no complete checkpoint of this trainer: it has no {CHECKPOINT_STATE_FILE}"
            )
        content = RunFolder(checkpoint).read_json(CHECKPOINT_STATE_FILE)
        try:
            return cls(int(content["rollout_step"]), dict(content["prompt_stream"]), dict(content["fixed"]))
        except (KeyError, TypeError, ValueError):
            raise FIPOError(
                f"{checkpoint / CHECKPOINT_STATE_FILE} holds no checkpoint state: resume from another one"
            ) from None

    def refuse_other_run(self, fixed: dict[str, Any]) -> None:
        """Raise `FIPOError` where the settings of this run are not those of the checkpoint."""
        for name in FIXED:
            if self.fixed.get(name) != fixed[name]:
                raise FIPOError(
                    f"cannot resume with {name}={fixed[name]}: the run was made with {self.fixed.get(name)}; "
                    "leave it as it was, or start a new run from its model"
                )


def find_checkpoint(folder: RunFolder, wanted: str | bool | None) -> Path | None:
    """The checkpoint to resume from: True means the newest complete one, None that there is none yet.

    Raises `FIPOError` where True is given and the folder holds no run.
    """
    if not wanted:
        return None
    if wanted is not True:
        return Path(wanted)
    if not RunFolder.holds_run(folder.path):
        raise FIPOError(f"{folder.path} holds no run to resume")
    return folder.last_checkpoint()


def rotate_checkpoints(folder: RunFolder, limit: int | None, best: str | None) -> None:
    """Keep the newest `limit` complete checkpoints, and the best one."""
    if limit is None or limit < 1:
        return
    for path in folder.checkpoints()[:-limit]:
        if best is None or checkpoint_number(Path(best)) != checkpoint_number(path):
            folder.remove_checkpoint(path)
