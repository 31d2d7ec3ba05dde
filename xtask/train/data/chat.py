"""What a row is made of before it is tokens: a conversation whose questions may hold pictures, sounds and films."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class Picture:
    """`pixels`: uint8 `[side, side, 3]`; `cells`: for each cell of the 3 x 3 grid 0 or 1 + shape * 8 + colour."""

    pixels: np.ndarray
    cells: tuple = (-1,) * 9


@dataclass(slots=True)
class Sound:
    """`samples`: int16 at 16 kHz; `symbols`: what is heard, as ids of `sounds.SYMBOLS` counted from 1."""

    samples: np.ndarray
    symbols: tuple = ()


@dataclass(slots=True)
class Film:
    """`frames`: uint8 `[count, side, side, 3]`, one each half second; `sound` begins with the first frame."""

    frames: np.ndarray
    sound: Sound | None = None


@dataclass(slots=True)
class Call:
    """A call of a tool: what an answer may be instead of text."""

    name: str
    arguments: dict


@dataclass(slots=True)
class Turn:
    """A question of several parts (`str`, `Picture`, `Sound`, `Film`) and its answer.

    `is_result`: the question is what a tool returned. `reasoning` is said first where the chat thinks.
    """

    task: str
    parts: list
    answer: str | Call
    reasoning: str = ""
    is_result: bool = False


@dataclass(slots=True)
class Chat:
    """A conversation. `keeps_reasoning`: show the reasoning of earlier turns, which a prompt without tools does not."""

    turns: list = field(default_factory=list)
    tools: tuple = ()
    thinking: bool = False
    keeps_reasoning: bool = False
