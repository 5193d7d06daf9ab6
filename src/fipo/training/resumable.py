"""A TRL trainer whose runs leave a run folder and can be cut off and continued between rollouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trl import GRPOTrainer

from fipo.errors import FIPOError
from fipo.runs.folder import CHECKPOINT_PREFIX
from fipo.training.prompts import PromptStream
from fipo.training.recorder import RunRecorder
from fipo.training.resume import FIXED, CheckpointState, find_checkpoint, rotate_checkpoints


class ResumableTrainer(GRPOTrainer):
    """Adds to `GRPOTrainer` what a run needs to be continued exactly; `FIPOTrainer` gives it recorder and stream."""

    _recorder: RunRecorder
    _stream: PromptStream

    @property
    def rollout_step(self) -> int:
        """Rollouts whose updates have all been made."""
        return self.state.global_step // self.args.updates_per_rollout

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As TRL's; `resume_from_checkpoint=True` takes the newest complete checkpoint of the run folder.

        A run without one yet starts again; one that has all its rollouts only loads its weights.

        Raises:
            FIPOError: settings that are not those of the checkpoint, a folder in use, data for no rollout at all.
        """
        checkpoint = find_checkpoint(self._recorder.folder, resume_from_checkpoint)
        resumed_at = (0, 0) if resume_from_checkpoint else None
        if checkpoint is not None:
            state = CheckpointState.read(checkpoint)
            state.refuse_other_run(self._fixed_settings())
            self._stream.restore(state.prompt_stream)
            resumed_at = (state.rollout_step, state.rollout_step * self.args.updates_per_rollout)
        self.accelerator.wait_for_everyone()
        self._recorder.start(resumed_at=resumed_at, processes=self.accelerator.num_processes)
        return self.watch(lambda: self._train_from(checkpoint, resumed_at, kwargs))

    def watch(self, work: Callable[[], Any]) -> Any:
        """Run `work` and note in the run folder how it ended."""
        return self._recorder.watch(work)

    def _train_from(self, checkpoint: Path | None, resumed_at: tuple[int, int] | None, options: dict[str, Any]) -> Any:
        if checkpoint is not None and resumed_at is not None and 0 < self.args.max_steps <= resumed_at[1]:
            # HF would make one more update before it looks at the number of steps.
            self._load_from_checkpoint(str(checkpoint))
            return None
        folder = None if checkpoint is None else str(checkpoint)
        result = super().train(resume_from_checkpoint=folder, **options)
        if self.rollout_step == 0:
            raise FIPOError("no update was made: the data give no whole rollout (prompts_per_rollout prompts)")
        return result

    def _fixed_settings(self) -> dict[str, Any]:
        sized = hasattr(self.train_dataset, "__len__")
        return {
            **{name: getattr(self.args, name) for name in FIXED if hasattr(self.args, name)},
            "processes": self.accelerator.num_processes,
            "prompts": len(self.train_dataset) if sized else None,
        }

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # HF would delete old checkpoints before the new one is marked as complete.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        between_rollouts = self.state.global_step % self.args.updates_per_rollout == 0
        if not self.args.should_save or not between_rollouts:
            return
        state = CheckpointState(self.rollout_step, self._stream.state, self._fixed_settings())
        state.write(Path(self.args.output_dir) / f"{CHECKPOINT_PREFIX}{self.state.global_step}")
        rotate_checkpoints(self._recorder.folder, limit, self.state.best_model_checkpoint)
