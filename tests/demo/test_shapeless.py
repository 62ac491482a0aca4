"""Shapeless pictures keep places and paint, and give the silhouettes of kinds away to none."""

import numpy as np

from datagen.demo.captioner_data import cell_owners
from datagen.demo.draw import draw
from datagen.demo.held_out import training_scene
from datagen.demo.shapeless import blobs, draw_shapeless
from datagen.demo.shapes import footprint
from datagen.demo.world import CANVAS, mirrored


def test_blobs_fill_their_boxes_and_nothing_else():
    rng = np.random.default_rng(0)
    for index in range(20):
        scene = training_scene(index)
        masks = blobs(scene, rng)
        picture = draw_shapeless(scene, masks).astype(int)
        named = np.asarray(draw(scene)).astype(int)
        outside = np.ones((CANVAS, CANVAS), dtype=bool)
        for what, mask in zip(scene.objects, masks, strict=True):
            x1, y1, x2, y2 = (round(v * CANVAS) for v in what.bbox)
            assert mask.whole.size == (x2 - x1, y2 - y1)
            left, top, right, bottom = mask.whole.getbbox()
            assert left <= 1 and top <= 1 and right >= x2 - x1 - 1 and bottom >= y2 - y1 - 1
            outside[max(0, y1 - 8) : y2 + 8, max(0, x1 - 8) : x2 + 8] = False  # JPEG's blocks
        assert np.abs(picture - named)[outside].max() < 12


def test_silhouettes_are_not_those_of_the_kinds():
    rng = np.random.default_rng(0)
    shared = []
    for index in range(20):
        scene = training_scene(index)
        for position, (what, mask) in enumerate(zip(scene.objects, blobs(scene, rng), strict=True)):
            blob = np.asarray(mask.whole) >= 128
            height, width = blob.shape
            kind = footprint(what.kind, width, height, mirrored(scene.index, position))
            shared.append((blob & kind).sum() / (blob | kind).sum())
    assert np.mean(shared) < 0.75


def test_cells_belong_to_the_blob_that_covers_them():
    rng = np.random.default_rng(0)
    scene = training_scene(3)
    shapes = [np.asarray(mask.whole) >= 128 for mask in blobs(scene, rng)]
    owners = cell_owners(scene, shapes)
    assert owners.shape == (8, 8)
    assert set(owners.flatten()) <= {-1, *range(len(scene.objects))}
    assert (owners != cell_owners(scene)).any()
