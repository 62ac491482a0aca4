"""Embeddings that need not fit in memory."""

from __future__ import annotations

import tempfile

import numpy as np

from datagen.evaluation.encoder import Embeddings


class RowsOnDisk:
    """Rows appended to a temporary file, which is gone with the process, and read as one array.

    The file lies where Python puts temporary files; TMPDIR moves it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the rows
        self._rows = self._width = 0

    def append(self, rows: Embeddings) -> None:
        """Add (n, E) rows."""
        self._rows, self._width = self._rows + len(rows), rows.shape[1]
        self._file.write(np.ascontiguousarray(rows, np.float32).data)

    def array(self) -> Embeddings:
        """(N, E) of all rows so far, memory-mapped."""
        self._file.flush()
        shape = (self._rows, self._width)
        return (
            np.memmap(self._file, np.float32, "r", shape=shape)
            if self._rows
            else np.zeros(shape, np.float32)
        )
