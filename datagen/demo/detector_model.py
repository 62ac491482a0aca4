"""The small world's detector: an MM Grounding DINO of transformers with a million parameters.

One feature level of stride 8, one encoder layer and two decoder layers: pictures of 128 pixels
need no more, and a training step stays below half a second on one CPU core.
"""

from __future__ import annotations

import string
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertTokenizer,
    ConvNextConfig,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
)

from datagen.demo.detection_texts import vocabulary_words

SIZE = 128  # pixels of a picture's shorter side
CHANNELS = 96
BACKBONE_CHANNELS = (40, 96)


def bert_vocabulary(words: list[str]) -> list[str]:
    """The first 1,030 lines of BERT's vocabulary, letters to spell unknown words, and ``words``.

    Grounding DINO's code knows [CLS], [SEP], "." and "?" by their ids in BERT's vocabulary
    (101, 102, 1012, 1029), so a vocabulary of our own has to keep these places.
    """
    lines = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    lines += [f"[unused{i}]" for i in range(99, 994)]
    lines += [chr(code) for code in range(ord("!"), ord("?") + 1)]
    letters = list(string.ascii_lowercase)
    lines += letters + [f"##{c}" for c in letters + list(string.digits)]
    return lines + [word for word in words if word not in set(lines)]


def make_processor(folder: Path) -> GroundingDinoProcessor:
    """The processor (pictures and text) of the detector; its files are written to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = bert_vocabulary(vocabulary_words())
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    assert vocabulary.index(".") == 1012 and vocabulary.index("?") == 1029
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    # Pictures that are far from square keep their shape up to 3:1.
    size = {"shortest_edge": SIZE, "longest_edge": 3 * SIZE}
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer)
    processor.save_pretrained(folder)
    return processor


def make_model(vocabulary_size: int) -> MMGroundingDinoForObjectDetection:
    """The detector at its start: random weights, boxes that begin at a plausible size."""
    backbone = ConvNextConfig(  # type: ignore[call-arg]
        hidden_sizes=list(BACKBONE_CHANNELS),
        depths=[2, 3],
        num_stages=2,
        out_features=["stage2"],
        layer_scale_init_value=0.0,
        drop_path_rate=0.0,
    )
    text = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    config = MMGroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=CHANNELS,
        num_feature_levels=1,
        num_queries=40,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=256,
        decoder_ffn_dim=256,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        dropout=0.0,
        fusion_droppath=0.0,
    )
    model = MMGroundingDinoForObjectDetection(config)
    with torch.no_grad():
        # Proposals start at 5 % of the picture's side; the objects' sides are about 30 %.
        model.model.encoder_output_bbox_embed.layers[-1].bias[2:] = 2.1
        for layer in model.model.encoder.layers:
            # Text and picture start mixed; the default, 1e-4, is for pretrained towers.
            layer.fusion_layer.vision_param.fill_(0.3)
            layer.fusion_layer.text_param.fill_(0.3)
    return model
