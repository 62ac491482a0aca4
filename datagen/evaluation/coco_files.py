"""Annotations in COCO's format, which LVIS shares: pictures, classes, and objects with boxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from datagen.evaluation.annotation_files import read_json
from datagen.evaluation.benchmark import Source
from datagen.evaluation.items import Skipped
from datagen.evaluation.misfit import misfit


@dataclass(frozen=True)
class CocoFile:
    """What is read of such a file.

    `truth` is its whole content, `objects` the annotations that are of one thing and not a crowd.
    """

    truth: Mapping[str, Any]
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    objects: list[dict[str, Any]]

    @cached_property
    def _looked_for(self) -> dict[int, set[int]]:
        found = {image["id"]: set(image.get("neg_category_ids", ())) for image in self.images}
        for annotation in self.truth["annotations"]:
            found[annotation["image_id"]].add(annotation["category_id"])
        return found

    @cached_property
    def _objects_by_image(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in self.images}
        for annotation in self.objects:
            found[annotation["image_id"]].append(annotation)
        return found

    def objects_of(self, image_id: int) -> list[dict[str, Any]]:
        """The objects of a picture."""
        return self._objects_by_image[image_id]

    def class_names(self) -> dict[int, str]:
        """Names by id, with spaces for underscores."""
        return {kind["id"]: kind["name"].replace("_", " ") for kind in self.categories}

    def looked_for(self, image_id: int) -> set[int]:
        """LVIS: ids of the classes that the picture shows, or is known not to show."""
        return self._looked_for[image_id]

    def with_objects(self, categories: Collection[int]) -> set[int]:
        """Ids of the pictures that show one of these classes."""
        chosen = set(categories)
        return {found["image_id"] for found in self.objects if found["category_id"] in chosen}

    def count_objects(self, categories: Collection[int], image_ids: Collection[int]) -> int:
        """How many objects of these classes the pictures show."""
        chosen, images = set(categories), set(image_ids)
        return sum(o["category_id"] in chosen and o["image_id"] in images for o in self.objects)


def read_coco(source: Source) -> CocoFile:
    """Read a file of instances.

    Raises:
        EvaluationError: it cannot be read or is no JSON.
        KeyError: a field is missing, or an annotation is of a picture or class that is not there.
    """
    content = read_json(source.annotations, source.columns)
    images = {image["id"] for image in content["images"]}
    classes = {category["id"] for category in content["categories"]}
    for annotation in content["annotations"]:
        if annotation["image_id"] not in images:
            raise KeyError(f"image {annotation['image_id']}")
        if annotation["category_id"] not in classes:
            raise KeyError(f"category {annotation['category_id']}")
        _, (_, _, _, _) = annotation["id"], annotation["bbox"]
    objects = [found for found in content["annotations"] if not found.get("iscrowd")]
    return CocoFile(content, content["images"], content["categories"], objects)


def read_sized(source: Source) -> CocoFile:
    """As `read_coco`, of pictures whose size is stated.

    Raises:
        KeyError: as `read_coco`, or a width or height is missing.
    """
    content = read_coco(source)
    for image in content.images:
        _ = image["width"], image["height"]
    return content


def without_misfits(content: CocoFile, skipped: Skipped) -> CocoFile:
    """The file without the objects whose box is empty or outside of its picture's stated size.

    Args:
        content: with stated sizes.
        skipped: gathers them; its limit is a share of all objects.

    Raises:
        EvaluationError: they are too many.
    """
    sizes = {image["id"]: (image["width"], image["height"]) for image in content.images}
    bad = set()
    for found in content.objects:
        x, y, width, height = found["bbox"]
        if problem := misfit((x, y, x + width, y + height), (None, None), sizes[found["image_id"]]):
            skipped.add(f"annotation {found['id']}: {problem}", 1, len(content.objects))
            bad.add(found["id"])
    if not bad:
        return content
    left = [found for found in content.truth["annotations"] if found["id"] not in bad]
    objects = [found for found in content.objects if found["id"] not in bad]
    return CocoFile(
        {**content.truth, "annotations": left}, content.images, content.categories, objects
    )


def file_name(image: Mapping[str, Any]) -> str:
    """The picture's file below the folder of images; LVIS names it by its address alone."""
    return image.get("file_name") or "/".join(image["coco_url"].split("/")[-2:])
