import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from datagen.images.fit import fitted


@pytest.mark.parametrize("size", [(90, 40), (41, 77), (32, 32), (20, 30)])
@pytest.mark.parametrize("how", ["bicubic", "bilinear", "lanczos"])
def test_pictures_are_cut_and_stretched_as_clips_processor_does(size, how):
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(256, size=(*size, 3), dtype=np.uint8))
    square = {"height": 32, "width": 32}
    plain = {
        "do_rescale": False, "do_normalize": False, "do_convert_rgb": False,
        "resample": Image.Resampling[how.upper()],
    }  # fmt: skip
    cut = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square, **plain)
    stretched = CLIPImageProcessorPil(size=square, do_center_crop=False, **plain)
    for fit, theirs in (("crop", cut), ("stretch", stretched)):
        expected = theirs(picture)["pixel_values"][0]
        found = np.asarray(fitted(picture, 32, fit, how)).transpose(2, 0, 1)
        assert np.array_equal(found, expected), fit
