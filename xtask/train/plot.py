"""The curves of a log, as a picture: the loss of each bucket by step, on a scale of powers of ten."""
import json
import math
import pathlib

WIDTH, HEIGHT, MARGIN, LEGEND = 900, 420, 46, 120
TOP, BOTTOM = 10.0, 1e-4             # losses that the picture shows; those below lie on its ground
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#66479a", "#00798c", "#8d5b4c", "#5c6672", "#c94fb3", "#7a9e00",
           "#0b3954", "#e36414", "#999999")


def curves(log):
    """Bucket -> [(step, loss)] of every log entry with losses."""
    out = {}
    for line in pathlib.Path(log).read_text().splitlines():
        entry = json.loads(line)
        for bucket, values in entry.get("buckets", {}).items():
            if "loss" in values:
                out.setdefault(bucket, []).append((entry["step"], values["loss"]))
    return out


def plot(log, picture):
    """Writes `picture` (SVG) from `log`."""
    lines = curves(log)
    end = max((step for line in lines.values() for step, _ in line), default=1) or 1

    def across(step):
        return MARGIN + step / end * (WIDTH - MARGIN - LEGEND)

    def down(loss):
        share = math.log10(TOP / min(TOP, max(BOTTOM, loss))) / math.log10(TOP / BOTTOM)
        return MARGIN / 2 + share * (HEIGHT - 1.5 * MARGIN)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for power in range(round(math.log10(BOTTOM)), round(math.log10(TOP)) + 1):
        y = down(10.0 ** power)
        parts.append(f'<line x1="{MARGIN}" x2="{across(end):.0f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="4" y="{y + 4:.1f}">{10.0 ** power:g}</text>')
    for share in range(5):
        step = end * share // 4
        parts.append(f'<text x="{across(step):.0f}" y="{HEIGHT - 10}" text-anchor="middle">step {step}</text>')
    for place, (bucket, line) in enumerate(sorted(lines.items())):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(f"{across(step):.1f},{down(loss):.1f}" for step, loss in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
        parts.append(f'<text x="{WIDTH - LEGEND + 10}" y="{MARGIN + 18 * place}" fill="{colour}">{bucket}</text>')
    pathlib.Path(picture).write_text("\n".join([*parts, "</svg>", ""]))
