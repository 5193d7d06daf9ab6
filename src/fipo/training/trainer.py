"""`FIPOTrainer`: TRL's `GRPOTrainer` with the FIPO objective and complete DAPO.

Overridden: the loss, the filling of the training batch (dynamic sampling), and what is logged and saved. Rollout
engines, adapters, distributed training, evaluation and the hub are TRL's and stay as they are.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import get_config_model_id

from fipo.errors import FIPOError
from fipo.objective import fipo_loss, group_advantages, loss_units
from fipo.training.checks import (
    check_dataset,
    check_tokenizer,
    decisive_reward,
    not_finite,
    planned_updates,
    prepare_prompts,
)
from fipo.training.citation import PAPER
from fipo.training.config import FIPOTrainingConfig
from fipo.training.dynamic_sampling import RolloutSampler, Scored
from fipo.training.metrics import TRL_PREFIXES, MetricWindow, length_weighted_advantage, sampling_metrics
from fipo.training.prompts import PromptStream
from fipo.training.recorder import KeepSchedule, RunRecorder
from fipo.training.resumable import ResumableTrainer
from fipo.training.rewards import checked_reward, overlong_penalty
from fipo.training.rollout import Rollout, total_rewards
from fipo.training.vllm_cpu import prepare_vllm_on_cpu


class NonFiniteLossError(FIPOError):
    """The loss or its gradient is NaN or infinite; the update was not made."""


class FIPOTrainer(ResumableTrainer):
    """Trains a causal language model with FIPO, DAPO or GRPO (`args.algorithm`).

    Args:
        model: path, hub name, or a loaded model.
        reward_funcs: TRL reward functions; the first one decides about dynamic sampling and is logged as the
            accuracy, unless `args.dynamic_sampling_reward` names another.
        args: settings.
        train_dataset: rows with a `prompt` column; other columns go to the reward functions.
        **kwargs: as for `GRPOTrainer` (eval_dataset, processing_class, callbacks, peft_config, rollout_func, …).

    Raises:
        FIPOError: settings, data or tokenizer that cannot work, in one line.
    """

    _tag_names = ["trl", "fipo"]
    _name = "FIPO"
    _paper = PAPER

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: FIPOTrainingConfig | None = None,
        train_dataset: Any = None,
        **kwargs: Any,
    ) -> None:
        if args is None:
            raise FIPOError("args is missing: pass a FIPOTrainingConfig")
        args = copy.copy(args)
        listed = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        functions = [checked_reward(function) for function in listed if function is not None]
        if not functions and kwargs.get("environment_factory") is None:
            raise FIPOError("reward_funcs is missing: pass at least one reward function")
        check_dataset(train_dataset, args, owns_prompts=kwargs.get("environment_factory") is not None)
        check_tokenizer(kwargs.get("processing_class"))
        args.max_steps = planned_updates(train_dataset, args)
        if args.overlong_buffer_length:
            functions.append(
                overlong_penalty(args.max_completion_length, args.overlong_buffer_length, args.overlong_penalty_factor)
            )
            if args.reward_weights is not None:
                args.reward_weights = [*args.reward_weights, 1.0]
            if isinstance(kwargs.get("reward_processing_classes"), list):
                kwargs["reward_processing_classes"] = [*kwargs["reward_processing_classes"], None]
        if args.use_vllm and not torch.cuda.is_available():
            prepare_vllm_on_cpu()
        super().__init__(model, functions, args=args, train_dataset=train_dataset, **kwargs)
        check_tokenizer(self.processing_class)
        # TRL makes a placeholder where an environment owns the prompts.
        self.train_dataset: Any = prepare_prompts(vars(self)["train_dataset"], self.processing_class, args)

        self.loss_config = args.loss_config
        self._window = MetricWindow()
        self._rollout = Rollout()
        self._decisive_index = decisive_reward(args.dynamic_sampling_reward, self.reward_func_names)
        self._stream = PromptStream(self.train_dataset, seed=args.seed, shuffle=args.shuffle_dataset is not False)
        self._sampler = self._build_sampler()
        self._buffer_is_new = False
        self.add_callback(KeepSchedule())
        self._recorder = RunRecorder(
            args, get_config_model_id(self.model.config), is_main=self.accelerator.is_main_process
        )

    # -- rollout ------------------------------------------------------------------------------------------

    def _build_sampler(self) -> RolloutSampler:
        from accelerate.utils import gather_object

        args = self.args
        return RolloutSampler(
            stream=self._stream,
            generate=self._generate_scored,
            group_size=self.num_generations,
            prompts=args.prompts_per_rollout,
            prompts_per_generation=args.prompts_per_generation or args.prompts_per_rollout,
            max_generation_batches=args.max_generation_batches,
            enabled=args.uses_dynamic_sampling,
            stop_at_limit=args.dynamic_sampling_limit == "error",
            pad_token_id=self._tokenizer.pad_token_id,
            process_index=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
            exchange=gather_object,
        )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        # The rows of the data loader only mark time: prompts come from the stream, which can refill.
        self._rollout = Rollout()
        batch = self._sampler.sample()
        self._rollout.end_sampling()
        self._rollout.metrics = {
            **self._rollout.reward_metrics(self.reward_weights, self._decisive_index),
            **sampling_metrics(self._sampler.tally),
            "advantages/length_weighted_mean": length_weighted_advantage(batch, self.accelerator.gather),
            "data/epoch": self._stream.epochs,
        }
        self._buffer_is_new = True
        del batch["group"]
        return batch

    def _generate_scored(self, rows: list[dict[str, Any]]) -> Scored:
        """Sample and score this process's rows with TRL, then replace its advantages by this project's."""
        batch = super()._generate_and_score_completions(rows)
        batch.pop("num_items_in_batch")
        if "pixel_values" in batch or not all(isinstance(value, Tensor) for value in batch.values()):
            raise FIPOError("FIPOTrainer trains on text: image inputs are not supported")
        rewards = self._rollout.rewards[-1]
        advantages = group_advantages(
            total_rewards(rewards, self.reward_weights),
            self.num_generations,
            normalize_by_std=self.args.scale_rewards == "group",
        )
        first = len(rows) * self.accelerator.process_index
        local = slice(first, first + len(rows))
        batch["advantages"] = advantages[local].to(batch["advantages"])
        self._rollout.keep_samples(
            self.args.samples_per_rollout,
            rows,
            rewards[local],
            batch["advantages"],
            self._rollout.lengths[-1][local].tolist(),
            self.reward_func_names,
        )
        return Scored(batch, self._decisive(rewards).cpu())

    def _decisive(self, rewards: Tensor) -> Tensor:
        """(B,): the deciding reward, or the total where that function does not apply to a sample."""
        chosen = rewards[:, self._decisive_index]
        return torch.where(torch.isnan(chosen), total_rewards(rewards, self.reward_weights), chosen)

    def _generate(self, prompts: list[Any]) -> Any:
        if not self.model.training:
            return super()._generate(prompts)
        try:
            return self._rollout.time("gen", lambda: super(FIPOTrainer, self)._generate(prompts))
        except RuntimeError as error:
            if "probability tensor" not in str(error):
                raise
            nan = torch.tensor(torch.nan)
            raise NonFiniteLossError(self._describe_failure(nan, "probability of a sampled token")) from error

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        def score() -> Tensor:
            return super(FIPOTrainer, self)._calculate_rewards(inputs, prompts, completions, completion_ids_list)

        if not self.model.training:
            return score()
        rewards = self._rollout.time("reward", score)
        unscored = torch.isnan(rewards).all(dim=1)
        if unscored.any():
            row = int(unscored.nonzero()[0])
            raise FIPOError(f"no reward function scored sample {row}: each response needs at least one reward")
        end_tokens = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        lengths = torch.tensor([len(ids) for ids in completion_ids_list], device=rewards.device)
        truncated = torch.tensor([ids[-1] not in end_tokens for ids in completion_ids_list], device=rewards.device)
        self._rollout.lengths.append(self.accelerator.gather(lengths).cpu())
        self._rollout.truncated.append(self.accelerator.gather(truncated).cpu())
        self._rollout.rewards.append(rewards)
        self._rollout.texts = (prompts, completions)
        return rewards

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffer_is_new:
            self._buffer_is_new = False
            self._set_denominators()
        return inputs

    def _set_denominators(self) -> None:
        """Give every micro-batch the tokens (or responses) of its whole mini-batch, over all processes."""
        window = self.args.gradient_accumulation_steps
        units = [loss_units(part["response_mask"], self.loss_config) for part in self._buffered_inputs]
        per_update = torch.stack(units).view(-1, window).sum(dim=1)
        per_update = self.accelerator.reduce(per_update, reduction="sum").clamp(min=1)
        for index, part in enumerate(self._buffered_inputs):
            part["loss_denominator"] = per_update[index // window]

    # -- update -------------------------------------------------------------------------------------------

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        mask = inputs.get("response_mask")
        if mask is None:
            mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        log_prob, entropy, aux_loss = self._get_per_token_logps_and_entropies(
            model,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].size(1),
            compute_entropy=True,
            compute_aux_loss=self.aux_loss_enabled,
        )
        old_log_prob = inputs.get("old_per_token_logps")
        output = fipo_loss(
            log_prob,
            log_prob.detach() if old_log_prob is None else old_log_prob,
            inputs["advantages"],
            mask,
            self.loss_config,
            rollout_is_weights=inputs.get("importance_sampling_ratio"),
            loss_denominator=inputs.get("loss_denominator"),
            quantiles=self.args.loss_quantiles,
        )
        loss = output.loss
        if not self.model.training:
            return loss
        if not torch.isfinite(loss):
            suspects = {"log_prob": log_prob, "old_log_prob": old_log_prob}
            raise NonFiniteLossError(self._describe_failure(loss, "loss", not_finite(suspects, mask)))
        entropy = torch.where(mask > 0, entropy, 0.0).sum() / output.counts["tokens"].clamp(min=1)
        # The parts of a mini-batch add up to its loss; everything else is a mean over tokens.
        parts = self.args.gradient_accumulation_steps * self.accelerator.num_processes
        self._window.mean("actor/pg_loss", output.metrics.pop("actor/pg_loss") * parts)
        self._window.loss_metrics({**output.metrics, "actor/entropy": entropy}, output.counts)
        # The denominator is that of all processes, whose gradients are averaged.
        loss = loss * self.accelerator.num_processes
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * aux_loss / self.current_gradient_accumulation_steps
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The norm before clipping; called once per update, before the optimizer moves the weights."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is None:
            return None
        value = torch.as_tensor(norm.item() if isinstance(norm, Tensor) else norm)
        finite = bool(torch.isfinite(value))
        # In fp16 the gradient scaler skips such an update and goes on with a smaller scale.
        if not finite and self.accelerator.scaler is None:
            raise NonFiniteLossError(self._describe_failure(value, "gradient norm"))
        self._window.mean("actor/grad_norm", value, float(finite))
        return norm

    def _describe_failure(self, value: Tensor, name: str, broken: str = "") -> str:
        """The line that says where the run broke, and from where it can go on."""
        last = self._recorder.folder.last_checkpoint()
        return (
            f"the {name} is {value.item()} at update {self.state.global_step + 1} (rollout step "
            f"{self.rollout_step + 1}){f' ({broken} is not finite)' if broken else ''}; "
            f"{f'the last good checkpoint is {last}' if last else 'no checkpoint was saved yet'}; "
            "a lower learning_rate is the usual remedy"
        )

    # -- logging ------------------------------------------------------------------------------------------

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log one rollout step under this project's metric names, to `report_to` and to the run folder."""
        if not self.model.training or not self._window:
            super().log(logs, start_time)
            return
        row = {
            **self._rollout.metrics,
            **self._window.collect(self.accelerator.gather, self.accelerator.device),
            "actor/lr": logs.get("learning_rate", self._get_learning_rate()),
            **self._rollout.timing(),
        }
        theirs = {name: values for name, values in self._metrics["train"].items() if name.startswith(TRL_PREFIXES)}
        self._metrics["train"].clear()
        self._metrics["train"].update(theirs)
        self._recorder.write(self.rollout_step, self.state.global_step, row, self._rollout.samples)
        super().log({**logs, **row}, start_time)
