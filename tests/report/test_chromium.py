"""The report in a real browser: boxes lie on the picture, no script runs, nothing complains."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops

from datagen.evaluation.item_scores import write_items
from datagen.report.evaluated import Evaluated
from datagen.report.items import ItemFiles
from datagen.report.page import write_report
from datagen.report.pictures import find_pictures
from tests.report.report_samples import EVIL, item, picture, write

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
    "--enable-logging=stderr", "--v=0",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium, chromium-browser or google-chrome on PATH"
)


def browse(tmp_path: Path, page: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER
    profile = tmp_path / "profile"
    try:
        return subprocess.run(
            [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    finally:
        shutil.rmtree(profile, ignore_errors=True)


def console(run: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in run.stderr.splitlines() if ":CONSOLE" in line]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    write(tmp_path / "data", shards=1, images=1)
    write_report(str(tmp_path / "data"), tmp_path / "report.html")
    return tmp_path / "report.html"


def test_no_script_runs_and_nothing_complains(page: Path, tmp_path: Path):
    run = browse(tmp_path, page, "--dump-dom")
    assert "<title>Dataset report</title>" in run.stdout  # the evil phrase would rename it
    assert EVIL not in run.stdout
    assert 'class="box r3 ' in run.stdout
    assert not console(run)


def test_a_script_would_be_refused(page: Path, tmp_path: Path):
    bad = page.read_text().replace("</body>", f"{EVIL}<img src='https://example.org/x.png'></body>")
    page.write_text(bad)
    run = browse(tmp_path, page, "--dump-dom")
    assert "<title>Dataset report</title>" in run.stdout
    refused = " ".join(console(run))
    assert "script" in refused
    assert "example.org" in refused


@pytest.mark.parametrize(
    ("width", "flags"),
    [
        (1280, ()),
        (500, ()),
        (1280, ("--blink-settings=preferredColorScheme=0",)),
    ],
    ids=["wide", "narrow", "dark"],
)
def test_boxes_lie_on_what_they_name(
    page: Path, tmp_path: Path, width: int, flags: tuple[str, ...]
):
    """The picture's red rectangle is where the first box is: the box's line must frame it."""
    target = tmp_path / "shot.png"
    browse(tmp_path, page, *flags, f"--screenshot={target}", f"--window-size={width},6000")
    shot = Image.open(io.BytesIO(target.read_bytes())).convert("RGB")
    ground = sum(shot.getpixel((3, 3)))
    assert (ground < 200) == bool(flags)  # dark where dark is wanted
    inside = _extent(shot, (255, 0, 0), 40)
    line = _extent(shot.crop(_around(inside, 12)), (28, 126, 214), 30)  # --c of the first region
    assert inside[2] - inside[0] > 0.2 * 0.3 * width
    left, top, right, bottom = (edge + _around(inside, 12)[i % 2] for i, edge in enumerate(line))
    for edge, expected in zip((left, top, right, bottom), inside, strict=True):
        assert abs(edge - expected) <= 4
    assert shot.width == width


def test_no_script_runs_among_evaluated_items(files: tuple[Path, Path, Path], tmp_path: Path):
    first, second, pictures = files
    items = ItemFiles([first, second], ["A", "B"])
    evaluated = Evaluated(
        files=items,
        choices=items.choose(4),
        pictures=find_pictures(str(pictures), [f"{n}.png" for n in range(5)]),
        maps={(0, "1.png", "a red mug"): np.eye(4, dtype=np.float32)},
    )
    write_report("", tmp_path / "items.html", evaluated=evaluated)
    run = browse(tmp_path, tmp_path / "items.html", "--dump-dom")
    assert "<title>Evaluation report</title>" in run.stdout  # the evil phrase would rename it
    assert EVIL not in run.stdout
    assert 'class="maps"' in run.stdout
    assert not console(run)


@pytest.mark.parametrize("width", [1280, 500], ids=["wide", "narrow"])
def test_an_evaluated_box_lies_on_the_picture(tmp_path: Path, width: int):
    """The item's box is the picture's red rectangle: a white frame lies around it."""
    write_items(tmp_path / "evaluation.parquet", [item(0, 0.1, 0.9)])
    (tmp_path / "0.png").write_bytes(picture(0))
    items = ItemFiles([tmp_path / "evaluation.parquet"], ["A"])
    evaluated = Evaluated(
        files=items, choices=items.choose(1), pictures=find_pictures(str(tmp_path), ["0.png"])
    )
    write_report("", tmp_path / "items.html", evaluated=evaluated)
    target = tmp_path / "shot.png"
    flags = (f"--screenshot={target}", f"--window-size={width},2000")
    browse(tmp_path, tmp_path / "items.html", *flags)
    shot = Image.open(io.BytesIO(target.read_bytes())).convert("RGB")
    left, top, right, bottom = _extent(shot, (255, 0, 0), 40)
    assert right - left > 0.2 * 0.3 * width
    x, y = (left + right) // 2, (top + bottom) // 2
    for edge in ((left, y), (right, y), (x, top), (x, bottom)):
        beside = shot.crop(_around((*edge, *edge), 4))
        assert any(min(pixel) > 230 for pixel in beside.get_flattened_data())


def _around(box: tuple[int, int, int, int], margin: int) -> tuple[int, int, int, int]:
    return (box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin)


def _extent(
    image: Image.Image, colour: tuple[int, int, int], tolerance: int
) -> tuple[int, int, int, int]:
    """The bounding box of the pixels of about this colour."""
    apart = ImageChops.difference(image, Image.new("RGB", image.size, colour))
    near = [band.point(lambda v: 255 * (v <= tolerance)) for band in apart.split()]
    box = ImageChops.multiply(ImageChops.multiply(near[0], near[1]), near[2]).getbbox()
    assert box, f"nothing of colour {colour}"
    return box
