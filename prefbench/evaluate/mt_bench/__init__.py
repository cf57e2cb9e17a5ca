"""MT-Bench: two-turn dialogues, each turn graded from 1 to 10 or compared with a baseline's, asked through FastChat's matches and prompts."""

from prefbench.evaluate.mt_bench.averages import by_question
from prefbench.evaluate.mt_bench.harness import MtBench

__all__ = ["MtBench", "by_question"]
