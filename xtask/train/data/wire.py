"""A chat as the messages of a request, and the check that our prompts are those of the engine.

Run as a program (`python -m data.wire`) it writes prompts of all tasks with their ids for
`crates/deepseek-text/tests/embedded.rs`.
"""

import json

from . import tokens as t
from .chance import rng as generator
from .chat import Call, Film, Picture, Sound
from .prompt import Layout, Writer
from .tasks import BUCKETS, chats, frame
from .tokens import ROOT

_KINDS = {Picture: "image_url", Sound: "audio_url", Film: "video_url"}


def messages(chat, name):
    """The messages that ask the last question of a chat. `name(medium)` is the address of a picture, sound or film."""
    said = []
    if chat.tools:
        said.append({"role": "system", "tools": [{"type": "function", "function": tool} for tool in chat.tools]})
    for index, turn in enumerate(chat.turns):
        said.append(_question(turn, index, name))
        if index + 1 < len(chat.turns):
            said.append(_reply(turn, index))
    return said


def _question(turn, index, name):
    if turn.is_result:
        return {"role": "tool", "tool_call_id": f"call-{index - 1}", "content": turn.parts[0]}
    if len(turn.parts) == 1 and isinstance(turn.parts[0], str):
        return {"role": "user", "content": turn.parts[0]}
    content = [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": _KINDS[type(part)], _KINDS[type(part)]: {"url": name(part)}}
        for part in turn.parts
    ]
    return {"role": "user", "content": content}


def _reply(turn, index):
    reply = {"role": "assistant"}
    if turn.reasoning:
        reply["reasoning_content"] = turn.reasoning
    if isinstance(turn.answer, Call):
        function = {"name": turn.answer.name, "arguments": json.dumps(turn.answer.arguments)}
        return {**reply, "tool_calls": [{"id": f"call-{index}", "type": "function", "function": function}]}
    return {**reply, "content": turn.answer}


class _Folded(Writer):
    """Writes one placeholder for each medium: the prompt before its media are unfolded."""

    def picture(self, pixels, cells):
        self.mark(t.IMAGE)

    def sound_block(self, begin, end):
        self.mark(t.AUDIO)

    def film(self, film):
        self.mark(t.VIDEO)


class _FoldedLayout(Layout):
    writer = _Folded


def _prompt(chat):
    row = _FoldedLayout().row(chat)
    return row.ids[: row.answers.index(len(row.tasks) - 1)]


def main():
    cases = []
    for bucket, shape in BUCKETS.items():
        for index in range(1 if shape.tokens else 4):
            if shape.tokens > 1024:
                continue
            rng = generator("prompts", bucket, index)
            chat = frame(bucket, rng)
            chat.thinking, chat.keeps_reasoning = index % 2 == 1, False
            for _, turns in zip(range(2), chats(bucket, rng, False, 1.0)):
                chat.turns += turns
            cases.append({"thinking": chat.thinking, "messages": messages(chat, lambda _: "m"), "ids": _prompt(chat)})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    table = json.dumps(t.Tokens().engram_ids.tolist())
    text = f'{{"engram_ids": {table},\n"prompts": [\n{lines}\n]}}\n'
    (ROOT / "tests/fixtures/text/embedded_prompts.json").write_text(text)


if __name__ == "__main__":
    main()
