"""A training recipe: model, data, task, adapter and settings as one YAML file with command-line overrides."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fipo.errors import FIPOError, nearest
from fipo.training.config import FIPOTrainingConfig

TASKS = ("math", "arithmetic")


@dataclass
class DataRecipe:
    """Where problems come from (`fipo.tasks.load_problems`).

    Args:
        source: file (JSONL, Parquet), short name or hub id; for the task "arithmetic" none is needed.
        problem_key: key of the problem in a row; None finds it.
        answer_key: key of the answer; None finds it.
        prompt_style: "dapo", "boxed", "chat", "raw"; None keeps prompts that are already written as chats.
        split: split of a hub data set.
        limit: only the first so many rows; for "arithmetic", how many problems to make.
    """

    source: str | None = None
    problem_key: str | None = None
    answer_key: str | None = None
    prompt_style: str | None = None
    split: str | None = None
    limit: int | None = None


@dataclass
class Recipe:
    """Everything `fipo train` needs.

    Args:
        model: folder or hub name of a causal language model; "arithmetic-base" is the shipped one.
        task: "math" (math-verify) or "arithmetic" (the embedded task).
        data: the problems.
        lora: fields of `peft.LoraConfig`; None trains every weight.
        training: fields of `FIPOTrainingConfig`, without `output_dir`.
    """

    model: str | None = None
    task: str = "math"
    data: DataRecipe = field(default_factory=DataRecipe)
    lora: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, as they stand in YAML."""
        return dataclasses.asdict(self)


_HINTS = typing.get_type_hints(FIPOTrainingConfig)
TRAINING_TYPES = {
    f.name: _HINTS[f.name] for f in dataclasses.fields(FIPOTrainingConfig) if f.init and f.name != "output_dir"
}


def load_recipe(
    path: str | Path | None,
    overrides: typing.Sequence[str] = (),
    named: typing.Mapping[str, Any] = types.MappingProxyType({}),
) -> Recipe:
    """The recipe of a YAML file, changed by named values (None leaves one as it is), then by `key=value` texts.

    Keys are dotted (`data.limit=100`, `training.loss.half_life=128`); a setting of the trainer may stand without
    its section (`learning_rate=1e-6`, `loss.half_life=128`).

    Raises:
        FIPOError: a missing or malformed file, an unknown key (with the nearest known one), a wrong type.
    """
    tree: dict[str, Any] = _read_yaml(Path(path)) if path is not None else {}
    for key, value in named.items():
        if value is not None:
            _assign(tree, _full_key(key), value)
    for override in overrides:
        key, value = _split_override(override)
        _assign(tree, _full_key(key), value)
    return parse_recipe(tree)


def parse_recipe(tree: dict[str, Any]) -> Recipe:
    """A checked recipe from plain dicts."""
    known = [f.name for f in dataclasses.fields(Recipe)]
    for key in tree:
        if key not in known:
            candidates = [*known, *TRAINING_TYPES]
            where = " under training:" if key in TRAINING_TYPES else ""
            hint = f" (it belongs{where})" if where else nearest(str(key), candidates)
            raise FIPOError(f"unknown key {key!r} in the recipe{hint}; the keys are {', '.join(known)}")
    task = tree.get("task", "math")
    if task not in TASKS:
        raise FIPOError(f"task={task!r} must be one of {', '.join(TASKS)}{nearest(str(task), TASKS)}")
    data = _section(tree, "data")
    fields = typing.get_type_hints(DataRecipe)
    for key in data:
        if key not in fields:
            raise FIPOError(f"unknown key data.{key!s}{nearest(str(key), fields)}; the keys are {', '.join(fields)}")
    checked = {key: _typed(f"data.{key}", value, fields[key]) for key, value in data.items()}
    training = {str(key): _training_value(str(key), value) for key, value in _section(tree, "training").items()}
    lora = _section(tree, "lora") if tree.get("lora") is not None else None
    model = _typed("model", tree.get("model"), str | None)
    return Recipe(model=model, task=task, data=DataRecipe(**checked), lora=lora, training=training)


def _training_value(key: str, value: Any) -> Any:
    if key == "output_dir":
        raise FIPOError("training.output_dir is given by --out, so that a recipe can be run twice")
    if "token" in key and key in TRAINING_TYPES and isinstance(value, str):
        raise FIPOError(f"training.{key} would be written into the run folder: set the variable HF_TOKEN instead")
    if key not in TRAINING_TYPES:
        raise FIPOError(f"unknown key training.{key}{nearest(key, TRAINING_TYPES)}")
    return _typed(f"training.{key}", value, TRAINING_TYPES[key])


def _typed(name: str, value: Any, expected: Any) -> Any:
    """`value` as `expected`, or a `FIPOError`. YAML reads `1e-6` as text; such numbers are understood."""
    options = typing.get_args(expected) if _is_union(expected) else (expected,)
    plain = [option for option in options if option in (bool, int, float, str, type(None))]
    if len(plain) < len(options):
        accepts_dict = any(typing.get_origin(option) is dict or option is dict for option in options)
        if accepts_dict and isinstance(value, dict):
            return {key: _number_if_text(item) for key, item in value.items()}
        if accepts_dict and type(value) not in plain:
            raise FIPOError(f"{name}={value!r} must be a mapping of settings")
        return value
    if (value is None and type(None) in plain) or type(value) in plain:
        return value
    if float in plain and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    allowed = " or ".join("none" if option is type(None) else option.__name__ for option in plain)
    raise FIPOError(f"{name}={value!r} must be {allowed}, found {type(value).__name__}")


def _number_if_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _is_union(expected: Any) -> bool:
    return typing.get_origin(expected) in (typing.Union, types.UnionType)


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    section = tree.get(name) or {}
    if not isinstance(section, dict):
        raise FIPOError(f"{name}: must be a mapping of settings, found {type(section).__name__} {section!r}")
    return section


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FIPOError(f"recipe {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FIPOError(f"recipe {path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise FIPOError(f"recipe {path} is not valid YAML{line}: {getattr(error, 'problem', error)}") from None
    except ValueError as error:
        raise FIPOError(f"recipe {path} holds a value that cannot be read: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise FIPOError(f"recipe {path} must hold keys and values, found {type(tree).__name__}")
    return tree


def _split_override(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise FIPOError(f"{override!r} is no override: write key=value, such as learning_rate=1e-6")
    try:
        return key, yaml.safe_load(text) if text else None
    except (yaml.YAMLError, ValueError):
        return key, text


def _full_key(key: str) -> list[str]:
    parts = key.split(".")
    if parts[0] in TRAINING_TYPES:
        return ["training", *parts]
    return parts


def _assign(tree: dict[str, Any], parts: list[str], value: Any) -> None:
    for index, part in enumerate(parts[:-1]):
        branch = tree.get(part)
        if branch is None:
            branch = tree[part] = {}
        if not isinstance(branch, dict):
            raise FIPOError(f"{'.'.join(parts[: index + 1])}={branch!r} holds no settings of its own")
        tree = branch
    tree[parts[-1]] = value
