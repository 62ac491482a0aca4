from pathlib import Path

import pytest

from datagen.command import RecipeError, load_recipe
from datagen.training.config import TrainConfig

ROOT = Path(__file__).parents[2]


RECIPES = sorted((ROOT / "pipelines" / "recipes").glob("*/train*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shipped_recipes_are_configurations(path):
    config = load_recipe(path, TrainConfig)
    assert config.optim.batch_size > 0


def test_stage_2_has_the_published_numbers():
    config = load_recipe(ROOT / "pipelines" / "recipes" / "gpu" / "train.yaml", TrainConfig)
    loss, optim = config.loss, config.optim
    weights = (loss.long_weight, loss.short_weight, loss.region_weight, loss.hard_weight)
    assert weights == (1.0, 1.0, 0.1, 0.5)
    assert (optim.learning_rate, optim.weight_decay, optim.warmup_steps) == (1e-6, 0.001, 200)
    assert optim.batch_size == 8 * 512


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("optim: {speed: 3}\n")
    with pytest.raises(RecipeError, match="speed"):
        load_recipe(recipe, TrainConfig)
