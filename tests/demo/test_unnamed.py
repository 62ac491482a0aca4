"""Unnamed pictures show the same things in the same places, and no colour that is held out."""

import numpy as np

from datagen.demo.draw import COLOUR_VALUES, draw
from datagen.demo.held_out import COLOUR_OF, training_scene
from datagen.demo.shapes import footprint
from datagen.demo.unnamed import draw_unnamed
from datagen.demo.world import CANVAS, mirrored


def test_only_the_objects_paint_changes():
    rng = np.random.default_rng(0)
    for index in range(20):
        scene = training_scene(index)
        named, unnamed = np.asarray(draw(scene)).astype(int), draw_unnamed(scene, rng).astype(int)
        assert unnamed.shape == (CANVAS, CANVAS, 3)
        covered = np.zeros((CANVAS, CANVAS), dtype=bool)
        for what in scene.objects:
            x1, y1, x2, y2 = (round(v * CANVAS) for v in what.bbox)
            covered[max(0, y1 - 8) : y2 + 8, max(0, x1 - 8) : x2 + 8] = True  # JPEG's blocks
        assert np.abs(named - unnamed)[~covered].max() < 12
        assert np.abs(named - unnamed)[covered].mean() > 12


def test_held_out_colours_stay_away():
    rng = np.random.default_rng(0)
    near, pixels = 0, 0
    for index in range(60):
        scene = training_scene(index)
        picture = draw_unnamed(scene, rng).astype(int)
        for position, what in enumerate(scene.objects):
            banned = COLOUR_OF[what.kind]
            if banned == "black":  # the outline's colour
                continue
            x1, y1, x2, y2 = (round(v * CANVAS) for v in what.bbox)
            body = footprint(what.kind, x2 - x1, y2 - y1, mirrored(scene.index, position))
            seen = picture[y1:y2, x1:x2][body]
            near += (np.linalg.norm(seen - COLOUR_VALUES[banned], axis=1) < 40).sum()
            pixels += len(seen)
    assert near / pixels < 0.02
