import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from datagen.dataset import Dataset, DatasetError, GroundingRow, Table
from datagen.dataset.lineage import Lineage
from datagen.training.batch import make_batch
from datagen.training.data import DataConfig, Sample, choose
from datagen.training.loader import RawBatches, load_batches
from datagen.training.order import Order, Segment
from datagen.training.reading import Reader
from datagen.training.texts import TextEncoder, learn_tokenizer

LINEAGE = Lineage(stage="test", settings={})


@pytest.fixture
def copied(small_world, tmp_path):
    shutil.copytree(small_world.root, tmp_path / "data")
    return Dataset(str(tmp_path / "data"))


def read(dataset, **options):
    """Every sample, without pixels, in the order of the shards."""
    reader = Reader(dataset, **options)
    for shard, rows in zip(reader.shards, reader.rows, strict=True):
        for record in reader.segment(Segment(shard, 0, rows)):
            if record is not None:
                yield record.sample


def batch_ids(dataset, config=None, *, epochs=1, seed=1, ranks=1, start=0, buffer=100):
    """The image ids of each batch, ranks one after the other."""
    reader = Reader(dataset)
    order = Order(reader.shards, reader.rows, batch=8, buffer=buffer, seed=seed, lanes=4)
    encoder = TextEncoder(learn_tokenizer(["a red mug"], 300), 77, 248)
    stop = epochs * order.batches
    found = [
        [
            [image_id for piece in pieces for image_id in piece.image_ids]
            for pieces in load_batches(
                RawBatches(reader, order, start, stop, rank, ranks),
                config or DataConfig(), encoder, seed=seed, size=16,
            )
        ]
        for rank in range(ranks)
    ]  # fmt: skip
    return [list(chain(*parts)) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("buffer", [100, 12])  # all that there is, or half of it
def test_order_depends_on_the_seed_alone(small_world, buffer):
    def ids(config=None, **options):
        return batch_ids(small_world, config, epochs=2, buffer=buffer, **options)

    once = ids()
    assert once == ids()
    assert once == ids(DataConfig(keep_in_memory=True))
    if buffer == 12:
        assert once == ids(DataConfig(processes=2))
    for ranks in (2, 4):
        assert once == ids(ranks=ranks)
    assert once[3:] == ids(start=3)
    assert once != ids(seed=2)


def test_an_epoch_holds_every_image_once_in_an_order_of_its_own(small_world):
    batches = batch_ids(small_world, epochs=2)
    first, second = list(chain(*batches[:3])), list(chain(*batches[3:]))
    assert len(set(first)) == len(first) == 24
    assert sorted(first) == sorted(second) and first != second


@pytest.mark.parametrize(("batch", "lanes"), [(8, 0), (8, 4), (6, 1), (7, 0)])
def test_batches_of_many_shards_are_disjoint_and_mixed(batch, lanes):
    rows = [700, 30, 1000, 256]
    order = Order([3, 5, 8, 9], rows, batch=batch, buffer=300, seed=0, lanes=lanes)
    seen = []
    for number in range(order.batches):
        for lane in range(order.lanes):
            buffer, chosen = order.share_of(0, lane, number)
            segments = order.buffer(0, lane, buffer)
            buffered = [(s.shard, s.first + i) for s in segments for i in range(s.rows)]
            seen += [buffered[i] for i in chosen]
    assert len(set(seen)) == len(seen) == order.batches * batch > sum(rows) - batch - 16 * 8
    assert {shard for shard, _ in seen[: 40 * batch]} != {seen[0][0]} or order.lanes == 1
    assert seen != sorted(seen)


def test_lanes_that_do_not_divide_a_batch_are_refused():
    with pytest.raises(ValueError, match="lanes"):
        Order([0], [100], batch=8, buffer=4, seed=0, lanes=3)


def test_a_sample_joins_the_rows_of_its_image(small_world):
    samples = list(read(small_world))
    rows = [row for s in (0, 1) for row in small_world.read_rows(Table.REGIONS, s)]
    assert sum(len(sample.regions) for sample in samples) == len(rows)
    for sample in samples:
        assert all(region.phrase in sample.long for region in sample.regions)
        assert all(len(region.negatives) == 10 for region in sample.regions)


def test_rows_in_the_middle_of_a_shard_are_read_alone(small_world):
    reader = Reader(small_world)
    everything = [record.sample for record in reader.segment(Segment(0, 0, 16))]
    assert [r.sample for r in reader.segment(Segment(0, 5, 4))] == everything[5:9]


def test_the_region_budget_is_drawn_anew_each_epoch(small_world):
    config = DataConfig(max_regions=1, max_negatives=2, short_prefix="a photo of ")
    samples = [s for s in read(small_world) if len(s.regions) > 1]
    seen = [[choose(sample, config, 0, epoch) for sample in samples] for epoch in range(2)]
    assert all(len(sample.regions) == 1 for sample in seen[0])
    assert all(len(sample.regions[0].negatives) == 2 for sample in seen[0])
    assert all(sample.short.startswith("a photo of ") for sample in seen[0])
    pairs = zip(*seen, strict=True)
    assert any(one.regions[0].box != other.regions[0].box for one, other in pairs)
    assert seen[0] == [choose(sample, config, 0, 0) for sample in samples]


def test_a_corrupt_image_is_skipped_and_named(copied, caplog):
    images = list(copied.read_rows(Table.IMAGES, 0))
    broken = replace(images[3], bytes=images[3].bytes[:100])
    rows = [*images[:3], broken, *images[4:]]
    whole = batch_ids(copied)
    copied.commit(Table.IMAGES, 0, rows, lineage=LINEAGE, rows_in=len(rows))
    found = batch_ids(copied)
    assert found == [[i for i in batch if i != broken.image_id] for batch in whole]
    assert found != whole and broken.image_id in caplog.text


def test_an_image_without_captions_is_not_trained_on(copied):
    captions = list(copied.read_rows(Table.CAPTIONS, 0))
    copied.commit(Table.CAPTIONS, 0, captions[1:], lineage=LINEAGE, rows_in=len(captions))
    found = list(chain(*batch_ids(copied)))
    assert len(found) == 23 and captions[0].image_id not in found


def test_a_cleaned_long_caption_is_preferred(copied):
    captions = list(copied.read_rows(Table.CAPTIONS, 1))
    rows = [
        GroundingRow(image_id=row.image_id, grounded=1.0, phrases=[], long=f"cleaned {i}")
        for i, row in enumerate(captions)
    ]
    copied.commit(Table.GROUNDING, 1, rows, lineage=LINEAGE, rows_in=len(rows))
    long = [sample.long for sample in read(copied)]
    assert long[16:] == [f"cleaned {i}" for i in range(8)]
    assert not any(text.startswith("cleaned") for text in long[:16])


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(DatasetError, match="caption"):
        Reader(Dataset(str(tmp_path)))


def test_missing_regions_are_refused_only_where_they_are_needed(copied):
    (Path(copied.root) / "regions" / "part-000001.parquet").unlink()
    with pytest.raises(DatasetError, match="regions"):
        Reader(copied)
    assert len(list(read(copied, with_regions=False))) == 24


def group_of(dataset, count):
    random = np.random.default_rng(0)
    return [
        replace(sample, pixels=random.integers(255, size=(32, 32, 3), dtype=np.uint8))
        for sample, _ in zip(read(dataset), range(count), strict=False)
    ]


@pytest.fixture
def encoder(small_world):
    return TextEncoder(learn_tokenizer(Reader(small_world).texts(), 500), 77, 248)


def test_a_batch_holds_any_numbers_of_regions_and_negatives(small_world, encoder):
    group = group_of(small_world, 8)
    group[0] = replace(group[0], regions=())
    group[1] = replace(group[1], regions=(replace(group[1].regions[0], negatives=("a bird",)),))
    group[2] = replace(group[2], regions=(replace(group[2].regions[0], negatives=()),))
    batch = make_batch(group, encoder)
    regions = [region for sample in group for region in sample.regions]
    texts = {s.short for s in group} | {r.text for r in regions}
    texts |= {t for r in regions if r.negatives for t in (r.phrase, *r.negatives)}
    assert batch.tree.short_ends == len(texts)
    assert len(batch.boxes) == len(regions) and len(batch.hard) == len(regions) - 1
    assert batch.valid.sum(1).tolist() == [1 + len(r.negatives) for r in regions if r.negatives]
    np.testing.assert_array_equal(batch.pixels[3].permute(1, 2, 0).numpy(), group[3].pixels)


def test_regions_of_the_same_text_have_the_same_name(small_world, encoder):
    sample: Sample = group_of(small_world, 1)[0]
    region = sample.regions[0]
    twice = replace(sample, regions=(region, replace(region, box=(0.0, 0.0, 1.0, 1.0))))
    other = replace(sample, regions=(replace(region, text="a bird"),))
    first, second = (make_batch([s], encoder).names.tolist() for s in (twice, other))
    assert first[0] == first[1] != second[0]


def test_a_batch_without_any_region_is_a_batch(small_world, encoder):
    group = [replace(s, regions=()) for s in group_of(small_world, 4)]
    batch = make_batch(group, encoder)
    assert batch.boxes.shape == (0, 4) and len(batch.candidates) == 0
    assert torch.equal(make_batch(group, encoder, hard=False).short, batch.short)


def test_a_url_is_read_as_a_folder_is(small_world):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(small_world.root, "/world", recursive=True)
    assert list(read(Dataset("memory://world"))) == list(read(small_world))
