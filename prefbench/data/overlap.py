"""Near-duplicates between training prompts and evaluation questions, by the word sequences that they share."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from prefbench.api import Prompt

WORDS = 8
"""Words of a sequence that is compared; a shorter question counts as one sequence, and a prompt must be that alone."""
SHARED = 0.5
"""The share of a question's sequences that a prompt must hold to be its near-duplicate."""

_WORD = re.compile(r"\w+")
_Sequence = tuple[str, ...]


def near_duplicates(prompts: Iterable[Prompt], questions: Mapping[str, str]) -> list[str]:
    """The ids of the questions (text by id) that a training prompt nearly repeats, in their order; case and punctuation do not count."""
    sequences = {id_: set(_sequences(_words(text))) for id_, text in questions.items()}
    holders: defaultdict[_Sequence, list[str]] = defaultdict(list)
    for id_, found in sequences.items():
        for sequence in found:
            holders[sequence].append(id_)
    repeated: set[str] = set()
    for prompt in prompts:
        words = _words(_user_text(prompt))
        shared = Counter(id_ for sequence in holders.keys() & _sequences(words) for id_ in holders[sequence])
        repeated.update(id_ for id_, count in shared.items() if count >= SHARED * len(sequences[id_]))
    return [id_ for id_ in questions if id_ in repeated]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _sequences(words: Sequence[str]) -> Iterable[_Sequence]:
    """All runs of so many words; the whole where it is shorter, nothing of nothing."""
    if len(words) < WORDS:
        return [tuple(words)] if words else []
    return zip(*(words[start:] for start in range(WORDS)), strict=False)


def _user_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt if message["role"] == "user")
