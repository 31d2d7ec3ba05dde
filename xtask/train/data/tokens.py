"""The tokenizer: a byte-level BPE in the released form, small, and the compressed ids of the n-gram memory.

Run as a program (`python -m data.tokens`) it trains the merges on the words of the tasks and writes
`assets/model/tokenizer.json`. The file is committed: everything else reads it.
"""

import json
import re
import unicodedata
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).resolve().parents[3]
PATH = ROOT / "assets/model/tokenizer.json"

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
USER, ASSISTANT, SYSTEM = "<｜User｜>", "<｜Assistant｜>", "<｜System｜>"
THINK, THINK_END, DSML = "<think>", "</think>", "｜DSML｜"
IMAGE, AUDIO, VIDEO = "<｜deepseek_image｜>", "<｜deepseek_audio｜>", "<｜deepseek_video｜>"
# The drafter writes this where it has nothing yet; the release takes the same one.
DRAFT_NOISE = SYSTEM

_HEAD = (BOS, EOS, PAD)
_TAIL = (
    USER, ASSISTANT, THINK, THINK_END, DSML,
    "<｜latest_reminder｜>", "<｜action｜>", "<｜query｜>", "<｜authority｜>", "<｜domain｜>", "<｜title｜>", "<｜read_url｜>",
    SYSTEM, IMAGE,
    "<｜ref｜>", "<｜/ref｜>", "<｜box｜>", "<｜/box｜>", "<｜point｜>", "<｜/point｜>", "<｜polygon｜>", "<｜/polygon｜>",
    AUDIO, VIDEO,
)  # fmt: skip
VOCABULARY = 1024

# How the release cuts text before BPE; `deepseek-text` accepts these patterns and no other.
_NUMBERS = r"\p{N}{1,3}"
_IDEOGRAPHS = "[一-龥\u3040-ゟ゠-ヿ]+"
_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*"
    "|\\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


# Where no token crosses, so that sentences can be encoded alone and remembered.
_SENTENCES = re.compile(r"(?<=[a-z0-9]\.)(?= [A-Za-z])")


def _cut(*patterns):
    splits = [pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


class Tokens:
    """The tokenizer of a file."""

    def __init__(self, path=PATH):
        file = json.loads(Path(path).read_text())
        added = file["added_tokens"]
        file["added_tokens"] = []
        # The library sees the base vocabulary alone, so that no text becomes a marker.
        self._plain = tokenizers.Tokenizer.from_str(json.dumps(file))
        self._known = {}
        self.marker = {token["content"]: token["id"] for token in added}
        self._base = {id: text for text, id in file["model"]["vocab"].items()}
        self.size = len(self._base) + len(self.marker)

    def encode(self, text):
        """Ids of text in which nothing is a marker."""
        ids = []
        for sentence in _SENTENCES.split(text):
            known = self._known.get(sentence)
            if known is None:
                known = self._plain.encode(sentence, add_special_tokens=False).ids
                if len(self._known) < 1 << 16 and len(sentence) < 256:
                    self._known[sentence] = known
            ids += known
        return ids

    def decode(self, ids):
        """The text of ids, markers spelled out."""
        return b"".join(self._bytes[id] for id in ids).decode(errors="replace")

    @cached_property
    def _bytes(self):
        letters = {letter: byte for byte, letter in enumerate(_letters())}
        texts = {id: bytes(letters[letter] for letter in text) for id, text in self._base.items()}
        texts.update((id, text.encode()) for text, id in self.marker.items())
        return [texts[id] for id in range(self.size)]

    @cached_property
    def engram_ids(self):
        """The compressed id of each id: int32 `[size]` (docs/models/deepseek-v41.md §3.7)."""
        keys = {}
        return np.array([keys.setdefault(self._key(id), len(keys)) for id in range(self.size)], np.int32)

    def _key(self, id):
        text = self._bytes[id].decode(errors="replace")
        if "\ufffd" in text:
            return self._base.get(id, text)
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text))
        folded = "".join(letter for letter in folded if unicodedata.category(letter) != "Mn").lower()
        run = ""
        for letter in folded:
            letter = " " if letter in " \t\r\n" else letter
            if letter != " " or not run.endswith(" "):
                run += letter
        return run if run == " " else run.strip() or text


def _letters():
    """The letter that writes each byte: itself where it prints, else the next from U+0100."""
    others = iter(range(0x100, 0x200))
    prints = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    return [chr(byte) if byte in prints else chr(next(others)) for byte in range(256)]


def train(corpus):
    """The file, with merges learned from an iterable of texts. No merge joins two digits."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = _cut(r"\p{N}", _IDEOGRAPHS, _WORDS)
    merges = VOCABULARY - 256 - len(_HEAD) - len(_TAIL)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges, initial_alphabet=_letters(), show_progress=False, special_tokens=[]
    )
    bpe.train_from_iterator(corpus, trainer)
    learned = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    assert len(learned) == merges, f"{len(learned)} merges of {merges}: the corpus is too small"

    base = [*_letters(), *(left + right for left, right in learned)]
    vocab = {text: id for id, text in enumerate(base, len(_HEAD))}
    markers = [*enumerate(_HEAD), *enumerate(_TAIL, len(_HEAD) + len(base))]
    bpe = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=learned))
    bpe.pre_tokenizer = _cut(_NUMBERS, _IDEOGRAPHS, _WORDS)
    bpe.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=False)
    file = json.loads(bpe.to_str())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"] = [{"id": id, "content": text, **flags} for id, text in markers]
    return json.dumps(file, ensure_ascii=False, separators=(",", ":"))
