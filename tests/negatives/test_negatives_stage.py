import asyncio
from dataclasses import replace

import pytest

from datagen.dataset import Dataset, RegionRow, Table, Vote
from datagen.dataset.lineage import Lineage
from datagen.engines.chat import ChatReply, Usage
from datagen.engines.config import EngineConfig
from datagen.engines.errors import ModelNotFoundError
from datagen.negatives import candidates as module
from datagen.negatives.candidates import CandidatesConfig, CandidatesStage
from datagen.negatives.selection import SelectConfig
from datagen.negatives.stage import COUNTS, NegativesConfig, NegativesStage, count_slots

CONFIG = CandidatesConfig(engine=EngineConfig(model="some/model"))
AT_RANDOM = NegativesConfig(select=SelectConfig(balanced=False))


class FirstValues:
    """An engine that takes the first value of each group."""

    def __init__(self, config):
        self.config = config
        self.usage = Usage()

    async def chat(self, request):
        groups = request.structure.regex.strip("()").split("), (")
        text = ", ".join(group.split("|")[0] for group in groups)
        return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, output_tokens=1)

    async def close(self):
        pass


def region(number, image, phrase):
    return RegionRow(
        region_id=f"region-{number}",
        image_id=image,
        phrase=phrase,
        span_start=0,
        span_end=len(phrase),
        bbox=(0.0, 0.0, 1.0, 1.0),
        score=0.9,
        margin=0.5,
        description=phrase,
    )


def run(stage, dataset, table):
    """The stage as a runner would run it, on shard 0."""

    async def work():
        await stage.open()
        try:
            items = list(stage.read(dataset, 0))
            return await asyncio.gather(*(stage.process(item) for item in items))
        finally:
            await stage.close()

    rows = [row for rows in asyncio.run(work()) for row in rows]
    dataset.commit(table, 0, rows, lineage=stage.lineage, rows_in=len(rows))
    return rows


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_engine", FirstValues)
    dataset = Dataset(str(tmp_path))
    rows = [
        region(0, "one", "a small red mug"),
        region(1, "one", "a large red mug"),
        region(2, "two", "a dog"),
    ]
    lineage = Lineage(stage="regions", settings={})
    dataset.commit(Table.REGIONS, 0, rows, lineage=lineage, rows_in=2)
    return dataset


def test_candidates_keep_what_checks_refuse_with_the_reason(dataset):
    rows = run(CandidatesStage(CONFIG), dataset, Table.CANDIDATES)
    assert [row.region_id for row in rows] == ["region-0", "region-1", "region-2"]
    assert list(dataset.read_rows(Table.CANDIDATES, 0)) == rows
    refused = [c for c in rows[0].candidates if c.refused_by]
    assert [(c.text, c.refused_by) for c in refused] == [("a large red mug", "not_another_region")]
    assert refused[0].reason == "it names another region of the image"
    assert {slot.kind for slot in rows[0].slots} == {"size", "colour", "object"}
    assert rows[2].candidates == []


def test_one_row_a_region(dataset):
    run(CandidatesStage(CONFIG), dataset, Table.CANDIDATES)
    stage = NegativesStage(AT_RANDOM, count_slots(dataset))
    rows = run(stage, dataset, Table.NEGATIVES)
    assert [row.region_id for row in rows] == ["region-0", "region-1", "region-2"]
    assert [row.image_id for row in rows] == ["one", "one", "two"]
    assert rows[0].positive == "a small red mug"
    assert len(rows[0].negatives) >= 8
    assert all(n.text != "a large red mug" for n in rows[0].negatives)
    assert rows[0].none_because is None
    assert (rows[2].negatives, rows[2].none_because) == ([], "no attribute")
    assert list(dataset.read_rows(Table.NEGATIVES, 0)) == rows


def test_what_the_balance_takes_is_said(dataset):
    run(CandidatesStage(CONFIG), dataset, Table.CANDIDATES)
    only = NegativesConfig(select=SelectConfig(changes={"replace": 1.0}))
    rows = run(NegativesStage(only, count_slots(dataset)), dataset, Table.NEGATIVES)
    # every mug is red, so no other colour can be false of a mug; small and large are even
    assert {n.type for row in rows for n in row.negatives} <= {"size"}
    assert rows[2].none_because == "no attribute"


def test_counts_stay_while_there_are_negatives_made_with_them(dataset):
    run(CandidatesStage(CONFIG), dataset, Table.CANDIDATES)
    counts = count_slots(dataset)
    assert counts.table["colour", "red", "mug", "red"] == 2
    dataset.write_json(COUNTS, {"counts": [["colour", "red", "mug", "red", 7]]})
    assert count_slots(dataset).fingerprint == counts.fingerprint  # nothing was made with those
    run(NegativesStage(AT_RANDOM, counts), dataset, Table.NEGATIVES)
    dataset.write_json(COUNTS, {"counts": [["colour", "red", "mug", "red", 7]]})
    assert count_slots(dataset).table["colour", "red", "mug", "red"] == 7


class Believes:
    """A verifier that holds every phrase with a word to be true."""

    needs_image = False

    def __init__(self, word):
        self.word = word

    def lineage(self):
        return {"verifier": "believes", "word": self.word}

    def check(self):
        pass

    async def open(self):
        return self

    async def votes(self, question):
        found = [self.word in n.text.split() for n in question.negatives]
        return [Vote(verifier="believes", is_true=is_true, score=1.0) for is_true in found]

    async def close(self):
        pass


def test_votes_are_kept_and_drop_what_is_held_true(dataset):
    run(CandidatesStage(CONFIG), dataset, Table.CANDIDATES)
    config = replace(AT_RANDOM, votes_to_drop=1)
    texts = {}
    for word in ("blue", "nothing"):
        stage = NegativesStage(config, count_slots(dataset), [Believes(word)])
        rows = run(stage, dataset, Table.NEGATIVES)
        texts[word] = [n.text for n in rows[0].negatives]
        for n in rows[0].negatives:
            assert [vote.verifier for vote in n.votes] == ["believes", "another_region"]
            assert not any(vote.is_true for vote in n.votes)
    assert not any("blue" in text.split() for text in texts["blue"])
    assert texts["nothing"] != texts["blue"]


def test_regions_know_the_others_of_their_image(dataset):
    items = list(CandidatesStage(CONFIG).read(dataset, 0))
    assert [item.others for item in items] == [("a large red mug",), ("a small red mug",), ()]


def test_lineage_holds_what_changes_the_rows(tmp_path, dataset):
    lexicon = tmp_path / "own.yaml"
    lexicon.write_text("kinds:\n  colour:\n    - - [red]\n      - [blue]\n")
    base = CandidatesStage(CONFIG).lineage
    slower = replace(CONFIG, engine=EngineConfig(model="some/model", max_num_seqs=2))
    assert base.fingerprint == CandidatesStage(slower).lineage.fingerprint
    for other in (
        replace(CONFIG, lexicon=str(lexicon)),
        replace(CONFIG, rewriter="free"),
        replace(CONFIG, kinds=("colour",)),
    ):
        assert base.fingerprint != CandidatesStage(other).lineage.fingerprint


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="no kind 'smell'"):
        CandidatesStage(replace(CONFIG, kinds=("smell",)))


def test_missing_spacy_model_is_found_before_anything_starts():
    with pytest.raises(ModelNotFoundError, match="xx_none"):
        CandidatesStage(replace(CONFIG, spacy_model="xx_none")).check()
