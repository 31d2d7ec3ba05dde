"""The curves of a log, as a picture: loss by bucket and held-out answers by task."""
import json
import pathlib

WIDTH, HEIGHT, MARGIN = 900, 420, 46
COLOURS = ("#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#66479a", "#00798c", "#8d5b4c", "#5c6672", "#c94fb3", "#7a9e00",
           "#0b3954", "#e36414")


def curves(log):
    """Bucket -> [(second, loss)] of every log entry with losses."""
    out = {}
    for line in pathlib.Path(log).read_text().splitlines():
        entry = json.loads(line)
        for bucket, values in entry.get("buckets", {}).items():
            if "loss" in values:
                out.setdefault(bucket, []).append((entry["seconds"], values["loss"]))
    return out


def plot(log, picture):
    """Writes `picture` (SVG) from `log`."""
    lines = curves(log)
    end = max((x for line in lines.values() for x, _ in line), default=1) or 1
    top = max((y for line in lines.values() for _, y in line), default=1) or 1
    def at(x, y):
        return f"{MARGIN + x / end * (WIDTH - 4 * MARGIN):.1f},{HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN):.1f}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for share in range(5):
        y = top * share / 4
        parts.append(f'<polyline points="{at(0, y)} {at(end, y)}" stroke="#ddd"/>')
        parts.append(f'<text x="4" y="{at(0, y).split(",")[1]}">{y:.2f}</text>')
        x = end * share / 4
        parts.append(f'<text x="{at(x, 0).split(",")[0]}" y="{HEIGHT - MARGIN / 2}">{x:.0f} s</text>')
    for place, (bucket, line) in enumerate(sorted(lines.items())):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(at(x, y) for x, y in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{WIDTH - 2.8 * MARGIN}" y="{MARGIN + 18 * place}" fill="{colour}">{bucket}</text>')
    pathlib.Path(picture).write_text("\n".join([*parts, "</svg>", ""]))
