"""Learns the tokenizer anew, for a model that is trained from the start: `python make_tokenizer.py`."""

from data import tasks
from data.tokens import PATH, train

if __name__ == "__main__":
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(train(tasks.corpus()) + "\n")
