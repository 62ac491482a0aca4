"""Pictures for the page: found where the data is, made small, written as data: URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from datagen.images.decode import ImageError, decode
from datagen.report.views import open_views, tables_present

MAX_SIDE = 720  # pixels of a picture in the page
JPEG_QUALITY = 82


def small_jpeg(picture: Image.Image, max_side: int = MAX_SIDE) -> str:
    """A data: URI of a JPEG whose longer side has at most so many pixels."""
    picture = picture.copy()
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return _uri(picture, "jpeg", quality=JPEG_QUALITY, subsampling=0)


def png(picture: Image.Image) -> str:
    """A data: URI of a PNG."""
    return _uri(picture, "png", optimize=True)


def _uri(picture: Image.Image, kind: str, **options: int | bool) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def find_pictures(place: str, ids: Iterable[str]) -> dict[str, Image.Image | str]:
    """The pictures of these ids, or why one cannot be shown.

    Args:
        place: a dataset, whose images table has the ids; or a folder, below which they are files.
        ids: of the pictures.
    """
    wanted = list(dict.fromkeys(ids))
    return {name: _decoded(data) for name, data in _bytes(place, wanted).items()}


def _bytes(place: str, ids: list[str]) -> dict[str, bytes | str]:
    if not place:
        return dict.fromkeys(ids, "the report was not told where the pictures are")
    connection = open_views(place)
    if tables_present(connection):
        query = "SELECT image_id, bytes FROM images WHERE image_id IN (SELECT unnest($ids))"
        found = dict(connection.execute(query, {"ids": ids}).fetchall())
        return {name: found.get(name, f"it is not in {place}") for name in ids}
    return {name: _file(Path(place), name) for name in ids}


def _file(folder: Path, name: str) -> bytes | str:
    path = (folder / name.lstrip("/")).resolve()
    if not path.is_relative_to(folder.resolve()):
        return f"its name leads out of {folder}"
    try:
        return path.read_bytes()
    except OSError as error:
        return f"{path}: {error.strerror}"


def _decoded(data: bytes | str) -> Image.Image | str:
    if isinstance(data, str):
        return data
    try:
        return decode(data)
    except ImageError as error:
        return str(error)
