from dataclasses import replace

import pytest
from PIL import Image

from datagen.dataset import Table
from datagen.errors import UserError
from datagen.training.config import ModelConfig, OptimConfig, TrainConfig
from datagen.training.folder import STAGE, import_folder
from datagen.training.launch import launch
from datagen.training.objective import LossConfig


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for i in range(6):
        place = folder / "below" if i % 2 else folder
        Image.new("RGB", (40, 30), (40 * i, 0, 0)).save(place / f"{i}.jpg")
        (place / f"{i}.txt").write_text(f"A picture of redness {i}. It is plain.\n")
    Image.new("RGB", (40, 30)).save(folder / "without.png")
    (folder / "broken.jpg").write_bytes(b"broken")
    (folder / "broken.txt").write_text("Broken.")
    return folder


def test_captions_beside_pictures_become_a_dataset(pictures, tmp_path):
    dataset = import_folder(str(pictures), tmp_path / "data")
    captions = list(dataset.read_rows(Table.CAPTIONS, 0))
    assert {row.long for row in captions} == {
        f"A picture of redness {i}. It is plain." for i in range(6)
    }
    assert captions[0].short.startswith("A picture") and captions[0].short.endswith(".")
    errors = {error.id.rpartition("/")[2]: error.message for error in dataset.errors(STAGE, 0)}
    assert errors.keys() == {"without.png", "broken.jpg"}
    assert "caption" in errors["without.png"]


def test_a_folder_is_trained_on_in_one_call_and_goes_on_in_another(pictures, tmp_path):
    config = TrainConfig(
        data=str(pictures), output=str(tmp_path / "run"), threads=1,
        model=ModelConfig(
            image_size=32, vision_width=32, vision_layers=1, vision_heads=2, text_width=32,
            text_layers=1, text_heads=2, embedding=16, vocab_size=400,
        ),
        loss=LossConfig(region_weight=0, hard_weight=0),
        optim=OptimConfig(batch_size=3, epochs=2, warmup_steps=1),
    )  # fmt: skip
    assert launch(config).steps == 4
    assert launch(config).steps == 0
    with pytest.raises(UserError, match="no shard"):
        launch(replace(config, data=str(tmp_path / "nothing")))


def test_pictures_without_any_caption_are_refused(pictures, tmp_path):
    for text in pictures.rglob("*.txt"):
        text.unlink()
    with pytest.raises(UserError, match="txt"):
        import_folder(str(pictures), tmp_path / "data")
