import asyncio
import re

import pytest

from datagen.engines.chat import ChatReply
from datagen.engines.errors import RequestError
from datagen.engines.prompts import Prompt
from datagen.negatives.lexicon import load_lexicon
from datagen.negatives.rewriter import SlotRewriter
from datagen.negatives.slots import Slot

LEXICON = load_lexicon()
PROMPT = Prompt(
    name="p", version=1, text="Rules.\n{kind} of {noun}, not {old}:", hash="", max_tokens=9,
    temperature=0.0,
)  # fmt: skip
RED_MUG = Slot("colour", "red", 2, 5, "mug")


class Scripted:
    """An engine that takes the last value of each group, or answers what it is told."""

    def __init__(self, *faults):
        self.requests = []
        self.faults = list(faults)

    async def chat(self, request):
        self.requests.append(request)
        await asyncio.sleep(0)
        groups = re.findall(r"\(([^)]*)\)", request.structure.regex)
        text = ", ".join(group.split("|")[-1] for group in groups)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            text = fault
        return ChatReply(text=text, finish_reason="stop", prompt_tokens=1, output_tokens=1)

    async def close(self):
        pass


def ask(engine, *calls):
    async def run():
        rewriter = SlotRewriter(engine, PROMPT, LEXICON)
        return await asyncio.gather(
            *(rewriter.values(*call) for call in calls), return_exceptions=True
        )

    return asyncio.run(run())


@pytest.mark.parametrize("count", [1, 5, 10, 20, 50])
@pytest.mark.parametrize("row", ["a", "b", "c", "d"])
def test_values_are_distinct_and_admissible(count, row):
    (values,) = ask(Scripted(), (RED_MUG, count, row))
    assert len(set(values)) == len(values) >= min(count, len(LEXICON.others("red")))
    assert set(values) <= set(LEXICON.others("red"))


def test_the_structure_allows_nothing_else():
    engine = Scripted()
    (values,) = ask(engine, (RED_MUG, 5, "row"))
    regex = engine.requests[0].structure.regex
    assert re.fullmatch(regex, ", ".join(values[:5]))
    assert not re.fullmatch(regex, "red, crimson, scarlet, maroon, ruby")
    words = re.findall(r"[a-z -]+", regex.replace(", ", "|"))
    assert sorted(words) == sorted(LEXICON.others("red"))  # each value in one group only


def test_constant_text_comes_first_and_the_slot_last():
    engine = Scripted()
    ask(engine, (RED_MUG, 5, "row"))
    assert engine.requests[0].system == "Rules."
    assert engine.requests[0].text == "colour of mug, not red:"


def test_equal_questions_are_asked_once_whatever_the_phrase():
    engine = Scripted()
    elsewhere = Slot("colour", "crimson", 30, 37, "mug")
    answers = ask(engine, (RED_MUG, 5, "row"), (elsewhere, 5, "row"), (RED_MUG, 5, "row"))
    assert len(engine.requests) == 1
    assert answers[0] == answers[1] == answers[2]


def test_rows_differ_in_few_variants():
    engine = Scripted()
    answers = ask(engine, *((RED_MUG, 5, f"row {i}") for i in range(50)))
    assert 1 < len({tuple(a[:5]) for a in answers}) <= 4
    assert len(engine.requests) <= 4


def test_nothing_is_asked_where_there_is_no_choice():
    engine = Scripted()
    (values,) = ask(engine, (Slot("state", "open", 2, 6, "door"), 1, "row"))
    assert values == ["closed"]
    assert engine.requests == []


def test_an_answer_outside_the_structure_is_an_error_of_the_request():
    (error,) = ask(Scripted("blue, gre"), (RED_MUG, 5, "row"))
    assert isinstance(error, RequestError)
    assert "blue, gre" in str(error)


def test_a_failed_question_is_asked_again_by_the_next_row():
    async def run():
        rewriter = SlotRewriter(Scripted(RequestError("refused")), PROMPT, LEXICON)
        with pytest.raises(RequestError):
            await rewriter.values(RED_MUG, 5, "row")
        return await rewriter.values(RED_MUG, 5, "row")

    assert len(asyncio.run(run())) >= 5


def test_a_row_that_gives_up_leaves_the_answer_to_the_others():
    async def run():
        rewriter = SlotRewriter(Scripted(), PROMPT, LEXICON)
        leaver = asyncio.create_task(rewriter.values(RED_MUG, 5, "row"))
        stayer = asyncio.create_task(rewriter.values(RED_MUG, 5, "row"))
        await asyncio.sleep(0)
        leaver.cancel()
        return await stayer

    assert len(asyncio.run(run())) >= 5
