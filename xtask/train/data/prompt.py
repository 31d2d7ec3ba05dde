"""The layout of a V4.1 prompt, as `deepseek-text` and `deepseek-engine` write it: a chat to a row of tokens.

A row is what the engine would see after the last answer: every answer with its end is supervised. The Rust test
`crates/deepseek-text/tests/embedded.rs` holds the ids to account.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache

from . import tokens as t
from .chat import Call, Film, Picture, Sound
from .tokens import ROOT, Tokens

# Kinds of positions.
PADDING, TEXT, IMAGE, AUDIO, IMAGE_START, IMAGE_NEWLINE, IMAGE_END, AUDIO_START, AUDIO_END = range(-2, 7)

SAMPLES_PER_TOKEN = 1280
TOKENS_PER_SEGMENT = 25
FRAME_SECONDS = 0.5
FRAMES_PER_SEGMENT = 4
CELL_PIXELS = 42

# Cuts text that we wrote at its markers.
MARKED = re.compile(f"({re.escape(t.DSML)}|{t.THINK}|{t.THINK_END})")


@cache
def fixed_texts():
    """The texts that the vendor's encoder writes: the line of the effort, and what stands around the tools."""
    return json.loads((ROOT / "tests/fixtures/text/prompt_vectors_v41.json").read_text())["literals"]


@dataclass(slots=True)
class Row:
    """Tokens with what stands at each: `kinds`, and the answer (counted from 0, -1 none) that has to yield it."""

    ids: list = field(default_factory=list)
    kinds: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    tasks: list = field(default_factory=list)  # of each answer
    pictures: list = field(default_factory=list)  # (pixels, cells, positions)
    sound: tuple | None = None  # (samples, symbols, positions)


    def extend(self, other):
        """Adds what comes after."""
        at, answers = len(self.ids), len(self.tasks)
        self.ids += other.ids
        self.kinds += other.kinds
        self.answers += [answer if answer < 0 else answer + answers for answer in other.answers]
        self.tasks += other.tasks
        self.pictures += [(pixels, cells, [at + place for place in places]) for pixels, cells, places in other.pictures]
        if other.sound:
            assert self.sound is None, "a row has one sound"
            samples, symbols, places = other.sound
            self.sound = samples, symbols, [at + place for place in places]


