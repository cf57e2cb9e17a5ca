"""Token ids of prompts and answers as tensors: padded to rows, packed end to end, or packed with each prompt there once for all its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

PADDED, PACKED, SHARED = "padded", "packed", "shared"
"""The layouts: every sequence a row; every sequence behind the last; every prompt once, with all its answers behind it."""

Ids = Sequence[int]


@dataclass(frozen=True)
class Layout:
    """A layout, and how many tokens of padding may save a call of the attention; ``reason`` says why it is not the fastest, where it is not."""

    name: str = PADDED
    slack: int = 0
    reason: str = ""


AS_ROWS = Layout()
"""Padding: what any model can be given."""


@dataclass(frozen=True)
class Span:
    """A sequence of a micro-batch: its number in the caller's list, and where, among the flat tokens, its prompt and its answer begin."""

    row: int
    prompt: int
    prompt_length: int
    answer: int
    answer_length: int

    def positions(self) -> Iterator[int]:
        """Flat positions of all its tokens."""
        yield from range(self.prompt, self.prompt + self.prompt_length)
        yield from range(self.answer, self.answer + self.answer_length)

    def predictors(self) -> Iterator[int]:
        """Flat positions of the tokens whose hidden states predict the answer's: the prompt's last, and the answer's but the last."""
        yield self.prompt + self.prompt_length - 1
        yield from range(self.answer, self.answer + self.answer_length - 1)


@dataclass(frozen=True)
class Packing:
    """Who may see whom among packed tokens. ``blocks`` are (families, width): so many prompts with their answers, each that wide, padding included.

    ``part`` is 0 in a prompt, 1, 2, ... in its answers, and another number in padding; ``family`` tells one prompt's tokens from the next's.
    """

    blocks: tuple[tuple[int, int], ...]
    part: torch.Tensor  # (T,) int64
    family: torch.Tensor  # (T,) int64
    place: torch.Tensor  # (T,) int64: the token's position in its sequence
    branching: bool
    """Whether any prompt has more than one answer: else every family is a plain sequence."""
    masks: dict[object, object] = field(default_factory=dict, repr=False)
    """What the attention made of it, for the next layer."""

    @property
    def longest(self) -> int:
        """Tokens of the widest family."""
        return max(width for _, width in self.blocks)


@dataclass(frozen=True)
class MicroBatch:
    """R sequences of one forward. ``rows`` are their numbers in the caller's list."""

    rows: torch.Tensor  # (R,) int64
    tokens: torch.Tensor  # (R, T) int64, padded on the right; (1, T) where they are packed
    predictors: torch.Tensor  # (N,) flat position whose hidden state predicts each response token
    targets: torch.Tensor  # (N,) the response tokens
    owner: torch.Tensor  # (N,) which of the R sequences a response token belongs to
    spans: tuple[Span, ...]  # R of them
    packing: Packing | None = None  # None where they are padded


def micro_batches(
    layout: Layout,
    prompts: Sequence[Ids],
    sides: Sequence[Sequence[Ids]],
    budget: int,
    target: torch.device,
    order: Sequence[int] | None = None,
) -> list[MicroBatch]:
    """Prompts with their answers, cut into micro-batches of at most ``budget`` tokens, padding included; one prompt may exceed it alone.

    ``sides`` holds an answer for each of the K prompts, once or more often: the answer of prompt i on side s is row s * K + i. All answers of a
    prompt are in one micro-batch. They are cut in the ``order`` given, else longest first: what is cut together is then alike, and memory is
    short at once or not at all.
    """
    families = [
        Family(i, prompts[i], tuple(side[i] for side in sides), len(prompts)) for i in (range(len(prompts)) if order is None else order)
    ]
    if order is None:
        families.sort(key=lambda family: family.size(layout.name), reverse=True)
    groups: list[list[Family]] = []
    for family in families:
        if groups and _tokens(layout.name, [*groups[-1], family]) <= budget:
            groups[-1].append(family)
        else:
            groups.append([family])
    collate = _padded if layout.name == PADDED else _packed
    return [collate(layout, group, target) for group in groups]


def _tokens(layout: str, group: Sequence[Family]) -> int:
    """Tokens of a micro-batch: padded, every family is as large as the largest."""
    sizes = [family.size(layout) for family in group]
    return len(sizes) * max(sizes) if layout == PADDED else sum(sizes)


@dataclass(frozen=True)
class Family:
    """A prompt, the ``number``-th of ``count``, and its answers."""

    number: int
    prompt: Ids
    answers: tuple[Ids, ...]
    count: int

    def size(self, layout: str) -> int:
        """Tokens that it takes in a layout, the padding of its own answers included."""
        lengths = [len(answer) for answer in self.answers]
        if layout == SHARED:
            return len(self.prompt) + sum(lengths)
        return len(lengths) * (len(self.prompt) + max(lengths)) if layout == PADDED else len(lengths) * len(self.prompt) + sum(lengths)

    def row(self, side: int) -> int:
        """The number of the sequence that ends in an answer."""
        return side * self.count + self.number

    def alone(self) -> list[tuple[Family, int]]:
        """A family for each answer, with the answer's side."""
        return [(Family(self.number, self.prompt, (answer,), self.count), side) for side, answer in enumerate(self.answers)]


