"""``prefbench score``: a command per benchmark that scores outputs and judgments made elsewhere."""

from __future__ import annotations

import typer

from prefbench.cli.score_alpaca_eval import alpaca_eval
from prefbench.cli.score_mt_bench import mt_bench

score = typer.Typer(help="Score existing outputs or judgments: nothing is trained.", no_args_is_help=True, rich_markup_mode=None)
score.command("alpaca-eval")(alpaca_eval)
score.command("mt-bench")(mt_bench)
