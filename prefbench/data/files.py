"""The source ``files``: a Hugging Face model, preference pairs and questions, from this machine's disk, the hub or the web."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api import Pair, Question, Source, content_id, hyper
from prefbench.data.content import check_model_folder, file_identity, model_identity
from prefbench.data.formats import AUTO, FORMATS
from prefbench.data.locations import fetch_file, fetch_model, is_remote, located, refuse_web_model
from prefbench.data.overlap import SHARED, WORDS, near_duplicates
from prefbench.data.preference_files import PairFile, first_pair, read_pairs
from prefbench.data.question_files import alpaca_eval_questions, mt_bench_questions
from prefbench.data.rows import Table
from prefbench.data.splits import is_held_out, labelled
from prefbench.errors import PrefbenchError, shortened
from prefbench.identity import digest
from prefbench.store.files import write_json
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.streams import stream

MODELS = ("model", "base")
PAIRS = ("pairs_file", "held_out_file")
QUESTIONS = {
    "alpaca_eval": "alpaca_eval_questions",
    "alpaca_eval_1": "alpaca_eval_questions",
    "mt_bench": "mt_bench_questions",
    "validation": "validation_questions",
}
"""The option that has a harness's questions."""
HARNESS_FILES = {
    "alpaca_eval": {"references": "alpaca_eval_references", "difficulty": "alpaca_eval_difficulty", "gamed": "alpaca_eval_gamed"},
    "alpaca_eval_1": {"references": "alpaca_eval_1_references"},
    "mt_bench": {"judge_prompts": "mt_bench_prompts", "baseline": "mt_bench_baseline"},
}
"""The options that have the other files that a harness reads, by the harness's names for them."""
JUDGED_WITH = {"mt_bench": {"references": "mt_bench_references"}}
"""Files that are read into the questions, and that the judge alone sees: another one asks the model nothing again."""
LOCATIONS = (
    *MODELS,
    *PAIRS,
    *dict.fromkeys(QUESTIONS.values()),
    *(option for files in (HARNESS_FILES, JUDGED_WITH) for options in files.values() for option in options.values()),
)


