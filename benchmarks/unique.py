"""What it costs the driver to find equal pictures: time, memory and disk a value.

Values are image ids, in shards of 1,000, of which every tenth shard repeats an earlier one.

    python -m benchmarks.unique --values 3000000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from pathlib import Path

from datagen.runner.unique import UniqueValues

SHARD_ROWS = 1000
TWIN_EVERY = 10


def ids(shard: int) -> list[str]:
    """Image ids of a shard, as long as real ones."""
    first = shard * SHARD_ROWS
    numbers = range(first, first + SHARD_ROWS)
    return [hashlib.sha256(n.to_bytes(8, "big")).hexdigest()[:32] for n in numbers]


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=3_000_000)
    values = parser.parse_args().values
    unique, seconds, refused = UniqueValues(), 0.0, 0
    shards = values // SHARD_ROWS
    for shard in range(shards):
        names = ids(shard // 2 if shard % TWIN_EVERY == TWIN_EVERY - 1 else shard)
        started = time.process_time()
        refused += len(unique.claim(shard, names))
        seconds += time.process_time() - started
    disk = sum(path.stat().st_size for path in Path(unique.folder).iterdir())
    unique.close()
    print(
        json.dumps(
            {
                "values": values,
                "refused": refused,
                "cpu_ms_per_value": round(1000 * seconds / values, 4),
                "disk_bytes_per_value": round(disk / (values - refused), 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
