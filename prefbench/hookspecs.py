"""The hooks through which a plugin, a stranger's or a built-in one, hands its classes to prefbench, each with a complete example.

A plugin is a module with at least one of these functions, marked ``@hookimpl``. A distribution names the module in its entry-point group
``prefbench``; a single file needs no packaging: ``--plugin my_loss.py``. Each hook takes no argument and returns a list of classes, all of
them dataclasses with a ``name``. Every example below is a whole plugin file.
"""

from __future__ import annotations

import pluggy

from prefbench.api import Column, Harness, Judge, Objective, Scheduler, Source

hookspec = pluggy.HookspecMarker("prefbench")


@hookspec
def prefbench_objectives() -> list[type[Objective]]:  # type: ignore[empty-body]
    """Preference losses.

    Example::

        from dataclasses import dataclass

        import torch

        from prefbench.api import Objective, PairBatch, hookimpl, hyper


        @dataclass
        class SquaredMargin(Objective):
            \"\"\"(target - beta * margin)^2 per pair.\"\"\"

            name = "squared-margin"
            source = "nobody's paper: an example"
            beta: float = hyper(0.1, low=1e-6, doc="strength of the pull towards the reference")
            target: float = hyper(1.0, doc="where the scaled margin is to settle")

            def per_pair(self, batch: PairBatch) -> torch.Tensor:
                return (self.target - self.beta * batch.margin) ** 2


        @hookimpl
        def prefbench_objectives() -> list[type[Objective]]:
            return [SquaredMargin]
    """


@hookspec
def prefbench_schedulers() -> list[type[Scheduler]]:  # type: ignore[empty-body]
    """Rules that choose which pairs of a pool are trained on.

    Example::

        from dataclasses import dataclass

        import numpy as np

        from prefbench.api import Pool, Scheduler, hookimpl, hyper


        @dataclass
        class SmallestMargin(Scheduler):
            \"\"\"The pairs whose chosen and rejected answers the policy tells apart least.\"\"\"

            name = "smallest-margin"
            wants = ("margin",)
            ratio: float = hyper(0.5, low=0.0, high=1.0, doc="share of the pool that is trained on")

            def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
                return np.argsort(np.abs(pool.statistics["margin"]), kind="stable")[:size]


        @hookimpl
        def prefbench_schedulers() -> list[type[Scheduler]]:
            return [SmallestMargin]
    """


@hookspec
def prefbench_columns() -> list[type[Column]]:  # type: ignore[empty-body]
    """Numbers per pair, computed once before training.

    Example::

        from dataclasses import dataclass

        import numpy as np

        from prefbench.api import Column, ColumnContext, hookimpl


        @dataclass
        class LengthGap(Column):
            \"\"\"Tokens of the chosen answer minus tokens of the rejected one.\"\"\"

            name = "length-gap"

            def compute(self, context: ColumnContext) -> np.ndarray:
                gaps = [len(chosen) - len(rejected) for chosen, rejected in zip(context.chosen_ids, context.rejected_ids, strict=True)]
                return np.array(gaps, dtype=np.float64)


        @hookimpl
        def prefbench_columns() -> list[type[Column]]:
            return [LengthGap]
    """


@hookspec
def prefbench_harnesses() -> list[type[Harness]]:  # type: ignore[empty-body]
    """Evaluations: questions in, judged items out.

    Example::

        from collections.abc import Mapping
        from dataclasses import dataclass
        from typing import Any

        from prefbench.api import Calibration, Harness, Items, Judge, Policy, Sampling, Source, hookimpl, hyper


        @dataclass
        class Brevity(Harness):
            \"\"\"Share of greedy answers of at most ``limit`` characters. It asks no judge.\"\"\"

            name = "brevity"
            limit: int = hyper(100, low=1, doc="longest answer that counts as brief, in characters")

            def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
                questions = source.questions(self.name)
                answers = policy.answer(questions, [Sampling(temperature=0.0)] * len(questions), self.name)
                return [{"id": question.id, "length": len(turns[0])} for question, turns in zip(questions, answers, strict=True)]

            def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
                return [{"id": row["id"], "brief": int(row["length"] <= self.limit)} for row in rows]

            def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
                return {"brief": {item["id"]: float(item["brief"]) for item in items}}


        @hookimpl
        def prefbench_harnesses() -> list[type[Harness]]:
            return [Brevity]
    """


@hookspec
def prefbench_judges() -> list[type[Judge]]:  # type: ignore[empty-body]
    """Givers of verdicts.

    Example::

        from collections.abc import Sequence
        from dataclasses import dataclass

        from prefbench.api import Judge, JudgeReply, JudgeRequest, hookimpl


        @dataclass
        class ShortestAnswer(Judge):
            \"\"\"Prefers the shorter answer, and is sure of it.\"\"\"

            name = "shortest-answer"

            def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
                return [self.verdict(request) for request in requests]

            def verdict(self, request: JudgeRequest) -> JudgeReply:
                lengths = [sum(map(len, turns)) for turns in request.answers]
                best = lengths.index(min(lengths))
                log_probs = {choice: 0.0 if place == best else -100.0 for place, choice in enumerate(request.choices)}
                return JudgeReply(text=request.choices[best] if request.choices else str(best), log_probs=log_probs or None)


        @hookimpl
        def prefbench_judges() -> list[type[Judge]]:
            return [ShortestAnswer]
    """


@hookspec
def prefbench_sources() -> list[type[Source]]:  # type: ignore[empty-body]
    """Places where models, pairs and questions come from.

    Example::

        from collections.abc import Callable, Mapping, Sequence
        from dataclasses import dataclass
        from pathlib import Path
        from typing import Any

        from prefbench.api import Pair, Question, Source, hookimpl, hyper


        @dataclass
        class Sums(Source):
            \"\"\"Small sums: the right result is preferred to one that is off by one.\"\"\"

            name = "sums"
            model: str = hyper("", doc="folder of the model that training starts from")
            size: int = hyper(90, low=20, high=200, doc="how many training pairs")

            def identity(self) -> Mapping[str, Any]:
                return {"source": self.name, "size": self.size}

            def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
                report("sums need no preparation")

            def models(self) -> Mapping[str, Path]:
                return {"sft": Path(self.model)}

            def pairs(self, seed: int) -> Sequence[Pair]:
                return [self.pair(number) for number in range(self.size)]

            def held_out(self) -> Sequence[Pair]:
                return [self.pair(number) for number in range(self.size, self.size + 10)]

            def questions(self, harness: str) -> Sequence[Question]:
                return [Question(id=f"sum-{number}", turns=(f"{number}+1=",)) for number in range(300, 310)]

            def pair(self, number: int) -> Pair:
                return Pair(prompt=f"{number}+1=", chosen=str(number + 1), rejected=str(number + 2))


        @hookimpl
        def prefbench_sources() -> list[type[Source]]:
            return [Sums]
    """
