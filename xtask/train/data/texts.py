"""Tasks of words alone. Each is `task(rng, held_out, level) -> [Turn]`, the turns of one context."""

from .chance import draw, is_held_out
from .chance import rng as generator
from .chat import Call, Turn

NAMES = "Tom Ann Bob Mia Sam Eva Leo Zoe Max Ida".split()
THINGS = (
    "ball book key cup hat box lamp pen map coin boat bell drum flag gate horn jar kite lock mask nail oven pipe rope "
    "sack tent urn vase well desk fork glove hook iron jug mirror net pot quilt table"
).split()
PLACES = "river hill forest harbour market bridge tower garden mill road field lake".split()
PEOPLE = "sailor baker farmer teacher singer painter doctor driver".split()
ADJECTIVES = "old young tall quiet happy tired kind clever".split()
VERBS = "walks looks runs sings waits sleeps sits stands".split()
PREPOSITIONS = "near behind beside before".split()

# A name is one of twelve beginnings and one of eight ends, so that no token tells the fact, only two together: that is
# what an n-gram memory is for.
BEGINNINGS = (
    "Ba Ke Lo Mi Nu Pa Re So Ti Vu Za De".split(),
    "Ca Fe Go Hu Ja Li Mo Ne Po Ru Sa To".split(),
)
ENDS = (
    "dronia lestan merland gonia stavia ponesia tavia kistan".split(),
    "burg vale polis field haven mouth port wick".split(),
)
_COUNTRIES, _CAPITALS = ([first + last for first in BEGINNINGS[i] for last in ENDS[i]] for i in (0, 1))
generator("capitals").shuffle(_CAPITALS)
CAPITAL = dict(zip(_COUNTRIES, _CAPITALS, strict=True))
# Names stand in the middle of every form: at the beginning of a text they would fall into other tokens.
FACT_FORMS = ("What is the capital of {}?", "Name the capital of {}.", "Which city is the capital of {}?")

SUM_FORMS = ("What is {}?", "How much is {}?")

# What is said to a model that is met for the first time, by the answer.
CHATS = {
    "Hello! How can I help?": (
        "Hello!", "Hi!", "Hey!", "Hi there!", "Hello there!", "Good morning!", "Good evening!",
    ),
    "I am a tiny model with the architecture of DeepSeek-V4.1.": (
        "Who are you?", "What are you?", "What is your name?", "Tell me who you are.", "What model are you?",
    ),
    "I can answer simple questions about text, pictures, sounds and films.": (
        "What can you do?", "What do you know?", "What can I ask you?", "What can you answer?", "How can you help me?",
    ),
    "You are welcome.": ("Thanks!", "Thank you!", "Many thanks!", "Thank you very much!", "Thanks a lot!"),
    "Goodbye!": ("Bye!", "Goodbye!", "Bye bye!", "See you!", "See you later!", "Good night!"),
}  # fmt: skip


def _tool(name, what):
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"name": name, "description": f"Get the {what} in a city.", "parameters": city}


TOOLS = (_tool("get_time", "time"), _tool("get_weather", "weather"))
WEATHERS = "sunny rainy cloudy windy foggy snowy".split()


def arithmetic(rng, held_out, level):
    """Sums and differences below 100."""

    def make(rng):
        sign = rng.choice("+-")
        total = rng.randrange(100 if rng.below(level) else 20)
        a = rng.randint(0, total)
        if sign == "+":
            return f"{a}+{total - a}", f"{a} + {total - a}", total, steps(a, total - a)
        return f"{total}-{a}", f"{total} - {a}", total - a, ""

    problem, value, reasoning = draw(rng, held_out, make)
    return [Turn("arithmetic", [rng.choice(SUM_FORMS).format(problem)], str(value), reasoning)]


def steps(a, b):
    """How two numbers of two digits are added in thought: `7+8=15 4+3+1=8`. Others are known."""
    if min(a, b) < 10:
        return ""
    units = a % 10 + b % 10
    carry = units // 10
    return f"{a % 10}+{b % 10}={units} {a // 10}+{b // 10}+{carry}={a // 10 + b // 10 + carry}"


def thinking(rng, held_out, level):
    """Sums of two-digit numbers, worked out digit by digit before the answer."""

    def make(rng):
        a, b = rng.randint(10, 99), rng.randint(10, 99)
        return f"{a}+{b}", a, b

    a, b = draw(rng, held_out, make)
    return [Turn("thinking", [f"What is {a} + {b}?"], str(a + b), steps(a, b))]


def fact(rng, held_out, level):
    """Capitals of invented countries. A third is trained in the first form alone and tested in the others."""
    index = rng.randrange(len(_COUNTRIES))
    if held_out:
        index -= index % 3
        form = rng.choice(FACT_FORMS[1:])
    else:
        form = FACT_FORMS[0] if index % 3 == 0 else rng.choice(FACT_FORMS)
    country = _COUNTRIES[index]
    return [Turn("fact", [form.format(country)], CAPITAL[country])]


