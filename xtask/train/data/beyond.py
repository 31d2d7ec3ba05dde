"""What the model does not know: questions from the wide world, and the one answer to all of them.

The forms are split between training and test, so that what is tested is whether a question is recognised that
was never asked in that form.
"""

from .chance import draw
from .chat import Turn

ANSWER = "I do not know that."

_WORDS = {
    "land": (
        "France Germany Japan China India Brazil Canada Egypt Kenya Peru Spain Italy Norway Poland Turkey Greece "
        "Mexico Chile Cuba Iran Texas Russia England Ireland Sweden Ukraine Vietnam Australia"
    ).split(),
    "city": (
        "Paris London Berlin Tokyo Rome Madrid Cairo Delhi Beijing Moscow Vienna Boston Chicago Sydney Oslo Athens "
        "Warsaw Lima Seoul Dublin"
    ).split(),
    "person": (
        "Einstein Newton Napoleon Mozart Shakespeare Darwin Caesar Picasso Plato Gandhi Lincoln Beethoven Turing "
        "Cleopatra Galileo Tesla"
    ).split(),
    "thing": (
        "house car tree dog cat horse computer phone bread cheese moon sun star ocean mountain train plane book song "
        "game school doctor heart brain bone engine window garden flower bird fish river cloud storm fire water gold "
        "money law war peace love time number atom cell virus planet language"
    ).split(),
    "things": (
        "dogs cats birds trees stars people children cars computers whales planets numbers words dreams islands bridges "
        "colours clouds flowers engines"
    ).split(),
    "quality": (
        "good bad big small hot cold fast slow hard soft old new heavy light bright dark strong weak rich poor true "
        "false safe free happy sad important beautiful expensive dangerous"
    ).split(),
    "do": (
        "make build cook fix clean sell buy paint draw write learn teach find open close start stop grow eat drink "
        "wash move carry break"
    ).split(),
    "tongue": "French German Spanish Latin Chinese English Italian Arabic Greek Russian".split(),
    "code": "Python Rust Java JavaScript SQL Go Haskell C".split(),
    "topic": (
        "physics history music gravity evolution democracy chess football mathematics philosophy energy light "
        "medicine poetry religion economics recursion photosynthesis electricity"
    ).split(),
    "big": [str(number) for number in (3, 7, 12, 15, 24, 60, 100, 128, 250, 365, 1000, 1984, 2024)],
}

FORMS = (
    "What is the capital of {land}?", "Where is {city}?", "Where is {land}?", "Who was {person}?", "Who is {person}?",
    "Who wrote {topic}?", "Tell me a joke.", "Tell me a story.", "Tell me about {topic}.", "Tell me about {land}.",
    "Tell me about the {thing}.", "Write a poem about {things}.", "Write a story about a {thing}.", "Write an essay about {topic}.",
    "Write a {code} function.", "Write a program in {code}.", "How do I {do} a {thing}?", "How can I {do} the {thing}?",
    "How does a {thing} work?", "How many {things} are there in {land}?", "How old is {person}?", "How are you?",
    "How far is it from {city} to {city}?", "Why is the {thing} {quality}?", "Why are {things} {quality}?",
    "Why do {things} {do}?", "When did {person} die?", "When was the {thing} built?", "Explain {topic}.",
    "Explain {topic} to a child.", "What is {topic}?", "What is a {thing}?", "What are {things}?", "What is love?",
    "What does a {thing} {do}?", "What is the meaning of life?", "What is the weather in {city}?", "What is the time?",
    "What day is it?", "What is your favourite {thing}?", "What should I {do}?", "What is {big} times {big}?",
    "What is {big} * {big}?", "What is {big} divided by {big}?", "Translate {thing} into {tongue}.",
    "How do you say {thing} in {tongue}?", "Do you speak {tongue}?", "Do you like {things}?", "Are {things} {quality}?",
    "Is the {thing} {quality}?", "Is {land} {quality}?", "Can you {do} a {thing}?", "Can you help me {do} my {thing}?",
    "Could you {do} the {thing} for me?", "Please {do} the {thing}.", "Give me a recipe for {thing}.", "Give me an idea.",
    "Give me {big} names for a {thing}.", "I want to {do} a {thing}.", "I have a {quality} {thing}. What should I do?",
    "My {thing} is {quality}.", "My name is {person}.", "I am {quality}.", "I live in {city}.", "Summarize {topic}.",
    "Which {thing} is the most {quality}?", "Which is better, {code} or {code}?", "Who invented the {thing}?",
    "Who won the {thing} in {big}?", "List {big} {things}.", "Show me a {thing}.", "Describe a {thing}.",
    "Describe {city} in one sentence.", "Compare {land} and {land}.", "Count to {big}.", "Solve x + {big} = {big}.",
    "Say {thing}.", "Sing a song.", "Let us talk about {topic}.", "The {thing} is {quality}, is it not?", "{topic}?",
    "{thing}", "{person}", "{quality} {things}", "{do} {thing}", "Why?", "What?", "Test", "Help", "OK", "Yes.", "No.",
)  # fmt: skip


def beyond(rng, held_out, level):
    """A question that is not of the small world; one in four is words in no order at all."""

    def make(rng):
        if rng.below(0.25):
            kinds = rng.choices(tuple(_WORDS), k=rng.randint(2, 7))
            words = " ".join(rng.choice(_WORDS[kind]) for kind in kinds)
            question = f"{words.capitalize() if rng.below(0.5) else words}{rng.choice(('', '?', '.'))}"
            return question, question
        form = rng.choice(FORMS)
        return form, _filled(rng, form)

    (question,) = draw(rng, held_out, make)
    if rng.below(0.2):
        question = question.lower()
    return [Turn("beyond", [question], ANSWER)]


def _filled(rng, form):
    """The form with a word in each gap, no two alike."""
    head, *gaps = form.split("{")
    used = set()
    for gap in gaps:
        kind, tail = gap.split("}")
        word = rng.choice([word for word in _WORDS[kind] if word not in used])
        used.add(word)
        head += word + tail
    return head
