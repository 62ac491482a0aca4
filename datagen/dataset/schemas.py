"""Arrow schemas of the tables: one folder a table, aligned by shard number.

Every column carries a description in its field metadata, so that it travels with the
Parquet file. `SCHEMA_VERSION` grows when a column changes its meaning or its type.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = 2


class Table(StrEnum):
    """The folders of a dataset, in the order in which data flows through them."""

    IMAGES = "images"
    CAPTIONS = "captions"
    REGIONS = "regions"
    GROUNDING = "grounding"
    CANDIDATES = "candidates"
    NEGATIVES = "negatives"


FLOW = (Table.IMAGES, Table.CAPTIONS, Table.REGIONS, Table.NEGATIVES)
"""The tables that each stage reads from the one before; the others stand beside them."""


def _column(name: str, type_: pa.DataType, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, type_, nullable, {"description": description})


_BOX = pa.list_(pa.float32(), 4)

_VOTE = pa.struct(
    [
        _column("verifier", pa.string(), "which verifier: another_region, detector, …"),
        _column("is_true", pa.bool_(), "whether it holds the phrase to be true of the picture"),
        _column("score", pa.float32(), "how sure it is: the verifier's own scale"),
    ]
)

_NEGATIVE = pa.struct(
    [
        _column("text", pa.string(), "the positive phrase, changed so that it is false"),
        _column("type", pa.string(), "kinds of the changed attributes: colour, colour+size, …"),
        _column("span_start", pa.int32(), "first character of the new value in `text`"),
        _column("span_end", pa.int32(), "one past the last character of the new value in `text`"),
        _column("old", pa.string(), "the value in the positive phrase"),
        _column("new", pa.string(), "the value that replaced it"),
        _column("checks", pa.list_(pa.string()), "names of the checks that this negative passed"),
        _column("change", pa.string(), "replace, replace_two, swap, other_object, …", True),
        _column("votes", pa.list_(_VOTE), "what each verifier says of it", True),
    ]
)

_SLOT = pa.struct(
    [
        _column("kind", pa.string(), "kind of attribute: colour, material, size, …"),
        _column("family", pa.string(), "its set of the lexicon, by the first value"),
        _column("value", pa.string(), "the value, as the lexicon has it"),
        _column("span_start", pa.int32(), "first character of the value in `positive`"),
        _column("span_end", pa.int32(), "one past its last character in `positive`"),
        _column("noun", pa.string(), "what the value is said of"),
        _column("proposed", pa.bool_(), "whether the rewriter names this value for such a noun"),
    ]
)

_CANDIDATE = pa.struct(
    [
        _column("text", pa.string(), "the positive phrase with something changed"),
        _column("type", pa.string(), "kind of the changed attribute: colour, material, size, …"),
        _column("slot", pa.int32(), "number of the slot that is changed; -1 if it is not one"),
        _column("span_start", pa.int32(), "first character of the new value in `text`"),
        _column("span_end", pa.int32(), "one past the last character of the new value in `text`"),
        _column("old", pa.string(), "the value in the positive phrase"),
        _column("new", pa.string(), "the value that replaced it"),
        _column("refused_by", pa.string(), "name of the check that it failed", True),
        _column("reason", pa.string(), "what that check said", True),
    ]
)

_GROUNDED_PHRASE = pa.struct(
    [
        _column("text", pa.string(), "the phrase, as it stands in `captions.long`"),
        _column("span_start", pa.int32(), "first character of the phrase in `captions.long`"),
        _column("span_end", pa.int32(), "one past its last character in `captions.long`"),
        _column("grounded", pa.bool_(), "whether a box supports it"),
        _column("score", pa.float32(), "best score, 0..1, of the phrase for any box; 0 for none"),
    ]
)

SCHEMAS: dict[Table, pa.Schema] = {
    Table.IMAGES: pa.schema(
        [
            _column("image_id", pa.string(), "first 128 bits of the SHA-256 of `bytes`, in hex"),
            _column("uri", pa.string(), "where in the source it was: path or URL, #row or #member"),
            _column("bytes", pa.binary(), "the encoded image, byte for byte as it came"),
            _column("width", pa.int32(), "pixels, as shown (after EXIF rotation)"),
            _column("height", pa.int32(), "pixels, as shown (after EXIF rotation)"),
            _column("format", pa.string(), "what the bytes are: JPEG, PNG, WEBP, …"),
            _column("phash", pa.string(), "64-bit perceptual hash in hex, for near duplicates"),
            _column("source_caption", pa.string(), "caption that came with the image", True),
            _column("source", pa.string(), "other columns of the source, as a JSON object", True),
        ]
    ),
    Table.CAPTIONS: pa.schema(
        [
            _column("image_id", pa.string(), "the image: joins `images` within the same shard"),
            _column("long", pa.string(), "long caption"),
            _column("short", pa.string(), "short caption"),
            _column("long_finish_reason", pa.string(), "why the long caption ended: stop, length"),
            _column("short_finish_reason", pa.string(), "why the short one ended: stop, length"),
            _column("prompt_tokens", pa.int32(), "tokens of both prompts, image tokens included"),
            _column("long_tokens", pa.int32(), "tokens of the long caption"),
            _column("short_tokens", pa.int32(), "tokens of the short caption"),
            _column("checks", pa.list_(pa.string()), "names of the checks that mended a caption"),
            _column("long_original", pa.string(), "long caption as given, if mended", True),
            _column("short_original", pa.string(), "short caption as given, if mended", True),
            _column("attempts", pa.int32(), "requests made for the two captions: 2 to 4", True),
        ]
    ),
    Table.REGIONS: pa.schema(
        [
            _column("region_id", pa.string(), "128 bits in hex from image, span and box"),
            _column("image_id", pa.string(), "the image: joins `images` within the same shard"),
            _column("phrase", pa.string(), "the phrase, as it stands in the long caption"),
            _column("span_start", pa.int32(), "first character of the phrase in `captions.long`"),
            _column("span_end", pa.int32(), "one past its last character in `captions.long`"),
            _column("bbox", _BOX, "x1, y1, x2, y2, each 0..1 of the picture as shown"),
            _column("score", pa.float32(), "detector's score of the phrase for the box, 0..1"),
            _column("margin", pa.float32(), "score minus that of the next best phrase for the box"),
            _column("description", pa.string(), "longer expression for the region"),
            _column(
                "description_from", pa.string(), "where that is from: sentence, captioner", True
            ),
            _column("area", pa.float32(), "the box's share of the picture, 0..1", True),
            _column(
                "grounded", pa.float32(), "share of its caption's phrases with a box, 0..1", True
            ),
        ]
    ),
    Table.GROUNDING: pa.schema(
        [
            _column("image_id", pa.string(), "the image: joins `captions` within the same shard"),
            _column(
                "grounded", pa.float32(), "share, 0..1, of the phrases that a box supports", True
            ),
            _column("phrases", pa.list_(_GROUNDED_PHRASE), "the phrases that were looked for"),
            _column(
                "long", pa.string(), "`captions.long` without its dropped sentences; may be empty"
            ),
            _column("dropped", pa.list_(pa.string()), "sentences that too few boxes support"),
        ]
    ),
    Table.CANDIDATES: pa.schema(
        [
            _column("region_id", pa.string(), "the region: joins `regions` within the same shard"),
            _column("image_id", pa.string(), "the image: joins `images` within the same shard"),
            _column("positive", pa.string(), "the phrase that is true of the region"),
            _column("slots", pa.list_(_SLOT), "its attributes"),
            _column("candidates", pa.list_(_CANDIDATE), "phrases to choose from, and refused ones"),
        ]
    ),
    Table.NEGATIVES: pa.schema(
        [
            _column("region_id", pa.string(), "the region: joins `regions` within the same shard"),
            _column("image_id", pa.string(), "the image: joins `images` within the same shard"),
            _column("positive", pa.string(), "the phrase that is true of the region"),
            _column("negatives", pa.list_(_NEGATIVE), "phrases that are not, at most 10"),
            _column("none_because", pa.string(), "why there are none, where there are none", True),
        ]
    ),
}

ERRORS_SCHEMA = pa.schema(
    [
        _column("id", pa.string(), "the row: an image_id or a region_id, or the uri of a file"),
        _column("stage", pa.string(), "the stage that gave up on it"),
        _column("error", pa.string(), "class of the error"),
        _column("message", pa.string(), "what was wrong"),
        _column("attempts", pa.int32(), "how often it was tried"),
    ]
)
