"""Cuts every WxH.rgb (or <any>_WxH.rgb) of the folders given into WxH.chw: as the preprocessor_config.json beside it says, by transformers, or as
the preprocess_cfg of the open_clip_config.json there says, by open_clip."""
import json
import pathlib
import sys

import numpy
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from transformers import AutoImageProcessor


def transformers_cut(folder: pathlib.Path):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    several = (folder / "several").exists()  # each image as one of two of a sample

    def cut(image: numpy.ndarray) -> numpy.ndarray:
        out = processor([[image, image]] if several else image, do_rescale=False, do_normalize=False, input_data_format="channels_last", return_tensors="np")
        pixels = out["pixel_values"] if "num_patches" in out else out["pixel_values"][0]  # of one image, or of a list of them
        return pixels.astype(numpy.uint8)

    return cut


def open_clip_cut(folder: pathlib.Path):
    cfg = json.loads((folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    steps = image_transform_v2(PreprocessCfg(**cfg), is_train=False).transforms[:-2]  # bytes: neither ToTensor nor Normalize

    def cut(pixels: numpy.ndarray) -> numpy.ndarray:
        image = Image.fromarray(pixels)
        for step in steps:
            image = step(image)
        return numpy.asarray(image).transpose(2, 0, 1)

    return cut


for folder in map(pathlib.Path, sys.argv[1:]):
    cut = (open_clip_cut if (folder / "open_clip_config.json").exists() else transformers_cut)(folder)
    for raw in sorted(folder.glob("*.rgb")):
        width, height = map(int, raw.stem.split("_")[-1].split("x"))
        pixels = numpy.frombuffer(raw.read_bytes(), numpy.uint8).reshape(height, width, 3)
        raw.with_suffix(".chw").write_bytes(cut(pixels).tobytes())
