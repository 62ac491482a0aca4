"""A detector over HTTP, by the class that docs/detectors.md shows, on a server of this test."""

import asyncio
import base64
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
import pytest
from PIL import Image

from datagen.regions.stage import CaptionedImage, RegionsConfig, RegionsStage

DOCS = Path(__file__).parents[2] / "docs" / "detectors.md"
BACKEND = "detector_of_the_docs:HttpDetector"
RED_SQUARE = (0.25, 0.5, 0.75, 1.0)
CAPTION = "There is a red mug and a blue chair."


class FindsRed(BaseHTTPRequestHandler):
    """Answers every phrase that says "red" with the box of what is red in the picture."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        picture = Image.open(io.BytesIO(base64.b64decode(asked["image"])))
        pixels = np.asarray(picture.convert("RGB"), dtype=int)
        red = np.argwhere(pixels[..., 0] - pixels[..., 2] > 128)
        if not red.size:
            self.send_error(500, "nothing is red")
            return
        (top, left), (bottom, right) = red.min(0), red.max(0) + 1
        box = [left / picture.width, top / picture.height]
        box += [right / picture.width, bottom / picture.height]
        found = [[i, box, 0.9] for i, phrase in enumerate(asked["phrases"]) if "red" in phrase]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A server's address, with the docs' class where Python finds it."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "detector_of_the_docs.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), FindsRed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/detect"
        server.shutdown()


def picture(square):
    image = Image.new("RGB", (64, 64), "blue")
    if square:
        image.paste("red", tuple(round(64 * side) for side in RED_SQUARE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_stage_takes_boxes_from_a_server_and_a_refusal_harms_one_image_alone(url):
    async def run():
        stage = RegionsStage(RegionsConfig(detector=url, backend=BACKEND))
        stage.check()
        await stage.open()
        items = [
            CaptionedImage(str(number), picture(square), CAPTION)
            for number, square in enumerate((True, False, True))
        ]
        try:
            return await asyncio.gather(*map(stage.process, items), return_exceptions=True)
        finally:
            await stage.close()

    first, refused, last = asyncio.run(run())
    for row, grounding in (first, last):
        assert row.phrase == "a red mug"
        assert row.bbox == pytest.approx(RED_SQUARE, abs=0.05)
        assert row.score == pytest.approx(0.9)
        assert [phrase.grounded for phrase in grounding.phrases] == [True, False]
    assert isinstance(refused, HTTPError) and "nothing is red" in str(refused)
