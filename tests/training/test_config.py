import re
from pathlib import Path

import pytest

from datagen.command import RecipeError, command, load_recipe
from datagen.training.config import TrainConfig

ROOT = Path(__file__).parents[2]


RECIPES = sorted((ROOT / "pipelines" / "recipes").glob("*/train*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_shipped_recipes_are_configurations(path):
    config = load_recipe(path, TrainConfig)
    assert config.optim.batch_size > 0


@pytest.mark.parametrize(
    ("name", "weights", "rate", "images"),
    [("train-stage1", (1, 1, 0, 0), 1e-4, 384), ("train", (1, 1, 0.1, 0.5), 1e-6, 512)],
)
def test_both_stages_have_the_published_numbers(name, weights, rate, images):
    config = load_recipe(ROOT / "pipelines" / "recipes" / "gpu" / f"{name}.yaml", TrainConfig)
    loss, optim = config.loss, config.optim
    found = (loss.long_weight, loss.short_weight, loss.region_weight, loss.hard_weight)
    assert found == weights
    assert (optim.learning_rate, optim.weight_decay, optim.warmup_steps) == (rate, 0.001, 200)
    assert optim.batch_size == 8 * images
    assert (optim.epochs, optim.precision) == (1, "bfloat16")
    assert config.model.init == "openai/clip-vit-base-patch16"
    assert config.reader.short_prefix == "a photo of "


def test_options_on_the_page_are_accepted_as_they_stand_there(monkeypatch):
    page = (ROOT / "docs" / "training.md").read_text()
    settings = [found.split() for found in re.findall(r"`(--[^`]+ [^`]+)`", page)]
    assert ["--checkpointing", "True"] in settings
    for options in settings:
        parsed: list[TrainConfig] = []
        given = ["train.py", "--data", "D", "--output", "O", *options]
        monkeypatch.setattr("sys.argv", given)
        command(TrainConfig, parsed.append, "")
        assert len(parsed) == 1, options


def test_a_setting_that_does_not_exist_is_named(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("optim: {speed: 3}\n")
    with pytest.raises(RecipeError, match="speed"):
        load_recipe(recipe, TrainConfig)
