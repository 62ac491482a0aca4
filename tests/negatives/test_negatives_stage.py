import asyncio

import pytest

from datagen.dataset import Dataset, RegionRow, Table
from datagen.dataset.lineage import Lineage
from datagen.engines.chat import ChatReply
from datagen.engines.config import EngineConfig
from datagen.engines.errors import ModelNotFoundError
from datagen.negatives import stage as module
from datagen.negatives.stage import NegativesConfig, NegativesStage

CONFIG = NegativesConfig(engine=EngineConfig(model="some/model"))


class FirstValues:
    """An engine that takes the first value of each group."""

    def __init__(self, config):
        self.config = config

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


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset(str(tmp_path))
    rows = [
        region(0, "one", "a small red mug"),
        region(1, "one", "a large red mug"),
        region(2, "two", "a dog"),
    ]
    lineage = Lineage(stage="regions", settings={})
    dataset.commit(Table.REGIONS, 0, rows, lineage=lineage, rows_in=2)
    return dataset


def test_one_row_a_region(dataset, monkeypatch):
    monkeypatch.setattr(module, "open_engine", FirstValues)

    async def run():
        stage = NegativesStage(CONFIG)
        await stage.open()
        try:
            items = list(stage.read(dataset, 0))
            return await asyncio.gather(*(stage.process(item) for item in items))
        finally:
            await stage.close()

    rows = [row for rows in asyncio.run(run()) for row in rows]
    assert [row.region_id for row in rows] == ["region-0", "region-1", "region-2"]
    assert [row.image_id for row in rows] == ["one", "one", "two"]
    assert rows[0].positive == "a small red mug"
    assert len(rows[0].negatives) == 10
    # "a large red mug" is another region of the image, so colours make up for it
    assert {negative.type for negative in rows[0].negatives} == {"colour"}
    assert rows[2].negatives == []
    dataset.commit(
        Table.NEGATIVES, 0, rows, lineage=Lineage(stage="negatives", settings={}), rows_in=3
    )
    assert list(dataset.read_rows(Table.NEGATIVES, 0)) == rows


def test_regions_know_the_others_of_their_image(dataset):
    items = list(NegativesStage(CONFIG).read(dataset, 0))
    assert [item.others for item in items] == [("a large red mug",), ("a small red mug",), ()]


def test_lineage_holds_what_changes_the_rows(tmp_path):
    lexicon = tmp_path / "own.yaml"
    lexicon.write_text("kinds:\n  colour:\n    - - [red]\n      - [blue]\n")
    base = NegativesStage(CONFIG).lineage
    other_lexicon = NegativesConfig(engine=CONFIG.engine, lexicon=str(lexicon))
    slower = NegativesConfig(engine=EngineConfig(model="some/model", max_num_seqs=2))
    assert base.fingerprint != NegativesStage(other_lexicon).lineage.fingerprint
    assert base.fingerprint == NegativesStage(slower).lineage.fingerprint


def test_missing_spacy_model_is_found_before_anything_starts():
    config = NegativesConfig(engine=CONFIG.engine, spacy_model="xx_none")
    with pytest.raises(ModelNotFoundError, match="xx_none"):
        NegativesStage(config).check()
