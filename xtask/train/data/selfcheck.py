"""Checks of the generators: `python -m data.selfcheck`. Quick, and without a test library."""

import numpy as np

from . import films, pictures, rows, sounds, texts
from .chance import is_held_out
from .chance import rng as generator
from .prompt import AUDIO, IMAGE, call_text
from .tasks import BUCKETS, TASKS, chats
from .chat import Call


def batches_are_functions_of_their_arguments():
    for bucket in BUCKETS:
        first, again, other = (rows.batch(bucket, 7, step, rows=2) for step in (3, 3, 4))
        assert all(np.array_equal(first[name], again[name]) for name in first), bucket
        assert not np.array_equal(first["ids"], other["ids"]) or "sounds" in first, bucket


def rows_fit():
    for bucket, shape in BUCKETS.items():
        for step in range(3 if shape.tokens > 1024 else 20):
            rows.batch(bucket, 11, step, held_out=step % 2 == 1, rows=8)


def labels_spell_the_answers():
    tokens = rows.layout().tokens
    for bucket in BUCKETS:
        made = rows.batch(bucket, 1, 0, held_out=True, rows=2)
        turns = next(chats(bucket, generator("spelled", bucket), True, 1.0))
        for turn in turns:
            part = rows.layout().turn(turn, False)
            said = tokens.decode([id for id, answer in zip(part.ids, part.answers) if answer >= 0])
            answer = call_text(turn.answer) if isinstance(turn.answer, Call) else turn.answer
            assert said == f"{answer}<｜end▁of▁sentence｜>", (said, answer)
            assert turn.task in TASKS, turn.task
        at = made["labels"] >= 0
        assert np.array_equal(at[:, :-1], at[:, :-1] & (made["labels"][:, :-1] == made["ids"][:, 1:])), bucket
        assert np.array_equal(at, made["task"] >= 0) and np.array_equal(at, made["answer"] >= 0), bucket


def media_stand_where_their_places_are():
    for bucket, shape in BUCKETS.items():
        made = rows.batch(bucket, 2, 0, rows=3)
        for name, kind in (("image_at", IMAGE), ("sound_at", AUDIO)):
            if name in made:
                for row in range(3):
                    places = made[name][row].ravel()
                    places = places[places < shape.length]
                    assert np.array_equal(places, np.flatnonzero(made["kind"][row] == kind)), (bucket, name)


def the_split_holds():
    rng = generator("split")
    for held_out in (False, True):
        for _ in range(200):
            assert is_held_out(f"scene {pictures.scene(rng, held_out, 1.0)}") == held_out
            assert is_held_out(f"motion {films.motion(rng, held_out)}") == held_out
            assert is_held_out(f"arrival {films.arrival(rng, held_out)}") == held_out
            answer = texts.recall(rng, held_out, 1.0, 200)[0].answer
            thing, value = answer.removeprefix("The ").removesuffix(".").split(" holds ")
            assert is_held_out(f"{thing}={value}") == held_out
            words = sounds.spoken(rng, held_out, 1.0)[1]
            assert is_held_out(f"say {' '.join(words)}") == held_out


def names_are_two_tokens_and_digits_one():
    tokens = rows.layout().tokens
    for name in (*texts.CAPITAL, *texts.CAPITAL.values()):
        assert len(tokens.encode(name)) == len(tokens.encode(f" {name}")) == 2, name
    for word in (*texts.THINGS, *texts.PLACES, *texts.PEOPLE, *texts.ADJECTIVES, *texts.VERBS, *texts.PREPOSITIONS):
        assert len(tokens.encode(f" {word}")) == 1, word
    assert len(tokens.encode("1234567890")) == 10


if __name__ == "__main__":
    for check in (
        batches_are_functions_of_their_arguments,
        rows_fit,
        labels_spell_the_answers,
        media_stand_where_their_places_are,
        the_split_holds,
        names_are_two_tokens_and_digits_one,
    ):
        check()
        print(f"{check.__name__.replace('_', ' ')}: ok")
