"""The source ``local``: a Hugging Face model folder, and files of pairs and questions, as users have them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api import Pair, Question, Source, content_id, hyper
from prefbench.data.content import check_chat_template, check_model_folder, model_digest, text_digest
from prefbench.data.preference_files import PairFile, read_pairs
from prefbench.data.question_files import alpaca_eval_questions, mt_bench_questions
from prefbench.errors import PrefbenchError
from prefbench.streams import stream

FOLDERS = ("model", "base")
FILES = ("pairs_file", "held_out_file", "alpaca_eval_questions", "mt_bench_questions", "mt_bench_references")
HASHES = 2.0**64
"""How many values the hash of a prompt can have; it decides whether the prompt is held out."""


@dataclass
class LocalFiles(Source):
    """Model, pairs and questions from this machine's disk. Paths that a track gives are relative to the track file."""

    name: ClassVar[str] = "local"

    model: str = hyper(dataclasses.MISSING, doc="Hugging Face folder of the model that training starts from, also the reference")
    pairs_file: str = hyper(dataclasses.MISSING, doc="JSONL (.jsonl or .jsonl.gz) of preference pairs in TRL's formats")
    base: str = hyper("", doc="Hugging Face folder of its base model, for the row of that name")
    held_out_file: str = hyper("", doc="JSONL of held-out pairs")
    held_out_share: float = hyper(0.0, low=0.0, high=0.5, doc="share of the prompts of pairs_file that is held out instead, by their hash")
    alpaca_eval_questions: str = hyper("", doc="AlpacaEval's evaluation set, or one like it")
    mt_bench_questions: str = hyper("", doc="MT-Bench's question.jsonl, or one like it")
    mt_bench_references: str = hyper("", doc="reference answers in MT-Bench's format; without it the questions' own")
    columns: tuple[str, ...] = hyper((), doc="numbers of each row that objectives and schedulers may read")
    pairs_per_seed: int = hyper(0, low=0, doc="training pairs that a seed draws; 0 is all of them, in the seed's order")
    noise: float = hyper(0.0, low=0.0, high=0.5, doc="share of a seed's training labels that is flipped; the column flipped has the mask")
    bad_rows: str = hyper("refuse", choices=("refuse", "drop"), doc="what to do when a row is no pair")

    def __post_init__(self) -> None:
        for option in ("model", "pairs_file"):
            if not getattr(self, option):
                raise PrefbenchError(f"local: {option} is empty", "`prefbench show local` says which folder or file is due")
        if self.held_out_file and self.held_out_share:
            raise PrefbenchError("local: held_out_file and held_out_share are both given", "leave one of them out")
        if self.noise and self.columns:
            # A column such as an annotator's score gap would contradict the flipped label, and so give the flips away.
            raise PrefbenchError("local: noise and columns are both given", "leave one of them out: a flipped pair's numbers are not known")

    # ---------------------------------------------------------------- where and what

    @property
    def pair_columns(self) -> tuple[str, ...]:
        """Those that the track names, and which labels were flipped."""
        return (*self.columns, "flipped") if self.noise else self.columns

    def locate(self, folder: Path) -> LocalFiles:
        """A copy whose relative paths are resolved against ``folder``."""
        given: dict[str, str] = {option: getattr(self, option) for option in (*FOLDERS, *FILES)}
        resolved: dict[str, Any] = {option: str((folder / path).absolute()) for option, path in given.items() if path}
        return dataclasses.replace(self, **resolved)

    def identity(self) -> Mapping[str, Any]:
        """The options that are no paths, and a sha256 per file (of its text, unpacked) and per model folder (of weights and tokenizer)."""
        options = {option: value for option, value in self.options().items() if option not in (*FOLDERS, *FILES)}
        texts = {option: text_digest(Path(path)) for option in FILES if (path := getattr(self, option))}
        folders = {option: model_digest(Path(path)) for option in FOLDERS if (path := getattr(self, option))}
        return {**options, "columns": list(self.columns), "sha256": {**texts, **folders}}

    def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
        """Check everything before any cell starts, and report the counts; nothing is written. Raises PrefbenchError for the first fault."""
        for path in self.models().values():
            check_model_folder(path)
        training, held_out = self._split
        if len(training) < max(1, self.pairs_per_seed):
            raise PrefbenchError(
                f"{self.pairs_file}: {len(training)} training pairs, and {max(1, self.pairs_per_seed)} are asked for{self._first_dropped()}",
                "lower pairs_per_seed or held_out_share, or give more pairs",
            )
        asked = [question for harness in ("alpaca_eval", "mt_bench") for question in self.questions(harness)]
        talks = any(not isinstance(pair.prompt, str) for pair in (*training, *held_out))
        if talks or asked:
            check_chat_template(Path(self.model), "prompts" if talks else "questions")
        dropped = ", ".join(f"{len(file.bad)} bad rows of {file.path.name} dropped" for file in self._files if file.bad)
        report(f"local: {len(training)} training pairs, {len(held_out)} held out" + (f"; {dropped}" if dropped else ""))

    def _first_dropped(self) -> str:
        bad = self._files[0].bad
        return next((f"; {len(bad)} bad rows were dropped, the first is row {row} ({reason})" for row, reason in bad.items()), "")

    def models(self) -> Mapping[str, Path]:
        """``sft``, and ``base`` where one is given."""
        return {"sft": Path(self.model)} | ({"base": Path(self.base)} if self.base else {})

    # ---------------------------------------------------------------- pairs and questions

    def pairs(self, seed: int) -> list[Pair]:
        """The seed's own draw from the training pairs, in the seed's order, with the seed's flips."""
        training, _ = self._split
        order = stream(seed, "pairs").permutation(len(training))[: self.pairs_per_seed or None]
        drawn = [training[row] for row in order]
        if not self.noise:
            return drawn
        flipped = set(stream(seed, "noise").permutation(len(drawn))[: round(self.noise * len(drawn))].tolist())
        return [labelled(pair, row in flipped) for row, pair in enumerate(drawn)]

    def held_out(self) -> list[Pair]:
        """The pairs of the held-out file, or those of the prompts that the hash holds out; labels as they stand."""
        return list(self._split[1])

    def questions(self, harness: str) -> Sequence[Question]:
        """The questions of ``alpaca_eval`` and ``mt_bench`` whose files are given; none for any other harness."""
        if harness == "alpaca_eval" and self.alpaca_eval_questions:
            return alpaca_eval_questions(Path(self.alpaca_eval_questions))
        if harness == "mt_bench" and self.mt_bench_questions:
            references = Path(self.mt_bench_references) if self.mt_bench_references else None
            return mt_bench_questions(Path(self.mt_bench_questions), references)
        return ()

    @cached_property
    def _files(self) -> tuple[PairFile, ...]:
        """The pairs file, then the held-out file where there is one; read once."""
        files = tuple(read_pairs(Path(path), self.columns) for path in (self.pairs_file, self.held_out_file) if path)
        for file in files if self.bad_rows == "refuse" else ():
            file.refuse_bad_rows()
        return files

    @cached_property
    def _split(self) -> tuple[list[Pair], list[Pair]]:
        """Training pairs and held-out pairs; no prompt is on both sides."""
        training, *others = (file.pairs for file in self._files)
        if others:
            self._refuse_shared_prompts(training, others[0])
            return list(training), list(others[0])
        sides: tuple[list[Pair], list[Pair]] = ([], [])
        for pair in training:
            sides[is_held_out(pair, self.held_out_share)].append(pair)
        return sides

    def _refuse_shared_prompts(self, training: Sequence[Pair], held_out: Sequence[Pair]) -> None:
        prompts = {content_id(pair.prompt) for pair in held_out}
        shared = sum(content_id(pair.prompt) in prompts for pair in training)
        if shared:
            raise PrefbenchError(
                f"{self.pairs_file}: {shared} training pairs have a prompt of {self.held_out_file}",
                "leave them out of one file, or give one file and held_out_share, which splits by prompt",
            )


def is_held_out(pair: Pair, share: float) -> bool:
    """Whether the hash of the pair's prompt is among the lowest ``share`` of all hashes: the same in every file, on every machine."""
    return int(content_id(pair.prompt), 16) < share * HASHES


def labelled(pair: Pair, flipped: bool) -> Pair:
    """The pair with the column ``flipped``, its answers exchanged where it is 1."""
    chosen, rejected = (pair.rejected, pair.chosen) if flipped else (pair.chosen, pair.rejected)
    return Pair(pair.prompt, chosen, rejected, {**pair.columns, "flipped": float(flipped)})
