#!/usr/bin/env python3
"""Small films, and what Pillow and FFmpeg see in them.

    pip install numpy pillow==13.0.0
    python tests/oracle/make_video_golden.py tests/fixtures/video

Each film NAME.EXT has its frames side by side in NAME.EXT.frames.png, with alpha, as the oracle decodes
them; meta.json has the times and the versions. Films of pictures are written and read by Pillow, the
others by the `ffmpeg` program. A ball moves over a gradient; in the last film there is a tone, too.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageSequence

WIDTH, HEIGHT, FRAMES = 26, 18, 6
# Milliseconds that each frame is seen.
DELAYS = [100, 200, 70, 500, 40, 300]


def scene(index, alpha=False):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = np.zeros((HEIGHT, WIDTH, 4), dtype=np.uint8)
    image[..., 0] = x * 9
    image[..., 1] = y * 13
    image[..., 2] = 60
    image[..., 3] = np.where(y < 9, 255, 0) if alpha else 255
    ball = (x - 3 - 4 * index) ** 2 + (y - 8) ** 2 <= 16
    image[ball] = [250, 220, 30, 255]
    return Image.fromarray(image)


def strip(images):
    sheet = Image.new("RGBA", (WIDTH * len(images), HEIGHT))
    for index, image in enumerate(images):
        sheet.paste(image.convert("RGBA"), (WIDTH * index, 0))
    return sheet


def of_pillow(out, name, images, **options):
    path = out / name
    images[0].save(path, save_all=True, append_images=images[1:], duration=DELAYS, loop=0, **options)
    with Image.open(path) as film:
        seen = [frame.convert("RGBA") for frame in ImageSequence.Iterator(film)]
    assert len(seen) == FRAMES, f"{name}: {len(seen)} frames"
    strip(seen).save(out / f"{name}.frames.png")
    return {"delays_ms": DELAYS}


def ffmpeg(*args):
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, args)], check=True)


def of_ffmpeg(out, name, flags, *options):
    path = out / name
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for index in range(FRAMES):
            scene(index).convert("RGB").save(folder / f"{index}.png")
        ffmpeg("-framerate", 10, "-i", folder / "%d.png", *options, "-bitexact", path)
        ffmpeg("-i", path, "-fps_mode", "passthrough", "-sws_flags", flags, folder / "seen-%d.png")
        seen = [Image.open(file) for file in sorted(folder.glob("seen-*.png"))]
        assert len(seen) == FRAMES, f"{name}: {len(seen)} frames"
        strip(seen).save(out / f"{name}.frames.png")
    return {"delays_ms": [100] * FRAMES}


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    opaque = [scene(index) for index in range(FRAMES)]
    holed = [scene(index, alpha=True) for index in range(FRAMES)]
    films = {
        "deltas.gif": of_pillow(out, "deltas.gif", opaque),
        "cleared.gif": of_pillow(out, "cleared.gif", holed, disposal=2),
        "deltas.png": of_pillow(out, "deltas.png", opaque),
        "cleared.png": of_pillow(out, "cleared.png", holed, disposal=1, blend=0),
        "lossless.webp": of_pillow(out, "lossless.webp", opaque, lossless=True),
        "cleared.webp": of_pillow(out, "cleared.webp", holed, lossless=True),
        "lossy.webp": of_pillow(out, "lossy.webp", opaque, quality=90, kmax=1),
        # With plain flags chroma is repeated and sums are cut off; with the others they are rounded.
        "420.y4m": of_ffmpeg(out, "420.y4m", "bicubic", "-pix_fmt", "yuv420p"),
        "444.y4m": of_ffmpeg(out, "444.y4m", "bicubic+accurate_rnd", "-pix_fmt", "yuv444p"),
        "tone.avi": of_ffmpeg(
            out, "tone.avi", "bicubic+accurate_rnd",
            "-f", "lavfi", "-i", "sine=440:duration=0.5:sample_rate=8000",
            "-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", "yuvj444p", "-c:a", "pcm_s16le",
        ),
    }
    version = subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True, text=True)
    meta = {
        "pillow": PIL.__version__,
        "ffmpeg": version.stdout.split()[2],
        "size": [WIDTH, HEIGHT],
        "films": films,
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


if __name__ == "__main__":
    main()
