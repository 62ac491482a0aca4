"""Ranks of many images and texts, both ways: how fast, in how much memory, and whether right.

Drawn embeddings, with unit length, are written to .npy files; each image has one text, which is
the image's embedding with noise. They are compared memory-mapped, as the evaluation does it.

Example:
    python -m benchmarks.retrieval --images 100000
    python -m benchmarks.retrieval --images 1000000 --rows 8192

prints one line of JSON: `pairs` that were compared, `cpu_s` and `pairs_per_cpu_s`,
`memory_mb` (the peak of the process's own memory while comparing, above what it had before;
pages of the files are not its own and are given back when others need them), `files_mb`, both R@1,
and `same_ranks`: whether the ranks of a few rows are those of a count over all pairs in float64,
but for `in_doubt` others in all, which are within rounding of a tie.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from datagen.command import command
from datagen.evaluation.ranks import TIE, ranks

_STEP = 10_000
_ROUNDING = 3e-7  # of the difference of two products of unit rows in float32


@dataclass(frozen=True, kw_only=True)
class Config:
    """Arguments of the benchmark."""

    images: int = 100_000
    """And as many texts."""
    width: int = 512
    """Of the embeddings."""
    rows: int = 0
    """Images that are compared with all texts; 0: all. The time grows with their number."""
    noise: float = 6.0
    """Length of what is added to an image's embedding for its text's; 0: they are the same."""
    checked: int = 20
    """Rows that are compared with a count over all pairs."""
    seed: int = 0


class _Watch(threading.Thread):
    """Notes the most memory of its own that this process has had."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.first, self.peak = _own_memory(), 0
        self._done = threading.Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._done.wait(0.02):
            self.peak = max(self.peak, _own_memory())

    def stop(self) -> int:
        """Bytes above those at the start."""
        self._done.set()
        self.join()
        return max(0, self.peak - self.first)


def _own_memory() -> int:
    """Anonymous resident bytes; pages of mapped files are not among them."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def _draw(folder: Path, config: Config) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random, shape = np.random.default_rng(config.seed), (config.images, config.width)
    paths = [folder / "images.npy", folder / "texts.npy"]
    images, texts = (open_memmap(path, "w+", np.float32, shape) for path in paths)
    for start in range(0, config.images, _STEP):
        part = images[start : start + _STEP]
        part[:] = _unit(random.standard_normal(part.shape, np.float32))
        noise = _unit(random.standard_normal(part.shape, np.float32))
        texts[start : start + _STEP] = _unit(part + config.noise * noise)
    for rows in (images, texts):
        rows.flush()
    found = [np.load(path, mmap_mode="r") for path in paths]
    return found[0], found[1]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _slow_ranks(
    query: NDArray[np.float32], gallery: NDArray[np.float32], own: int
) -> tuple[int, int]:
    """Fewest and most others that score at least as high, row by row of the file and in float64.

    They differ where a score lies so near to the limit of a tie that float32 rounds it across.
    """
    fewest, most = -1, -1  # one's own is counted as well
    best = float(gallery[own].astype(np.float64) @ query.astype(np.float64))
    for start in range(0, len(gallery), _STEP):
        scores = gallery[start : start + _STEP].astype(np.float64) @ query.astype(np.float64)
        fewest += int((scores > best - TIE + _ROUNDING).sum())
        most += int((scores > best - TIE - _ROUNDING).sum())
    return fewest, most


def main(config: Config) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        images, texts = _draw(Path(folder), config)
        chosen = images[: config.rows or config.images]
        watch = _Watch()
        watch.start()
        before = resource.getrusage(resource.RUSAGE_SELF)
        of_images, of_texts = ranks(chosen, texts, np.arange(len(chosen)), np.arange(len(texts)))
        after = resource.getrusage(resource.RUSAGE_SELF)
        memory = watch.stop()
        random = np.random.default_rng(config.seed)
        sample = random.integers(len(chosen), size=config.checked)
        slow = [(_slow_ranks(images[i], texts, i), of_images[i]) for i in sample]
        slow += [(_slow_ranks(texts[i], chosen, i), of_texts[i]) for i in sample]
    pairs = len(chosen) * len(texts)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {
        "images": len(chosen),
        "texts": len(texts),
        "width": config.width,
        "pairs": pairs,
        "cpu_s": round(spent, 1),
        "pairs_per_cpu_s": round(pairs / spent),
        "memory_mb": round(memory / 1e6),
        "files_mb": round((images.nbytes + texts.nbytes) / 1e6),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS", ""),
        "i2t_r1": float((of_images == 0).mean()),
        "t2i_r1": float((of_texts[: len(chosen)] == 0).mean()),
        "same_ranks": all(fewest <= rank <= most for (fewest, most), rank in slow),
        "in_doubt": sum(most - fewest for (fewest, most), _ in slow),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    command(Config, main, __doc__)
