"""Keeps the run folder of a training run, on the main process."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from fipo.runs.base import CONFIG_FILE
from fipo.runs.environment import describe_environment
from fipo.runs.folder import METRICS_FILE, SAMPLES_FILE, RunFolder
from fipo.training.config import FIPOTrainingConfig


class KeepSchedule(TrainerCallback):
    """On resume HF takes the intervals of logging and saving from the checkpoint; the settings of now count."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put the settings into the state that HF's flow reads."""
        state.logging_steps, state.save_steps = args.logging_steps, args.save_steps


class RunRecorder:
    """Writes config, environment, metrics, samples and status of a run.

    Args:
        args: settings of the run; `args.output_dir` is the folder.
        model_name: path or hub name of the model that training starts from.
        is_main: False on all processes but one, where nothing is written.
    """

    def __init__(self, args: FIPOTrainingConfig, model_name: str, *, is_main: bool) -> None:
        self.args = args
        self.model_name = model_name
        self.is_main = is_main
        self.folder = RunFolder(args.output_dir)

    def start(self, *, resumed_at: tuple[int, int] | None, processes: int) -> None:
        """Make the folder; or, resuming after (rollout, update), drop what will be made again."""
        if not self.is_main:
            return
        if resumed_at is None:
            environment = {**describe_environment(), "processes": processes, "seed": self.args.seed}
            RunFolder.create(self.folder.path, config=self._config(), environment=environment)
            return
        self.folder.rewind(*resumed_at)
        self.folder.write_json(CONFIG_FILE, self._config())
        self.folder.set_status("running", resumed_at=resumed_at[0])

    def watch(self, train: Callable[[], Any]) -> Any:
        """Run `train` and note how it ended."""
        try:
            result = train()
        except BaseException as error:
            if self.is_main and RunFolder.holds_run(self.folder.path):
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                self.folder.set_status(status, error=f"{type(error).__name__}: {error}")
            raise
        if self.is_main:
            self.folder.set_status("finished")
        return result

    def write(self, step: int, update: int, metrics: dict[str, float], samples: list[dict[str, Any]]) -> None:
        """Add one rollout step: a line of metrics and a few responses."""
        if not self.is_main:
            return
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.folder.append(METRICS_FILE, [{"step": step, "update": update, **finite}])
        self.folder.append(SAMPLES_FILE, [{"step": step, **sample} for sample in samples])

    def _config(self) -> dict[str, Any]:
        return {
            "model": self.model_name,
            "algorithm": self.args.algorithm,
            "loss": dataclasses.asdict(self.args.loss_config),
            "training": self.args.to_dict(),
        }
