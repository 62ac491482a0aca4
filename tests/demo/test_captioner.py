"""The shipped captioner reaches its threshold, and its training script makes such a folder."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from datagen.demo import tiny_captioner
from datagen.demo.captioner_data import ATTRIBUTES, cell_owners, flipped
from datagen.demo.captioner_exam import examine_captions
from datagen.demo.held_out import shows_held_out
from datagen.demo.language import long_caption, short_caption
from datagen.demo.run_captioner import caption_pictures
from datagen.demo.score import score_captions
from datagen.demo.world import CANVAS, COLOURS, make_scene

SHIPPED = Path(tiny_captioner.__file__).parent / "models" / "captioner"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_shipped_captioner_reaches_its_threshold_on_fresh_scenes():
    scenes = [make_scene("tiny-test", 10_000 + i) for i in range(40)]
    long = score_captions(scenes, caption_pictures(SHIPPED, scenes, "long"))
    assert long.object_recall >= 0.9
    assert long.finish_recall >= 0.85
    assert long.invented <= 0.05
    short = score_captions(scenes[:20], caption_pictures(SHIPPED, scenes[:20], "short"))
    assert short.object_recall >= 0.9


def test_shipped_files_are_small_and_have_a_card():
    size = sum(file.stat().st_size for file in SHIPPED.iterdir())
    assert size <= 20 * 2**20
    assert "synthetic" in (SHIPPED / "README.md").read_text().lower()


def test_training_from_nothing_writes_a_folder_that_captions(tmp_path, monkeypatch, capsys):
    command = [
        "tiny_captioner", "--output", str(tmp_path / "model"), "--work", str(tmp_path / "work"),
        "--scenes", "64", "--batch", "2", "--vision-steps", "1", "--words-steps", "1",
        "--joint-steps", "2", "--validation", "2", "--test-scenes", "2",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", command)
    tiny_captioner.main()
    assert "fresh scenes: CaptionerExam(" in capsys.readouterr().out
    card = (tmp_path / "model" / "README.md").read_text()
    assert "synthetic" in card and "| long | held-out pairs |" in card
    captions = caption_pictures(tmp_path / "model", [make_scene("tiny-test", 0)])
    assert len(captions) == 1
    again = ["--start", command[2], *command[3:]]
    monkeypatch.setattr(sys, "argv", ["tiny_captioner", "--output", str(tmp_path / "more"), *again])
    tiny_captioner.main()
    both = (tmp_path / "more" / "README.md").read_text()
    assert "1 steps of 4 scenes for the vision tower" in both and "`--start` with what came" in both


def test_exam_counts_held_out_pairs_apart():
    scenes = [make_scene("tiny-test", index) for index in range(30)]
    perfect = examine_captions(scenes, [long_caption(scene) for scene in scenes])
    held_out = sum(shows_held_out(o) for scene in scenes for o in scene.objects)
    assert perfect.held_out.objects == held_out > 0
    assert perfect.shown.objects + held_out == sum(len(scene.objects) for scene in scenes)
    assert perfect.all.finish_recall == perfect.shown.finish_recall == 1
    assert perfect.held_out.object_recall == perfect.held_out.finish_recall == 1
    blind = [
        long_caption(replace(scene, objects=tuple(recoloured(o) for o in scene.objects)))
        for scene in scenes
    ]
    wrong = examine_captions(scenes, blind)
    assert wrong.shown.finish_recall == 1 and wrong.held_out.object_recall == 0


def recoloured(what):
    """Held-out objects get a colour that they do not have, as by a model that cannot say it."""
    other = COLOURS[COLOURS.index(what.colour) - 1]
    return replace(what, colour=other) if shows_held_out(what) else what


def test_cell_labels_lie_under_their_objects():
    for index in range(30):
        scene = make_scene("tiny-train", index)
        owners = cell_owners(scene)
        assert set(range(len(scene.objects))) <= set(owners.flatten().tolist())
        for row in range(8):
            for column in range(8):
                if owners[row, column] >= 0:
                    x1, y1, x2, y2 = scene.objects[owners[row, column]].bbox
                    assert x1 * CANVAS < (column + 1) * 16 and x2 * CANVAS > column * 16
                    assert y1 * CANVAS < (row + 1) * 16 and y2 * CANVAS > row * 16
    assert [name for name, _ in ATTRIBUTES] == ["kind", "colour", "finish", "size"]


def test_mirrored_scene_is_told_from_the_other_side():
    scene = make_scene("tiny-train", 5)
    told = short_caption(flipped(scene)).rstrip(".").replace(" and ", ", ").split(", ")
    assert [phrase.split()[-1] for phrase in told] == [o.kind for o in reversed(scene.objects)]
