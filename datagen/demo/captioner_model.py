"""The tiny captioner's architecture, tokenizer and processor: a real Idefics3, only small.

A ViT of 8x8 patches and a Llama of four layers, 4.2 million parameters together. The tokenizer
knows the words of the small world, each with its leading space, and nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from datagen.demo.world import BACKGROUNDS, COLOURS, FINISHES, KINDS, SIZES

IMAGE_SIDE = 128
PATCH = 16
HIDDEN = 192
VISION_LAYERS, TEXT_LAYERS = 5, 4
IMAGE_TOKENS = (IMAGE_SIDE // PATCH) ** 2
SPECIAL_TOKENS = (
    "<pad>", "<unk>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>",
    "<system>", "<user>", "<assistant>",
)  # fmt: skip
FRAME_WORDS = ("There", "A", "An", "Describe", "Name", "The", " The", " a", " an", " is", " and",
               " background", " every", " object", " objects", " in", " the", " picture",
               " detail", " briefly", ",", ".")  # fmt: skip
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<' + message['role'] + '>' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose words carry the space before them; unknown words are <unk>."""
    values = [*KINDS, *COLOURS, *FINISHES, *SIZES, *(w for b in BACKGROUNDS for w in b.split())]
    words = dict.fromkeys([*SPECIAL_TOKENS, *FRAME_WORDS, *(f" {value}" for value in values)])
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|[^\w\s]|\s"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        eos_token="<end_of_utterance>",  # noqa: S106
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=512,
    )


def build_processor() -> Idefics3Processor:
    """The processor that goes with the model: whole images of 128 pixels, never split."""
    side = {"longest_edge": IMAGE_SIDE}
    images = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size=side,
        max_image_size=side,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return Idefics3Processor(
        images, build_tokenizer(), image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """A fresh model with weights from torch's random generator."""
    ids: Any = tokenizer.convert_tokens_to_ids
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": ids("<end_of_utterance>")}
    text: dict[str, Any] = {
        "model_type": "llama",
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "intermediate_size": 512,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "pad_token_id": ids("<pad>"),
        **ends,
    }
    vision = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": 6,
        "intermediate_size": 768,
        "image_size": IMAGE_SIDE,
        "patch_size": PATCH,
    }
    config = Idefics3Config(
        text_config=text,
        vision_config=vision,
        scale_factor=1,
        image_token_id=ids("<image>"),
        pad_token_id=ids("<pad>"),
        tie_word_embeddings=True,
        **ends,
    )
    config._attn_implementation = "eager"  # its backward is faster on CPUs than the fused one
    model = Idefics3ForConditionalGeneration(config)
    _initialise(model)
    return model


def load_model(folder: Path) -> Idefics3ForConditionalGeneration:
    """The model that `export` wrote, to train it further."""
    model = Idefics3ForConditionalGeneration.from_pretrained(folder, dtype="float32")
    model.set_attn_implementation("eager")
    return model


def _initialise(model: nn.Module) -> None:
    """Fan-in scaled weights; what is added to a residual stream starts smaller."""
    residual = {"out_proj": VISION_LAYERS, "fc2": VISION_LAYERS,
                "o_proj": TEXT_LAYERS, "down_proj": TEXT_LAYERS}  # fmt: skip
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            layers = residual.get(name.rsplit(".", 1)[-1])
            scale = (2 * layers) ** -0.5 if layers else 1.0
            nn.init.normal_(module.weight, std=scale * fan_in**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.3 if "position" in name else HIDDEN**-0.5)


def image_features(model: Idefics3ForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """Connector outputs (batch, 64, 192) of pixels (batch, 3, 128, 128) in -1..1."""
    vision = model.model.vision_model
    side = IMAGE_SIDE // PATCH
    whole = torch.ones(len(pixels), side, side, dtype=torch.bool)
    hidden = vision.embeddings(pixels, whole)
    hidden = vision.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
    return model.model.connector(vision.post_layernorm(hidden))


def export(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, folder: Path
) -> None:
    """Write the folder that transformers and vLLM load: config, safetensors, processor."""
    model.config.architectures = ["Idefics3ForConditionalGeneration"]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
