"""Evaluated items in the report: the worst, two models side by side, maps of what a model sees."""

from __future__ import annotations

import base64
import io
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datagen.dataset import DatasetError
from datagen.report.evaluated import Evaluated
from datagen.report.heat import overlay
from datagen.report.items import ItemFiles
from datagen.report.page import write_report
from datagen.report.pictures import find_pictures
from tests.report.report_samples import EVIL, picture

REPORT = Path(__file__).parents[2] / "pipelines" / "report.py"


def report(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["report.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(REPORT), run_name="__main__")
    return int(end.value.code or 0)


def groups(html: str) -> dict[str, list[str]]:
    """Ids of the items under each heading."""
    found = {}
    for part in html.split("<h3>")[1:]:
        title = part.partition("<small>")[0].strip()
        found[title] = re.findall(r'<p class="id"><code>([^<]*)</code>', part)
    return found


def test_the_worst_items_come_first(files, tmp_path, monkeypatch):
    first, _, pictures = files
    page = tmp_path / "page.html"
    assert report(monkeypatch, "--output", page, "--evaluation", first, "--pictures", pictures) == 0
    html = page.read_text()
    assert groups(html) == {"Worst items of first": ["4.png", "1.png", "2.png"]}
    assert "40.0 %" in html  # two of five are right
    assert EVIL not in html and "&lt;script&gt;" in html
    assert "4.png: No such file or directory" in html
    assert html.count('<image id="picture-') == 2


def test_two_models_are_compared_item_by_item(files, tmp_path, monkeypatch):
    first, second, pictures = files
    page = tmp_path / "page.html"
    arguments = ("--evaluation", first, "--against", second, "--pictures", pictures)
    assert report(monkeypatch, "--output", page, *arguments) == 0
    html = page.read_text()
    assert groups(html) == {
        "Only first is right": ["0.png"],
        "Only second is right": ["1.png"],
        "Worst items of first": ["4.png", "1.png", "2.png"],
    }
    table = html.partition("only second right</th>")[2].partition("</table>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    assert cells[:5] == ["fgovd_hard", "5", "40.0 %", "40.0 %", "+0.0"]
    assert cells[-2:] == ["1", "1"]


def test_what_a_model_prefers_is_marked_and_so_are_the_words_that_differ(files):
    first, second, _ = files
    page = first.parent / "page.html"
    evaluated = ItemFiles([first, second], ["A", "B"])
    choices = evaluated.choose(4)
    write_report("", page, evaluated=Evaluated(files=evaluated, choices=choices))
    card = page.read_text().partition("Only A is right")[2].partition("</article>")[0]
    rows = re.findall(r"<tr(.*?)</tr>", card.partition("<tbody>")[2], re.S)
    assert 'class="right"' in rows[0] and "✓" in rows[0] and "✗" not in rows[0]
    assert "<ins>blue</ins>" in rows[1] and "✗" in rows[1]
    assert "✓" not in rows[2] and "✗" not in rows[2]


def test_maps_are_bright_where_the_model_sees_the_phrase(files):
    first, _, pictures = files
    values = np.zeros((4, 4), np.float32)
    values[1, 2] = 1.0
    evaluated = ItemFiles([first], ["A"])
    page = first.parent / "page.html"
    write_report(
        "",
        page,
        evaluated=Evaluated(
            files=evaluated,
            choices=evaluated.choose(4),
            pictures=find_pictures(str(pictures), ["1.png"]),
            maps={(0, "1.png", "a red mug"): values, (0, "1.png", "a blue mug"): values - 1},
        ),
    )
    maps = page.read_text().partition('<div class="maps">')[2].partition("</article>")[0]
    right, wrong = re.findall(r'<image href="data:image/png;base64,([^"]*)"', maps)
    bright = np.asarray(Image.open(io.BytesIO(base64.b64decode(right))).convert("L"), dtype=int)
    row, column = np.unravel_index(bright.argmax(), bright.shape)
    assert (row * 4 // bright.shape[0], column * 4 // bright.shape[1]) == (1, 2)
    dark = np.asarray(Image.open(io.BytesIO(base64.b64decode(wrong))).convert("L"), dtype=int)
    assert dark.max() < bright.max()  # colours mean the same within a row
    assert "-1.00 to 1.00" in maps


def test_a_flat_map_is_drawn_too():
    assert overlay(np.zeros((3, 3), np.float32), 0.0, 0.0).size == (96, 96)


def test_pictures_come_from_a_dataset_as_well(data):
    from datagen.dataset import Dataset, Table

    wanted = next(Dataset(str(data)).read_rows(Table.IMAGES, 0)).image_id
    found = find_pictures(str(data), [wanted, "none"])
    assert isinstance(found[wanted], Image.Image)
    assert "it is not in" in str(found["none"])


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(0))
    folder = tmp_path / "pictures"
    folder.mkdir()
    assert "leads out of" in str(find_pictures(str(folder), ["../secret.png"])["../secret.png"])


def test_what_is_no_file_of_items_is_said_in_a_sentence(files, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.html"
    bad = tmp_path / "bad.parquet"
    bad.write_text("no parquet")
    with pytest.raises(DatasetError, match="no file of evaluated items"):
        ItemFiles([bad], ["A"])
    assert report(monkeypatch, "--output", page, "--evaluation", tmp_path / "none.parquet") == 1
    assert "pipelines/evaluate.py writes it" in capsys.readouterr().err
    assert report(monkeypatch, "--output", page) == 1
    assert "give --data, or --evaluation" in capsys.readouterr().err
    assert report(monkeypatch, "--output", page, "--against", files[0]) == 1
    assert "belong to an --evaluation" in capsys.readouterr().err
