from collections import Counter

import pytest

from datagen.negatives.balance import Balance, BalanceConfig, Counts, kept_share
from datagen.negatives.lexicon import load_lexicon

LEXICON = load_lexicon()
COLOURS = ("white", "black", "red", "blue", "green", "brown", "pink", "yellow")


def skewed(regions, values=COLOURS):
    """Values of regions, the n-th in proportion to 1/n."""
    weights = [1 / (rank + 1) for rank in range(len(values))]
    return [
        value
        for value, weight in zip(values, weights, strict=True)
        for _ in range(round(regions * weight / sum(weights)))
    ]


def balance(values, noun="mug", **config):
    counts = Counts()
    for value in values:
        counts.add("colour", "red", noun, value)
    return Balance(counts, LEXICON, BalanceConfig(**config))


@pytest.mark.parametrize(
    ("shares", "size", "kept"),
    [
        ([0.5, 0.5], 2, 1.0),
        ([0.9, 0.1], 2, 0.2),
        ([0.25] * 4, 4, 1.0),
        ([0.25] * 4, 5, 0.0),
        ([0.7, 0.1, 0.1, 0.1], 3, 0.45),
        ([1.0], 2, 0.0),
    ],
)
def test_what_balancing_costs(shares, size, kept):
    assert kept_share(shares, size) == pytest.approx(kept)


def test_a_value_with_share_p_keeps_at_most_its_part():
    """(1 - p) / p negatives a region: 0.6 in pairs can keep 0.8 of the regions, not more."""
    assert kept_share([0.6, 0.4], 2) == pytest.approx(0.8)


def test_each_value_of_a_set_is_the_true_one_equally_often():
    values = skewed(40_000)
    found = balance(values)
    positive, negative, sets = Counter(), Counter(), Counter()
    for number, value in enumerate(values):
        others = found.set_of("colour", "red", "mug", value, f"region {number}")
        if others:
            positive[value] += 1
            negative.update(others)
            sets[frozenset((value, *others)), value] += 1
    size = found.pools[0].size
    assert positive.total() / len(values) == pytest.approx(found.pools[0].kept, abs=0.01)
    assert found.pools[0].kept >= BalanceConfig().keep
    for value in COLOURS:
        assert negative[value] / positive[value] == pytest.approx(size - 1, rel=0.15)
    for members in {members for members, _ in sets}:
        times = [sets[members, value] for value in members]
        if sum(times) > 1000:
            assert min(times) > 0.75 * max(times)


def test_sets_hold_distinct_values_and_never_the_own():
    found = balance(skewed(2000))
    for number in range(300):
        others = found.set_of("colour", "red", "mug", "red", f"r{number}")
        assert "red" not in others
        assert len(set(others)) == len(others)


def test_the_same_seed_gives_the_same_set():
    found = [balance(skewed(2000)).set_of("colour", "red", "mug", "red", "seed") for _ in range(2)]
    assert found[0] == found[1]


def test_only_what_is_true_somewhere_is_false_elsewhere():
    found = balance(["red", "blue", "green"] * 50)
    for number in range(100):
        others = found.set_of("colour", "red", "mug", "red", str(number))
        assert set(others) <= {"blue", "green"}


def test_synonyms_and_shades_are_written_as_positives_are():
    values = ["red"] * 100 + ["grey"] * 25 + ["light gray"] * 75
    found = balance(values)
    written = Counter(
        value
        for number in range(1000)
        for value in found.set_of("colour", "red", "mug", "red", str(number))
    )
    assert set(written) == {"grey", "light gray"}
    assert written["light gray"] / written.total() == pytest.approx(0.75, abs=0.06)


def test_rare_nouns_are_balanced_together_and_frequent_ones_alone():
    counts = Counts()
    for value, regions in (("white", 90), ("black", 10)):
        counts.add("colour", "red", "plate", value, regions)
    for noun in ("kettle", "tray", "jug"):
        counts.add("colour", "red", noun, "red", 15)
        counts.add("colour", "red", noun, "black", 15)
    pools = Balance(counts, LEXICON, BalanceConfig(min_regions=50)).pools
    assert [(pool.regions, round(pool.shares["black"], 2)) for pool in pools] == [
        (100, 0.1),
        (90, 0.5),
    ]


def test_counts_have_a_fingerprint_of_their_content():
    one, other = Counts(), Counts()
    one.add("colour", "red", "mug", "red", 2)
    other.add("colour", "red", "mug", "red")
    assert one.fingerprint != other.fingerprint
    other.update(other)
    assert one.fingerprint == other.fingerprint
