import pytest

from datagen.training.config import parse_config


def test_the_command_line_wins_over_the_recipe(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("optim: {epochs: 3, learning_rate: 0.01}\nloss: {hard: 0.0}\nseed: 7\n")
    arguments = ["--data", "d", "--recipe", str(recipe), "--output", "o", "--optim.epochs", "5"]
    config = parse_config(arguments)
    assert (config.data, config.output, config.seed, config.loss.hard) == ("d", "o", 7, 0.0)
    assert (config.optim.epochs, config.optim.learning_rate) == (5, 0.01)


@pytest.mark.parametrize("text", ["optim: {speed: 3}", "optimizer: adam", "- a list"])
def test_a_wrong_recipe_is_an_error_and_not_a_default(tmp_path, text):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text)
    with pytest.raises(ValueError, match="recipe"):
        parse_config([f"--recipe={recipe}", "--data", "d", "--output", "o"])


def test_a_recipe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        parse_config(["--recipe", str(tmp_path / "nowhere.yaml")])
