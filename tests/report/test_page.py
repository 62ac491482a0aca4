"""The report shows all it should, runs nothing, loads nothing, and escapes everything."""

from __future__ import annotations

import base64
import html
import json
import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from datagen.dataset import DatasetError, Table
from datagen.report.gallery import changes, segments
from datagen.report.page import write_report
from datagen.report.summary import Summary, read_summary
from tests.report.report_samples import EVIL, LONG, PHRASES, image_row, lineage, write

SUMMARY = {
    "synthetic": True,
    "stages": {
        "captions": {"rows": 6, "seconds": 75.2, "rows_per_second": 0.08, "dead_letters": 3},
        "training": {"rows": 3, "seconds": 3700},
    },
    "captions": {"object_recall": 0.9634, "invented": 0.012},
    "regions": {"mean_iou": 0.8612},
    "negatives": {"blind_accuracy": 0.111, "chance": 0.0909},
    "experiment": [
        {"run": "global", "region_accuracy": 0.142, "chance": 0.0909, "text_only": 0.115},
        {"run": f"all {EVIL}", "region_accuracy": 0.617, "retrieval": {"r@1": 0.25}},
    ],
}


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside of styles, with spaces as shown."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        if self.tags[-1:] != [("style", {})]:
            self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [
            attributes
            for name, attributes in self.tags
            if name == tag
            and all(
                value in attributes.get(key.strip("_"), "").split() for key, value in wanted.items()
            )
        ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    tmp_path = tmp_path_factory.mktemp("report")
    write(tmp_path / "data")
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    write_report(
        str(tmp_path / "data"), tmp_path / "r.html", summary=tmp_path / "summary.json", images=4
    )
    return (tmp_path / "r.html").read_text()


def test_nothing_from_data_is_markup(source: str):
    assert EVIL not in source
    assert html.escape(EVIL, quote=False)[:14] in source  # it is there, as text
    page = Page(source)
    assert not page.all("script")
    assert "p<b>captions" in page.text  # a prompt's name
    assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_nothing_is_loaded(source: str):
    page = Page(source)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,"))
    assert not page.all("link") + page.all("base") + page.all("iframe") + page.all("object")
    assert not re.findall(r"url\((?!#p[0-9a-f]+\))|@import", source)
    policies = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert ["default-src 'none'" in policy for policy in policies] == [True]
    assert "script" not in policies[0]


def test_every_region_of_the_gallery_is_shown(source: str):
    page = Page(source)
    assert len(page.all("article")) == 4
    assert len(page.all("rect", x="10.0")) == 4  # the first box of each
    for number in (1, 2, 3):
        assert len(page.all("g", _class=f"r{number}")) == 4
        assert len(page.all("mark", _class=f"r{number}")) == 4
        assert len(page.all("div", _class=f"r{number}")) == 4
    first = next(a for a in page.all("rect") if a.get("x") == "10.0")
    assert (first["y"], first["width"], first["height"]) == ("20.0", "30.0", "60.0")
    for phrase in PHRASES:
        assert page.text.count(f"{phrase} here") == 4


def test_captions_and_negatives_read_as_they_are(source: str):
    page = Page(source)
    assert page.text.count("There is a red mug1 beside") == 4
    assert page.text.count(f"A mug, {EVIL} and a bird.") == 4
    assert page.text.count(f"a red → green · {EVIL} mug") == 4
    assert len([a for a in page.all("ins") if a["title"] == "a green mug"]) == 4


def test_pictures_are_small_jpegs(source: str):
    pictures = Page(source).all("img")
    assert len(pictures) == 4
    for picture in pictures:
        assert base64.b64decode(picture["src"].partition(",")[2])[:3] == b"\xff\xd8\xff"


def test_figures_of_the_run(source: str):
    text = Page(source).text
    for words in (
        "synthetic",
        "96.3 %objects named",
        "0.86mean IoU",
        "1 min 15 s",
        "1 h 01 min",
        "3 dead letters",
        "0.08 rows/s",
        f"all {EVIL}61.7 %––25.0 %",
        "3.0regions an image",
        "2.0negatives a region",
    ):
        assert words in text, words
    assert lineage("regions").fingerprint in text
    assert "model-of-negatives" in text


def test_sections_follow_the_flow(source: str):
    found = [a["id"] for a in Page(source).all("section")]
    assert found == [
        "images", "captions", "regions", "negatives", "training", "evaluation",
        "dead-letters", "gallery",
    ]  # fmt: skip


def test_same_data_same_page(data: Path, tmp_path: Path):
    for name in ("a", "b"):
        write_report(str(data), tmp_path / f"{name}.html", images=3)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "synthetic" not in Page((tmp_path / "a.html").read_text()).text


@pytest.mark.parametrize("upto", list(Table))
def test_a_dataset_that_is_half_done(tmp_path: Path, upto: Table):
    write(tmp_path / "data", upto=upto)
    write_report(str(tmp_path / "data"), tmp_path / "new" / "r.html", images=2)
    page = Page((tmp_path / "new" / "r.html").read_text())
    assert len(page.all("img")) == 2
    assert ("No caption yet." in page.text) == (upto is Table.IMAGES)


def test_images_come_from_all_shards_those_with_regions_first(tmp_path: Path):
    dataset = write(tmp_path / "data", shards=3, images=2)
    extra = [image_row(seed) for seed in range(900, 904)]
    rows = list(dataset.read_rows(Table.IMAGES, 1))
    dataset.commit(Table.IMAGES, 1, [*extra, *rows], lineage=lineage("images"), rows_in=6)
    write_report(str(tmp_path / "data"), tmp_path / "r.html", images=6)
    page = Page((tmp_path / "r.html").read_text())
    shown = {a["id"].removeprefix("image-") for a in page.all("article")}
    assert shown == {
        row.image_id for s in range(3) for row in dataset.read_rows(Table.IMAGES, s)
    } - {row.image_id for row in extra}


def test_a_picture_that_does_not_decode(tmp_path: Path):
    dataset = write(tmp_path / "data", shards=1, images=1)
    broken = image_row(0, data=b"no image at all")
    dataset.commit(Table.IMAGES, 0, [broken], lineage=lineage("images"), rows_in=1)
    write_report(str(tmp_path / "data"), tmp_path / "r.html")
    text = Page((tmp_path / "r.html").read_text()).text
    assert "This picture cannot be shown: not an image" in text


def test_training_curves(data: Path, tmp_path: Path):
    for run in ("global", "all"):
        folder = tmp_path / "training" / run
        folder.mkdir(parents=True)
        lines = [json.dumps({"step": n, "total": 1 / (n + 1), "hard": 0.0}) for n in range(2000)]
        (folder / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 20')
    write_report(str(data), tmp_path / "r.html", runs=tmp_path)
    page = Page((tmp_path / "r.html").read_text())
    assert "training" in [a["id"] for a in page.all("section")]
    assert "all global" in page.text  # the legend
    assert "Loss: total" in page.text
    assert "Loss: hard" not in page.text  # no run used it
    assert (tmp_path / "r.html").stat().st_size < 400_000


def test_summary_of_any_shape(tmp_path: Path):
    path = tmp_path / "summary.json"
    path.write_text('{"stages": [], "captions": {"a": null, "b": {"c": 1}}, "experiment": [3, {}]}')
    assert read_summary(path) == Summary(measures={"captions": {"b.c": 1}})
    for text in ("[1]", "{", "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DatasetError, match=r"summary\.json"):
            read_summary(path)


def test_overlapping_phrases_are_cut_at_each_border():
    pieces = list(segments("abcdef", [(0, 4, 1), (2, 6, 2), (2, 4, 3)]))
    assert [(p.text, p.regions, p.ends) for p in pieces] == [
        ("ab", (1,), ()),
        ("cd", (1, 2, 3), (1, 3)),
        ("ef", (2,), (2,)),
    ]
    assert "".join(p.text for p in segments(LONG, [(9, 18, 1)])) == LONG
    assert list(segments("", [])) == []


def test_a_negative_whose_span_is_wrong_is_shown_whole():
    record = {"text": "abc", "type": "t", "span_start": 2, "span_end": 9, "old": "x"}
    assert [(c.before, c.new, c.after) for c in changes([record])] == [("", ("abc",), "")]


@pytest.mark.parametrize("what", ["missing", "empty", "no rows of ours"])
def test_nothing_to_report_is_one_sentence(tmp_path: Path, capsys, monkeypatch, what: str):
    folder = tmp_path / "data"
    if what != "missing":
        folder.mkdir()
    if what == "no rows of ours":
        (folder / "readme.txt").write_text("hello")
    arguments = ["report.py", "--data", str(folder), "--output", str(tmp_path / "r.html")]
    monkeypatch.setattr(sys, "argv", arguments)
    script = Path(__file__).parents[2] / "pipelines" / "report.py"
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: There is nothing to report in {folder}")
    assert told.count("\n") == 1
    assert not (tmp_path / "r.html").exists()
