"""Bad captions are caught by the right check, and no good one is touched (caption_samples.yaml)."""

import random
from pathlib import Path

import pytest
import yaml

from datagen.engines.prompts import load_prompt
from datagen.texts import checks
from datagen.texts.checks import Asked, check_caption
from datagen.texts.language import is_in
from datagen.texts.mend import sentences

ROOT = Path(__file__).parents[2]
SAMPLES = yaml.safe_load(Path(__file__).with_name("caption_samples.yaml").read_text("utf-8"))
FILES = {"en": "caption_long.md", "zh": "caption_long_zh.md"}


def asked(language):
    prompt = load_prompt(ROOT / "prompts" / FILES[language])
    return Asked(prompt.text, prompt.language, prompt.max_words)


ASKED = {language: asked(language) for language in FILES}


def check(sample):
    text = sample["text"] or " ".join(
        f"Word{i} stands by a word." for i in range(sample.get("long", 0))
    )
    return check_caption(text, sample.get("finish", "stop"), ASKED[sample.get("language", "en")])


def named(sample):
    return " ".join(str(sample.get("check", "good")).split()) + ": " + sample["text"][:40]


def test_there_are_enough_samples():
    assert len(SAMPLES["bad"]) >= 60
    assert len(SAMPLES["good"]) >= 60


@pytest.mark.parametrize("sample", SAMPLES["bad"], ids=named)
def test_bad_captions_are_caught_for_the_right_reason(sample):
    checked = check(sample)
    wanted = sample["check"] if isinstance(sample["check"], list) else [sample["check"]]
    assert sorted(checked.checks) == sorted(wanted)
    if "becomes" in sample:
        assert checked.text == sample["becomes"]
        assert not checked.faults
    else:
        assert checked.faults


@pytest.mark.parametrize("sample", SAMPLES["good"], ids=named)
def test_good_captions_pass_unchanged(sample):
    checked = check(sample)
    assert checked.checks == ()
    assert checked.text == sample["text"]


@pytest.mark.parametrize("sample", [s for s in SAMPLES["bad"] if "becomes" in s], ids=named)
def test_what_was_mended_is_good(sample):
    again = check_caption(sample["becomes"], "stop", ASKED[sample.get("language", "en")])
    assert again.checks == ()


def test_only_known_languages_can_be_asked_for():
    with pytest.raises(ValueError, match="not 'fr'"):
        is_in("Une tasse", "fr")


def test_sentences_end_at_their_marks_and_not_at_abbreviations():
    text = 'A shop on Main St. has a sign "Open." Two men stand in it. 红色的杯子。旁边有一盏灯。'
    assert sentences(text) == [
        'A shop on Main St. has a sign "Open."',
        "Two men stand in it.",
        "红色的杯子。",
        "旁边有一盏灯。",
    ]


def test_a_title_is_not_the_end_of_a_sentence():
    text = "Dr. Smith sits beside Mrs. Jones. No. 5 is on the door of St. Mary. It is blue."
    assert sentences(text) == [
        "Dr. Smith sits beside Mrs. Jones.",
        "No. 5 is on the door of St. Mary.",
        "It is blue.",
    ]


def test_stutters_are_found_where_the_plain_search_finds_them(monkeypatch):
    chance = random.Random(0)
    said = []
    for _ in range(4000):
        piece = "".join(chance.choices("abc, ", k=chance.randint(1, 62)))
        text = "".join(chance.choices("abc, ", k=60))
        place = chance.randint(0, 60)
        said.append(text[:place] + piece * chance.randint(4, 7) + text[place:])
    fast = [checks._stutters(text) for text in said]
    monkeypatch.setattr(checks, "_may_stutter", lambda text: True)
    slow = [checks._stutters(text) for text in said]
    assert fast == slow
    assert 0.2 < sum(slow) / len(slow) < 0.9
