"""Films of six frames, two a second: a shape that moves, or two that appear."""

from .chance import draw
from .chat import Film
from .pictures import NAMES, SHAPES, canvas, stamp, turns, weather

SIDE = 84
FRAMES = 6
WAYS = ("right", "left", "down", "up")
RADIUS = 15


def motion(rng, held_out):
    """A shape that moves: `(shape, colour, way, speed)`."""

    def make(rng):
        event = (rng.choice(SHAPES), rng.choice(NAMES), rng.choice(WAYS), rng.choice(("fast", "slow")))
        return f"motion {event}", event

    return draw(rng, held_out, make)[0]


def draw_motion(rng, event, clean=False):
    """The frames of a motion."""
    shape, colour, way, speed = event
    frames = canvas(rng, FRAMES, SIDE, SIDE)
    step = rng.uniform(9, 11) if speed == "fast" else rng.uniform(3.2, 5)
    step = step if way in ("right", "down") else -step
    aside = SIDE / 2 + rng.uniform(-10, 10)
    for index, frame in enumerate(frames):
        along = SIDE / 2 + (index - (FRAMES - 1) / 2) * step
        x, y = (along, aside) if way in ("right", "left") else (aside, along)
        stamp(frame, shape, colour, x, y, RADIUS)
    return frames if clean else weather(rng, frames)


def ask_motion(event):
    """All questions about a motion."""
    shape, colour, way, speed = event
    return [
        ("film-direction", "Which way does it move?", way),
        ("film-speed", "Is it fast or slow?", speed),
        ("film-what", "What moves?", f"{colour} {shape}"),
    ]


def arrival(rng, held_out):
    """Two things that appear, never together: `((shape, colour, frame), (shape, colour, frame))`, in order."""

    def make(rng):
        colours, times = rng.sample(NAMES, 2), sorted(rng.sample(range(FRAMES), 2))
        event = tuple((rng.choice(SHAPES), colour, time) for colour, time in zip(colours, times))
        return f"arrival {event}", event

    return draw(rng, held_out, make)[0]


def draw_arrival(rng, event, clean=False):
    """The frames of an arrival."""
    frames = canvas(rng, FRAMES, SIDE, SIDE)
    sides = rng.sample((24, 60), 2)
    for (shape, colour, time), x in zip(event, sides):
        x, y = x + rng.uniform(-3, 3), SIDE / 2 + rng.uniform(-10, 10)
        for frame in frames[time:]:
            stamp(frame, shape, colour, x, y, RADIUS)
    return frames if clean else weather(rng, frames)


def ask_arrival(event):
    """All questions about an arrival."""
    first, last = ((f"{colour} {shape}", f"{time / 2:.1f}s") for shape, colour, time in event)
    return [
        ("film-first", "What appears first?", first[0]),
        ("film-last", "What appears last?", last[0]),
        ("film-time", f"When does the {first[0]} appear?", first[1]),
        ("film-time", f"When does the {last[0]} appear?", last[1]),
    ]


def watching(rng, held_out, level):
    """A film and all questions about it."""
    if rng.below(0.5):
        event = motion(rng, held_out)
        frames, asked = draw_motion(rng, event), ask_motion(event)
    else:
        event = arrival(rng, held_out)
        frames, asked = draw_arrival(rng, event), ask_arrival(event)
    rng.shuffle(asked)
    return turns([Film(frames)], asked)
