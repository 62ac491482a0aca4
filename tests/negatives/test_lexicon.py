import pytest
import yaml

from datagen.demo import world
from datagen.negatives.lexicon import DEFAULT_LEXICON, load_lexicon

DEMO = DEFAULT_LEXICON.parents[1] / "demo" / "lexicon.yaml"


@pytest.fixture(scope="module")
def lexicon():
    return load_lexicon()


@pytest.mark.parametrize(
    ("value", "synonym"),
    [
        ("gray", "grey"),
        ("little", "tiny"),
        ("large", "big"),
        ("dotted", "spotted"),
        ("checkered", "plaid"),
        ("wooden", "wood"),
    ],
)
def test_synonyms_never_replace_each_other(lexicon, value, synonym):
    assert lexicon.alike(value, synonym)
    assert lexicon.others(value) == lexicon.others(synonym)
    assert value not in lexicon.others(synonym)
    assert synonym not in lexicon.others(value)


def test_near_values_do_not_replace_each_other(lexicon):
    assert "navy" not in lexicon.others("blue")
    assert {"red", "green", "white"} <= set(lexicon.others("blue"))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("maroon", "dark red", True),
        ("light brown", "beige", True),
        ("light gray", "gray", True),
        ("dark blue", "navy blue", True),
        ("light blue", "dark blue", False),
        ("pale blue", "light blue", True),
        ("dark green", "light red", False),
        ("dark gray", "white", False),
    ],
)
def test_shades_that_cannot_be_told_apart(lexicon, one, other, alike):
    assert lexicon.alike(one, other) == lexicon.alike(other, one) == alike


def test_a_noun_has_only_what_fits_it(lexicon):
    assert lexicon.others("wooden", noun="pizza") == ()
    assert "ceramic" not in lexicon.others("cotton", noun="shirt")
    assert "ceramic" in lexicon.others("glass", noun="bowls")


def test_values_stay_in_their_set(lexicon):
    assert lexicon.others("open") == ("closed",)
    assert lexicon.others("wet") == ("dry",)


def test_a_value_with_two_senses_allows_one_negative(lexicon):
    assert lexicon.others("short") == ("tall",)
    assert lexicon.others("short", noun="hair") == ("long",)
    assert lexicon.others("old", noun="man") == ("young", "middle-aged")


def test_what_is_no_value_has_no_others(lexicon):
    assert lexicon.kind_of("dog") is None
    assert lexicon.others("dog") == ()


def test_no_value_of_the_file_lacks_others_or_replaces_itself(lexicon):
    for value in lexicon.values:
        others = lexicon.others(value)
        assert others, value
        assert not any(lexicon.alike(value, other) for other in others), value


def test_demo_lexicon_is_the_small_worlds_vocabulary():
    demo = load_lexicon(DEMO)
    assert set(demo.values) == {*world.COLOURS, *world.FINISHES, *world.SIZES}
    assert {demo.kind_of(value) for value in world.FINISHES} == {"finish"}


def test_users_can_bring_their_own(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("kinds:\n  ripeness:\n    - - [ripe]\n      - [green, unripe]\n")
    assert load_lexicon(file).others("ripe") == ("green",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"kinds": {"a": [[["red"], ["blue"]]], "b": [[["red"], ["dry"]]]}}, "'red' is both"),
        ({"kinds": {"a": [[["r(ed"], ["blue"]]]}}, "lower-case words"),
        ({"colours": []}, "kinds"),
        ({"kinds": {"a": [[[True], ["blue"]]]}}, "string"),
    ],
)
def test_faulty_files_are_named_with_their_fault(tmp_path, content, message):
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message) as error:
        load_lexicon(file)
    assert "bad.yaml" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match="Cannot read the lexicon"):
        load_lexicon(tmp_path / "none.yaml")
