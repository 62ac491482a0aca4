"""The LMM verifier with a real LMM in the real vLLM: tiny, untrained, and held to yes or no."""

import asyncio

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from datagen.dataset import Negative
from datagen.demo.captioner_model import SPECIAL_TOKENS, build_model, build_processor, export
from datagen.engines.config import EngineConfig
from datagen.negatives.verify import Question, judged
from datagen.verification.lmm import LmmVerifierConfig

COLOURS = ("blue", "green", "pink", "black", "white", "orange")


@pytest.fixture
def model(tmp_path):
    """An Idefics3 as small as the demo's, whose tokenizer can spell every word."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    processor = build_processor()
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<end_of_utterance>",
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        model_max_length=512,
    )
    torch.manual_seed(0)
    export(build_model(processor.tokenizer), processor, tmp_path)
    return tmp_path


def negative(colour):
    return Negative(
        text=f"a {colour} mug", type="colour", span_start=2, span_end=2 + len(colour), old="red",
        new=colour,
    )  # fmt: skip


def test_a_real_lmm_says_yes_or_no_of_every_negative(model):
    engine = EngineConfig(model=str(model), dtype="float32", max_model_len=512, max_num_seqs=8)
    question = Question(
        image=Image.new("RGB", (200, 160), "red"),
        box=(0.25, 0.25, 0.75, 0.75),
        positive="a red mug",
        negatives=tuple(map(negative, COLOURS)),
        slots=(),
    )

    async def run():
        verifier = await LmmVerifierConfig(engine=engine).open()
        try:
            return await judged(question, [verifier], None), verifier._engine.usage
        finally:
            await verifier.close()

    found, usage = asyncio.run(run())
    votes = [n.votes[0] for n in found]
    assert [n.new for n in found] == list(COLOURS)
    assert {vote.verifier for vote in votes} == {"lmm"}
    assert all(vote.score == float(vote.is_true) for vote in votes)
    assert usage.requests == len(COLOURS)
    assert usage.output_tokens <= 4 * len(COLOURS)  # "yes" or "no", and the end
