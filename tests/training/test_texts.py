import pytest

from datagen.training.texts import TextEncoder, clip_tokenizer, learn_tokenizer, load_tokenizer

PHRASES = ["a small red mug", "a large red mug", "a bird", "the background is pale blue and flat"]


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(PHRASES * 3, vocab_size=400)


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


def test_the_tokens_of_clip_are_its_own():
    tokenizer = clip_tokenizer()
    # Published with CLIP: "a photo of a cat" and its ends.
    assert tokenizer("A photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
