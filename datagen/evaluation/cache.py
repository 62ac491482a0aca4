"""Embeddings kept on disk, so that nothing is encoded twice: within a run, or after a kill.

One SQLite file holds all; every batch is a transaction, so that a kill loses the batch in flight
and no more. A key is a hash of the encoder's fingerprint and of the content: a picture's pixels, a
picture's with a box, or a text. So one file serves many models and benchmarks, and what has changed
is simply not found.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datagen.dataset.rows import Box
from datagen.evaluation.encoder import Embeddings, Encoder
from datagen.evaluation.items import EvaluationError

FILE = "embeddings.sqlite"
_TEXTS = 2048  # encoded between two commits


class EmbeddingStore:
    """Vectors by key, in a file or, without a folder, in memory.

    Args:
        folder: is made if it is not there.

    Raises:
        EvaluationError: the folder cannot be written, or its file is no such store.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            if folder is not None:
                Path(folder).mkdir(parents=True, exist_ok=True)
            name = ":memory:" if folder is None else str(Path(folder) / FILE)
            self._file = sqlite3.connect(name, timeout=60)
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise EvaluationError(
                f"Embeddings cannot be kept in {folder}: {error}. Give another --cache."
            ) from None

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Embeddings]:
        """The vectors, (E,) each, of those keys that are there."""
        found: dict[bytes, Embeddings] = {}
        for key in dict.fromkeys(keys):
            row = self._file.execute("SELECT vector FROM embeddings WHERE key = ?", (key,))
            for (vector,) in row:
                found[key] = np.frombuffer(vector, np.float32)
        return found

    def put(self, vectors: Mapping[bytes, Embeddings]) -> None:
        """Keep vectors: all of them, or none if the process dies meanwhile."""
        rows = [(key, vector.astype(np.float32).tobytes()) for key, vector in vectors.items()]
        with self._file:
            self._file.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows)


class CachedEncoder:
    """An encoder that is asked only for what the store does not hold."""

    def __init__(self, encoder: Encoder, store: EmbeddingStore) -> None:
        self._encoder, self._store = encoder, store
        self._fingerprint = encoder.fingerprint()

    @property
    def settings(self) -> Mapping[str, str | int]:
        """See `Encoder`."""
        return self._encoder.settings

    def fingerprint(self) -> str:
        """See `Encoder`."""
        return self._fingerprint

    def encode_images(
        self, pictures: Sequence[Image.Image], boxes: Sequence[Sequence[Box]]
    ) -> tuple[Embeddings, list[Embeddings]]:
        """See `Encoder`."""
        keys = [self._key("image", str(p.size).encode(), p.tobytes()) for p in pictures]
        of_boxes = [
            [self._key("box", key, np.array(box, np.float64).tobytes()) for box in found]
            for key, found in zip(keys, boxes, strict=True)
        ]
        known = self._store.get([*keys, *(key for found in of_boxes for key in found)])
        asked: dict[bytes, tuple[Image.Image, dict[bytes, Box]]] = {}
        for picture, key, found, names in zip(pictures, keys, boxes, of_boxes, strict=True):
            missing = {name: b for name, b in zip(names, found, strict=True) if name not in known}
            if missing or key not in known:
                asked.setdefault(key, (picture, {}))[1].update(missing)
        if asked:
            images, regions = self._encoder.encode_images(
                [picture for picture, _ in asked.values()],
                [list(missing.values()) for _, missing in asked.values()],
            )
            new = dict(zip(asked, images, strict=True))
            for (_, missing), rows in zip(asked.values(), regions, strict=True):
                new.update(zip(missing, rows, strict=True))
            self._store.put(new)
            known |= new
        found_images = np.stack([known[key] for key in keys])
        width = found_images.shape[1]
        return found_images, [
            np.array([known[name] for name in names], np.float32).reshape(-1, width)
            for names in of_boxes
        ]

    def encode_texts(self, texts: Sequence[str], *, long: bool) -> Embeddings:
        """See `Encoder`."""
        if not texts:
            return self._encoder.encode_texts(texts, long=long)
        keys = {text: self._key("long" if long else "short", text.encode()) for text in texts}
        known = self._store.get(keys.values())
        missing = sorted(text for text, key in keys.items() if key not in known)
        for start in range(0, len(missing), _TEXTS):
            some = missing[start : start + _TEXTS]
            rows = self._encoder.encode_texts(some, long=long)
            new = {keys[text]: row for text, row in zip(some, rows, strict=True)}
            self._store.put(new)
            known |= new
        return np.stack([known[keys[text]] for text in texts])

    def _key(self, kind: str, *parts: bytes) -> bytes:
        digest = hashlib.blake2b(f"{self._fingerprint} {kind} ".encode(), digest_size=16)
        for part in parts:
            digest.update(part)
        return digest.digest()
