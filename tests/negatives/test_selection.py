from collections import Counter

import pytest

from datagen.negatives.balance import Counts
from datagen.negatives.candidates import PhraseItem, candidates_row
from datagen.negatives.drafts import CHANGES
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.rewriter import Rewritten, put_values
from datagen.negatives.selection import SelectConfig, Selector, Surroundings, count_row
from datagen.negatives.slots import SlotFinder

LEXICON = load_lexicon()
COLOURS = ("red", "blue", "green", "black", "white", "pink")


@pytest.fixture(scope="module")
def finder():
    return SlotFinder(LEXICON)


def rows_of(finder, phrases, image=None):
    """Candidates rows with every value of the lexicon; each phrase in an image of its own."""
    rows = []
    for number, (phrase, slots) in enumerate(zip(phrases, finder.find(phrases), strict=True)):
        attributes = [slot for slot in slots if slot.kind not in ("object", "part")]
        drafts = [
            put_values(phrase, [(slot, value)], after_of=LEXICON.after_of)
            for slot in attributes
            for value in LEXICON.others(slot.surface(phrase), slot.kind, slot.noun)
        ]
        item = PhraseItem(f"r{number}", image or f"i{number}", phrase, ())
        rows.append(candidates_row(item, slots, Rewritten(drafts, frozenset(slots)), LEXICON))
    return rows


@pytest.fixture(scope="module")
def mugs(finder):
    """216 regions: "a small red mug with a blue lid" and so on."""
    phrases = [
        f"a {size} {COLOURS[i % 6]} {noun} with a {COLOURS[(i // 6) % 6]} lid"
        for i in range(36)
        for size in ("small", "large")
        for noun in ("mug", "jar", "kettle")
    ]
    return rows_of(finder, phrases)


def selector(rows, **config):
    counts = Counts()
    for row in rows:
        count_row(row, counts)
    return Selector(SelectConfig(**config), counts, LEXICON)


def chosen(rows, **config):
    select = selector(rows, **config)
    return [(row, select.select(row, Surroundings([], rows))) for row in rows]


def test_the_recipe_has_its_shares(mugs):
    pairs = chosen(mugs)
    changes = Counter(n.change for _, negatives in pairs for n in negatives)
    share = {change: changes[change] / changes.total() for change in CHANGES}
    assert share["replace"] == pytest.approx(0.6, abs=0.1)
    assert share["replace_two"] == pytest.approx(0.15, abs=0.04)
    assert share["other_object"] == pytest.approx(0.1, abs=0.03)
    assert share["swap"] > 0.02
    assert share["add"] == 0


def test_every_negative_says_what_it_changed(mugs):
    for row, negatives in chosen(mugs[:60]):
        assert len({n.text for n in negatives}) == len(negatives) <= 10
        for n in negatives:
            assert n.text != row.positive
            assert n.text[n.span_start : n.span_end] == n.new
            rest = n.text[: n.span_start] + n.old + n.text[n.span_end :]
            assert rest.replace("an ", "a ") == row.positive
            kinds = n.type.split("+")
            wanted = {"replace": 1, "replace_two": 2, "replace_three": 3, "swap": 2}
            assert len(kinds) == wanted.get(n.change, 1)


def test_a_kind_alone(mugs):
    for change in ("replace_two", "replace_three", "swap"):
        found = Counter(n.change for _, ns in chosen(mugs[:40], changes={change: 1}) for n in ns)
        assert found[change] > 0
        assert set(found) <= {change, "replace"}


def test_swaps_exchange_two_values(mugs):
    for row, negatives in chosen(mugs[:80], changes={"swap": 1.0}, per_region=1):
        for n in negatives:
            if n.change == "swap":
                assert sorted(n.text.split()) == sorted(row.positive.split())


def test_values_of_two_regions_of_an_image_change_places(finder):
    rows = rows_of(finder, ["a red mug", "a blue bowl"], image="one") * 1
    counted = rows_of(finder, [f"a {c} {n}" for c in ("red", "blue") for n in ("mug", "bowl")] * 20)
    select = selector(counted, changes={"swap_regions": 1.0}, per_region=1)
    texts = {
        n.text
        for row, other in (rows, rows[::-1])
        for n in select.select(row, Surroundings([other], []))
        if n.change == "swap_regions"
    }
    assert texts == {"a blue mug", "a red bowl"}


def test_another_objects_phrase_is_never_of_the_same_object(mugs):
    for row, negatives in chosen(mugs[:60], changes={"other_object": 0.5, "replace": 0.5}):
        assert any(n.change == "other_object" for n in negatives)
        for n in negatives:
            if n.change == "other_object":
                noun = row.positive.split(" with")[0].split()[-1]
                assert f" {noun} " not in n.text


def test_an_attribute_more(finder):
    rows = rows_of(finder, ["a small mug", "a man"])
    select = selector(rows, changes={"add": 1.0}, balanced=False)
    negatives = select.select(rows[0], Surroundings([], []))
    added = [n.text for n in negatives if n.change == "add"]
    assert added
    assert all(text.startswith("a small ") and text.endswith(" mug") for text in added)
    assert select.select(rows[1], Surroundings([], [])) == []  # nobody is "a green man"


def test_balanced_negatives_say_what_positives_say(finder):
    """A colour that is true nine times in ten is not the answer nine times in ten."""
    phrases = ["a white plate"] * 400 + [f"a {c} plate" for c in COLOURS] * 60
    rows = rows_of(finder, phrases)
    positive, negative = Counter(), Counter()
    for row, negatives in chosen(rows, changes={"replace": 1.0}):
        if negatives:
            positive[row.positive] += 1
            negative.update(n.text for n in negatives)
    ratios = [negative[text] / positive[text] for text in positive]
    assert max(ratios) < 2 * min(ratios)
    assert set(negative) == set(positive)


def test_at_random_every_region_keeps_what_it_can(finder):
    rows = rows_of(finder, ["a white plate"] * 30)
    assert all(len(n) == 10 for _, n in chosen(rows, balanced=False, changes={"replace": 1}))
    assert all(n == [] for _, n in chosen(rows, changes={"replace": 1}))


def test_the_same_row_gives_the_same_negatives(mugs):
    assert chosen(mugs[:20]) == chosen(mugs[:20])


def test_unknown_changes_are_named():
    with pytest.raises(ValueError, match="no change 'twist'"):
        SelectConfig(changes={"twist": 1.0})
