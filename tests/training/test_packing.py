import pytest
import torch

from datagen.training.config import ModelConfig
from datagen.training.packing import TextTable, pack
from datagen.training.texts import TextEncoder, learn_tokenizer, load_tokenizer
from datagen.training.weights import new_model

PHRASES = ["a small red mug", "a large red mug", "a bird", "the background is pale blue and flat"]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(PHRASES * 3, vocab_size=400)


def test_packed_texts_have_the_features_of_texts_encoded_one_by_one(tokenizer):
    torch.manual_seed(0)
    sizes = ModelConfig(text_width=32, text_heads=2, embedding=16, vision_width=32, vision_heads=2)
    model = new_model(sizes, len(tokenizer), 0, 1).eval()
    ids = TextEncoder(tokenizer, 77, 248).ids(PHRASES, long=False)
    assert len({len(text) for text in ids}) > 1
    packed = pack(ids, max_rows=1).encode(model, long=False)
    together = pack(ids).encode(model, long=False)
    alone = torch.cat([
        model.encode_texts(torch.tensor([text]), torch.tensor([len(text) - 1]), long=False)
        for text in ids
    ])  # fmt: skip
    torch.testing.assert_close(packed, alone)
    torch.testing.assert_close(together, alone)


def test_nothing_packs_to_nothing(tokenizer):
    model = new_model(ModelConfig(embedding=16), len(tokenizer), 0, 1)
    assert pack([]).encode(model, long=False).shape == (0, 16)


def test_buckets_hold_little_padding():
    lengths = [3, 40, 4, 3, 41, 10]
    buckets = pack([[1] * n for n in lengths]).buckets
    assert sum(bucket.ids.numel() for bucket in buckets) <= 1.25 * sum(lengths)


def test_a_text_is_numbered_once():
    table = TextTable()
    assert [table.add(text) for text in ("mug", "bird", "mug")] == [0, 1, 0]
    assert table.texts == ["mug", "bird"]


def test_the_learned_tokenizer_has_a_token_a_word_ends_and_survives_saving(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    ids = again("A small RED mug")["input_ids"]
    assert again.convert_ids_to_tokens(ids) == [
        "<|startoftext|>", "Ġa", "Ġsmall", "Ġred", "Ġmug", "<|endoftext|>",
    ]  # fmt: skip


def test_a_text_that_is_too_long_is_cut_but_keeps_its_end(tokenizer):
    encoder = TextEncoder(tokenizer, 5, 9)
    text = "a small red mug and a bird"
    short, long = encoder.ids([text], long=False)[0], encoder.ids([text], long=True)[0]
    assert (len(short), len(long)) == (5, 9)
    assert short[-1] == long[-1] == tokenizer.eos_token_id
