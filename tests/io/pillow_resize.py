"""Resizes with Pillow what the test asks for.

usage: pillow_resize.py REQUESTS RESULTS

REQUESTS holds records: five little-endian int32 (width, height, new width, new height, filter as
PIL.Image.Resampling counts) and width * height * 3 bytes of RGB. RESULTS gets the new pixels, one
record behind the other.
"""

import struct
import sys

from PIL import Image


def main(requests: str, results: str) -> None:
    with open(requests, "rb") as source, open(results, "wb") as target:
        while header := source.read(20):
            width, height, new_width, new_height, resample = struct.unpack("<5i", header)
            image = Image.frombytes("RGB", (width, height), source.read(3 * width * height))
            target.write(image.resize((new_width, new_height), Image.Resampling(resample)).tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
