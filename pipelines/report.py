"""Write the report of a dataset: one HTML file that needs no network.

python pipelines/report.py --data runs/demo/data --output runs/demo/report.html
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import duckdb
import tyro

from datagen.dataset import DatasetError
from datagen.report.page import write_report


def main(
    data: Annotated[str, tyro.conf.arg(help="the dataset: a folder or a URL")],
    output: Annotated[Path, tyro.conf.arg(help="the HTML file to write")],
    summary: Annotated[
        Path | None,
        tyro.conf.arg(help="measured figures of the run (default: summary.json beside the data)"),
    ] = None,
    runs: Annotated[
        Path | None,
        tyro.conf.arg(help="folder with metrics.jsonl of training runs (default: beside the data)"),
    ] = None,
    images: Annotated[int, tyro.conf.arg(help="how many images the gallery shows at most")] = 24,
) -> int:
    """Write the report of a dataset: one HTML file that needs no network."""
    beside = Path(data).absolute().parent if "://" not in data else None
    if summary is None and beside and (beside / "summary.json").is_file():
        summary = beside / "summary.json"
    try:
        write_report(data, output, summary=summary, images=images, runs=runs or beside)
    except (DatasetError, duckdb.Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
