"""Settings of a training run: TRL's `GRPOConfig`, plus what FIPO and complete DAPO need."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from trl import GRPOConfig

from fipo.errors import FIPOError, nearest
from fipo.objective import FIPOLossConfig

Algorithm = Literal["fipo", "dapo", "grpo"]
LimitPolicy = Literal["error", "continue"]

# Settings of GRPOConfig that this trainer does not read, and where their meaning lives here. A value that
# nothing reads would be a silent lie, so any other than TRL's default is refused.
REPLACED_SETTINGS = {
    "epsilon": "loss.clip_ratio_low",
    "epsilon_high": "loss.clip_ratio_high",
    "delta": "loss.clip_ratio_c",
    "loss_type": "loss.loss_agg_mode",
    "importance_sampling_level": "the token level, the only one that Future-KL is defined on",
    "num_iterations": "updates_per_rollout",
    "steps_per_generation": "updates_per_rollout",
    "generation_batch_size": "prompts_per_rollout",
    "gradient_accumulation_steps": "prompts_per_rollout (the accumulation follows from it)",
    "multi_objective_aggregation": "reward_weights, which sum the rewards before they are normalised",
    "logging_steps": "nothing: every rollout is logged",
    "save_steps": "save_rollouts",
    "save_strategy": "save_rollouts",
    "save_only_model": "nothing: such a checkpoint could not be resumed",
    "enable_jit_checkpoint": "save_rollouts: a checkpoint within a rollout could not be resumed",
}
# Settings that would add a term to the loss which neither FIPO nor DAPO has.
UNSUPPORTED_SETTINGS = (
    "beta",
    "off_policy_mask_threshold",
    "top_entropy_quantile",
    "entropy_coef",
    "use_adaptive_entropy",
    "use_bias_correction_kl",
    "sync_ref_model",
)


@dataclass
class FIPOTrainingConfig(GRPOConfig):
    """`GRPOConfig` whose objective, batch and sampling settings are FIPO's.

    A *rollout* is one batch of sampled responses; `updates_per_rollout` optimizer updates are made from it. HF's
    own counters (`max_steps`, `save_steps`, `warmup_steps`, `global_step`) count updates.

    Args:
        algorithm: "fipo", "dapo" or "grpo": which loss preset, and whether dynamic sampling is on by default.
        loss: overrides of the preset, by field name of `FIPOLossConfig`; or a whole `FIPOLossConfig`.
        prompts_per_rollout: prompts whose groups are trained on per rollout, over all processes.
        updates_per_rollout: optimizer updates per rollout, ≥ 2 for FIPO: on the first update after a rollout
            the policy is still the old one, so every f_t is 1 and FIPO is DAPO.
        rollouts: length of the run; sets `max_steps` to rollouts · updates_per_rollout. None: HF's settings.
        save_rollouts: a checkpoint every so many rollouts; None saves none before the end.
        dynamic_sampling: drop groups whose rewards are all equal and refill the batch with new prompts.
            None: on for "fipo" and "dapo", off for "grpo".
        dynamic_sampling_reward: name of the reward function whose equality decides; None: the first one
            (DAPO filters on accuracy, not on the penalised reward).
        prompts_per_generation: prompts in the first generation batch, and at most in each refill; None:
            prompts_per_rollout.
        max_generation_batches: generation batches per rollout before the limit is hit.
        dynamic_sampling_limit: at the limit, "error" stops; "continue" trains on the groups found so far.
        overlong_buffer_length: soft overlong penalty over the last so many tokens of `max_completion_length`;
            None: no penalty. (Overlong filtering is TRL's `mask_truncated_completions`.)
        overlong_penalty_factor: size of the full penalty.
        max_prompt_length: longest prompt in tokens; None: no limit.
        filter_overlong_prompts: drop longer prompts instead of stopping with an error.
        samples_per_rollout: responses written to `samples.jsonl` per rollout; 0 writes none.
        loss_quantiles: also log the metrics that need order statistics (p75, p995, …).

    Raises:
        FIPOError: a value outside its range, batch sizes that do not divide, a setting that nothing reads.
    """

    algorithm: Algorithm = "fipo"
    loss: dict[str, Any] | None = None
    prompts_per_rollout: int = 512
    updates_per_rollout: int = 8
    rollouts: int | None = None
    save_rollouts: int | None = 10
    dynamic_sampling: bool | None = None
    dynamic_sampling_reward: str | None = None
    prompts_per_generation: int | None = None
    max_generation_batches: int = 10
    dynamic_sampling_limit: LimitPolicy = "error"
    overlong_buffer_length: int | None = None
    overlong_penalty_factor: float = 1.0
    max_prompt_length: int | None = None
    filter_overlong_prompts: bool = False
    samples_per_rollout: int = 8
    loss_quantiles: bool = True

    # The paper's optimizer, and what follows from counting in rollouts.
    num_generations: int | None = field(default=16)
    learning_rate: float = field(default=1e-6)
    lr_scheduler_type: str = field(default="constant_with_warmup")
    weight_decay: float = field(default=0.1)
    max_grad_norm: float = field(default=1.0)
    gradient_checkpointing: bool = field(default=False)
    report_to: str | list[str] | None = field(default="none")
    bf16: bool | None = field(default=None)
    max_steps: int = field(default=-1)

    _VALID_DICT_FIELDS = [*GRPOConfig._VALID_DICT_FIELDS, "loss"]

    def __post_init__(self) -> None:
        """Check the settings, then derive the batch sizes that TRL and HF read."""
        if isinstance(self.loss, FIPOLossConfig):
            self.loss = dataclasses.asdict(self.loss)
        self._check_choices()
        self._check_counts()
        accumulation = self._accumulation_steps()
        self._refuse_unread_settings(accumulation)
        if self.bf16 is None and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
            self.bf16 = False
        self._derive_schedule()
        self.steps_per_generation = self.updates_per_rollout * accumulation
        self.generation_batch_size = None
        self.gradient_accumulation_steps = accumulation
        super().__post_init__()

    @property
    def device(self) -> torch.device:
        """As HF's; without an index on CPUs, where several processes get one that torch.load does not know."""
        device: torch.device = super().device
        return torch.device("cpu") if device.type == "cpu" else device

    @property
    def loss_config(self) -> FIPOLossConfig:
        """The preset of `algorithm` with the overrides of `loss`."""
        presets = {"fipo": FIPOLossConfig.paper_32b, "dapo": FIPOLossConfig.dapo, "grpo": FIPOLossConfig.grpo}
        return presets[self.algorithm](**(self.loss or {}))

    @property
    def uses_dynamic_sampling(self) -> bool:
        """`dynamic_sampling`, or the default of the algorithm."""
        return self.algorithm != "grpo" if self.dynamic_sampling is None else self.dynamic_sampling

    def _check_choices(self) -> None:
        for name, choices in (("algorithm", get_args(Algorithm)), ("dynamic_sampling_limit", get_args(LimitPolicy))):
            value = getattr(self, name)
            if value not in choices:
                raise FIPOError(f"{name}={value!r} must be one of {', '.join(choices)}{nearest(str(value), choices)}")
        known = [f.name for f in dataclasses.fields(FIPOLossConfig)]
        for name in self.loss or {}:
            if name not in known:
                raise FIPOError(f"loss.{name} is no setting of the loss{nearest(name, known)}")
        try:
            loss = self.loss_config
        except ValueError as error:
            raise FIPOError(f"loss.{error}") from None
        if self.algorithm != "fipo" and not loss.is_uniform:
            raise FIPOError(f"algorithm={self.algorithm!r} has weights of 1; the loss given moves them: use 'fipo'")
        if self.algorithm == "fipo" and self.updates_per_rollout == 1 and not loss.is_uniform:
            raise FIPOError(
                "updates_per_rollout=1 makes every influence weight 1, so that FIPO is DAPO: use at least 2, "
                "or algorithm='dapo'"
            )

    def _check_counts(self) -> None:
        """Whole numbers and what they must fit into."""
        lowest = {
            "prompts_per_rollout": 1,
            "updates_per_rollout": 1,
            "num_generations": 2,
            "rollouts": 1,
            "save_rollouts": 1,
            "prompts_per_generation": 1,
            "max_generation_batches": 1,
            "overlong_buffer_length": 1,
            "max_prompt_length": 1,
            "samples_per_rollout": 0,
            "per_device_train_batch_size": 1,
            "max_completion_length": 1,
        }
        optional = {
            "rollouts",
            "save_rollouts",
            "prompts_per_generation",
            "overlong_buffer_length",
            "max_prompt_length",
        }
        for name, low in lowest.items():
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                why = ": a response is judged against its group" if name == "num_generations" else ""
                raise FIPOError(f"{name}={value!r} must be a whole number >= {low}{why}")
        if self.overlong_buffer_length and self.overlong_buffer_length > self.max_completion_length:
            raise FIPOError(
                f"overlong_buffer_length={self.overlong_buffer_length} must be at most "
                f"max_completion_length={self.max_completion_length}"
            )
        if self.prompts_per_generation and self.prompts_per_generation < self.prompts_per_rollout:
            raise FIPOError(
                f"prompts_per_generation={self.prompts_per_generation} must be at least prompts_per_rollout="
                f"{self.prompts_per_rollout}"
            )
        bounds = {
            "overlong_penalty_factor": (0.0, math.inf),
            "learning_rate": (0.0, math.inf),
            "weight_decay": (0.0, math.inf),
            "max_grad_norm": (0.0, math.inf),
            "temperature": (1e-6, math.inf),
            "top_p": (1e-6, 1.0),
            "top_k": (0, math.inf),
            "seed": (0, 2**32 - 1),
        }
        for name, (smallest, largest) in bounds.items():
            if not smallest <= getattr(self, name) <= largest:
                raise FIPOError(f"{name}={getattr(self, name)} must be in [{smallest:g}, {largest:g}]")

    def _refuse_unread_settings(self, accumulation: int) -> None:
        defaults = {f.name: f.default for f in dataclasses.fields(GRPOConfig)}
        # What is derived further down stands there again when a config is copied with dataclasses.replace.
        derived = {
            "gradient_accumulation_steps": accumulation,
            "steps_per_generation": self.updates_per_rollout * accumulation,
            "generation_batch_size": self.prompts_per_rollout * int(self.num_generations or 0),
            "logging_steps": self.updates_per_rollout,
            "save_steps": (self.save_rollouts or 0) * self.updates_per_rollout,
            "save_strategy": "no" if self.save_rollouts is None else "steps",
        }
        for name, instead in REPLACED_SETTINGS.items():
            value = getattr(self, name, defaults.get(name))
            if value not in (defaults.get(name), derived.get(name, defaults.get(name))):
                raise FIPOError(f"{name}={getattr(self, name)!r} is not read by this trainer: set {instead}")
        if self.scale_rewards not in ("group", "none", True, False):
            raise FIPOError(f"scale_rewards={self.scale_rewards!r} must be 'group' or 'none'")
        for name in UNSUPPORTED_SETTINGS:
            if getattr(self, name) != defaults[name]:
                raise FIPOError(
                    f"{name}={getattr(self, name)!r} adds a term that FIPO and DAPO do not have; leave it at "
                    f"{defaults[name]!r}, or use TRL's GRPOTrainer"
                )

    def _derive_schedule(self) -> None:
        max_steps = self.max_steps
        if self.rollouts is not None:
            if max_steps > 0 and max_steps != self.rollouts * self.updates_per_rollout:
                raise FIPOError(f"rollouts={self.rollouts} and max_steps={max_steps} disagree: give one of them")
            self.max_steps = self.rollouts * self.updates_per_rollout
        elif max_steps > 0 and max_steps % self.updates_per_rollout:
            raise FIPOError(
                f"max_steps={max_steps} updates is not a multiple of updates_per_rollout="
                f"{self.updates_per_rollout}: the last rollout would be half used; set rollouts instead"
            )
        # Logging and checkpoints in between would cut a rollout in two, and could not be resumed exactly.
        self.logging_steps = self.updates_per_rollout
        if self.save_rollouts is None:
            self.save_strategy = "no"
        else:
            self.save_strategy = "steps"
            self.save_steps = self.save_rollouts * self.updates_per_rollout

    def _accumulation_steps(self) -> int:
        """Micro-batches per update and process, from the sizes that the user thinks in."""
        responses = self.prompts_per_rollout * int(self.num_generations or 0)
        if responses % self.updates_per_rollout:
            raise FIPOError(
                f"prompts_per_rollout={self.prompts_per_rollout} x num_generations={self.num_generations} responses "
                f"cannot be split into updates_per_rollout={self.updates_per_rollout} equal mini-batches"
            )
        per_update = responses // self.updates_per_rollout
        # Set by every torch launcher; the process group itself is only made further down.
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        per_pass = self.per_device_train_batch_size * processes
        if per_update % per_pass:
            fitting = [n for n in range(1, per_update + 1) if per_update % (n * processes) == 0]
            below = max((n for n in fitting if n < self.per_device_train_batch_size), default=None)
            advice = f"; try per_device_train_batch_size={below}" if below else ""
            raise FIPOError(
                f"a mini-batch of {per_update} responses (prompts_per_rollout={self.prompts_per_rollout} x "
                f"num_generations={self.num_generations} / updates_per_rollout={self.updates_per_rollout}) is not a "
                f"multiple of per_device_train_batch_size={self.per_device_train_batch_size} x {processes} "
                f"process(es){advice}"
            )
        return per_update // per_pass
