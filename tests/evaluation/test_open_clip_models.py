"""Models of open_clip, by open_clip's own code; this project's environment has no torchvision."""

import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from datagen.engines.errors import ModelNotFoundError
from datagen.evaluation.adapters import Crops
from datagen.evaluation.open_clip_models import OpenClipEncoder
from pipelines.evaluate import Config, evaluate

CONFIG = {
    "model_cfg": {
        "embed_dim": 8,
        "vision_cfg": {
            "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
        },
    },
    "preprocess_cfg": {
        "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic",
        "resize_mode": "shortest",
    },
}  # fmt: skip


@pytest.fixture
def open_clip(monkeypatch):
    """open_clip itself; what it imports of torchvision and ftfy, and a plain ViT does not use, is
    stood in for where it is not installed."""
    import transformers  # noqa: F401 - it looks for torchvision once, when it is imported

    def module(name, **content):
        found = types.ModuleType(name)
        vars(found).update(content)
        monkeypatch.setitem(sys.modules, name, found)
        return found

    if importlib.util.find_spec("torchvision") is None:
        names = (
            "Normalize", "Compose", "RandomResizedCrop", "InterpolationMode", "ToTensor", "Resize",
            "CenterCrop", "ColorJitter", "Grayscale",
        )  # fmt: skip
        functional = module("torchvision.transforms.functional")
        kinds = {name: type(name, (), {"BICUBIC": "bicubic"}) for name in names}
        transforms = module("torchvision.transforms", functional=functional, **kinds)
        misc = module("torchvision.ops.misc", FrozenBatchNorm2d=torch.nn.Identity)
        module("torchvision", transforms=transforms, ops=module("torchvision.ops", misc=misc))
    if importlib.util.find_spec("ftfy") is None:
        module("ftfy", fix_text=lambda text: text)
    import open_clip

    yield open_clip
    for name in [name for name in sys.modules if name.split(".")[0] == "open_clip"]:
        del sys.modules[name]


def written(open_clip, folder, **prepared):
    folder.mkdir()
    config = {**CONFIG, "preprocess_cfg": CONFIG["preprocess_cfg"] | prepared}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(0)
    model = open_clip.CLIP(**config["model_cfg"]).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def test_a_model_embeds_as_it_does_alone(open_clip, tmp_path):
    model = written(open_clip, tmp_path / "m")
    encoder = OpenClipEncoder(str(tmp_path / "m"))
    texts = ["a red mug", "Two birds", "a red mug"]
    picture = Image.linear_gradient("L").resize((64, 32)).convert("RGB")
    with torch.inference_mode():
        alone = model.encode_text(open_clip.tokenize(texts), normalize=True).numpy()
        middle = np.asarray(picture.crop((16, 0, 48, 32)), np.float32).transpose(2, 0, 1) / 255
        mean, std = (
            np.array(CONFIG["preprocess_cfg"][key], np.float32)[:, None, None]
            for key in ("mean", "std")
        )
        pixels = torch.from_numpy((middle - mean) / std)[None]
        seen = model.encode_image(pixels, normalize=True).numpy()
    assert np.allclose(encoder.encode_texts(texts, long=False), alone, atol=1e-6)
    images, _ = encoder.encode_images([picture], [()])
    assert np.allclose(images, seen, atol=1e-5)
    assert encoder.settings == {
        "regions": "none", "resize": "crop", "interpolation": "bicubic", "image_size": 32,
        "text_tokens": 77,
    }  # fmt: skip
    crops = Crops(encoder)
    _, regions = crops.encode_images([picture], [[(0.25, 0, 0.75, 1)]])
    assert np.allclose(regions[0], images, atol=1e-5) and crops.settings["regions"] == "crop"


def test_the_resize_is_settable_and_part_of_the_fingerprint(open_clip, tmp_path):
    written(open_clip, tmp_path / "a")
    written(open_clip, tmp_path / "b", resize_mode="squash", interpolation="bilinear")
    found = [OpenClipEncoder(str(tmp_path / name)) for name in "ab"]
    assert [e.settings["resize"] for e in found] == ["crop", "stretch"]
    same = OpenClipEncoder(str(tmp_path / "a"), fit="stretch", interpolation="bilinear")
    assert same.fingerprint() == found[1].fingerprint() != found[0].fingerprint()


def test_what_cannot_be_loaded_is_named(open_clip, tmp_path):
    written(open_clip, tmp_path / "long", resize_mode="longest")
    with pytest.raises(ModelNotFoundError, match="--resize stretch or --resize crop"):
        OpenClipEncoder(str(tmp_path / "long"))
    written(open_clip, tmp_path / "odd")
    file = tmp_path / "odd" / "open_clip_config.json"
    file.write_text(file.read_text().replace('"image_size": 32', '"image_size": 40'))
    with pytest.raises(ModelNotFoundError, match="40 pixels is no multiple of its patch of 16"):
        OpenClipEncoder(str(tmp_path / "odd"))
    (tmp_path / "long" / "open_clip_model.safetensors").unlink()
    for name in (str(tmp_path / "long"), str(tmp_path), "ViT-B-32", "ViT-B-32/no_such_tag"):
        with pytest.raises(ModelNotFoundError, match="No model of open_clip"):
            OpenClipEncoder(name)


def test_the_script_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as where it is not installed
    config = Config(model="ViT-B-32/openai", data="d", loader="open_clip", cache="none")
    with pytest.raises(ModelNotFoundError, match="pip install open_clip_torch"):
        evaluate(Config(**{**vars(config), "regions": "crop"}))
    with pytest.raises(Exception, match="open_clip have no dense features: give --regions crop"):
        evaluate(config)
