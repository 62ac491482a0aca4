"""The exported tower is ours, and a LLaVA built on it answers about pictures in vLLM."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from datagen.errors import UserError
from datagen.images.fit import fitted
from datagen.training.attention import Dense
from datagen.training.batch import normalised
from datagen.training.blocks import block
from datagen.training.weights import save_model
from pipelines import vision_tower
from tests.training.training_cases import make_model, make_tokenizer

COLOURS = {"red": (220, 30, 30), "green": (20, 160, 60), "blue": (30, 60, 220), "white": (245,) * 3}
QUESTION = "What colour is it ?"
WORDS = ["<pad>", "<unk>", "<end>", "<image>", "USER", "ASSISTANT", *QUESTION.split(), "It", "is",
         *COLOURS]  # fmt: skip
TEMPLATE = (
    "{% for message in messages %}USER {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT"
)


def picture(colour, seed):
    """A disc of the colour on noisy grey, 100 × 80 pixels."""
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 130, (80, 100, 3))
    x, y = random.integers(35, 65), random.integers(35, 45)
    down, across = np.mgrid[:80, :100]
    pixels[(across - x) ** 2 + (down - y) ** 2 < 30**2] = COLOURS[colour]
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def trained():
    return make_model(make_tokenizer()).eval()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Exported by the script, from a model on disk."""
    root = tmp_path_factory.mktemp("tower")
    save_model(trained, root / "run" / "model")
    vision_tower.main(vision_tower.Config(model=str(root / "run"), output=root / "tower"))
    return root / "tower"


@torch.inference_mode()
def test_hidden_states_and_pixels_are_those_of_training(trained, folder):
    pictures = [picture(colour, seed) for seed, colour in enumerate(COLOURS)]
    pixels = normalised(
        torch.from_numpy(np.stack([fitted(p, 64) for p in pictures])).permute(0, 3, 1, 2)
    )
    theirs = CLIPImageProcessor.from_pretrained(folder)(pictures, return_tensors="pt").pixel_values
    torch.testing.assert_close(theirs, pixels, rtol=0, atol=1e-5)
    tower, loading = CLIPVisionModel.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    found = tower(pixels, output_hidden_states=True)
    ours = trained.vision_model
    rows = ours.pre_layrnorm(ours.embeddings(pixels)).flatten(0, 1)
    for layer, hidden in zip(ours.encoder.layers, found.hidden_states, strict=False):
        torch.testing.assert_close(hidden.flatten(0, 1), rows, rtol=0, atol=1e-5)
        rows = block(layer, rows, Dense(len(pixels)))
    images, _ = trained.encode_images(pixels, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    pooled = trained.visual_projection(found.pooler_output)
    torch.testing.assert_close(
        torch.nn.functional.normalize(pooled, dim=-1), images, rtol=0, atol=1e-5
    )


def test_a_folder_that_is_there_is_left_alone(folder):
    with pytest.raises(UserError, match="is there already"):
        vision_tower.main(vision_tower.Config(model=str(folder.parent / "run"), output=folder))


def make_processor(folder):
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys(WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip
    return LlavaProcessor(
        CLIPImageProcessor.from_pretrained(folder), fast, patch_size=16,
        vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )  # fmt: skip


def make_llava(folder, processor):
    """LLaVA-1.5 in small: our tower, which stays as it is, under a projector and two blocks."""
    torch.manual_seed(0)
    tower = CLIPVisionModel.from_pretrained(folder)
    ids = processor.tokenizer.convert_tokens_to_ids
    ends = {"pad_token_id": ids("<pad>"), "bos_token_id": None, "eos_token_id": ids("<end>")}
    text = LlamaConfig(
        vocab_size=len(processor.tokenizer), hidden_size=64, intermediate_size=128,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=128,
        initializer_range=0.1, **ends,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=tower.config, text_config=text, image_token_index=ids("<image>"),
        image_seq_length=16, vision_feature_layer=-2, vision_feature_select_strategy="default",
        **ends,
    )  # fmt: skip
    llava = LlavaForConditionalGeneration(config)
    llava.model.vision_tower.load_state_dict(tower.state_dict())
    llava.model.vision_tower.requires_grad_(False)
    return llava


def messages():
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]


def train(llava, processor, steps=120):
    """Projector and language model, as LLaVA's second stage does; returns the last loss."""
    prompt = processor.apply_chat_template(messages())
    optimizer = torch.optim.AdamW([p for p in llava.parameters() if p.requires_grad], lr=3e-3)
    for step in range(steps):
        names = [list(COLOURS)[i % len(COLOURS)] for i in range(16)]
        pictures = [picture(name, step * 16 + i) for i, name in enumerate(names)]
        texts = [f"{prompt} It is {name} <end>" for name in names]
        batch = processor(images=pictures, text=texts, return_tensors="pt")
        labels = batch["input_ids"].clone()
        labels[:, :-4] = -100  # of the answer alone
        loss = llava(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


@torch.inference_mode()
def answers_of_transformers(llava, processor, prompt, pictures):
    """Texts, and the log-probability of each of their tokens."""
    batch = processor(images=pictures, text=[prompt] * len(pictures), return_tensors="pt")
    found = llava.eval().generate(
        **batch, max_new_tokens=8, do_sample=False, output_scores=True, return_dict_in_generate=True
    )
    ids = found.sequences[:, batch["input_ids"].shape[1] :]
    steps = torch.stack(found.scores, 1).log_softmax(-1)
    texts = processor.batch_decode(ids, skip_special_tokens=True)
    return texts, steps.gather(-1, ids[..., None])[..., 0].tolist()


def answers_of_vllm(folder, prompt, pictures):
    """The same, served by vLLM in a process of its own."""
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, shown in zip(paths, pictures, strict=True):
        shown.save(path)
    script = Path(__file__).with_name("serve_llava.py")
    command = [sys.executable, script, folder, prompt, *paths]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr[-3000:]
    answers = json.loads(run.stdout.splitlines()[-1])
    return answers["texts"], answers["logprobs"]


def test_a_llava_on_the_tower_answers_in_vllm(folder, tmp_path):
    processor = make_processor(folder)
    llava = make_llava(folder, processor)
    assert train(llava, processor) < 0.1
    exported = CLIPVisionModel.from_pretrained(folder).state_dict()
    for name, tensor in llava.model.vision_tower.state_dict().items():
        assert torch.equal(tensor, exported[name])
    llava.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    prompt = processor.apply_chat_template(messages())
    pictures = [picture(colour, 10_000 + seed) for seed, colour in enumerate(COLOURS)]
    expected, ours = answers_of_transformers(llava, processor, prompt, pictures)
    assert expected == [f"It is {colour}" for colour in COLOURS]
    texts, theirs = answers_of_vllm(tmp_path, prompt, pictures)
    assert texts == expected
    np.testing.assert_allclose(theirs, ours, atol=1e-3)