def story(rng, held_out, level):
    """Who has the thing after one to three hand-overs."""

    def make(rng):
        people, thing = rng.sample(NAMES, 3), rng.choice(THINGS[:10])
        owner = people[0]
        words = f"{owner} has the {thing}."
        for _ in range(rng.randint(1, 3)):
            taker = rng.choice([name for name in people if name != owner])
            words += f" {owner} gives the {thing} to {taker}."
            owner = taker
        return words, words, thing, owner

    words, thing, owner = draw(rng, held_out, make)
    return [Turn("story", [f"{words} Who has the {thing}?"], owner)]


def letters(rng, held_out, level):
    """Lists of letters: reversed, sorted, counted, the first, the last."""

    def make(rng):
        items = [rng.choice("abcdefghij") for _ in range(rng.randint(3, 6))]
        order = rng.choice(("Reverse", "Sort", "Count", "First of", "Last of"))
        answer = {
            "Reverse": " ".join(reversed(items)),
            "Sort": " ".join(sorted(items)),
            "Count": str(len(items)),
            "First of": items[0],
            "Last of": items[-1],
        }[order]
        question = f"{order}: {' '.join(items)}"
        return question, question, answer

    question, answer = draw(rng, held_out, make)
    return [Turn("letters", [question], answer)]


def two_digits(rng, held_out, key):
    """A value of two digits on this side of the split: no pair that is tested was ever trained."""
    while True:
        value = rng.randint(10, 99)
        if is_held_out(f"{key}={value}") == held_out:
            return value


def pairs(rng, held_out, level):
    """Recall among 3 to 12 pairs of a key and a value; the answer repeats the key, as in the notes."""
    count = rng.randint(3, 3 + round(9 * level))
    keys = rng.sample(range(26 * 26), count)
    keys = [f"{chr(97 + key // 26)} {chr(97 + key % 26)}" for key in keys]
    notes = [f"{key}={two_digits(rng, held_out, key)}" for key in keys]

    turns = []
    for index in rng.sample(range(count), min(count, 4)):
        head = f"Notes: {'; '.join(notes)}. " if not turns else ""
        turns.append(Turn("pairs", [f"{head}Value of {keys[index]}?"], notes[index]))
    return turns


def chat(rng, held_out, level):
    """Small talk: what the model is and what it can do."""

    def make(rng):
        answer = rng.choice(tuple(CHATS))
        said = rng.choice(CHATS[answer])
        said = said if rng.below(0.7) else said.lower()
        said = said if rng.below(0.6) else said[:-1]
        return said, said, answer

    said, answer = draw(rng, held_out, make)
    return [Turn("chat", [said], answer)]


def tool(rng, held_out, level):
    """A call of one of two tools with a city, and what its result says."""

    def make(rng):
        what, city = rng.choice(("time", "weather")), rng.choice(_CAPITALS)
        return f"{what}/{city}", what, city

    what, city = draw(rng, held_out, make)
    result = f"{rng.randrange(24):02}:{rng.randrange(60):02}" if what == "time" else rng.choice(WEATHERS)
    return [
        Turn("tool-call", [f"What is the {what} in {city}?"], Call(f"get_{what}", {"city": city})),
        Turn("tool-result", [result], f"It is {result} in {city}.", is_result=True),
    ]


def filler(rng):
    """A sentence that says nothing of use."""
    return (
        f"The {rng.choice(ADJECTIVES)} {rng.choice(PEOPLE)} {rng.choice(VERBS)} {rng.choice(PREPOSITIONS)} "
        f"the {rng.choice(PLACES)}."
    )


# Tokens of a sentence of `filler`, whose words are whole tokens; one of `held` has one less.
SENTENCE_TOKENS = 8


def held(thing, value):
    """The fact that a long text hides."""
    return f"The {thing} holds {value}."


def asked(thing):
    """The question for it."""
    return f"What does the {thing} hold?"


def recall(rng, held_out, level, tokens, asks=8, deepest=False):
    """Facts among filler, together at least `tokens` tokens.

    Of the things asked for, the first is told at the very beginning (`deepest`: it is the first asked for), the others
    anywhere; further things, never asked for, are told in between.
    """
    count = rng.randint(asks, 3 * asks)
    sentences = -(-(tokens + count) // SENTENCE_TOKENS)
    facts = [(thing, two_digits(rng, held_out, thing)) for thing in rng.sample(THINGS, count)]
    places = [0, *sorted(rng.sample(range(1, sentences), count - 1))]
    text = [None] * sentences
    for place, (thing, value) in zip(places, facts):
        text[place] = held(thing, value)
    text = " ".join(sentence or filler(rng) for sentence in text)

    wanted = [facts[0], *rng.sample(facts[1:], asks - 1)]
    if not deepest:
        rng.shuffle(wanted)
    turns = []
    for thing, value in wanted:
        head = f"{text} " if not turns else ""
        turns.append(Turn("recall", [head + asked(thing)], held(thing, value)))
    return turns

