"""Which pairs are held out, by a stable hash of how their dialogue begins; and labels that are flipped on purpose."""

from __future__ import annotations

from prefbench.api import Pair, Prompt, content_id

HASHES = 2.0**64
"""How many values the hash of a prompt can have; it decides whether the prompt is held out."""


def opening(prompt: Prompt) -> str:
    """The first thing that the user says, or the whole of a plain text: what the stages of one dialogue have in common."""
    if isinstance(prompt, str):
        return prompt
    return next((message["content"] for message in prompt if message["role"] == "user"), prompt[0]["content"])


def is_held_out(pair: Pair, share: float) -> bool:
    """Whether the hash of the dialogue's opening is among the lowest ``share`` of all hashes: the same in every file, on every machine.

    Data such as HH hold several stages of one dialogue as prompts of their own; the opening keeps them on one side.
    """
    return int(content_id(opening(pair.prompt)), 16) < share * HASHES


def labelled(pair: Pair, flipped: bool) -> Pair:
    """The pair with the column ``flipped`` alone, its answers exchanged where it is 1: its other numbers would give the flip away."""
    chosen, rejected = (pair.rejected, pair.chosen) if flipped else (pair.chosen, pair.rejected)
    return Pair(pair.prompt, chosen, rejected, {"flipped": float(flipped)})
