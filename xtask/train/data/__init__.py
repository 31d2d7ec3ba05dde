"""The data of the embedded model: generated, never stored, a pure function of split, seed and step.

Read `chat.py` for what a row is made of, `texts.py`, `pictures.py`, `sounds.py`, `films.py` and `mixtures.py` for the
cases, `tasks.py` for the table of tasks and buckets, `prompt.py` for the layout of a prompt, and `rows.py` for batches.
"""
