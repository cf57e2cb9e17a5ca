"""Columns, harnesses, judges and sources that give other things than were asked for: what needs them fails, with their name and the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from prefbench.store.folder import Folder
from tests.bad_input.place import Bad, Spoil, Told, both, each, edit, put, rows
from tests.bad_input.plugin_files import define, plugin, with_options

LOSS = "def per_pair(self, batch): return -batch.margin"


def column(values: str) -> Spoil:
    """A column with these values, and an objective that needs it."""
    gap = define("Column", "gap", f"def compute(self, context): return {values}")
    return plugin(gap, define("Objective", "mine", 'needs = ("gap",)', LOSS))


def harness(
    collected: str = '[{"id": "a", "x": 1.0}]', judged: str = "rows", values: str = '{"x": {i["id"]: i["x"] for i in items}}'
) -> Spoil:
    """A harness of somebody's own beside the built-in one."""
    own = define(
        "Harness",
        "own",
        f"def collect(self, policy, source): return {collected}",
        f"def judge(self, rows, judge, source, calibration): return {judged}",
        f"def values(self, items): return {values}",
    )
    return both(plugin(own), edit("[[harness]]", '[[harness]]\nname = "own"\n[[harness]]'))


def judge(replies: str) -> Spoil:
    """A judge of somebody's own, asked by AlpacaEval."""
    own = plugin(define("Judge", "own", f"def judge(self, requests): return {replies}"))
    questions = put("q.json", '[{"instruction": "w1"}, {"instruction": "w2"}]')
    share = "held_out_share = 0.3"
    asked = edit(share, f'{share}\nalpaca_eval_questions = "q.json"\n[judge]\nname = "own"', '"held_out"', '"alpaca_eval"')
    return both(own, questions, asked)


def source(pairs: str) -> Spoil:
    """A source of somebody's own: the built-in one with other pairs."""
    own = define("Source", "own", f"def pairs(self, seed): return {pairs}").replace("(Source)", "(Files)")
    return both(plugin("from prefbench.data.files import Files\n", own), edit('name = "files"', 'name = "own"'))


COLUMNS = [
    Bad(
        "column-nan",
        "column 'gap' gave 45 of 45 numbers that are not finite",
        "one finite number per pair",
        column("np.full(len(context.pairs), np.nan)"),
    ),
    Bad("column-too-short", "column 'gap' gave shape (44,)", "", column("np.zeros(len(context.pairs) - 1)")),
    Bad("column-texts", "column 'gap' gave no numbers", "", column('["high"] * len(context.pairs)')),
    Bad("column-none", "column 'gap' gave", "", column("None")),
]
HARNESSES = [
    Bad("ids-twice", "harness own gave the id 'a' twice", "", harness('[{"id": "a", "x": 1.0}] * 2')),
    Bad("ids-missing", "harness own gave a row without an id", "", harness('[{"x": 1.0}]')),
    Bad("numbers-nan", "harness own gave a number that is not finite for 'a'", "", harness('[{"id": "a", "x": float("nan")}]')),
    Bad("judged-nan", "harness own gave a number that is not finite for 'a'", "", harness(judged='[{"id": "a", "x": float("inf")}]')),
    Bad("no-rows", "harness own gave NoneType where a list of rows is due", "", harness("None")),
    Bad("values-nan", "the metric 'x' is nan, and has to be finite", "", harness(values='{"x": {"a": float("nan")}}')),
    Bad("not-json", "harness own gave a row that is no JSON for 'a'", "", harness('[{"id": "a", "x": np.float32(1)}]')),
]
JUDGES = [
    Bad("too-few-replies", "judge 'own' gave 1 replies to 20 requests", "one reply per request", judge('[JudgeReply("m")]')),
    Bad("no-replies", "judge 'own' gave NoneType where a list of replies is due", "one reply per request", judge("None")),
    Bad("texts-instead", "judge 'own' gave 'm' where a JudgeReply with a text is due", "", judge('["m" for _ in requests]')),
    Bad("text-none", "judge 'own' gave JudgeReply(text=None", "", judge("[JudgeReply(None) for _ in requests]")),
]
SOURCES = [
    Bad("no-pairs", "the source has no training pairs", "", source("[]")),
    Bad("pairs-none", "the source gave NoneType where a list of pairs is due", "", source("None")),
    Bad("pairs-no-texts", "the source's training pair 0 is Pair(prompt='w1', chosen=7", "", source('[Pair("w1", 7, "w2")]')),
    Bad("pairs-mappings", "the source's training pair 0 is {'prompt'", "", source(f"{rows(1)!r}")),
]


@each(COLUMNS, HARNESSES, JUDGES, SOURCES)
def test_what_every_cell_needs_is_named_with_its_plugin(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(with_options(bad, "--plugin mine.py" if bad not in COLUMNS else "--plugin mine.py --only mine"))
    assert told.code == 1
    assert any(line.startswith("failed: ") and bad.error in line for line in told.stderr.splitlines())


def test_a_column_that_nobody_has_is_told_before_anything_starts(tell: Callable[[Bad], Told]) -> None:
    told = tell(
        with_options(
            Bad(
                "column-unknown",
                "track.toml: mine with uniform needs the column 'refrence-margin', and there is none of that name",
                "did you mean reference-margin?",
                plugin(define("Objective", "mine", 'needs = ("refrence-margin",)', LOSS)),
            ),
            "--plugin mine.py --only mine",
        )
    )
    assert (told.code, told.changed) == (2, set())


def test_a_column_that_fails_costs_the_cells_that_need_it_and_no_other(tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(COLUMNS[0], "--plugin mine.py --only mine --only dpo --retry-failed --out other"))
    assert told.code == 1
    statuses = {cell: Folder(place / "other").read_record(cell)["status"] for cell in ("mine.uniform.s0", "dpo.uniform.s0")}
    assert statuses == {"mine.uniform.s0": "failed", "dpo.uniform.s0": "done"}


def test_a_harness_need_not_write_its_own_name_into_its_items(tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(Bad("good", "done", "", harness()), "--plugin mine.py"))
    assert told.code == 0
    assert {item["harness"] for item in Folder(place / "run").items("dpo.uniform.s0")} == {"own", "held_out"}
