"""Cuts every WxH.rgb of the folders given as the preprocessor_config.json beside it says, by transformers, into WxH.chw."""
import pathlib
import sys

import numpy
from transformers import AutoImageProcessor

for folder in map(pathlib.Path, sys.argv[1:]):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    for raw in sorted(folder.glob("*.rgb")):
        width, height = map(int, raw.stem.split("x"))
        image = numpy.frombuffer(raw.read_bytes(), numpy.uint8).reshape(height, width, 3)
        cut = processor(image, do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np")
        raw.with_suffix(".chw").write_bytes(cut["pixel_values"][0].astype(numpy.uint8).tobytes())
