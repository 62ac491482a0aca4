"""What a user may get wrong ends in one sentence on stderr and an exit code other than 0."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"pipelines/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


CAPTION = ("--recipe", "pipelines/recipes/demo/caption.yaml")


def test_an_empty_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    result = script("caption", *CAPTION, "--images", tmp_path / "photos", "--data", tmp_path / "d")
    assert "holds no images" in sentence(result)


def test_a_model_that_does_not_exist(tmp_path):
    (tmp_path / "photos").mkdir()
    result = script(
        "caption", *CAPTION, "--images", tmp_path, "--data", tmp_path / "d", "--model", "no/such"
    )
    assert "Model not found: 'no/such'" in sentence(result)
    assert not (tmp_path / "d").exists()


def test_a_missing_spacy_model(tmp_path):
    recipe = ("--recipe", "pipelines/recipes/demo/regions.yaml")
    result = script("regions", *recipe, "--data", tmp_path, "--spacy-model", "xx_absent")
    assert "xx_absent" in sentence(result)


def test_a_stage_before_its_input_is_there(tmp_path):
    recipe = ("--recipe", "pipelines/recipes/demo/regions.yaml")
    result = script("regions", *recipe, "--data", tmp_path)
    assert "captions has no shards" in sentence(result)


def test_a_recipe_with_an_unknown_field(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("captions:\n  temprature: 1\n")
    result = script("caption", "--recipe", recipe, "--images", tmp_path, "--data", tmp_path)
    assert "temprature" in sentence(result)


@pytest.mark.parametrize("name", ["train", "evaluate", "report"])
def test_a_dataset_that_is_empty(name, tmp_path):
    options = {
        "train": ("--output", tmp_path / "model"),
        "evaluate": ("--model", tmp_path / "model"),
        "report": ("--output", tmp_path / "report.html"),
    }[name]
    sentence(script(name, "--data", tmp_path / "empty", *options))
