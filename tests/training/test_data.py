import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datagen.dataset import Dataset, DatasetError, Table
from datagen.dataset.lineage import Lineage
from datagen.training.batch import batches, make_batch
from datagen.training.data import DataConfig, Samples
from datagen.training.texts import TextEncoder, learn_tokenizer

LINEAGE = Lineage(stage="test", settings={})


@pytest.fixture
def copied(small_world, tmp_path):
    shutil.copytree(small_world.root, tmp_path / "data")
    return Dataset(str(tmp_path / "data"))


def ids(samples, epoch=0):
    return [sample.image_id for sample in samples.epoch(epoch, 32)]


@pytest.mark.parametrize("memory", [False, True])
def test_order_depends_on_seed_and_epoch_alone(small_world, memory):
    config = DataConfig(keep_in_memory=memory, shuffle_buffer=5)
    first, again = (Samples(small_world, config, seed=1) for _ in range(2))
    assert ids(first) == ids(again)
    assert ids(first, 1) == ids(again, 1) != ids(first)
    assert sorted(ids(first)) == sorted(ids(first, 1))
    assert ids(Samples(small_world, config, seed=2)) != ids(first)


def test_a_sample_joins_the_rows_of_its_image(small_world):
    samples = list(Samples(small_world, DataConfig(), seed=0).epoch(0, 32))
    rows = [row for s in (0, 1) for row in small_world.read_rows(Table.REGIONS, s)]
    assert sum(len(sample.regions) for sample in samples) == len(rows)
    for sample in samples:
        assert sample.pixels.shape == (32, 32, 3)
        assert all(region.phrase in sample.long for region in sample.regions)
        assert all(len(region.negatives) == 10 for region in sample.regions)


def test_the_region_budget_is_drawn_anew_each_epoch(small_world):
    samples = Samples(small_world, DataConfig(max_regions=1, max_negatives=2), seed=0)
    seen = [{s.image_id: s.regions for s in samples.epoch(epoch, 32)} for epoch in range(2)]
    assert all(len(regions) == 1 for regions in seen[0].values())
    assert all(len(regions[0].negatives) == 2 for regions in seen[0].values())
    assert any(seen[0][i][0].box != seen[1][i][0].box for i in seen[0])


def test_a_corrupt_image_is_skipped_and_named(copied, caplog):
    images = list(copied.read_rows(Table.IMAGES, 0))
    broken = replace(images[3], bytes=images[3].bytes[:100])
    rows = [*images[:3], broken, *images[4:]]
    copied.commit(Table.IMAGES, 0, rows, lineage=LINEAGE, rows_in=len(rows))
    found = ids(Samples(copied, DataConfig(), seed=0))
    assert len(found) == 23 and broken.image_id not in found
    assert broken.image_id in caplog.text


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(DatasetError, match="caption"):
        Samples(Dataset(str(tmp_path)), DataConfig(), seed=0)


def test_missing_regions_are_refused_only_where_they_are_needed(copied):
    (Path(copied.root) / "regions" / "part-000001.parquet").unlink()
    with pytest.raises(DatasetError, match="regions"):
        Samples(copied, DataConfig(), seed=0)
    assert len(ids(Samples(copied, DataConfig(), seed=0, with_regions=False))) == 24


def test_a_batch_numbers_each_different_text_once(small_world):
    samples = Samples(small_world, DataConfig(), seed=0)
    encoder = TextEncoder(learn_tokenizer(samples.texts(), 500), 77, 248)
    group = next(batches(samples.epoch(0, 32), 8))
    group[0] = replace(group[0], regions=())
    group[1] = replace(group[1], regions=(replace(group[1].regions[0], negatives=("a bird",)),))
    group[2] = replace(group[2], regions=(replace(group[2].regions[0], negatives=()),))
    batch = make_batch(group, encoder, hard=True)
    regions = [region for sample in group for region in sample.regions]
    texts = {s.short for s in group} | {r.text for r in regions}
    texts |= {t for r in regions if r.negatives for t in (r.phrase, *r.negatives)}
    assert len(batch.short_texts.row) == len(texts)
    assert len(batch.boxes) == len(regions) and len(batch.hard) == len(regions) - 1
    assert batch.valid.sum(1).tolist() == [1 + len(r.negatives) for r in regions if r.negatives]
    np.testing.assert_array_equal(batch.pixels[3].permute(1, 2, 0).numpy(), group[3].pixels)


def test_a_batch_without_any_region_is_a_batch(small_world):
    samples = Samples(small_world, DataConfig(), seed=0)
    encoder = TextEncoder(learn_tokenizer(samples.texts(), 500), 77, 248)
    group = [replace(s, regions=()) for s in next(batches(samples.epoch(0, 32), 4))]
    batch = make_batch(group, encoder, hard=True)
    assert batch.boxes.shape == (0, 4) and len(batch.candidates) == 0
