"""What torchvision's operations on Pillow images, which open_clip trains with, make of an image.

usage: augment.py FOLDER

FOLDER/requests.json: {"size": S, "width": W, "height": H, "cases": [{"crop": [left, top, width, height], "flip": bool,
"order": [names], "factors": {name: factor}, "gray": bool}]}; FOLDER/image.rgb: the image. FOLDER/results.rgb gets [cases, S, S, 3].
"""
import json
import pathlib
import sys

from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

folder = pathlib.Path(sys.argv[1])
request = json.loads((folder / "requests.json").read_text())
image = Image.frombytes("RGB", (request["width"], request["height"]), (folder / "image.rgb").read_bytes())
with (folder / "results.rgb").open("wb") as out:
    for case in request["cases"]:
        left, top, width, height = case["crop"]
        result = F.resized_crop(image, top, left, height, width, [request["size"]] * 2, InterpolationMode.BICUBIC)
        if case["flip"]:
            result = F.hflip(result)
        for name in case["order"]:
            if name in case["factors"]:
                result = getattr(F, "adjust_" + name)(result, case["factors"][name])
        if case["gray"]:
            result = F.rgb_to_grayscale(result, num_output_channels=3)
        out.write(result.tobytes())
