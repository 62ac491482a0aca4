"""Thousands of mutated files: a picture or a reason, never anything else (see fuzz.py)."""

import json
import subprocess
import sys
from pathlib import Path

COUNT = 10_000


def test_mutants_are_pictures_or_refused():
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fuzz.py")), "--count", str(COUNT)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-3000:]
    result = json.loads(run.stdout.splitlines()[-1])
    assert result["pictures"] + result["refused"] == COUNT
    assert result["pictures"] > COUNT // 20 and result["refused"] > COUNT // 4
    assert result["peak_mib"] < 1000
