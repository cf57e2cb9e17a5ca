"""What a worker keeps warm between cells: the registry, the source, the models, and the data of the last seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from prefbench.api import Calibration, Column, Harness, Judge, JudgeReply, Objective, Scheduler, Source
from prefbench.columns.compute import Context, column_values, pair_column
from prefbench.columns.reference import reference_column, reference_key
from prefbench.config import UNTRAINED, Named, Track
from prefbench.data.tokens import tokenise_pairs
from prefbench.engine.tasks import Report
from prefbench.errors import PrefbenchError
from prefbench.evaluate.policy import ModelPolicy
from prefbench.identity import CORE_NUMERICS_VERSION, digest
from prefbench.plan import Planner
from prefbench.registry import load_registry
from prefbench.store.files import read_packed_json
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest
from prefbench.train.device import device
from prefbench.train.forward import Scorer, make_scorer
from prefbench.train.job import PairData

CALIBRATION_SEED = 1_000_003
"""The seed under which the baseline and the calibration answers are drawn: no cell's seed, so that no policy shares the baseline's luck."""


@dataclass(frozen=True)
class Site:
    """Where a run happens: its track, its plugin files, its folder, the cache, and the compute dtype."""

    track: Track
    plugin_files: tuple[Path, ...]
    folder: Path
    cache: Path
    dtype: str


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
        self.data = lru_cache(maxsize=2)(self._data)
        self.calibration = lru_cache(maxsize=None)(self._calibration)
        self._source: Source | None = None
        self._reference_sums: dict[str, np.ndarray] = {}

    def prepare(self, report: Callable[[str], None]) -> None:
        """Make or find what all cells share."""
        source = self.planner.source()
        source.prepare(self.site.cache, report)
        self._source = source
        for row in self.track.rows:
            if row.scheduler == UNTRAINED:
                self.model_folder(row.method)

    @property
    def source(self) -> Source:
        """The track's source, prepared."""
        if self._source is None:
            self.prepare(lambda _: None)
        return cast(Source, self._source)

    def model_folder(self, role: str) -> Path:
        """The Hugging Face folder of a model that the source brings. Raises PrefbenchError with the roles that there are."""
        models = self.source.models()
        if role not in models:
            raise PrefbenchError(f"the source has no model {role!r}", f"it has {', '.join(models)}; see [trivial] in the track")
        return models[role]

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that every model of the track shares."""
        return load_tokenizer(self.source.models()["sft"])

    @cached_property
    def reference(self) -> Scorer:
        """The model that training starts from, and from which the policy's distance is measured."""
        return make_scorer(load_model(self.source.models()["sft"], device()), self.site.dtype)

    @cached_property
    def reference_weights(self) -> str:
        """sha256 of the reference's weights."""
        return weights_digest(self.source.models()["sft"])

    @cached_property
    def judge(self) -> Judge:
        """The track's judge."""
        return cast(Judge, self.planner.component("judge", self.track.judge)) if self.track.judge else NoJudge()

    @cached_property
    def harnesses(self) -> dict[str, Harness]:
        """The track's harnesses by name."""
        return self.planner.harnesses()

    def fresh_policy(self) -> Scorer:
        """A copy of the reference, to be trained."""
        model = copy.deepcopy(self.reference.model)
        return Scorer(model, self.reference.dtype, self.reference.split_head)

    def load_scorer(self, folder: Path) -> Scorer:
        """A model folder as a scorer."""
        return make_scorer(load_model(folder, device()), self.site.dtype)

    def policy(self, scorer: Scorer, seed: int, report: Report = lambda _: None) -> ModelPolicy:
        """A model under evaluation, its draws under ``seed``."""
        return ModelPolicy(scorer, self.reference, self.tokenizer, seed, self.track.train.micro_batch_tokens, self._reference_sums, report)

    def _data(self, seed: int) -> PairData:
        pairs = self.source.pairs(seed)
        tokens = tokenise_pairs(self.tokenizer, pairs, self.track.train.max_length)
        if len(tokens) == 0:
            limit = self.track.train.max_length
            message = f"no training pair of seed {seed} is left: {len(tokens.dropped)} of {len(pairs)} are longer than {limit} tokens"
            raise PrefbenchError(message, "raise train.max_length in the track")
        reference = reference_column(self.reference, self.reference_weights, tokens, self.track.train.micro_batch_tokens, self.site.cache)
        key = reference_key(self.reference_weights, tokens, self.site.dtype)
        context = Context(tokens, reference)
        columns = {name: self._column(name, context, key) for name in self._needed_columns()}
        return PairData(tokens, *reference.sums(), columns)

    def _needed_columns(self) -> list[str]:
        names: list[str] = []
        for row in self.track.rows:
            if row.method in self.track.methods:
                names += cast(Objective, self.planner.component("objective", self.track.methods[row.method].objective)).needs
            if row.scheduler in self.track.schedulers:
                names += cast(Scheduler, self.planner.component("scheduler", self.track.schedulers[row.scheduler].scheduler)).needs
        return sorted(set(names))

    def _column(self, name: str, context: Context, key: str) -> np.ndarray:
        own = pair_column(context.pairs, name)
        if own is not None:
            return own
        column = cast(Column, self.planner.component("column", Named(name)))
        return column_values(column, self.planner.identify("column", Named(name))["origin"], context, key, self.site.cache)

    # ---------------------------------------------------------------- calibration

    def _calibration(self, harness: str) -> Calibration:
        """What a harness fixed for this track: from the cache, or made with the reference and cached; its numbers are put into the run folder."""
        path = self.site.cache / "calibration" / f"{self._calibration_key(harness)}.json.gz"
        stored = read_or_set_aside(path, read_sealed)
        if stored is None:
            made = self.harnesses[harness].calibrate(self.policy(self.reference, CALIBRATION_SEED), self.judge, self.source)
            write_sealed(path, {"texts": dict(made.texts), "numbers": dict(made.numbers)})
            stored = read_sealed(path)
        # The folder may hold those of another judge, from before the track was changed.
        if stored["numbers"] and stored["numbers"] != read_or_set_aside(self.folder.artefact_path(harness), read_packed_json):
            self.folder.write_artefact(harness, stored["numbers"])
        return Calibration(stored["texts"], stored["numbers"])

    def _calibration_key(self, harness: str) -> str:
        named = next(named for named in self.track.harnesses if named.name == harness)
        return digest(
            {
                "numerics": CORE_NUMERICS_VERSION,
                "weights": self.reference_weights,
                "source": dict(self.source.identity()),
                "dtype": self.site.dtype,
                "harness": self.planner.identify("harness", named),
                "judge": self.planner.identify("judge", self.track.judge) if self.track.judge else None,
            }
        )
