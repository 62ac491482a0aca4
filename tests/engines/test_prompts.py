"""Prompts are files with a name and a version, and a changed file changes the lineage."""

from pathlib import Path

import pytest

from datagen.engines.prompts import PromptError, load_prompt

ROOT = Path(__file__).parents[2]
GOOD = "---\nname: a\nversion: 2\nmax_tokens: 8\ntemperature: 0.5\n---\nSay a.\n"


@pytest.mark.parametrize("path", sorted((ROOT / "prompts").rglob("*.md")), ids=lambda p: p.stem)
def test_every_shipped_prompt_can_be_read(path):
    prompt = load_prompt(path)
    assert prompt.text and prompt.version >= 1 and prompt.max_tokens > 0


def test_a_prompt_carries_its_front_matter_and_a_hash_of_all(tmp_path):
    file = tmp_path / "a.md"
    file.write_text(GOOD)
    prompt = load_prompt(file)
    assert (prompt.name, prompt.version, prompt.text) == ("a", 2, "Say a.")
    assert (prompt.max_tokens, prompt.temperature) == (8, 0.5)
    file.write_text(GOOD + "Or b.")
    assert load_prompt(file).lineage()["hash"] != prompt.hash


@pytest.mark.parametrize("text", ["Say a.", "---\nname: a\n---\nSay a.", "---\n: [\n---\nx"])
def test_a_prompt_without_its_front_matter_is_refused_with_the_file_named(tmp_path, text):
    file = tmp_path / "a.md"
    file.write_text(text)
    with pytest.raises(PromptError, match=r"a\.md"):
        load_prompt(file)


def test_a_missing_prompt_is_named(tmp_path):
    with pytest.raises(PromptError, match="Cannot read the prompt"):
        load_prompt(tmp_path / "absent.md")