@dataclass
class Files(Source):
    """Model, pairs and questions from this machine's disk, the hub or the web. Paths that a track gives are relative to the track file."""

    name: ClassVar[str] = "files"

    model: str = hyper(
        dataclasses.MISSING, doc="model that training starts from, also the reference: a Hugging Face folder or hf://OWNER/NAME@REVISION"
    )
    pairs_file: str = hyper(
        dataclasses.MISSING, doc="preference pairs: JSON, JSONL, CSV, Parquet, a folder, or hf://datasets/OWNER/NAME@REVISION"
    )
    base: str = hyper("", doc="its base model, for the row of that name")
    held_out_file: str = hyper("", doc="held-out pairs")
    pairs_config: str = hyper("", doc="configuration of the data set in pairs_file")
    pairs_split: str = hyper("", doc="split of the data set in pairs_file that is trained on; train where none is named")
    held_out_split: str = hyper("", doc="split of held-out pairs: of held_out_file, or where that is not given of pairs_file")
    pairs_format: str = hyper(AUTO, choices=(AUTO, *FORMATS), doc="shape of the rows; auto tells it from them")
    columns: tuple[str, ...] = hyper(
        (), doc="numbers of each row that objectives and schedulers may read, besides those that the format brings"
    )
    pairs_per_seed: int = hyper(0, low=0, doc="training pairs that a seed draws; 0 is all of them, in the seed's order")
    noise: float = hyper(0.0, low=0.0, high=0.5, doc="share of a seed's training labels that is flipped; the column flipped has the mask")
    bad_rows: str = hyper("refuse", choices=("refuse", "drop"), doc="what to do when a row is no pair")
    held_out_share: float = hyper(0.0, low=0.0, high=0.5, doc="share of the prompts of pairs_file that is held out instead, by their hash")
    alpaca_eval_questions: str = hyper("", doc="AlpacaEval's evaluation set, or one like it")
    alpaca_eval_references: str = hyper("", doc="AlpacaEval 2's reference outputs")
    alpaca_eval_difficulty: str = hyper("", doc="AlpacaEval 2's instruction_difficulty.csv")
    alpaca_eval_gamed: str = hyper("", doc="AlpacaEval 2's df_gamed.csv")
    alpaca_eval_1_references: str = hyper("", doc="AlpacaEval 1's reference outputs")
    validation_questions: str = hyper("", doc="prompts that settings are chosen by, in the form of AlpacaEval's evaluation set")
    mt_bench_questions: str = hyper("", doc="MT-Bench's question.jsonl, or one like it")
    mt_bench_references: str = hyper("", doc="reference answers in MT-Bench's format; without it the questions' own")
    mt_bench_prompts: str = hyper("", doc="MT-Bench's judge_prompts.jsonl")
    mt_bench_baseline: str = hyper("", doc="answers of the model that MT-Bench's pairwise mode compares with, in its format")

    def __post_init__(self) -> None:
        for option in ("model", "pairs_file"):
            if not getattr(self, option):
                raise PrefbenchError(f"files: {option} is empty", "`prefbench show files` says which folder, file or location is due")
        for option in MODELS:
            refuse_web_model(getattr(self, option))
        other = next((option for option in ("held_out_file", "held_out_split") if getattr(self, option)), "")
        if other and self.held_out_share:
            raise PrefbenchError(f"files: {other} and held_out_share are both given", "leave one of them out")
        if self.noise and self.columns:
            # A column such as an annotator's score gap would contradict the flipped label, and so give the flips away.
            raise PrefbenchError("files: noise and columns are both given", "leave one of them out: a flipped pair's numbers are not known")

    # ---------------------------------------------------------------- where and what

    @property
    def pair_columns(self) -> tuple[str, ...] | None:
        """Which labels were flipped, where some are; else the columns of the first pair, or None where it takes a network to see that one."""
        if self.noise:
            return ("flipped",)
        if is_remote(self.pairs_file):
            return None
        try:
            pair = first_pair(self.tables[0], self.columns, self.pairs_format)
        except PrefbenchError:
            return None  # ``prepare`` says what is wrong with the file
        return tuple(pair.columns) if pair else None

    def locate(self, folder: Path) -> Files:
        """A copy whose relative paths are resolved against ``folder``."""
        resolved: dict[str, Any] = {option: located(getattr(self, option), folder) for option in LOCATIONS}
        return dataclasses.replace(self, **resolved)

    def identity(self) -> Mapping[str, Any]:
        """The options that decide the pairs, and what models and pairs hold: hub locations as they stand, of all else a sha256."""
        options = {option: value for option, value in self.options().items() if option not in LOCATIONS}
        if self.pairs_format == AUTO:
            del options["pairs_format"]  # which the rows decide
        models = {option: model_identity(location) for option in MODELS if (location := getattr(self, option))}
        pairs = {option: file_identity(location) for option in PAIRS if (location := getattr(self, option))}
        return {**options, "columns": list(self.columns), "contents": {**models, **pairs}}

    def harness_identity(self, harness: str) -> Mapping[str, Any]:
        """What a harness's questions and its other files hold, as in ``identity``.

        Of a harness that is not known by name all questions and files: it can only ask for those of the others.
        """
        asked = [harness] if harness in QUESTIONS else list(QUESTIONS)
        files = [option for known in asked for group in (HARNESS_FILES, JUDGED_WITH) for option in group.get(known, {}).values()]
        found = {"questions": [QUESTIONS[known] for known in asked], "files": files}
        return {kind: {option: file_identity(at) for option in options if (at := getattr(self, option))} for kind, options in found.items()}

    def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
        """Fetch and check everything before any cell starts, and report the counts. Raises PrefbenchError for the first fault.

        Bad rows are listed in a file under ``cache``, near-duplicates of questions are looked for once.
        """
        for path in self.models().values():
            check_model_folder(path)
        for file in self._files if self.bad_rows == "refuse" else ():
            file.refuse_bad_rows(str(self._list_bad_rows(file, cache)))
        training = self._split[0]
        if len(training) < max(1, self.pairs_per_seed):
            raise PrefbenchError(
                f"{self.pairs_file}: {len(training)} training pairs, and {max(1, self.pairs_per_seed)} are asked for{self._first_dropped()}",
                "lower pairs_per_seed or held_out_share, or give more pairs",
            )
        for harness in HARNESS_FILES:
            self.files(harness)
        for line in self.describe(cache):
            report(f"files: {line}")

    def describe(self, cache: Path) -> list[str]:
        """Counts and format, bad rows by reason, and questions that are nearly training prompts. Raises PrefbenchError for what cannot be read."""
        training, held_out = self._split
        formats = " and ".join(dict.fromkeys(file.format for file in self._files))
        found = [f"{counted(len(training), 'training pair')}, {len(held_out)} held out, format {formats}"]
        fate = {"drop": "dropped", "refuse": "refused"}[self.bad_rows]
        for file in self._files:
            if file.bad:
                reasons = ", ".join(f"{count} {reason}" for reason, count in file.reasons.items())
                rows = counted(len(file.bad), "bad row")
                found.append(f"{rows} of {file.table.name} {fate}: {reasons}; listed in {self._list_bad_rows(file, cache)}")
        threshold = f"{SHARED:.0%} or more of their {WORDS}-word sequences are in one prompt"
        for harness, ids in self._near_duplicates(cache).items():
            if ids:
                first = next(shortened(question.turns[0]) for question in self.questions(harness) if question.id == ids[0])
                found.append(
                    f"{counted(len(ids), 'question')} of {harness} nearly in the training prompts ({threshold}), the first is {first}"
                )
        return found

    def _list_bad_rows(self, file: PairFile, cache: Path) -> Path:
        listed = {"location": file.table.location, "rows": {str(row): reason for row, reason in file.bad.items()}}
        path = cache / "bad_rows" / f"{digest(listed)[:16]}.json"
        if file.bad and not path.exists():
            write_json(path, listed)
        return path

    def _first_dropped(self) -> str:
        bad = self._files[0].bad
        return next((f"; {len(bad)} bad rows were dropped, the first is row {row} ({reason})" for row, reason in bad.items()), "")

    def _near_duplicates(self, cache: Path) -> dict[str, list[str]]:
        """The ids of each harness's questions that a training prompt nearly repeats; kept in the cache."""
        asked = {
            harness: {question.id: question.turns[0] for question in self.questions(harness)} for harness in ("alpaca_eval", "mt_bench")
        }
        key = digest({"source": dict(self.identity()), "asked": asked, "words": WORDS, "shared": SHARED})
        path = cache / "overlap" / f"{key}.json"
        kept = read_or_set_aside(path, read_sealed)
        if kept is None:
            prompts = [pair.prompt for pair in self._split[0]]
            kept = {harness: near_duplicates(prompts, texts) for harness, texts in asked.items() if texts}
            write_sealed(path, kept)
        return kept

    def models(self) -> Mapping[str, Path]:
        """``sft``, and ``base`` where one is given."""
        return {"sft": fetch_model(self.model)} | ({"base": fetch_model(self.base)} if self.base else {})

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
        """The held-out pairs of their own file or split, or those of the prompts that the hash holds out; labels as they stand."""
        return list(self._split[1])

    def origin(self, pair: Pair) -> str:
        """The name of its file and its row number."""
        return self._origins.get(pair.id) or self._origins.get(Pair(pair.prompt, pair.rejected, pair.chosen).id, "")  # a flipped one

    @cached_property
    def _origins(self) -> dict[str, str]:
        return {pair.id: f"{file.table.name} row {row}" for file in self._files for row, pair in zip(file.rows, file.pairs, strict=True)}

    def questions(self, harness: str) -> Sequence[Question]:
        """The questions of ``alpaca_eval``, ``alpaca_eval_1``, ``validation`` and ``mt_bench`` whose files are given; none for any other harness."""
        location = getattr(self, QUESTIONS[harness]) if harness in QUESTIONS else ""
        if not location:
            return ()
        if harness == "mt_bench":
            references = fetch_file(self.mt_bench_references) if self.mt_bench_references else None
            return mt_bench_questions(fetch_file(location), references)
        return alpaca_eval_questions(fetch_file(location))

    def files(self, harness: str) -> Mapping[str, Path]:
        """The harness's other files that are given: ``references``, ``difficulty``, ``gamed``, ``judge_prompts``, ``baseline``."""
        options = HARNESS_FILES.get(harness, {})
        return {name: fetch_file(location) for name, option in options.items() if (location := getattr(self, option))}

    @property
    def tables(self) -> tuple[Table, ...]:
        """Training pairs, then held-out pairs where they are apart."""
        training = Table(self.pairs_file, self.pairs_config, self.pairs_split)
        if self.held_out_file:
            return training, Table(self.held_out_file, "", self.held_out_split)
        return (training, dataclasses.replace(training, split=self.held_out_split)) if self.held_out_split else (training,)

    @cached_property
    def _files(self) -> tuple[PairFile, ...]:
        """The tables, read once. A training pair whose prompt is held out is refused, or is a bad row."""
        files = tuple(read_pairs(table, self.columns, self.pairs_format) for table in self.tables)
        if len(files) == 1:
            return files
        training, held_out = files
        apart = training.without({content_id(pair.prompt) for pair in held_out.pairs}, "its prompt is held out")
        shared = len(training.pairs) - len(apart.pairs)
        if shared and self.bad_rows == "refuse":
            raise PrefbenchError(
                f"{self.pairs_file}: {shared} training pairs have a prompt of {held_out.table.name}",
                'leave them out with bad_rows = "drop", or give one file and held_out_share, which splits by prompt',
            )
        return apart, held_out

    @cached_property
    def _split(self) -> tuple[list[Pair], list[Pair]]:
        """Training pairs and held-out pairs; no prompt is on both sides."""
        training, *others = (file.pairs for file in self._files)
        if others:
            return list(training), list(others[0])
        sides: tuple[list[Pair], list[Pair]] = ([], [])
        for pair in training:
            sides[is_held_out(pair, self.held_out_share)].append(pair)
        return sides


def counted(count: int, noun: str) -> str:
    """A count with its noun, in the plural unless it is one."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
