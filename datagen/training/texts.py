"""Tokenizers: that of a published model, or a small one learned from the texts of the shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from datagen.engines.errors import ModelNotFoundError

START, END = "<|startoftext|>", "<|endoftext|>"


def learn_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A lower-casing byte-level BPE that, like CLIP's, puts each text between start and end.

    With few different words, as in the small world, every word becomes one token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in (START, END)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END
    )


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder, or of a model by name.

    Raises:
        ModelNotFoundError: there is none of that name or path.
    """
    try:
        return AutoTokenizer.from_pretrained(str(name))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelNotFoundError(f"No tokenizer at {name}: {reason}") from None


class TextEncoder:
    """Token ids of texts, cut to the lengths a model allows, remembered across batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, short: int, long: int) -> None:
        self._tokenizer = tokenizer
        self._limits = {False: short, True: long}
        self._known: dict[tuple[str, bool], list[int]] = {}

    def ids(self, texts: Sequence[str], *, long: bool) -> list[list[int]]:
        """Ids of each text, start and end included; what is too long loses its last words."""
        missing = [text for text in dict.fromkeys(texts) if (text, long) not in self._known]
        if missing:
            limit = self._limits[long]
            found = self._tokenizer(missing, truncation=True, max_length=limit)["input_ids"]
            if len(self._known) > 200_000:  # phrases repeat, captions do not: start anew
                self._known = {(t, long): self._known[t, long] for t in texts if t not in missing}
            self._known.update(((t, long), ids) for t, ids in zip(missing, found, strict=True))
        return [self._known[text, long] for text in texts]
