"""Bad captions are flagged by name; good ones are not."""

import pytest

from datagen.captions.checks import check_caption


@pytest.mark.parametrize(
    ("text", "reason", "flags"),
    [
        ("A red mug stands on a table.", "stop", []),
        ("A red mug stands on a", "length", ["cut_off"]),
        ("a mug on a table, " * 8, "stop", ["repetition"]),
        ("I'm sorry, but I can't help with that.", "stop", ["refusal"]),
        ("The image shows a red mug.", "stop", ["boilerplate"]),
        ("A mug. The style of the image is realistic.", "stop", ["boilerplate"]),
        ("A row of windows, a row of doors and a row of trees.", "stop", []),
    ],
)
def test_flags(text, reason, flags):
    assert check_caption(text, reason) == flags
