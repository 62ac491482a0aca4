"""Thousands of mutated files: a picture or a reason, never anything else.

The fuzzers are scripts of their own, in processes of their own: a decoder's crash is a failure.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PICTURES, SOURCES = 10_000, 100


def run(script: str, count: int) -> dict:
    result = subprocess.run(
        [sys.executable, "-m", f"tests.images.{script}", "--count", str(count)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_mutated_pictures_are_pictures_or_refused():
    result = run("fuzz", PICTURES)
    assert result["pictures"] + result["refused"] == PICTURES
    assert result["pictures"] > PICTURES // 20 and result["refused"] > PICTURES // 4
    assert result["peak_mib"] < 1000


def test_mutated_sources_give_pictures_and_dead_letters():
    result = run("fuzz_sources", SOURCES)
    assert result["rows"] > SOURCES and result["dead letters"] > SOURCES
