from pathlib import Path

import pytest

from datagen.command import RecipeError, load_recipe
from datagen.training.config import TrainConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["demo", "gpu"])
def test_the_shipped_recipes_are_configurations(name):
    config = load_recipe(ROOT / "pipelines" / "recipes" / name / "train.yaml", TrainConfig)
    assert config.loss.region_weight > 0 and config.loss.hard_weight > 0


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("optim: {speed: 3}\n")
    with pytest.raises(RecipeError, match="speed"):
        load_recipe(recipe, TrainConfig)
