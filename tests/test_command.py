"""Recipes and arguments: every field is checked, and a mistake is one sentence."""

from dataclasses import dataclass, field

import pytest

from datagen.command import RecipeError, command, load_recipe


@dataclass(frozen=True, kw_only=True)
class Engine:
    model: str
    max_len: int | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    data: str
    engine: Engine
    tags: tuple[str, ...] = field(default_factory=tuple)


def run(monkeypatch, *arguments: str) -> Config:
    got: list[Config] = []
    monkeypatch.setattr("sys.argv", ["script", *arguments])
    command(Config, got.append, "A script.")
    return got[0]


@pytest.fixture
def recipe(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "recipe.yaml").write_text(text)
        return str(tmp_path / "recipe.yaml")

    return write


def test_arguments_override_the_recipe_and_fill_what_it_leaves_out(monkeypatch, recipe):
    path = recipe("engine:\n  model: tiny\n  max_len: 512\n")
    config = run(monkeypatch, "--recipe", path, "--data", "d", "--max-len", "64")
    assert config == Config(data="d", engine=Engine(model="tiny", max_len=64))


def test_without_a_recipe_all_comes_from_the_arguments(monkeypatch):
    config = run(monkeypatch, "--data", "d", "--model", "m")
    assert config == Config(data="d", engine=Engine(model="m"))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("engine:\n  modle: tiny\n", "has no field modle"),
        ("engine:\n  model: tiny\n  max_len: many\n", "max_len does not fit"),
        ("engine: tiny\n", "must be a mapping"),
        ("engine: [\n", "is not YAML"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_by_name(recipe, text, named):
    from pathlib import Path

    with pytest.raises(RecipeError, match=named):
        load_recipe(Path(recipe(text)), Config)


def test_a_recipe_that_is_not_there_ends_in_one_sentence(monkeypatch):
    with pytest.raises(SystemExit, match=r"^error: Cannot read the recipe no\.yaml"):
        run(monkeypatch, "--recipe", "no.yaml")