# ---------------------------------------------------------------- padded


def _padded(layout: Layout, group: Sequence[Family], target: torch.device) -> MicroBatch:
    sequences = [(family.row(side), family.prompt, answer) for family in group for side, answer in enumerate(family.answers)]
    width = max(len(prompt) + len(answer) for _, prompt, answer in sequences)
    tokens = [[*prompt, *answer, *[0] * (width - len(prompt) - len(answer))] for _, prompt, answer in sequences]
    spans = [
        Span(row, place * width, len(prompt), place * width + len(prompt), len(answer))
        for place, (row, prompt, answer) in enumerate(sequences)
    ]
    return _micro_batch(tokens, [answer for _, _, answer in sequences], spans, None, target)


def _micro_batch(
    tokens: list[list[int]], answers: list[Ids], spans: list[Span], packing: Packing | None, target: torch.device
) -> MicroBatch:
    predictors = [place for span in spans for place in span.predictors()]
    targets = [token for answer in answers for token in answer]
    owner = [number for number, answer in enumerate(answers) for _ in answer]
    return MicroBatch(
        rows=to_device([span.row for span in spans], target),
        tokens=to_device(tokens, target),
        predictors=to_device(predictors, target),
        targets=to_device(targets, target),
        owner=to_device(owner, target),
        spans=tuple(spans),
        packing=packing,
    )


Numbers = Sequence[int] | Sequence[float] | Sequence[Sequence[int]] | np.ndarray


def to_device(values: Numbers, target: torch.device, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """A tensor on the device; from pinned memory where that is a GPU, so that the host need not wait for it."""
    tensor = torch.as_tensor(values, dtype=dtype)
    return tensor.pin_memory().to(target, non_blocking=True) if target.type == "cuda" else tensor


# ---------------------------------------------------------------- packed


@dataclass
class _Flat:
    """Packed tokens, family by family."""

    tokens: list[int] = field(default_factory=list)
    part: list[int] = field(default_factory=list)
    family: list[int] = field(default_factory=list)
    place: list[int] = field(default_factory=list)
    answers: list[Ids] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    families: int = 0

    def add(self, prompt: Ids, answers: Sequence[tuple[int, Ids]], width: int) -> None:
        """A prompt and (row, answer) of its answers, padded to ``width`` tokens."""
        start, length = len(self.tokens), len(prompt)
        self._add(prompt, 0, 0)
        for part, (row, answer) in enumerate(answers, start=1):
            self.answers.append(answer)
            self.spans.append(Span(row, start, length, len(self.tokens), len(answer)))
            self._add(answer, part, length)
        self._add([0] * (start + width - len(self.tokens)), len(answers) + 1, length)
        self.families += 1

    def _add(self, tokens: Ids, part: int, place: int) -> None:
        self.tokens.extend(tokens)
        self.part.extend([part] * len(tokens))
        self.family.extend([self.families] * len(tokens))
        self.place.extend(range(place, place + len(tokens)))


def _packed(layout: Layout, group: Sequence[Family], target: torch.device) -> MicroBatch:
    """The families as they stand, or each answer behind a prompt of its own."""
    if layout.name == SHARED:
        whole = [(family.prompt, [(family.row(side), answer) for side, answer in enumerate(family.answers)]) for family in group]
    else:
        whole = [(one.prompt, [(family.row(side), one.answers[0])]) for family in group for one, side in family.alone()]
    whole.sort(key=_width, reverse=True)
    flat, blocks = _Flat(), []
    for width, members in _blocks(whole, layout.slack):
        blocks.append((len(members), width))
        for prompt, answers in members:
            flat.add(prompt, answers, width)
    part, family, place = (to_device(values, target) for values in (flat.part, flat.family, flat.place))
    packing = Packing(tuple(blocks), part, family, place, branching=any(len(answers) > 1 for _, answers in whole))
    return _micro_batch([flat.tokens], flat.answers, flat.spans, packing, target)


_Member = tuple[Ids, list[tuple[int, Ids]]]


def _width(member: _Member) -> int:
    return len(member[0]) + sum(len(answer) for _, answer in member[1])


def _blocks(members: Sequence[_Member], slack: int) -> Iterator[tuple[int, list[_Member]]]:
    """(width, members): families, longest first, that are at most ``slack`` tokens shorter than the first of their block."""
    block: list[_Member] = []
    for member in members:
        if block and _width(block[0]) - _width(member) > slack:
            yield _width(block[0]), block
            block = []
        block.append(member)
    yield _width(block[0]), block
