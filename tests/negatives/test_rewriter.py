import asyncio
import json
import re

import pytest

from datagen.engines.chat import ChatReply
from datagen.engines.errors import RequestError
from datagen.engines.prompts import Prompt
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.rewriter import ASKED, VARIANTS, FreeRewriter, Phrase, SlotRewriter
from datagen.negatives.slots import Slot

LEXICON = load_lexicon()
PROMPT = Prompt(
    name="p", version=1, text="Rules.\n{kind} of {noun}:", hash="", max_tokens=9, temperature=0.0
)
FREE = Prompt(
    name="f", version=1, text="Rules.\n{count} of {phrase}:", hash="", max_tokens=9,
    temperature=0.0,
)  # fmt: skip
RED_MUG = Slot("colour", "red", 2, 5, "mug")
PHRASE = Phrase("row", "a red mug", (RED_MUG,))


class Scripted:
    """An engine that takes the last value of each group, or answers what it is told."""

    def __init__(self, *faults):
        self.requests = []
        self.faults = list(faults)

    async def chat(self, request):
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            text = fault
        else:
            groups = re.findall(r"\(([^)]*)\)", request.structure.regex)
            text = ", ".join(group.split("|")[-1] for group in groups)
        return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, output_tokens=1)

    async def close(self):
        pass


def rewrite(engine, *phrases):
    async def run():
        rewriter = SlotRewriter(engine, PROMPT, LEXICON)
        return await asyncio.gather(
            *(rewriter.rewrite(phrase) for phrase in phrases), return_exceptions=True
        )

    return asyncio.run(run())


def test_drafts_are_distinct_and_admissible():
    (found,) = rewrite(Scripted(), PHRASE)
    values = [draft.new(draft.edits[0]) for draft in found.drafts]
    assert len(set(values)) == len(values) >= ASKED - 2
    assert set(values) <= set(LEXICON.others("red"))
    assert all(draft.positive == "a red mug" for draft in found.drafts)


def test_the_structure_allows_values_and_nothing_else():
    engine = Scripted()
    rewrite(engine, PHRASE)
    for request in engine.requests:
        words = re.findall(r"[a-z -]+", request.structure.regex.replace(", ", "|"))
        assert set(words) <= set(LEXICON.family("red"))
        assert len(set(words)) == len(words)  # each value in one pair only
        assert request.structure.regex.count("(") == len(LEXICON.family("red")) // 4


def test_the_question_does_not_hold_the_true_value():
    engine = Scripted()
    blue = Phrase("row", "a blue mug", (Slot("colour", "blue", 2, 6, "mug"),))
    rewrite(engine, PHRASE, blue)
    assert {request.text for request in engine.requests} == {"colour of mug:"}
    assert all(request.system == "Rules." for request in engine.requests)
    assert len(engine.requests) == VARIANTS  # its variants, for both phrases together


def test_a_slot_is_proposed_where_other_phrases_get_its_value():
    (red,) = rewrite(Scripted(), PHRASE)
    drafted = {draft.new(draft.edits[0]) for draft in red.drafts}
    for colour in LEXICON.others("red"):
        slot = Slot("colour", colour, 2, 2 + len(colour), "mug")
        (found,) = rewrite(Scripted(), Phrase("row", f"a {colour} mug", (slot,)))
        assert (slot in found.proposed) == (colour in drafted)


def test_nothing_is_asked_where_there_is_no_choice():
    engine = Scripted()
    slot = Slot("state", "open", 3, 7, "door")
    (found,) = rewrite(engine, Phrase("row", "an open door", (slot,)))
    assert [draft.text for draft in found.drafts] == ["a closed door"]
    assert found.proposed == {slot}
    assert engine.requests == []


def test_an_answer_outside_the_structure_is_an_error_of_the_request():
    (error,) = rewrite(Scripted("blue, gre"), PHRASE)
    assert isinstance(error, RequestError)
    assert "blue, gre" in str(error)


def test_a_failed_question_is_asked_again_by_the_next_row():
    async def run():
        rewriter = SlotRewriter(Scripted(RequestError("refused")), PROMPT, LEXICON)
        with pytest.raises(RequestError):
            await rewriter.rewrite(PHRASE)
        return await rewriter.rewrite(PHRASE)

    assert asyncio.run(run()).drafts


def test_a_row_that_gives_up_leaves_the_answer_to_the_others():
    async def run():
        rewriter = SlotRewriter(Scripted(), PROMPT, LEXICON)
        leaver = asyncio.create_task(rewriter.rewrite(PHRASE))
        stayer = asyncio.create_task(rewriter.rewrite(PHRASE))
        await asyncio.sleep(0)
        leaver.cancel()
        return await stayer

    assert asyncio.run(run()).drafts


def free(*answers):
    async def run():
        engine = Scripted(*answers)
        return await FreeRewriter(engine, FREE, count=3).rewrite(PHRASE), engine.requests

    return asyncio.run(run())


def test_free_rewriting_asks_for_whole_phrases_in_one_request():
    texts = ["a blue mug", "a red cup", "an orange mug"]
    found, requests = free(json.dumps(texts))
    assert [draft.text for draft in found.drafts] == texts
    assert requests[0].text == "3 of a red mug:"
    assert json.loads(requests[0].structure.json_schema)["minItems"] == 3
    blue, cup, orange = found.drafts
    assert blue.edits[0].slot == RED_MUG
    assert (cup.old(cup.edits[0]), cup.edits[0].slot) == ("mug", None)
    assert (orange.old(orange.edits[0]), orange.new(orange.edits[0])) == ("red", "orange")


def test_an_answer_that_was_cut_off_is_an_error_of_the_request():
    with pytest.raises(RequestError, match="cut off"):
        free('["a blue mug", "a gre')
