"""From a recipe to a trained model: load, check, train, save."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainerCallback

from fipo.errors import FIPOError, nearest
from fipo.models import ARITHMETIC_MODEL, load_tokenizer, resolve_model
from fipo.runs.files import is_disk_full
from fipo.runs.folder import MODEL_FOLDER, RunFolder
from fipo.training.recipe import Recipe, load_recipe

ARITHMETIC_PROBLEMS = 8192
RECIPE_FILE = "recipe.yaml"


def train_from_recipe(
    recipe: Recipe, out: str | Path, *, resume: bool = False, callbacks: Sequence[Any] = ()
) -> RunFolder:
    """Train as the recipe says and leave a run folder, with the final model in `model/`.

    Raises:
        FIPOError: anything the user can mend, in one line.
    """
    folder = RunFolder(out)
    if resume and not RunFolder.holds_run(out):
        raise FIPOError(f"{out} holds no run to resume")
    trainer = build_trainer(recipe, out, resume=resume, callbacks=[*callbacks, WriteRecipe(recipe, folder)])
    if not resume and trainer.accelerator.is_main_process:
        # Before the run exists: one that is cut off at once must not be left without its recipe.
        write_recipe(recipe, folder)

    def train_and_save() -> None:
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_model(str(folder.path / MODEL_FOLDER))

    try:
        # The outer watch covers the saving of the model, which comes after the trainer has called the run finished.
        trainer.watch(train_and_save)
    except FIPOError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise FIPOError(f"no disk space left in {out}: free some, then continue with --resume {out}") from error
        raise
    return folder


def write_recipe(recipe: Recipe, folder: RunFolder) -> None:
    """Leave `recipe.yaml` in the run folder."""
    folder.write_text(RECIPE_FILE, yaml.safe_dump(recipe.as_dict(), sort_keys=False))


class WriteRecipe(TrainerCallback):
    """Brings the recipe up to date once training has begun: a refused resume must not change it."""

    def __init__(self, recipe: Recipe, folder: RunFolder) -> None:
        self.recipe = recipe
        self.folder = folder

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write `recipe.yaml`."""
        if state.is_world_process_zero:
            write_recipe(self.recipe, self.folder)


def recipe_of_run(out: str | Path, overrides: Sequence[str] = (), named: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe that a run folder was made from, for `--resume`; changed as by `load_recipe`."""
    file = Path(out) / RECIPE_FILE
    if not file.is_file():
        raise FIPOError(f"{out} has no {RECIPE_FILE}: only a run made by `fipo train` can be resumed by it")
    return load_recipe(file, overrides, named or {})


def build_trainer(recipe: Recipe, out: str | Path, *, resume: bool = False, callbacks: Sequence[Any] = ()) -> Any:
    """The `FIPOTrainer` of a recipe. Everything that can be checked before the model is loaded is checked first."""
    from fipo.training.config import FIPOTrainingConfig
    from fipo.training.trainer import FIPOTrainer

    if not resume:
        RunFolder(out).refuse_existing()
    model_name = _model_name(recipe)
    with _as_one_line("these settings"):
        args = FIPOTrainingConfig(output_dir=str(out), **{"disable_tqdm": True, **recipe.training})
    dataset = load_train_data(recipe, seed=args.seed)
    model_name = resolve_model(model_name)
    tokenizer = load_tokenizer(model_name, trust_remote_code=args.trust_remote_code)
    with _as_one_line("these settings of lora"):
        peft_config = _lora_config(recipe.lora)
    with _as_one_line("this model with these settings"):
        trainer = FIPOTrainer(
            model=model_name,
            reward_funcs=_reward_function(recipe),
            args=args,
            train_dataset=dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
            callbacks=list(callbacks),
        )
    _keep_quiet(trainer)
    return trainer


@contextmanager
def _as_one_line(what: str) -> Iterator[None]:
    """What TRL, transformers or PEFT refuse while things are put together is the user's to mend."""
    try:
        yield
    except FIPOError:
        raise
    except ImportError as error:
        raise FIPOError(f"a package is missing for {what}: {_first_line(error)}") from error
    except Exception as error:
        raise FIPOError(f"cannot use {what}: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no reason given"


def load_train_data(recipe: Recipe, *, seed: int = 0) -> Any:
    """Rows with `prompt` and `answer`."""
    if recipe.task == "arithmetic":
        from datasets import Dataset

        from fipo.tasks.arithmetic import generate_problems

        problems = generate_problems(recipe.data.limit or ARITHMETIC_PROBLEMS, seed=seed, split="train")
        return Dataset.from_list([{"prompt": problem.prompt, "answer": problem.answer} for problem in problems])
    if recipe.data.source is None:
        raise FIPOError("no training data: give --data FILE_OR_NAME, or data.source in the recipe")
    from fipo.tasks import load_problems

    options = dataclasses.asdict(recipe.data)
    return load_problems(options.pop("source"), **options)


def _model_name(recipe: Recipe) -> str:
    name = recipe.model or (ARITHMETIC_MODEL if recipe.task == "arithmetic" else None)
    if name is None:
        raise FIPOError("no model: give --model PATH_OR_NAME, or model in the recipe")
    return name


def _reward_function(recipe: Recipe) -> Any:
    if recipe.task == "arithmetic":
        from fipo.tasks.arithmetic import arithmetic_reward

        return arithmetic_reward
    from fipo.tasks import math_reward

    return math_reward


def _lora_config(settings: dict[str, Any] | None) -> Any:
    if settings is None:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise FIPOError('lora needs the package peft: pip install "fipo[lora]"') from None
    known = {f.name for f in dataclasses.fields(LoraConfig)}
    for key in settings:
        if key not in known:
            raise FIPOError(f"unknown key lora.{key}{nearest(str(key), known)}")
    return LoraConfig(**{"task_type": "CAUSAL_LM", **settings})


def _keep_quiet(trainer: Any) -> None:
    """Progress is shown by this project's own callbacks, not by a line of JSON per log."""
    from transformers import PrinterCallback
    from transformers.utils import logging

    logging.disable_progress_bar()
    trainer.remove_callback(PrinterCallback)
