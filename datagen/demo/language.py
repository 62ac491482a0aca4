"""What can be said about a scene: object phrases, a long and a short caption. Truth only."""

from __future__ import annotations

from datagen.demo.world import Scene, SceneObject


def phrase_of(obj: SceneObject) -> str:
    """Size, colour, finish and kind of one object, such as "a small red striped mug"."""
    return " ".join((_article(obj.size), *obj.attributes))


def long_caption(scene: Scene) -> str:
    """All attributes of all objects from left to right, and the background."""
    *first, last = [phrase_of(obj) for obj in scene.objects]
    text = f"There is {', '.join(first)}, and {last}."
    return f"{text} The background is {scene.background}."


def short_caption(scene: Scene) -> str:
    """Colour and kind of every object from left to right: "A red mug and a blue chair."."""
    *first, last = [f"{_article(o.colour)} {o.colour} {o.kind}" for o in scene.objects]
    text = f"{', '.join(first)} and {last}."
    return text[0].upper() + text[1:]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
