import asyncio
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from PIL import Image

from datagen.dataset import Negative
from datagen.engines.chat import ChatReply
from datagen.engines.config import EngineConfig
from datagen.engines.errors import ModelNotFoundError, RequestError
from datagen.engines.prompts import load_prompt
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.slots import Slot
from datagen.negatives.verify import AnotherRegion, Neighbour, Question, believed, judged
from datagen.regions.boxes import Detection
from datagen.verification.detector import DetectorVerifier, DetectorVerifierConfig
from datagen.verification.lmm import LmmVerifier, LmmVerifierConfig, crop
from datagen.verification.region_score import RegionScore, RegionScoreConfig

BOX = (0.0, 0.0, 0.5, 0.5)
TRUTH = "a blue mug"
"""What the picture shows in these tests; the caption says red."""


def negative(new, text=None):
    return Negative(
        text=text or f"a {new} mug", type="colour", span_start=2, span_end=2 + len(new), old="red",
        new=new,
    )  # fmt: skip


def question(*neighbours):
    return Question(
        image=Image.new("RGB", (100, 80)),
        box=BOX,
        positive="a red mug",
        negatives=(negative("blue"), negative("green")),
        slots=(Slot("colour", "red", 2, 5, "mug"),),
        neighbours=neighbours,
    )


def votes_of(make, asked):
    """The votes of a verifier that is made inside the loop, as a stage makes it."""

    async def run():
        verifier = make()
        try:
            return await judged(asked, [verifier], None)
        finally:
            await verifier.close()

    return asyncio.run(run())


class SeesTheTruth:
    """A detector that finds the phrase that is true, inside the box and outside of it."""

    def detect(self, images, phrases):
        return [
            [
                Detection(0, BOX, 0.9 if texts == [TRUTH] else 0.2),
                Detection(0, (0.6, 0.6, 0.9, 0.9), 0.95),  # elsewhere: it does not count
            ]
            for texts in phrases
        ]


def test_the_detector_is_asked_inside_the_box():
    found = votes_of(
        lambda: DetectorVerifier(DetectorVerifierConfig(model="m"), SeesTheTruth()), question()
    )
    assert [n.votes[0].is_true for n in found] == [True, False]
    assert found[0].votes[0].score == pytest.approx(0.7)
    assert [believed(n, 1) for n in found] == [False, True]
    assert [believed(n, 2) for n in found] == [True, True]


class Encodes:
    """Regions and the true phrase on one axis, other phrases on another."""

    def encode_images(self, pictures, boxes):
        return None, [np.array([[1.0, 0.0]], np.float32) for _ in boxes]

    def encode_texts(self, texts, *, long):
        return np.array([[1.0, 0.0] if t == TRUTH else [0.6, 0.8] for t in texts], np.float32)


def test_a_phrase_that_scores_above_the_positive_is_true():
    found = votes_of(lambda: RegionScore(RegionScoreConfig(model="m"), Encodes()), question())
    assert [n.votes[0].is_true for n in found] == [True, False]
    assert found[0].votes[0].score == pytest.approx(0.4)


@dataclass
class AnswersTruly:
    requests: list = field(default_factory=list)

    async def chat(self, request):
        self.requests.append(request)
        text = "yes" if TRUTH in request.text else "no"
        return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, output_tokens=1)

    async def close(self):
        pass


def test_the_lmm_is_shown_the_box_and_can_say_yes_or_no_only():
    engine = AnswersTruly()
    prompt = load_prompt("prompts/negatives_verify.md")
    found = votes_of(lambda: LmmVerifier(engine, prompt, context=0.0), question())
    assert [n.votes[0].is_true for n in found] == [True, False]
    assert {request.structure.choice for request in engine.requests} == {("yes", "no")}
    assert {request.image.size for request in engine.requests} == {(50, 40)}


def test_an_lmm_that_says_neither_yes_nor_no_is_not_believed():
    class Chats(AnswersTruly):
        async def chat(self, request):
            return replace(await super().chat(request), text="Certainly!")

    prompt = load_prompt("prompts/negatives_verify.md")
    with pytest.raises(RequestError, match="Certainly"):
        votes_of(lambda: LmmVerifier(Chats(), prompt), question())


@pytest.mark.parametrize("verifier", ["detector", "region_score", "lmm"])
def test_a_missing_model_is_found_before_anything_starts(verifier, tmp_path):
    config = {
        "detector": DetectorVerifierConfig(model=str(tmp_path)),
        "region_score": RegionScoreConfig(model=str(tmp_path)),
        "lmm": LmmVerifierConfig(engine=EngineConfig(model=str(tmp_path))),
    }[verifier]
    with pytest.raises(ModelNotFoundError, match=r"holds no config\.json"):
        config.check()


def test_what_is_shown_stays_inside_the_picture():
    assert crop(Image.new("RGB", (100, 100)), (0.9, 0.9, 1.0, 1.0), 0.5).size == (15, 15)
    assert crop(Image.new("RGB", (100, 100)), (0.5, 0.5, 0.5, 0.5), 0.0).size == (1, 1)


def neighbour(phrase, colour, noun="mug"):
    start = phrase.index(colour)
    return Neighbour(phrase, (Slot("colour", colour, start, start + len(colour), noun),), noun)


@pytest.mark.parametrize(
    ("phrase", "colour", "noun", "expected"),
    [
        ("a big blue mug", "blue", "mug", [True, False]),
        ("an azure mug", "azure", "mug", [True, False]),
        ("a blue bowl", "blue", "bowl", [False, False]),
        ("a red mug", "red", "mug", [False, False]),
    ],
)
def test_what_fits_another_region_is_not_false_of_the_picture(phrase, colour, noun, expected):
    asked = question(neighbour(phrase, colour, noun))
    found = AnotherRegion(load_lexicon()).votes_now(asked)
    assert [vote.is_true for vote in found] == expected
