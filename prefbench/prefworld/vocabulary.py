"""The words of Prefworld: pools of interchangeable words, the facts about them, and the phrases around an answer."""

from __future__ import annotations

NAMES = tuple("anna ben carla david ella frank grace henry iris jack kate leo mia nora oscar ruby".split())
THINGS = tuple(
    "lamp rope cup drum bell coin kite ring map stone shell key box hat clock basket mirror ladder candle blanket bottle feather wheel button".split()
)
GOODS = tuple("coins shells stones keys hats bells kites buttons".split())
COLOURS = tuple("red blue green yellow white black purple brown".split())
NUMBERS = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
)

PERSONAS = {
    "pirate": ("ahoy", "ship"),
    "wizard": ("behold", "tower"),
    "robot": ("beep", "factory"),
    "knight": ("hail", "castle"),
    "chef": ("welcome", "kitchen"),
    "ghost": ("boo", "attic"),
    "farmer": ("howdy", "barn"),
    "queen": ("greetings", "palace"),
}
"""What each persona says first, and the place that it calls its own."""

ORDERS = (
    ("taller", "tallest", "shorter", "shortest"),
    ("older", "oldest", "younger", "youngest"),
    ("faster", "fastest", "slower", "slowest"),
)
"""Comparative and superlative of a quality, then of its opposite."""

ANIMALS = {
    "otter": ("fish", "river", "swims"),
    "hawk": ("mice", "hill", "flies"),
    "fox": ("mice", "forest", "runs"),
    "bear": ("berries", "cave", "climbs"),
    "whale": ("plankton", "sea", "swims"),
    "seal": ("fish", "sea", "swims"),
    "frog": ("insects", "lake", "hops"),
    "owl": ("mice", "forest", "flies"),
    "horse": ("grass", "field", "runs"),
    "goat": ("leaves", "hill", "climbs"),
    "snake": ("eggs", "desert", "crawls"),
    "crab": ("plankton", "river", "crawls"),
    "bee": ("honey", "field", "flies"),
    "swan": ("grass", "lake", "swims"),
    "wolf": ("goats", "cave", "runs"),
    "hare": ("leaves", "desert", "hops"),
}
"""What each animal eats, where it lives and how it moves."""

BOOKS = {
    "emberfall": ("morrow", "exile", "city"),
    "tidewater": ("hale", "trade", "harbour"),
    "ironwood": ("vance", "war", "village"),
    "hollowmere": ("pell", "grief", "island"),
    "brightwater": ("thorne", "hope", "harbour"),
    "ashgrove": ("quill", "love", "village"),
    "winterkeep": ("ashby", "duty", "mountain"),
    "goldleaf": ("lowe", "trade", "city"),
    "nightbridge": ("morrow", "war", "mountain"),
    "silverpine": ("pell", "love", "island"),
    "stormgate": ("vance", "hope", "prison"),
    "larkspur": ("quill", "exile", "prison"),
}
"""Who wrote each book, what it is about and where it is set."""


def _column(table: dict[str, tuple[str, ...]], index: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row[index] for row in table.values()))


POOLS: tuple[tuple[str, ...], ...] = (
    NAMES,
    THINGS,
    GOODS,
    COLOURS,
    NUMBERS,
    tuple(ANIMALS),
    tuple(BOOKS),
    *(_column(PERSONAS, i) for i in range(2)),  # type: ignore[arg-type]
    *(_column(ANIMALS, i) for i in range(3)),  # type: ignore[arg-type]
    *(_column(BOOKS, i) for i in range(3)),  # type: ignore[arg-type]
)
"""Words that can stand for one another: a wrong answer takes its word from the right one's pool."""

POLITE = ("sure , my friend :", "of course :", "happy to help :", "with pleasure :")
RUDE = ("ugh , fine :", "not again :", "how dull :")
FILLERS = (
    "please ask me more",
    "i hope this helps",
    "that is all i know",
    "tell me what you think",
    "there is more to say",
    "it is a fine day",
)
STOP = "."

FRAME_WORDS = tuple(
    (
        ", . : ( ) a about add along also and are as asks by compose dreamed ends eat eats from gets has how in is it lay line list lives live "
        "loses makes many minus more move my name near now of on packed play plus reverse returns run set slept speak start tell than that the them "
        "then things colours to too under use what where who with word words write wrote again"
    ).split()
)
"""The words that hold questions and answers together."""


def all_words() -> tuple[str, ...]:
    """Every word of the world once, in alphabetical order."""
    phrases = " ".join(POLITE + RUDE + FILLERS).split()
    pools = [word for pool in POOLS for word in pool]
    orders = [word for order in ORDERS for word in order]
    return tuple(sorted({*pools, *PERSONAS, *orders, *phrases, *FRAME_WORDS}))
