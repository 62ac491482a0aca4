import pytest

from datagen.demo.truth_tables import write_truth_dataset


@pytest.fixture(scope="session")
def small_world(tmp_path_factory):
    """24 scenes in two shards, all four tables."""
    root = tmp_path_factory.mktemp("world") / "data"
    return write_truth_dataset(str(root), "tiny-test", 24, shard_size=16)
