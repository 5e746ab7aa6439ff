"""Writes random WebP and BMP files and what Pillow reads of them.

usage: pillow_images.py FOLDER SEED COUNT

N.webp or N.bmp, and N.rgb: width and height as little-endian int32 and the upright RGB bytes; no N.rgb where Pillow refuses
the file. BMP files are written here field by field: Pillow itself writes few of their forms.
"""

import io
import pathlib
import random
import struct
import sys

import numpy
from PIL import Image, ImageOps

MASKS = {
    16: [(0xF800, 0x7E0, 0x1F, 0), (0x7C00, 0x3E0, 0x1F, 0), (0xF00, 0xF0, 0xF, 0)],
    24: [(0xFF0000, 0xFF00, 0xFF, 0), (0xFF, 0xFF00, 0xFF0000, 0)],
    32: [
        (0xFF0000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0),
        (0xFF000000, 0xFF00, 0xFF, 0),
        (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        (0, 0, 0, 0),
        (0x3FF00000, 0xFFC00, 0x3FF, 0),
    ],
}


def photo(draw: random.Random, mode: str, width: int, height: int) -> Image.Image:
    """Smooth, with noise: neither flat nor incompressible."""
    noise = numpy.random.default_rng(draw.randrange(1 << 30))
    small = noise.integers(0, 256, (draw.randint(1, 6), draw.randint(1, 6), 4), dtype=numpy.uint8)
    image = Image.fromarray(small, "RGBA").resize((width, height), Image.Resampling.BICUBIC)
    values = numpy.asarray(image, numpy.int32) + noise.integers(-20, 21, (height, width, 4))
    return Image.fromarray(values.clip(0, 255).astype(numpy.uint8), "RGBA").convert(mode)


def webp(draw: random.Random) -> bytes:
    width, height = draw.randint(1, 90), draw.randint(1, 90)
    mode = draw.choice(["RGB", "RGBA"])
    options = {"lossless": draw.random() < 0.4, "quality": draw.randint(0, 100), "method": draw.randint(0, 4)}
    if draw.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = draw.randint(0, 9)
        options["exif"] = exif
    if draw.random() < 0.3:
        options["exact"] = True
    if draw.random() < 0.3:
        # Frames of an animation may be smaller than the canvas, the first one too.
        empty = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        empty.paste(photo(draw, mode, max(1, width // 2), max(1, height // 2)), (width // 3, height // 3))
        frames = [photo(draw, mode, width, height) for _ in range(draw.randint(1, 3))]
        options |= {"save_all": True, "append_images": frames, "allow_mixed": draw.random() < 0.5, "minimize_size": draw.random() < 0.5}
        first = empty if draw.random() < 0.5 else photo(draw, mode, width, height)
    else:
        first = photo(draw, mode, width, height)
    out = io.BytesIO()
    first.save(out, "WEBP", **options)
    return out.getvalue()


def runs(draw: random.Random, width: int, height: int, nibbles: bool) -> bytes:
    """Run lengths of every kind, which fill the image now and then."""
    out = bytearray()
    value = lambda: draw.randrange(256)
    for _ in range(height):
        x = 0
        while x < width:
            count = min(draw.randint(1, 12), 255)
            kind = draw.random()
            if kind < 0.6 or count < 3:
                out += bytes([count, value()])
                x += count
            elif kind < 0.9:
                count = min(count, width - x)
                if count < 3:
                    continue
                size = (count + 1) // 2 if nibbles else count
                out += bytes([0, count]) + bytes(value() for _ in range(size + size % 2))
                x += count
            elif kind < 0.95:
                out += bytes([0, 2, draw.randint(0, 3), draw.randint(0, 2)])
                x = width
            else:
                x = width
        out += b"\0\0"
    return bytes(out) + (b"\0\1" if draw.random() < 0.5 else b"")


def bmp(draw: random.Random) -> bytes:
    width, height = draw.randint(1, 70), draw.randint(1, 40)
    size = draw.choice([12, 40, 40, 40, 52, 56, 64, 108, 124])
    bits = draw.choice([1, 4, 8, 16, 24, 32])
    compression = 0
    masks = (0, 0, 0, 0)
    if size > 12 and bits in MASKS and draw.random() < 0.6:
        compression, masks = 3, draw.choice(MASKS[bits])
    if size > 12 and bits in (4, 8) and draw.random() < 0.5:
        compression = {4: 2, 8: 1}[bits]
    if draw.random() < 0.02:
        compression, bits = draw.choice([(4, bits), (1, 24), (3, 8), (0, 2)])
    colours = 0 if draw.random() < 0.5 or size == 12 else draw.randint(3 if bits > 1 else 2, 1 << min(bits, 8))
    entries = (colours or 1 << bits) if bits <= 8 else 0
    entry = 3 if size == 12 else 4
    palette = bytearray(draw.randrange(256) for _ in range(entry * entries))
    if bits == 1 and draw.random() < 0.5:
        palette[: 2 * entry] = (b"\0\0\0\0"[:entry] + b"\xff\xff\xff\0"[:entry])
    if bits == 8 and not colours and draw.random() < 0.3:
        palette = bytearray(b"".join(bytes([i, i, i, 0])[:entry] for i in range(256)))
    stride = (width * bits + 31) // 32 * 4
    if compression in (1, 2):
        pixels = runs(draw, width, height, compression == 2)
    else:
        pixels = bytes(draw.randrange(256) for _ in range(stride * height))
    top_down = size > 12 and draw.random() < 0.4
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IIiHHIIIIII", size, width, -height if top_down else height, 1, bits, compression, len(pixels), 0, 0, colours, 0)
        header = (header + struct.pack("<4I", *masks)).ljust(size, b"\0")[:size] if size > 40 else header
        if size == 40 and compression == 3:
            header += struct.pack("<3I", *masks[:3])
    head = header + bytes(palette)
    gap = draw.randint(0, 5) if draw.random() < 0.3 else 0
    # The offset may be 0, or that of the palette, and then means the byte behind the palette.
    offset = 14 + len(head) + gap
    if not gap and bits <= 8 and draw.random() < 0.2:
        offset = draw.choice([0, 14 + size])
    out = struct.pack("<2sIII", b"BM", 14 + len(head) + gap + len(pixels), 0, offset) + head + bytes(gap) + pixels
    if draw.random() < 0.08:
        out = out[: draw.randrange(2, len(out))]
    return out


def main(folder: str, seed: str, count: str) -> None:
    draw = random.Random(int(seed))
    for i in range(int(count)):
        kind = "webp" if i % 3 == 0 else "bmp"
        data = webp(draw) if kind == "webp" else bmp(draw)
        path = pathlib.Path(folder) / f"{i}.{kind}"
        path.write_bytes(data)
        try:
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        except Exception:
            continue
        path.with_suffix(".rgb").write_bytes(struct.pack("<2i", *image.size) + image.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
