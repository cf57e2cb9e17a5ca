"""What a worker keeps warm between cells: the registry, the source, the models, and the data of the last seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from prefbench.api import Calibration, Column, Harness, Judge, JudgeReply, Pair, Source
from prefbench.columns.compute import ColumnValues, Context, column_values, pair_column
from prefbench.columns.reference import ReferenceColumn, reference_column, reference_key
from prefbench.columns.trained import Training
from prefbench.config import Named, Row, resolved
from prefbench.data.content import check_chat_template, trains_beside_the_template
from prefbench.data.tokens import TokenPairs, tokenise_pairs
from prefbench.engine.tasks import Report
from prefbench.errors import PrefbenchError
from prefbench.evaluate.kept_answers import KeptAnswers, Progress
from prefbench.evaluate.policy import ModelPolicy
from prefbench.evaluate.vllm_backend import VllmEngine
from prefbench.identity import CORE_NUMERICS_VERSION, digest
from prefbench.judges.kept import Kept, judgments_of
from prefbench.orders import Site
from prefbench.plan import Planner
from prefbench.registry import did_you_mean, load_registry
from prefbench.store.files import read_packed_json
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.adapters import adapted_layers, fresh_policy
from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest
from prefbench.train.device import device
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import PairData

CALIBRATION_SEED = 1_000_003
"""The seed under which the baseline and the calibration answers are drawn: no cell's seed, so that no policy shares the baseline's luck."""


@dataclass(frozen=True)
class SeedData:
    """The training pairs of a seed, the reference's log-probs of their answers, and a digest of all that a column may read of either."""

    pairs: PairData
    reference: ReferenceColumn
    key: str


def contents(tokens: TokenPairs) -> list[Any]:
    """Of each pair, in an order that is no seed's, what its token ids do not tell: its id, and the numbers that came with it."""
    pairs = [tokens.pairs[row] for row in tokens.canonical_order()]
    return [[pair.id, sorted((name, repr(value)) for name, value in pair.columns.items())] for pair in pairs]


class NoJudge(Judge):
    """Stands where a track names no judge; a harness that asks it anything is told so."""

    name = "none"

    def judge(self, requests: Any) -> list[JudgeReply]:
        """Raises PrefbenchError."""
        raise PrefbenchError("a harness needs a judge, and the track has no [judge] table", "add [judge] with the name of a judge")


