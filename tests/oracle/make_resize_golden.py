#!/usr/bin/env python3
"""Golden pictures of resizing and of canvases, as Pillow makes them.

    pip install numpy pillow==13.0.0
    python tests/oracle/make_resize_golden.py tests/fixtures/vision/resize.json

Every source is noise that a reader can make anew: sample i is the top byte of i * 2654435761 modulo
2^32. Small results stand whole, in hexadecimal; of large ones and of canvases the SHA-256 is kept.
"""
import hashlib
import json
import sys

import numpy as np
import PIL
from PIL import Image, ImageOps

# Width and height before and after: enlarged, reduced, one side kept, extreme aspects.
SMALL = [
    (1, 1, 9, 7), (2, 3, 13, 17), (7, 5, 20, 14), (16, 16, 17, 17), (16, 16, 15, 15), (61, 59, 12, 11),
    (40, 30, 40, 13), (40, 30, 11, 30), (33, 21, 40, 10), (400, 3, 60, 1), (3, 400, 1, 60), (3, 1, 50, 2),
    (500, 400, 5, 4), (1, 300, 7, 20), (24, 18, 24, 18), (30, 90, 12, 36),
]
LARGE = [(37, 53, 546, 546), (1920, 1080, 1708, 961), (3000, 2000, 1568, 1045), (60000, 20, 42882, 14)]
# Width and height before, and the canvas (docs/models/deepseek-v41.md, 4.1).
CANVASES = [
    (1, 1, 546, 546), (544, 544, 546, 546), (640, 480, 644, 490), (1280, 720, 1288, 728),
    (3000, 2000, 1568, 1050), (3000, 4000, 1134, 1512), (1920, 1080, 1708, 966), (8000, 200, 8008, 210),
    (60000, 20, 42882, 42), (20, 60000, 42, 21462),
]


def noise(width, height):
    at = np.arange(width * height * 3, dtype=np.uint64)
    samples = ((at * 2654435761) & 0xFFFFFFFF) >> 24
    return Image.fromarray(samples.astype(np.uint8).reshape(height, width, 3))


def case(size, image, whole):
    rgb = image.tobytes()
    value = rgb.hex() if whole else hashlib.sha256(rgb).hexdigest()
    return {"from": size[:2], "to": size[2:], "rgb" if whole else "sha256": value}


def resized(size, whole):
    return case(size, noise(*size[:2]).resize(size[2:], Image.Resampling.BICUBIC), whole)


def canvas(size):
    image = ImageOps.pad(
        noise(*size[:2]), size[2:], method=Image.Resampling.BICUBIC, color=(127, 127, 127)
    )
    return case(size, image, False)


def main():
    golden = {
        "made_by": f"Pillow {PIL.__version__}",
        "resize": [resized(s, True) for s in SMALL] + [resized(s, False) for s in LARGE],
        "canvas": [canvas(s) for s in CANVASES],
    }
    with open(sys.argv[1], "w") as out:
        json.dump(golden, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
