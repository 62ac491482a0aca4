"""Descriptions of regions: when the captioner is asked, what it sees, what is kept of it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from datagen.command import load_recipe
from datagen.engines.chat import ChatReply
from datagen.engines.config import EngineConfig
from datagen.engines.errors import ModelNotFoundError, RequestError
from datagen.engines.prompts import PromptError
from datagen.regions.backends import check_detector, open_detector
from datagen.regions.descriptions import Describer, DescriptionsConfig, crop_of, suffices
from datagen.regions.groundingdino import GroundingDinoSettings
from datagen.regions.phrases import PhraseChunker
from pipelines.regions import Config

RECIPES = sorted((Path(__file__).parents[2] / "pipelines" / "recipes").glob("*/regions*.yaml"))
CONFIG = DescriptionsConfig(engine=EngineConfig(model="some/model"))
BOX = (0.25, 0.5, 0.75, 1.0)
GOOD = "A red mug of smooth china with a wide round handle."


class Scripted:
    """An engine that gives the replies of a list, one after the other."""

    def __init__(self, *replies):
        self.replies, self.requests = list(replies), []

    async def chat(self, request):
        self.requests.append(request)
        text = self.replies.pop(0)
        if isinstance(text, Exception):
            raise text
        reason = "length" if text.endswith("…") else "stop"
        return ChatReply(text=text, finish_reason=reason, prompt_tokens=1, output_tokens=1)


@pytest.fixture(scope="module")
def phrases():
    caption = (
        "There is a red mug and a blue chair. A small dog is sleeping quietly in the warm evening."
    )
    return PhraseChunker().chunk([caption])[0]


def describe(engine, phrases, number=0):
    describer = Describer(CONFIG, engine)
    image = Image.new("RGB", (200, 100), "red")
    return asyncio.run(describer.describe(image, BOX, phrases[number], phrases, "0" * 8 + "1" * 24))


def test_the_captioner_is_shown_the_crop_and_told_the_phrase(phrases):
    engine = Scripted(GOOD)
    found = describe(engine, phrases)
    assert (found.text, found.source) == (GOOD, "captioner")
    (request,) = engine.requests
    assert "a red mug" in request.text
    assert request.image.size == (140, 60)  # half the picture, and a fifth more on each side


def test_a_sentence_about_the_thing_alone_suffices(phrases):
    engine = Scripted()
    dog = next(i for i, phrase in enumerate(phrases) if phrase.head == "dog")
    found = describe(engine, phrases, dog)
    assert found.source == "sentence" and found.text.startswith("A small dog")
    assert not engine.requests
    assert not suffices(phrases[0], phrases, 1)
    assert not suffices(phrases[dog], phrases, 40)


@pytest.mark.parametrize(
    "bad",
    ["", "I'm sorry, I cannot help.", "A red mug with a …", "A blue chair."],
)
def test_a_bad_reply_is_asked_again_and_then_the_sentence_stays(phrases, bad):
    engine = Scripted(bad, GOOD)
    assert describe(engine, phrases).text == GOOD
    first, second = (request.sampling for request in engine.requests)
    assert first.seed != second.seed and second.temperature > first.temperature
    found = describe(Scripted(bad, bad), phrases)
    assert (found.text, found.source) == (phrases[0].sentence, "sentence")


def test_a_request_that_fails_is_an_error_and_no_sentence(phrases):
    with pytest.raises(RequestError, match="too large"):
        describe(Scripted(RequestError("too large")), phrases)


def test_crops_stay_inside_and_have_a_size_that_models_take():
    image = Image.new("RGB", (100, 50))
    assert crop_of(image, (0.0, 0.0, 1.0, 1.0), 0.5, 512).size == (100, 50)
    assert crop_of(image, (0.0, 0.0, 1.0, 1.0), 0.5, 50).size == (50, 25)
    assert min(crop_of(image, (0.5, 0.5, 0.501, 0.501), 0.0, 512).size) >= 28


def test_a_prompt_needs_a_place_for_the_phrase():
    wrong = replace(CONFIG, prompt="prompts/caption_long.md")
    with pytest.raises(PromptError, match=r"has no \{phrase\}"):
        Describer(wrong, Scripted())


def test_a_recipe_may_name_a_captioner_and_the_original_detector(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "data: some\nregions: {detector: a.pth, backend: groundingdino, groundingdino: {gpus: 1}}\n"
        "describe: {margin: 0.1, engine: {model: m, endpoints: ['http://host/v1']}}\n"
    )
    config = load_recipe(recipe, Config)
    assert config.describe.engine.endpoints == ("http://host/v1",)
    assert config.regions.groundingdino.gpus == 1
    settings = config.regions.lineage()
    assert settings["groundingdino"]["config"] == "GroundingDINO_SwinT_OGC"
    assert "gpus" not in settings["groundingdino"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_shipped_recipes_are_configurations(path, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"data: some\n{path.read_text(encoding='utf-8')}")
    config = load_recipe(recipe, Config)
    if config.describe is not None:
        Describer(config.describe, Scripted())


class OwnDetector:
    """Stands for a detector of a user."""

    def __init__(self, model):
        self.model = model


def test_a_detector_of_ones_own_is_found_by_its_name():
    name, settings = f"{__name__}:OwnDetector", GroundingDinoSettings()
    check_detector(name, "http://host", None, settings)
    assert open_detector(name, "http://host", None, None, settings).model == "http://host"
    for wrong in ("no_such_module:Class", f"{__name__}:NoClass", "nonsense"):
        with pytest.raises(ModelNotFoundError, match=r"package\.module:Class"):
            check_detector(wrong, "", None, settings)