class Writer:
    """Writes a part of a row, piece by piece."""

    def __init__(self, tokens):
        self.tokens, self.row = tokens, Row()
        self.text, self.answer = "", -1

    def say(self, text):
        """Adds text; what stands between two markers is tokenised in one piece."""
        self.text += text

    def say_marked(self, text):
        """Adds text that we wrote, in which a spelled marker is one."""
        for piece in MARKED.split(text):
            if MARKED.fullmatch(piece):
                self.mark(piece)
            else:
                self.say(piece)

    def mark(self, marker, kind=TEXT, count=1):
        self.flush()
        self.put([self.tokens.marker[marker]] * count, kind)

    def flush(self):
        if self.text:
            self.put(self.tokens.encode(self.text), TEXT)
            self.text = ""

    def put(self, ids, kind):
        self.row.ids += ids
        self.row.kinds += [kind] * len(ids)
        self.row.answers += [self.answer] * len(ids)

    def head(self, chat):
        fixed = fixed_texts()
        self.mark(t.BOS)
        if chat.thinking or chat.tools:
            self.mark(t.SYSTEM)
        if chat.thinking:
            self.say(fixed["effort_line_75"])
        if chat.tools:
            lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in chat.tools)
            self.say_marked(f"\n\n{fixed['tools_head']}{lines}{fixed['tools_tail']}")
        self.flush()

    def question(self, turn):
        self.mark(t.USER)
        if turn.is_result:
            self.say("<tool_result>")
        for index, part in enumerate(turn.parts):
            if index:
                self.say("\n\n")
            match part:
                case str():
                    self.say(part)
                case Picture():
                    self.picture(part.pixels, part.cells)
                case Sound():
                    self.sound(part)
                    self.sound_block(*self.slots(0))
                case Film():
                    self.film(part)
        if turn.is_result:
            self.say("</tool_result>")

    def reply(self, turn, thinks):
        self.mark(t.ASSISTANT)
        self.mark(t.THINK if thinks else t.THINK_END)
        self.answer = len(self.row.tasks)
        self.row.tasks.append(turn.task)
        if thinks:
            self.say(turn.reasoning)
            self.mark(t.THINK_END)
        if isinstance(turn.answer, Call):
            self.say_marked(call_text(turn.answer))
        else:
            self.say(turn.answer)
        self.mark(t.EOS)
        self.answer = -1

    def picture(self, pixels, cells):
        side = len(pixels) // CELL_PIXELS
        self.mark(t.IMAGE, IMAGE_START)
        at = []
        for _ in range(side):
            at += range(len(self.row.ids), len(self.row.ids) + side)
            self.mark(t.IMAGE, IMAGE, side)
            self.mark(t.IMAGE, IMAGE_NEWLINE)
        self.mark(t.IMAGE, IMAGE_END)
        self.row.pictures.append((pixels, cells, at))

    def sound(self, sound):
        """Takes in the one sound of a row; its tokens are dealt out by `sound_block`."""
        assert self.row.sound is None, "a row has one sound"
        self.row.sound = (sound.samples, sound.symbols, [])

    def slots(self, begin, end=None):
        count = -(-len(self.row.sound[0]) // SAMPLES_PER_TOKEN)
        return begin, count if end is None else min(end, count)

    def sound_block(self, begin, end):
        """The block of the sound's tokens `begin..end`."""
        self.mark(t.AUDIO, AUDIO_START)
        self.row.sound[2].extend(range(len(self.row.ids), len(self.row.ids) + end - begin))
        self.mark(t.AUDIO, AUDIO, end - begin)
        self.mark(t.AUDIO, AUDIO_END)

    def film(self, film):
        """Frames with their times, and after those of each segment its sound
        (docs/models/audio-video.md §6.4, §6.5)."""
        if film.sound:
            self.sound(film.sound)
        count = len(film.frames)
        for index, frame in enumerate(film.frames):
            self.say(f"<{index * FRAME_SECONDS:.1f}s>")
            self.picture(frame, (-1,) * 9)
            segment, place = divmod(index, FRAMES_PER_SEGMENT)
            if film.sound and (place == FRAMES_PER_SEGMENT - 1 or index == count - 1):
                begin, end = self.slots(segment * TOKENS_PER_SEGMENT, (segment + 1) * TOKENS_PER_SEGMENT)
                if begin < end:
                    self.sound_block(begin, end)


class Layout:
    """Writes rows with one tokenizer."""

    writer = Writer

    def __init__(self, tokens=None):
        self.tokens = tokens or Tokens()

    def row(self, chat):
        """The row of a chat."""
        row = self.head(chat)
        keeps = bool(chat.tools) or chat.keeps_reasoning
        for index, turn in enumerate(chat.turns):
            row.extend(self.turn(turn, chat.thinking and (keeps or index + 1 == len(chat.turns))))
        return row

    def head(self, chat):
        """What stands before the first turn."""
        writer = self.writer(self.tokens)
        writer.head(chat)
        return writer.row

    def turn(self, turn, thinks):
        """A question and its answer. Markers enclose it, so it is the same wherever it stands."""
        writer = self.writer(self.tokens)
        writer.question(turn)
        writer.reply(turn, thinks)
        return writer.row


def call_text(call):
    """A call as the model writes it (docs/models/deepseek-v41.md §6.3). Arguments are words."""
    arguments = "\n".join(
        f'<{t.DSML} parameter name="{name}" string="true">{value}</{t.DSML} parameter>'
        for name, value in call.arguments.items()
    )
    invoke = f'<{t.DSML} invoke name="{call.name}">\n{arguments}\n</{t.DSML} invoke>'
    return f"\n\n<{t.DSML} calls>\n{invoke}\n</{t.DSML} calls>"
