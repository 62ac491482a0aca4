"""Zero-shot classification on the layouts of ImageNet and ImageNetV2."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from datagen.evaluation.benchmark import Choices, Source, find
from datagen.evaluation.imagenet_classes import class_names
from datagen.evaluation.items import EvaluationError
from datagen.evaluation.templates import TEMPLATES

SYNSETS = [f"n{1000 + 7 * i:08d}" for i in range(1000)]
PLACES = (0, 2, 10, 999)


class Named:
    """Knows the classes by their prompts; a picture's first pixel tells which class it shows."""

    def __init__(self):
        self.settings = {"resize": "stretch"}
        self.texts, self.pictures = [], 0

    def encode_texts(self, texts, *, long):
        self.texts += texts
        found = np.zeros((len(texts), 1000), np.float32)
        found[np.arange(len(texts)), np.arange(len(texts)) // len(TEMPLATES)] = 1
        return found

    def encode_images(self, pictures, boxes):
        self.pictures += len(pictures)
        shown = [p.getpixel((0, 0)) for p in pictures]
        return np.eye(1000, dtype=np.float32)[[4 * r + g for r, g, _ in shown]], [()] * len(shown)


def picture(path, place):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (place // 4, place % 4, 0)).save(path, format="PNG")


def synset_folders(root):
    """All 1,000 folders; four have a picture, the last of another class."""
    for place, synset in enumerate(SYNSETS):
        (root / "val" / synset).mkdir(parents=True)
        if place in PLACES:
            picture(root / "val" / synset / f"{place}.JPEG", 5 if place == 999 else place)
    return Source(images=str(root / "val"))


def some_folders(root):
    for place in PLACES:
        picture(root / "val" / SYNSETS[place] / f"{place}.JPEG", 5 if place == 999 else place)
    lines = [f"{synset} tench, Tinca tinca" for synset in SYNSETS[::-1]]  # any order will do
    (root / "LOC_synset_mapping.txt").write_text("\n".join(lines))
    return Source(images=str(root / "val"), annotations=str(root / "LOC_synset_mapping.txt"))


def flat(root):
    """Picture 1 shows class 0, … 1000 shows 999: but only four are there to be looked at."""
    for place in range(1000):
        name = f"ILSVRC2012_val_{place + 1:08d}.JPEG"
        shown = 5 if place == 999 else place
        (root / "val").mkdir(exist_ok=True)
        picture(root / "val" / name, shown)


def solution(root):
    flat(root)
    rows = [f"ILSVRC2012_val_{i + 1:08d},{s} 1 2 3 4 {s} 5 6 7 8" for i, s in enumerate(SYNSETS)]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(rows))
    return Source(images=str(root / "val"), annotations=str(root / "LOC_val_solution.csv"))


def devkit(root):
    """The kit's own numbers run the other way; its inner nodes follow after the 1,000."""
    flat(root)
    kit = root / "ILSVRC2012_devkit_t12"
    (kit / "data").mkdir(parents=True)
    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("num_children", "f8")]
    rows = [(1 + i, synset, 0) for i, synset in enumerate(SYNSETS[::-1])]
    rows.append((1001, "n00001740", 12))
    savemat(kit / "data" / "meta.mat", {"synsets": np.array(rows, dtype=kinds)[:, None]})
    truth = "\n".join(str(1000 - i) for i in range(1000))
    (kit / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text(truth + "\n")
    return Source(images=str(root / "val"), annotations=str(kit))


@pytest.mark.parametrize("layout", [synset_folders, some_folders, solution, devkit])
def test_each_layout_of_imagenet_gives_each_picture_its_class(tmp_path, layout):
    source, encoder = layout(tmp_path), Named()
    outcome = find("imagenet").run(encoder, source, Choices())
    count = 4 if layout in (synset_folders, some_folders) else 1000
    found = {result.metric: result for result in outcome.results}
    assert found["top1"].n == found["top5"].n == encoder.pictures == count
    assert found["top1"].value == pytest.approx(1 - 1 / count)
    assert found["top1"].chance == 0.001 and found["top5"].chance == 0.005
    assert found["top1"].low <= found["top1"].value <= found["top1"].high
    assert len(encoder.texts) == 80_000 and encoder.texts[1] == "a photo of many tench."
    names = class_names()
    assert [row.credit for row in outcome.items if row.positive == names[999]] == [0]
    assert outcome.items[-1].negatives[0] == names[5]
    assert outcome.items[0].task == "classes" and outcome.items[0].rank == 0


def test_imagenet_v2_counts_its_folders_as_numbers_and_not_as_words(tmp_path):
    for place in PLACES:
        picture(tmp_path / str(place) / "a.jpeg", place)
    source = Source(images=str(tmp_path))
    top1 = find("imagenet_v2").run(Named(), source, Choices()).results[0]
    assert (top1.benchmark, top1.value, top1.n) == ("imagenet_v2", 1, 4)


def test_class_names_and_prompts_are_those_of_clip():
    names = class_names()
    assert len(names) == 1000 and (names[0], names[134]) == ("tench", "crane bird")
    assert len(set(TEMPLATES)) == 80


def test_what_does_not_tell_the_classes_is_refused(tmp_path):
    picture(tmp_path / "val" / SYNSETS[3] / "a.JPEG", 3)
    images = str(tmp_path / "val")
    with pytest.raises(EvaluationError, match=r"1 classes.*LOC_synset_mapping"):
        find("imagenet").run(Named(), Source(images=images), Choices())
    with pytest.raises(EvaluationError, match="no development kit"):
        find("imagenet").run(Named(), Source(images=images, annotations=images), Choices())
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    notes = str(tmp_path / "other.csv")
    with pytest.raises(EvaluationError, match="ImageId"):
        find("imagenet").run(Named(), Source(images=images, annotations=notes), Choices())
    with pytest.raises(EvaluationError, match="Cannot read"):
        find("imagenet").run(Named(), Source(images=images, annotations="gone.csv"), Choices())
    for name in ("imagenet", "imagenet_v2"):
        with pytest.raises(EvaluationError, match="needs --images"):
            find(name).run(Named(), Source(images=str(tmp_path / "gone")), Choices())


def test_missing_and_broken_pictures_are_listed(tmp_path):
    source = solution(tmp_path)
    (tmp_path / "val" / "ILSVRC2012_val_00000002.JPEG").unlink()
    (tmp_path / "val" / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"no picture")
    outcome = find("imagenet").run(Named(), source, Choices())
    assert outcome.results[0].n == 998
    assert [reason.split("ILSVRC")[0] for reason in outcome.skipped] == [
        f"there is no image {source.images}/", f"cannot read the image {source.images}/",
    ]  # fmt: skip
