"""Which code this is: the package's version and a hash of its source files."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from datagen import __version__


@cache
def code_version() -> str:
    """`0.1.0+` and the first 48 bits, in hex, of the SHA-256 of the package's files and names.

    A commit would not tell of changes that are not committed, and is not there where the package
    was installed or sent to a cluster.
    """
    package, digest = Path(__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{__version__}+{digest.hexdigest()[:12]}"
