"""Tokenizers: that of a published model, or a small one learned from the texts of the shards."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoTokenizer,
    CLIPTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from datagen.engines.errors import ModelNotFoundError

_CLIP_MERGES = 48_895  # lines of the file that CLIP uses, its heading among them
_REMEMBERED = 200_000  # texts
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


def clip_tokenizer() -> PreTrainedTokenizerBase:
    """CLIP's own tokenizer, from the merges in open_clip_torch's wheel; nothing of it is imported.

    Raises:
        ModelNotFoundError: open_clip_torch is not installed.
    """
    spec = importlib.util.find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFoundError(
            "CLIP's tokenizer needs the merges in open_clip_torch: "
            "pip install --no-deps open_clip_torch"
        )
    path = Path(spec.submodule_search_locations[0]) / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    merges: Any = [tuple(line.split()) for line in lines[1:_CLIP_MERGES]]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, merges), START, END]
    return CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=merges)


class TextEncoder:
    """Token ids of texts, cut to the lengths a model allows, remembered across batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, short: int, long: int) -> None:
        self._tokenizer = tokenizer
        self.short_tokens = short
        self._limits = {False: short, True: long}
        self._known: dict[tuple[str, bool], list[int]] = {}

    def ids(self, texts: Sequence[str], *, long: bool) -> list[list[int]]:
        """Ids of each text, start and end included; what is too long loses its last words."""
        missing = [text for text in dict.fromkeys(texts) if (text, long) not in self._known]
        if missing:
            limit = self._limits[long]
            found = self._tokenizer(missing, truncation=True, max_length=limit)["input_ids"]
            if len(self._known) > _REMEMBERED:  # phrases repeat, captions do not: start anew
                self._known = {(t, long): self._known[t, long] for t in texts if t not in missing}
            self._known.update(((t, long), ids) for t, ids in zip(missing, found, strict=True))
        return [self._known[text, long] for text in texts]
