#!/usr/bin/env python3
"""Small films, and what Pillow and FFmpeg see in them.

    pip install numpy pillow==13.0.0
    python tests/oracle/make_video_golden.py tests/fixtures/video

Each film NAME.EXT has its frames side by side in NAME.EXT.frames.png, with alpha, as the oracle decodes
them; meta.json has the times and the versions. Films of pictures are written and read by Pillow, the
others by the `ffmpeg` program. A ball moves over a gradient; in the last film there is a tone, too.
"""
import json
import struct
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


# Sums that are rounded, and chroma that is interpolated.
EXACT = "bicubic+accurate_rnd+full_chroma_int"
H264 = ["-c:v", "libx264", "-crf", 8, "-threads", 1]
TONE = ["-f", "lavfi", "-i", "sine=440:duration=0.5:sample_rate=8000"]


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
    width, height = images[0].size
    sheet = Image.new("RGBA", (width * len(images), height))
    for index, image in enumerate(images):
        sheet.paste(image.convert("RGBA"), (width * index, 0))
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


def turn(path):
    """Sets the matrix of the first track to a quarter turn to the right."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)


def of_ffmpeg(out, name, flags, *options, delays=[100] * FRAMES, change=lambda path: None):
    path = out / name
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for index in range(FRAMES):
            scene(index).convert("RGB").save(folder / f"{index}.png")
        ffmpeg("-framerate", 10, "-i", folder / "%d.png", *options, "-bitexact", path)
        change(path)
        ffmpeg("-i", path, "-fps_mode", "passthrough", "-sws_flags", flags, folder / "seen-%d.png")
        seen = [Image.open(file) for file in sorted(folder.glob("seen-*.png"))]
        assert len(seen) == FRAMES, f"{name}: {len(seen)} frames"
        strip(seen).save(out / f"{name}.frames.png")
    return {"delays_ms": delays}


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
            *TONE, "-c:v", "mjpeg", "-q:v", 2, "-pix_fmt", "yuvj444p", "-c:a", "pcm_s16le",
        ),
        # What only the feature `video` reads: where it calls the same conversion, by the tool's own flags.
        "601.mp4": of_ffmpeg(out, "601.mp4", "bicubic", *H264, "-pix_fmt", "yuv420p"),
        "709.mp4": of_ffmpeg(
            out, "709.mp4", EXACT, *H264, "-vf", "scale=out_color_matrix=bt709:out_range=pc,format=yuv420p",
            "-colorspace", "bt709", "-color_range", "pc",
        ),
        "turned.mp4": of_ffmpeg(
            out, "turned.mp4", "bicubic", *H264, "-pix_fmt", "yuv420p", change=turn
        ),
        "variable.mkv": of_ffmpeg(
            out, "variable.mkv", "bicubic", *H264, "-pix_fmt", "yuv444p", "-fps_mode", "passthrough",
            "-vf", f"settb=1/1000,setpts='{'+'.join(f'eq(N,{n})*{sum(DELAYS[:n])}' for n in range(FRAMES))}'",
            "-enc_time_base", "1/1000", delays=DELAYS,
        ),
        # Sound that begins 0.2 s after the film.
        "late.mp4": of_ffmpeg(
            out, "late.mp4", "bicubic", "-itsoffset", 0.2, *TONE, *H264, "-pix_fmt", "yuv420p", "-c:a", "alac"
        ),
    }
    ffmpeg(*TONE, "-c:a", "libopus", "-bitexact", out / "tone.opus")
    # Twelve seconds with a key frame in every other one, to be sought in.
    source = ["-f", "lavfi", "-i", "testsrc=size=64x36:rate=5:duration=12"]
    ffmpeg(*source, *H264[:2], "-crf", 30, "-threads", 1, "-g", 10, "-bitexact", out / "long.mp4")
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
