import pytest

from datagen.engines.errors import ModelNotFoundError
from datagen.language import load_spacy


def test_default_model_tags_words():
    assert [token.pos_ for token in load_spacy()("a red mug")] == ["DET", "ADJ", "NOUN"]


def test_missing_model_is_one_sentence_with_the_command():
    with pytest.raises(ModelNotFoundError, match=r"en_core_web_huge.*spacy download"):
        load_spacy("en_core_web_huge")


def test_folder_without_a_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match="spacy download"):
        load_spacy(str(tmp_path))
