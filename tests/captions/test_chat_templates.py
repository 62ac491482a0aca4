"""Our requests through vLLM's own rendering, with chat templates in the forms of the usual models.

SmolVLM's is the one that transformers carries; the others are short ones of our own in each
family's form, with the tiny captioner's <image> in place of the family's token: no weights but the
captioner's are needed to see that the picture comes first, once, and the text whole.
"""

import os

import pytest
from PIL import Image
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from datagen.engines.chat import ChatRequest
from datagen.engines.vllm_engine import _messages

TEXT = "Describe every object in the picture in detail."
FORMS = {
    "own": None,
    "Qwen-VL": (
        "{% for message in messages %}{% if loop.first and message.role != 'system' %}"
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
        "<|im_start|>{{ message.role }}\n"
        "{% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}{% if part.type == 'image' or 'image' in part %}"
        "<|vision_start|><image><|vision_end|>{% elif 'text' in part %}{{ part.text }}{% endif %}"
        "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "SmolVLM": DEFAULT_CHAT_TEMPLATE,
    "InternVL": (  # content as one string: vLLM itself puts the picture's token into it
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
        "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "InternVL in transformers' format": (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n"
        "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "Llama Vision": (
        "{% for message in messages %}"
        "{{ '<|header_start|>' + message['role'] + '<|header_end|>\n' }}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
        "{% for content in message['content'] %}{% if content['type'] == 'image' %}{{ '<image>' }}"
        "{% elif content['type'] == 'text' %}{{ content['text'] | trim }}{% endif %}{% endfor %}"
        "{% endif %}{{ '<|eot|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|header_start|>assistant<|header_end|>\n' }}{% endif %}"
    ),
    "Gemma": (
        "{% for message in messages %}<start_of_turn>{{ message['role'] }}\n"
        "{% if message['content'] is string %}{{ message['content'] | trim }}"
        "{% elif message['content'] is iterable %}{% for item in message['content'] %}"
        "{% if item['type'] == 'image' %}{{ '<image>' }}"
        "{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}"
        "{% endif %}"
        "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    ),
    "LLaVA": (
        "{% for message in messages %}{{ message['role'] | upper }}: "
        "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n"
        "{% endfor %}{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ part['text'] }} {% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    ),
}
ARCHITECTURES = (
    "Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForConditionalGeneration",
    "Idefics3ForConditionalGeneration",
    "SmolVLMForConditionalGeneration",
    "InternVLChatModel",
    "InternVLForConditionalGeneration",
    "Llama4ForConditionalGeneration",
    "Gemma3ForConditionalGeneration",
    "LlavaForConditionalGeneration",
)


@pytest.fixture(scope="module")
def renderer():
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    from vllm import EngineArgs
    from vllm.renderers import renderer_from_config

    arguments = EngineArgs(
        model="datagen/demo/models/captioner",
        dtype="float32",
        max_model_len=512,
        limit_mm_per_prompt={"image": 1},
        enforce_eager=True,
    )
    return renderer_from_config(arguments.create_engine_config())


@pytest.mark.parametrize("family", FORMS)
def test_the_picture_stands_once_before_the_whole_text(renderer, family):
    from vllm.renderers.params import ChatParams

    request = ChatRequest(text=TEXT, image=Image.new("RGB", (96, 64), "red"))
    _, (prompt,) = renderer.render_chat(
        [_messages(request)],
        ChatParams(
            chat_template=FORMS[family], chat_template_kwargs={"add_generation_prompt": True}
        ),
    )
    said = renderer.get_tokenizer().decode(prompt["prompt_token_ids"])
    assert said.count("<image>") == 64
    assert said.count(TEXT) == 1
    assert said.rindex("<image>") < said.index(TEXT)
    assert [len(ranges) for ranges in prompt["mm_placeholders"].values()] == [1]


def test_vllm_knows_the_usual_models_by_name():
    from vllm import ModelRegistry

    assert not set(ARCHITECTURES) - set(ModelRegistry.get_supported_archs())
