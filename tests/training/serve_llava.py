"""vLLM in a process of its own: answers a prompt about pictures, prints texts and log-probs.

python serve_llava.py MODEL PROMPT PICTURE…

The model runs by vLLM's Transformers backend: vLLM's own module for LLaVA imports Pixtral's, whose
processor needs torchvision, which CPU environments do not have.
"""

import json
import os
import sys

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}

from PIL import Image
from vllm import LLM, SamplingParams

model, prompt, *pictures = sys.argv[1:]
llm = LLM(
    model=model,
    model_impl="transformers",
    dtype="float32",
    enforce_eager=True,
    max_model_len=96,
    max_num_seqs=8,
    limit_mm_per_prompt={"image": 1},
    distributed_executor_backend="uni",
)
outputs = llm.generate(
    [{"prompt": prompt, "multi_modal_data": {"image": Image.open(path)}} for path in pictures],
    SamplingParams(max_tokens=8, temperature=0, logprobs=0),
    use_tqdm=False,
)
answers = [output.outputs[0] for output in outputs]
found = [
    [step[token].logprob for token, step in zip(answer.token_ids, answer.logprobs, strict=True)]
    for answer in answers
]
print(json.dumps({"texts": [answer.text.strip() for answer in answers], "logprobs": found}))
