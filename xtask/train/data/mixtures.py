"""Questions that take two senses at once."""

import numpy as np

from . import films, pictures, sounds, texts
from .chat import Film, Turn

SPOKEN_SAMPLES = 32_000
FILM_SAMPLES = 48_000


def spoken(rng, objects):
    """What can be asked aloud about a scene, as words and the answer."""
    choices = [("how many shapes".split(), str(len(objects)))]
    for _, shape, colour in objects:
        if pictures.only(objects, 2, colour):
            choices.append(([colour], shape))
        if pictures.only(objects, 1, shape):
            choices.append(([shape], colour))
    return rng.choice(choices)


def spoken_question(rng, held_out, level):
    """A picture, and a question that is spoken: how many shapes, the shape of a colour, the colour of a shape."""
    objects = pictures.scene(rng, held_out, level)
    words, answer = spoken(rng, objects)
    question = sounds.sound(rng, sounds.speech(rng, words, held_out, SPOKEN_SAMPLES), words)
    turn = spoken_turn(pictures.picture(rng, objects), question, answer)
    return [turn, *pictures.turns([], pictures.ask(rng, objects, 3))]


def spoken_turn(picture, question, answer):
    """The turn that shows a picture and lets a question be heard."""
    return Turn("mixed-spoken-question", [picture, question, "Answer the question."], answer)


def film_with_beeps(rng, held_out, level):
    """A moving shape and beeps: how many beeps, which way, and both."""
    event, count = films.motion(rng, held_out), rng.randint(1, 5)
    wave = soundtrack(rng, count)
    film = Film(films.draw_motion(rng, event), sounds.sound(rng, wave, ["beep"] * count))
    return pictures.turns([film], ask_film(rng, event, count))


def soundtrack(rng, count):
    """Beeps that begin within the first second."""
    wave = np.pad(sounds.beeps(rng, count), (rng.randrange(16_000), 0))
    return wave[:FILM_SAMPLES]


def ask_film(rng, event, count):
    """All questions about a film with beeps, in any order."""
    way = event[2]
    asked = [
        ("mixed-film-beeps", "How many beeps?", str(count)),
        ("mixed-film-direction", "Which way does it move?", way),
        ("mixed-film-both", "How many beeps, and which way?", f"{count} {way}"),
    ]
    rng.shuffle(asked)
    return asked


def price(rng, held_out, level):
    """Prices of colours in words, and a picture: what a shape costs."""
    asked = []
    while not asked:
        objects = pictures.scene(rng, held_out, level)
        asked = ask_price(rng, objects, held_out)
    return pictures.turns([pictures.picture(rng, objects)], asked)


def ask_price(rng, objects, held_out):
    """Questions for the price of each shape that is there once; the first tells the prices.

    The answer is the sentence that told it: its colour is only in the picture, its price only in the words."""
    seen = {colour for _, _, colour in objects}
    absent = [name for name in pictures.NAMES if name not in seen]
    told = [*sorted(seen), *rng.sample(absent, rng.randint(0, 2))]
    rng.shuffle(told)
    costs = {name: f"What is {name} costs {texts.two_digits(rng, held_out, name)}." for name in told}
    wanted = [thing for thing in objects if pictures.only(objects, 1, thing[1])]
    rng.shuffle(wanted)
    asked = [("mixed-price", f"What does the {shape} cost?", costs[colour]) for _, shape, colour in wanted]
    if asked:
        task, question, answer = asked[0]
        asked[0] = task, f"{' '.join(costs.values())} {question}", answer
    return asked
