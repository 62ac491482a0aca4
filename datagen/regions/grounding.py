"""Which phrases of a caption a box supports, and what is left of it without unsupported sentences.

A phrase is grounded when a box scores at least the threshold for it. Phrases that name the same
thing ("a man … the man") support each other's boxes; one that contradicts a better phrase about
the same box ("a red mug" where "a blue mug" fits better) is not grounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from datagen.dataset.rows import GroundedPhrase, GroundingRow
from datagen.regions.boxes import SAME_BOX_IOU, Detection, iou, usable
from datagen.regions.phrases import Phrase
from datagen.texts.mend import sentences

_DETERMINERS = frozenset({"a", "an", "the"})


def ground(
    image_id: str,
    caption: str,
    phrases: Sequence[Phrase],
    detections: Sequence[Detection],
    *,
    threshold: float = 0.4,
    drop_below: float = 0.0,
) -> GroundingRow:
    """Hold one image's caption against what the detector said of its phrases.

    Args:
        image_id: the image.
        caption: its long caption.
        phrases: the caption's phrases, as they were asked for.
        detections: of all phrases and boxes, not just the best phrase of each box.
        threshold: score, 0..1, from which a box supports a phrase.
        drop_below: a sentence is dropped when the share of its phrases that are grounded is below
            this, 0..1. Sentences without phrases stay.

    Raises:
        ValueError: a detection names a phrase that is not there.
    """
    texts = [phrase.text for phrase in phrases]
    candidates = usable(detections, texts)
    judged = [
        GroundedPhrase(
            text=phrase.text,
            span_start=phrase.span_start,
            span_end=phrase.span_end,
            grounded=_supported(index, phrases, candidates, threshold),
            score=max((d.score for d in candidates if d.phrase_index == index), default=0.0),
        )
        for index, phrase in enumerate(phrases)
    ]
    long, dropped = drop_sentences(caption, judged, drop_below)
    return GroundingRow(
        image_id=image_id,
        grounded=sum(p.grounded for p in judged) / len(judged) if judged else None,
        phrases=judged,
        long=long,
        dropped=dropped,
    )


def drop_sentences(
    caption: str, phrases: Sequence[GroundedPhrase], below: float
) -> tuple[str, list[str]]:
    """The caption without the sentences whose share of grounded phrases is below a share, 0..1.

    Returns:
        What is left, which may be empty, and the dropped sentences in their order.
    """
    kept: list[str] = []
    dropped: list[str] = []
    for sentence in sentences(caption):
        named = [p.grounded for p in phrases if mentions(sentence, p.text)]
        wrong = bool(named) and sum(named) / len(named) < below
        (dropped if wrong else kept).append(sentence)
    return (" ".join(kept) if dropped else caption), dropped


def mentions(sentence: str, phrase: str) -> bool:
    """Whether the sentence holds the phrase, whatever its article: merged phrases come again."""
    words = phrase.split()
    bare = " ".join(words[1:] if len(words) > 1 and words[0].lower() in _DETERMINERS else words)
    return re.search(rf"(?<!\w){re.escape(bare)}(?!\w)", sentence, re.IGNORECASE) is not None


def _supported(
    index: int, phrases: Sequence[Phrase], candidates: Sequence[Detection], threshold: float
) -> bool:
    own = [d for d in candidates if d.phrase_index == index and d.score >= threshold]
    against = {i for i, other in enumerate(phrases) if _contradict(phrases[index], other)}
    rivals = [d for d in candidates if d.phrase_index in against]
    return any(
        all(
            rival.score <= detection.score or iou(rival.bbox, detection.bbox) <= SAME_BOX_IOU
            for rival in rivals
        )
        for detection in own
    )


def _contradict(one: Phrase, two: Phrase) -> bool:
    """Whether two phrases name the same kind of thing with different attributes."""
    first, second = _words(one.text), _words(two.text)
    return one.head == two.head and not (first <= second or second <= first)


def _words(phrase: str) -> frozenset[str]:
    return frozenset(phrase.lower().split()) - _DETERMINERS
