"""All that a plugin author imports: the six kinds of plugin, and the data that they are handed.

This package imports nothing else of prefbench and nothing heavy, so that a plugin that imports it costs nothing until it is used.
"""

from __future__ import annotations

from prefbench.api.column import Column, ColumnContext, TrainedPolicy
from prefbench.api.component import Component, Stateful, hookimpl, hyper
from prefbench.api.harness import Calibration, Fitted, Harness, Items, JudgeLoad, Policy, Sampling
from prefbench.api.judge import Judge, JudgeReply, JudgeRequest, Tariff
from prefbench.api.objective import PAIR_STATISTICS, Objective, PairBatch
from prefbench.api.pairs import Message, Pair, Prompt, Question, content_id
from prefbench.api.scheduler import POOL_STATISTICS, Pool, Scheduler
from prefbench.api.source import Source

__all__ = [
    "PAIR_STATISTICS",
    "POOL_STATISTICS",
    "Calibration",
    "Column",
    "ColumnContext",
    "Component",
    "Fitted",
    "Harness",
    "Items",
    "Judge",
    "JudgeLoad",
    "JudgeReply",
    "JudgeRequest",
    "Message",
    "Objective",
    "Pair",
    "PairBatch",
    "Policy",
    "Pool",
    "Prompt",
    "Question",
    "Sampling",
    "Scheduler",
    "Source",
    "Stateful",
    "Tariff",
    "TrainedPolicy",
    "content_id",
    "hookimpl",
    "hyper",
]
