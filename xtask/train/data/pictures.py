"""Pictures: one to four shapes on a 3 x 3 grid, and questions about them."""

import io
from functools import cache

import numpy as np
from PIL import Image

from .chance import draw
from .chat import Picture, Turn

SIDE = 126
SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (235, 215, 40),
    "purple": (150, 50, 180),
    "orange": (245, 140, 30),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
NAMES = tuple(COLOURS)
PLACES = tuple(f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "center", "right"))


@cache
def _mask(shape, radius, x, y):
    """The shape around the centre of a square of `2 * reach + 1` pixels; all measures in half pixels."""
    radius, x, y = radius / 2, x / 2, y / 2
    reach = int(radius) + 2
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    down, right = down - y, right - x
    across, along = abs(right), abs(down)
    match shape:
        case "circle":
            return right**2 + down**2 <= radius**2
        case "ring":
            square = right**2 + down**2
            return (square <= radius**2) & (square >= (0.55 * radius) ** 2)
        case "square":
            return (across <= 0.88 * radius) & (along <= 0.88 * radius)
        case "cross":
            arm = 0.33 * radius
            return ((across <= arm) & (along <= radius)) | ((along <= arm) & (across <= radius))
        case "triangle":
            return (down <= 0.8 * radius) & (down >= 1.8 * across - radius)


def stamp(pixels, shape, colour, x, y, radius):
    """Draws a shape around a point, cut at the border. `pixels`: uint8 `[side, side, 3]`."""
    x, y, radius = round(2 * x), round(2 * y), round(2 * radius)
    mask = _mask(shape, radius, x % 2, y % 2)
    reach, side = len(mask) // 2, len(pixels)
    left, top = x // 2 - reach, y // 2 - reach
    right, bottom = min(side, left + len(mask)), min(side, top + len(mask))
    mask = mask[max(0, -top) : bottom - top, max(0, -left) : right - left]
    if mask.size:
        pixels[max(0, top) : bottom, max(0, left) : right][mask] = COLOURS[colour]


def canvas(rng, *shape):
    """A grey ground: uint8 `[*shape, 3]`."""
    return np.full((*shape, 3), rng.randint(90, 165), np.uint8)


def weather(rng, frames):
    """What a camera would add: noise in two of three cases, JPEG in one of five.

    `frames`: uint8 `[count, side, side, 3]`.
    """
    if rng.below(0.67):
        noise = rng.noise(frames.size).reshape(frames.shape) * rng.uniform(0, 8)
        frames = np.clip(frames + noise, 0, 255).astype(np.uint8)
    if rng.below(0.2):
        frames = np.stack([_through_jpeg(frame, rng.randint(80, 95)) for frame in frames])
    return frames


def _through_jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0)
    return np.asarray(Image.open(file))


def scene(rng, held_out, level):
    """Objects `(cell, shape, colour)` in reading order, no two alike."""

    def make(rng):
        cells = sorted(rng.sample(range(9), rng.randint(1, 2 + round(2 * level))))
        kinds = rng.sample([(shape, colour) for shape in SHAPES for colour in NAMES], len(cells))
        objects = [(cell, *kind) for cell, kind in zip(cells, kinds)]
        return f"scene {objects}", objects

    return draw(rng, held_out, make)[0]


def picture(rng, objects, clean=False):
    """The picture of a scene; a `clean` one has no noise, which keeps files small."""
    pixels, cell = canvas(rng, SIDE, SIDE), SIDE / 3
    for place, shape, colour in objects:
        row, column = divmod(place, 3)
        x = (column + 0.5) * cell + rng.uniform(-3, 3)
        y = (row + 0.5) * cell + rng.uniform(-3, 3)
        stamp(pixels, shape, colour, x, y, cell * rng.uniform(0.28, 0.42))
    cells = [0] * 9
    for place, shape, colour in objects:
        cells[place] = 1 + SHAPES.index(shape) * len(NAMES) + NAMES.index(colour)
    return Picture(pixels if clean else weather(rng, pixels[None])[0], tuple(cells))


def only(objects, field, value):
    """Whether exactly one object has this value: 1 is the shape, 2 the colour."""
    return sum(thing[field] == value for thing in objects) == 1


def count(rng, objects):
    """How many shapes there are."""
    return "How many shapes?", str(len(objects))


def colour_count(rng, objects):
    """How many there are of one colour, which may be absent."""
    colour = rng.choice(NAMES) if rng.below(0.4) else rng.choice(objects)[2]
    return f"How many {colour} shapes?", str(sum(thing[2] == colour for thing in objects))


def colour(rng, objects):
    """The colour of a shape that is there once."""
    wanted = [thing for thing in objects if only(objects, 1, thing[1])]
    if wanted:
        _, shape, colour = rng.choice(wanted)
        return f"What color is the {shape}?", colour
    return None


def shape(rng, objects):
    """The shape of a colour that is there once."""
    wanted = [thing for thing in objects if only(objects, 2, thing[2])]
    if wanted:
        _, shape, colour = rng.choice(wanted)
        return f"What shape is {colour}?", shape
    return None


def place(rng, objects):
    """The cell of an object."""
    cell, shape, colour = rng.choice(objects)
    return f"Where is the {colour} {shape}?", PLACES[cell]


def relation(rng, objects):
    """Whether one object is left of, or above, another."""
    if len(objects) < 2:
        return None
    first, second = rng.sample(objects, 2)
    word, axis = rng.choice((("left of", lambda cell: cell % 3), ("above", lambda cell: cell // 3)))
    a, b = axis(first[0]), axis(second[0])
    if a == b:
        return None
    question = f"Is the {first[2]} {first[1]} {word} the {second[2]} {second[1]}?"
    return question, "yes" if a < b else "no"


def description(rng, objects):
    """Every object and its cell, in reading order."""
    words = [f"{colour} {shape} {PLACES[cell]}" for cell, shape, colour in objects]
    return "Describe the picture.", ", ".join(words)


QUESTIONS = {
    "picture-count": count,
    "picture-colour-count": colour_count,
    "picture-colour": colour,
    "picture-shape": shape,
    "picture-place": place,
    "picture-relation": relation,
    "picture-description": description,
}
_WEIGHTS = (2, 2, 3, 3, 3, 3, 1)


def ask(rng, objects, count):
    """Questions about a scene: `count` of `(task, question, answer)`, no question twice."""
    asked = {}
    for _ in range(4 * count):
        task = rng.choices(tuple(QUESTIONS), _WEIGHTS)[0]
        if pair := QUESTIONS[task](rng, objects):
            asked.setdefault(pair[0], (task, *pair))
        if len(asked) == count:
            break
    return list(asked.values())


def turns(media, asked):
    """Turns of one context: the media stand before the first question."""
    return [
        Turn(task, [*media, question] if index == 0 else [question], answer)
        for index, (task, question, answer) in enumerate(asked)
    ]


def looking(rng, held_out, level):
    """A picture and up to seven questions."""
    objects = scene(rng, held_out, level)
    return turns([picture(rng, objects)], ask(rng, objects, 7))