class Workshop:
    """Loads everything once per process. Models that are trained are copies; these are not."""

    def __init__(self, site: Site) -> None:
        self.site, self.track = site, site.track
        self.folder = Folder(site.folder)
        self.registry = load_registry(site.plugin_files)
        self.planner = Planner(site.track, self.registry, site.dtype)
        self.source_under = lru_cache(maxsize=None)(self._source_under)
        self.tokens = lru_cache(maxsize=2)(self._tokens)
        self.data = lru_cache(maxsize=2)(self._data)
        self.calibration = lru_cache(maxsize=None)(self._calibration)
        self.report: Report = lambda _: None
        """Told how far the task at hand is; a task sets its own."""
        self._source: Source | None = None
        self._reference_sums: dict[str, np.ndarray] = {}

    def prepare(self, report: Callable[[str], None]) -> None:
        """Make or find what all cells share."""
        source = self.planner.source()
        source.prepare(self.site.cache, report)
        if not self.track.model.chat_template:
            check_chat_template(source, self.track.seeds[0], self.asked)
        self._source = source
        for row in self.track.rows:
            if not row.trained:
                self.model_folder(row.method)
        for condition in dict.fromkeys(row.condition for row in self.track.rows):
            self.source_under(condition)

    @property
    def asked(self) -> list[str]:
        """The names of the track's harnesses."""
        return [named.name for named in self.track.harnesses]

    def remark(self, report: Callable[[str], None]) -> None:
        """Say what is no fault, and may not be meant."""
        if trains_beside_the_template(self.source, self.track.seeds[0], self.asked):
            report("the pairs' prompts are plain text and used as they stand, while the questions go through the chat template")

    @property
    def source(self) -> Source:
        """The track's source, prepared."""
        if self._source is None:
            self.prepare(lambda _: None)
        return cast(Source, self._source)

    def _source_under(self, condition: str) -> Source:
        """The source of a condition's training pairs, prepared. Raises PrefbenchError where its models are others: its rows would not compare."""
        if not condition:
            return self.source
        found = self.planner.source(condition)
        found.prepare(self.site.cache, lambda _: None)
        if found.models() != self.source.models():
            message = f"the condition {condition!r} has other models than the track"
            raise PrefbenchError(message, "a condition changes training pairs; other models are another track")
        return found

    def model_folder(self, role: str) -> Path:
        """The Hugging Face folder of a model that the source brings. Raises PrefbenchError with the roles that there are."""
        models = self.source.models()
        if role not in models:
            raise PrefbenchError(f"the source has no model {role!r}", f"it has {', '.join(models)}; see [trivial] in the track")
        return models[role]

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that every model of the track shares."""
        return load_tokenizer(self.source.models()["sft"], self.track.model)

    @cached_property
    def reference(self) -> Scorer:
        """The model that training starts from, and from which the policy's distance is measured."""
        scorer = self.load_scorer(self.source.models()["sft"])
        if self.track.lora:
            adapted_layers(scorer.model, self.track.lora.targets)  # a name of no layer is told here, and not after a column was computed
        return scorer

    @cached_property
    def reference_weights(self) -> str:
        """sha256 of the reference's weights."""
        return weights_digest(self.source.models()["sft"])

    @cached_property
    def judge(self) -> Judge:
        """The track's judge; one whose replies are bought or slow behind those that are kept in the cache."""
        if self.track.judge is None:
            return NoJudge()
        judge = self.planner.judge(self.track.judge).opened(self.site.account or self.folder.root)
        return Kept(judge, judgments_of(judge, self.site.cache), lambda progress: self.report(progress)) if judge.kept else judge

    @contextmanager
    def asking(self) -> Iterator[Judge]:
        """The judge for the time of some questions; the memory that they took is given back, because training needs it."""
        try:
            yield self.judge
        finally:
            self.judge.release()

    @cached_property
    def harnesses(self) -> dict[str, Harness]:
        """The track's harnesses by name."""
        return self.planner.harnesses()

    def fresh_policy(self, seed: int) -> Scorer:
        """The reference as a policy to be trained: a copy, or adapters over its weights."""
        return fresh_policy(self.reference, self.track.lora, seed)

    def load_scorer(self, folder: Path) -> Scorer:
        """A model folder as a scorer."""
        return make_scorer(load_model(folder, device(), self.track.model), self.site.dtype)

    @contextmanager
    def policy(self, scorer: Scorer, folder: Path, seed: int, progress: Progress) -> Iterator[ModelPolicy]:
        """A model under evaluation, the one of a folder, its draws under ``seed``; what it took to draw answers is given back at the end."""
        engine = None
        if self.track.answers.backend == "vllm":
            engine = VllmEngine(folder, scorer.model, self.site.dtype, self.track.model.trust_remote_code, seed)
        tokens, sums = self.track.train.micro_batch_tokens, self._reference_sums
        policy = ModelPolicy(scorer, self.reference, self.tokenizer, seed, tokens, sums, progress, engine)
        try:
            yield policy
        finally:
            policy.release()

    def _tokens(self, seed: int, condition: str = "") -> TokenPairs:
        source = self.source_under(condition)
        pairs = source.pairs(seed)
        limit = self.track.train.max_length
        tokens = tokenise_pairs(self.tokenizer, pairs, limit, self.track.train.prompt_length)
        if tokens.dropped and self.track.train.over_long == "refuse":
            found = f"{len(tokens.dropped)} of {len(pairs)} training pairs of seed {seed} are longer than {limit} tokens"
            first = source.origin(pairs[tokens.dropped[0]]) or f"number {tokens.dropped[0]}"
            raise PrefbenchError(f"{found}, the first is {first}", 'raise train.max_length, or set train.over_long to "drop" or "truncate"')
        if len(tokens) == 0:
            message = f"no training pair of seed {seed} is left: {len(tokens.dropped)} of {len(pairs)} are longer than {limit} tokens"
            raise PrefbenchError(message, "raise train.max_length in the track")
        return tokens

    def _data(self, seed: int, condition: str = "") -> SeedData:
        tokens = self.tokens(seed, condition)
        budget = self.track.train.micro_batch_tokens
        reference = reference_column(self.reference, self.reference_weights, tokens, budget, self.site.cache, self.report)
        scored = reference_key(self.reference_weights, tokens, self.reference.arithmetic)
        return SeedData(PairData(tokens, *reference.sums()), reference, digest({"reference": scored, "pairs": contents(tokens)}))

    def over_long(self, seed: int, condition: str = "") -> dict[str, tuple[int, ...]]:
        """Which of a seed's pairs were longer than the track allows, by what became of them: ``pairs_dropped``, and where pairs are cut,
        ``prompts_cut`` and ``answers_cut``."""
        tokens = self.tokens(seed, condition)
        cut = {"prompts_cut": tokens.prompts_cut, "answers_cut": tokens.answers_cut} if self.track.train.prompt_length else {}
        return {"pairs_dropped": tokens.dropped, **cut}

    # ---------------------------------------------------------------- columns

    def columns(self, row: Row, seed: int, report: Report = lambda _: None) -> dict[str, ColumnValues]:
        """The columns that a row needs, by label."""
        return {label: self.column(row, seed, label, report) for label in self.planner.columns(row)}

    def row_data(self, row: Row, seed: int, columns: Mapping[str, ColumnValues]) -> PairData:
        """The pairs of a seed with the columns of a row."""
        return dataclasses.replace(
            self.data(seed, row.condition).pairs, columns={label: column.values for label, column in columns.items()}
        )

    def column(self, row: Row, seed: int, label: str, report: Report) -> ColumnValues:
        """A column as a row needs it: with the options of the track's table, else as it came with the pairs, else as its plugin has it."""
        data = self.data(seed, row.condition)
        own = None if label in self.track.columns else pair_column(data.pairs.tokens.pairs, label)
        if own is not None:
            return ColumnValues(own)
        named = self.planner.column(label)
        if named is None:
            raise self._unknown_column(label, data.pairs.tokens.pairs)
        column = cast(Column, self.planner.component("column", named))
        training, needs = self._training(row) if column.uses_objective else None, self.planner.objective(row).needs
        if training and label in needs:
            raise self._read_by_its_own_training(row, label)
        trained_on = {name: self.column(row, seed, name, report).values for name in needs} if training else {}
        context = Context(dataclasses.replace(data.pairs, columns=trained_on), data.reference, self.reference, training, report)
        return column_values(column, self._column_key(row, named, data, training), context, self.site.cache)

    def _training(self, row: Row) -> Training:
        return Training(lambda: self.planner.objective(row), self.planner.learning_rate(row), self.track.train, self.track.lora)

    def _column_key(self, row: Row, named: Named, data: SeedData, training: Training | None) -> str:
        """What a column's values depend on: itself, the pairs and the reference; and where it trains policies, all that decides how."""
        include: dict[str, Any] = {
            "numerics": CORE_NUMERICS_VERSION,
            "column": self.planner.identify("column", named),
            "reference": data.key,
        }
        if training:
            known = {label: self.planner.column(label) for label in self.planner.objective(row).needs}
            include["training"] = {
                "objective": self.planner.identify("objective", self.planner.objective_of(row)),
                "learning_rate": training.learning_rate,
                "rules": resolved(training.rules),
                "lora": resolved(training.lora) if training.lora else None,
                "columns": {label: self.planner.identify("column", found) if found else "of the pairs" for label, found in known.items()},
            }
        return digest(include)

    def _unknown_column(self, label: str, pairs: Sequence[Pair]) -> PrefbenchError:
        """The error for a column that neither a plugin nor the pairs have."""
        known = sorted({*self.registry.names("column"), *self.track.columns, *(pairs[0].columns if pairs else ())})
        hint = did_you_mean(label, known) or f"there are {', '.join(known)}; a method's option may name another"
        return PrefbenchError(f"no column is called {label!r}", hint, exit_code=1)

    def _read_by_its_own_training(self, row: Row, label: str) -> PrefbenchError:
        """The error for a column that would have to be there before the policies that it is computed from."""
        objective = self.planner.objective(row).name
        message = f"column {label!r} trains policies with the objective {objective!r}, which reads it"
        return PrefbenchError(message, f"name another column in the options of {objective}, or give the pairs one", exit_code=1)

    # ---------------------------------------------------------------- calibration

    def _calibration(self, harness: str) -> Calibration:
        """What a harness fixed for this track: from the cache, or made with the reference and cached; its numbers are put into the run folder."""
        key = self._calibration_key(harness)
        path = self.site.cache / "calibration" / f"{key}.json.gz"
        stored = read_or_set_aside(path, read_sealed)
        if stored is None:
            kept = KeptAnswers(path.with_name(f"{key}.answers.jsonl"), key)
            progress = Progress(self.report, kept)
            with self.asking() as judge, self.policy(self.reference, self.source.models()["sft"], CALIBRATION_SEED, progress) as policy:
                made = self.harnesses[harness].calibrate(policy, judge, self.source)
            write_sealed(path, {"texts": dict(made.texts), "numbers": dict(made.numbers)})
            kept.remove()
            stored = read_sealed(path)
        # The folder may hold those of another judge, from before the track was changed.
        if stored["numbers"] and stored["numbers"] != read_or_set_aside(self.folder.artefact_path(harness), read_packed_json):
            self.folder.write_artefact(harness, stored["numbers"])
        return Calibration(stored["texts"], stored["numbers"])

    def _calibration_key(self, harness: str) -> str:
        named = next(named for named in self.track.harnesses if named.key == harness)
        return digest(
            {
                "numerics": CORE_NUMERICS_VERSION,
                "weights": self.reference_weights,
                "source": dict(self.source.identity()),
                "asked": dict(self.source.harness_identity(named.name)),
                "loading": resolved(self.track.model),
                "answers": resolved(self.track.answers),
                "dtype": self.site.dtype,
                "harness": self.planner.identify("harness", named),
                "judge": self.planner.identify("judge", self.track.judge) if self.track.judge else None,
            }
        )
