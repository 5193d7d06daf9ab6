"""Recipes: YAML, overrides, and one clear line for every mistake."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from fipo.errors import FIPOError
from fipo.training.recipe import TASKS, load_recipe, parse_recipe

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("**/*.yaml"))


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str) -> Path:
        file = tmp_path / "recipe.yaml"
        file.write_text(text)
        return file

    return write


def test_there_are_shipped_recipes():
    assert SHIPPED


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_shipped_recipe_parses_and_makes_settings(file, tmp_path):
    from fipo.training import FIPOTrainingConfig

    recipe = load_recipe(file)
    assert recipe.task in TASKS
    args = FIPOTrainingConfig(output_dir=str(tmp_path), **{**recipe.training, "bf16": False, "use_cpu": True})
    assert args.loss_config is not None
    assert args.max_steps == args.rollouts * args.updates_per_rollout


def test_overrides_reach_their_section(recipe_file):
    file = recipe_file("model: a\ndata: {source: x.jsonl}\ntraining: {learning_rate: 1e-6, loss: {half_life: 8}}\n")
    recipe = load_recipe(
        file,
        ["rollouts=5", "loss.influence_clip_low=0.2", "data.limit=10", "lora.r=4", "training.seed=3"],
        {"model": "b", "algorithm": None},
    )
    assert recipe.model == "b"
    assert recipe.training == {
        "learning_rate": 1e-6,
        "loss": {"half_life": 8, "influence_clip_low": 0.2},
        "rollouts": 5,
        "seed": 3,
    }
    assert (recipe.data.source, recipe.data.limit, recipe.lora) == ("x.jsonl", 10, {"r": 4})


def test_a_name_given_on_the_command_line_is_not_read_as_yaml():
    assert load_recipe(None, named={"model": "123", "data.source": "yes"}).model == "123"


def test_a_recipe_survives_being_written_and_read(recipe_file):
    recipe = parse_recipe({"model": "m", "task": "arithmetic", "training": {"rollouts": 2}, "lora": {"r": 2}})
    again = load_recipe(recipe_file(yaml.safe_dump(recipe.as_dict())))
    assert dataclasses.asdict(again) == dataclasses.asdict(recipe)


def test_numbers_that_yaml_reads_as_text_are_understood(recipe_file):
    recipe = load_recipe(recipe_file("training: {learning_rate: 3e-4, loss: {half_life: 1e3}, warmup_steps: 80}"))
    assert recipe.training["learning_rate"] == 3e-4
    assert recipe.training["loss"]["half_life"] == 1000.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: x", "unknown key 'modle' in the recipe (did you mean 'model'?)"),
        ("learning_rate: 1", "it belongs under training:"),
        ("training: {lerning_rate: 1}", "unknown key training.lerning_rate (did you mean 'learning_rate'?)"),
        ("training: {output_dir: x}", "given by --out"),
        ("training: {rollouts: many}", "training.rollouts='many' must be int or none, found str"),
        ("training: {rollouts: true}", "training.rollouts=True must be int or none, found bool"),
        ("training: {learning_rate: fast}", "training.learning_rate='fast' must be float, found str"),
        ("training: {loss: 3}", "training.loss=3 must be a mapping of settings"),
        ("training: [1]", "training: must be a mapping of settings, found list"),
        ("data: {sorce: x}", "unknown key data.sorce (did you mean 'source'?)"),
        ("data: {limit: x}", "data.limit='x' must be int or none"),
        ("task: maths", "task='maths' must be one of math, arithmetic (did you mean 'math'?)"),
        ("model: 3", "model=3 must be str or none, found int"),
        ("lora: yes", "lora: must be a mapping"),
        ("- a", "must hold keys and values, found list"),
        ("a: [", "is not valid YAML at line 1"),
    ],
)
def test_mistakes_are_one_line(recipe_file, text, message):
    with pytest.raises(FIPOError) as caught:
        load_recipe(recipe_file(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_broken_overrides_are_refused(tmp_path):
    with pytest.raises(FIPOError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(FIPOError, match="write key=value"):
        load_recipe(None, ["rollouts"])
    with pytest.raises(FIPOError, match="holds no settings of its own"):
        load_recipe(None, ["model=x", "model.size=3"])


def test_yaml_cannot_make_objects(recipe_file):
    with pytest.raises(FIPOError, match="not valid YAML"):
        load_recipe(recipe_file("model: !!python/object/apply:os.system ['true']"))
