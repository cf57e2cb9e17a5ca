"""Plugin files that cannot be used, and plugins that give other things than were asked for: exit codes 3 and 1, the other cells go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from prefbench.store.folder import Folder
from tests.bad_input.place import RUN, Bad, Spoil, Told, both, each, edit, put, rows

HEAD = "import numpy as np\nimport torch\nfrom dataclasses import dataclass\nfrom prefbench.api import *\n"
OBJECTIVE = """
@dataclass
class Mine(Objective):
    name = "mine"
    beta: float = hyper(0.1, low=0.0)
    def per_pair(self, batch):
        return -self.beta * batch.margin
"""


def with_options(bad: Bad, options: str) -> Bad:
    """The same input, given with these options of ``prefbench run`` unless it has some."""
    return dataclasses.replace(bad, command=f"{RUN} {options if bad.command == RUN else bad.command}")


def plugin(source: str) -> Spoil:
    """A plugin file."""
    return put("mine.py", HEAD + source)


def hook(returned: str) -> Spoil:
    return plugin(OBJECTIVE + f"\n@hookimpl\ndef prefbench_objectives():\n    return {returned}\n")


UNUSABLE = [
    Bad("syntax-error", "the plugin mine is broken: SyntaxError", "mine.py:5", plugin("def unfinished(:\n")),
    Bad("import-error", "the plugin mine is broken: ModuleNotFoundError: No module named 'trrl'", "mine.py:5", plugin("import trrl\n")),
    Bad("raises-at-import", "the plugin mine is broken: ZeroDivisionError", "mine.py:5", plugin("1 / 0\n")),
    Bad("exits-at-import", "the plugin mine is broken: SystemExit: 4", "mine.py:5", plugin("raise SystemExit(4)\n")),
    Bad(
        "no-python",
        "the plugin mine is broken: ImportError: a plugin file ends in .py",
        "mine.txt",
        put("mine.txt", "beta = 0.1"),
        "--plugin mine.txt",
    ),
    Bad("latin-1", "the plugin mine is broken: SyntaxError", "mine.py", put("mine.py", 'accent = "é"\n'.encode("latin-1"))),
    Bad(
        "empty", "the plugin mine is broken: nothing in it is marked @hookimpl, and it defines no component", "mine.py", put("mine.py", "")
    ),
    Bad("no-dataclass", "Mine is no dataclass: put @dataclass above it", "mine.py", plugin(OBJECTIVE.replace("@dataclass", ""))),
    Bad("no-name", 'Mine has no name: write name = "my-objective" in the class', "mine.py", plugin(OBJECTIVE.replace('name = "mine"', ""))),
    Bad("name-with-slash", "Mine has the name 'my/loss': letters and digits", "mine.py", plugin(OBJECTIVE.replace('"mine"', '"my/loss"'))),
    Bad(
        "name-taken",
        "the name objective dpo is taken: already provided by prefbench",
        "mine.py",
        plugin(OBJECTIVE.replace('"mine"', '"dpo"')),
    ),
    Bad("no-per-pair", "Mine does not define per_pair", "mine.py", plugin(OBJECTIVE.replace("per_pair", "loss"))),
    Bad(
        "default-out-of-range",
        "Mine has a default that it would refuse: beta must be at least 0, not -0.1",
        "mine.py",
        plugin(OBJECTIVE.replace("hyper(0.1", "hyper(-0.1")),
    ),
    Bad(
        "hook-misspelt",
        "prefbench_objective is no hook of prefbench: did you mean prefbench_objectives?",
        "mine.py",
        plugin(OBJECTIVE + "\n@hookimpl\ndef prefbench_objective():\n    return [Mine]\n"),
    ),
    Bad(
        "hook-returns-none",
        "prefbench_objectives must return a list of Objective classes, and there is None instead",
        "mine.py",
        hook("None"),
    ),
    Bad("hook-returns-an-instance", "return the class, not an instance", "mine.py", hook("[Mine()]")),
    Bad("hook-returns-a-function", "must return a list of Objective classes", "mine.py", hook("[len]")),
    Bad(
        "wants-unknown",
        "Picks wants the statistic 'losss', and there is none: did you mean loss?",
        "mine.py",
        plugin(
            '@dataclass\nclass Picks(Scheduler):\n    name = "picks"\n    wants = ("losss",)\n    def select(self, pool, size, rng):\n        return np.arange(size)\n'
        ),
    ),
    Bad(
        "needs-a-text",
        "Mine has needs = 'gap': write a tuple of names",
        "mine.py",
        plugin(OBJECTIVE.replace('name = "mine"', 'name = "mine"\n    needs = "gap"')),
    ),
]


# ---------------------------------------------------------------- what an objective gives


def loss(body: str, *more: str) -> Spoil:
    """An objective whose ``per_pair`` ends with these lines; ``losses`` are good ones."""
    fields = "\n    ".join(more)
    head = f'@dataclass\nclass Mine(Objective):\n    name = "mine"\n    {fields}\n'
    return plugin(f"{head}    def per_pair(self, batch):\n        losses = -batch.margin\n        {body}\n")


OBJECTIVES = [
    Bad(
        "loss-scalar",
        "objective 'mine' returned () where one loss per pair, shape (4,), is due",
        "return the losses unreduced",
        loss("return losses.mean()"),
    ),
    Bad("loss-too-short", "objective 'mine' returned (3,) where one loss per pair", "", loss("return losses[1:]")),
    Bad("loss-column", "objective 'mine' returned (4, 1) where one loss per pair", "", loss("return losses[:, None]")),
    Bad("loss-number", "objective 'mine' returned float where one loss per pair", "", loss("return 0.5")),
    Bad("loss-none", "objective 'mine' returned NoneType where one loss per pair", "", loss("losses")),
    Bad("loss-numpy", "objective 'mine' returned ndarray where one loss per pair", "", loss("return losses.detach().numpy()")),
    Bad(
        "loss-integers",
        "objective 'mine' returned losses of type torch.int64, where floating-point numbers are due",
        "",
        loss("return losses.long()"),
    ),
    Bad("loss-detached", "objective 'mine' returned losses without a gradient", "detach", loss("return losses.detach()")),
    Bad("loss-raises", "KeyError: 'gap'", "", loss('return losses * batch.columns["gap"]')),
    Bad(
        "state-raises", "ValueError: no state", "", loss("return losses", "def update(self, batch):", "    raise ValueError('no state')\n")
    ),
]
DIVERGED = [
    Bad("loss-nan", "Diverged: the loss was nan at step 0", "", loss("return losses * float('nan')")),
    Bad("loss-infinite", "Diverged: the loss was inf at step 0", "", loss("return losses * 0 + float('inf')")),
    Bad("loss-huge", "Diverged: the loss was 1e+06 at step 0", "", loss("return losses * 0 + 1e6")),
]

# ---------------------------------------------------------------- what a scheduler gives


def selection(returned: str, prepared: str = "None") -> Spoil:
    """A scheduler of half the pool."""
    return plugin(
        f'@dataclass\nclass Picks(Scheduler):\n    name = "picks"\n    ratio: float = 0.5\n'
        f"    def prepare(self, columns, size, rng):\n        return {prepared}\n    def select(self, pool, size, rng):\n        return {returned}\n"
    )


PICKS = "where 2 distinct positions in [0, 4) are due"
ORDER = "scheduler 'picks' prepared"
SCHEDULERS = [
    Bad("positions-twice", f"scheduler 'picks' selected [1, 1] {PICKS}", "array of `size` positions", selection("np.array([1, 1])")),
    Bad("positions-out-of-range", f"scheduler 'picks' selected [3, 4] {PICKS}", "", selection("np.array([3, 4])")),
    Bad("positions-negative", f"scheduler 'picks' selected [-1, 0] {PICKS}", "", selection("np.array([-1, 0])")),
    Bad("positions-too-many", f"scheduler 'picks' selected [0, 1, 2] {PICKS}", "", selection("np.arange(3)")),
    Bad("positions-fractions", f"scheduler 'picks' selected [0.4, 1.7] {PICKS}", "", selection("np.array([0.4, 1.7])")),
    Bad("positions-mask", f"scheduler 'picks' selected [True, False] {PICKS}", "", selection("np.array([True, False])")),
    Bad("positions-none", f"scheduler 'picks' selected None {PICKS}", "", selection("None")),
    Bad("positions-pool-ids", f"scheduler 'picks' selected [100, 101] {PICKS}", "", selection("[100, 101]")),
    Bad("order-empty", f"{ORDER} 0 row numbers", "distinct row numbers", selection("np.arange(size)", "np.array([], dtype=int)")),
    Bad("order-too-short", f"{ORDER} 3 row numbers", "distinct row numbers", selection("np.arange(size)", "np.arange(3)")),
    Bad("order-twice", f"{ORDER} 45 row numbers", "distinct row numbers", selection("np.arange(size)", "np.zeros(size, dtype=int)")),
    Bad("order-out-of-range", f"{ORDER} 46 row numbers", "distinct row numbers", selection("np.arange(size)", "np.arange(size + 1)")),
    Bad(
        "order-fractions",
        f"{ORDER} 45 row numbers of type float64",
        "distinct row numbers",
        selection("np.arange(size)", "np.linspace(0, 1, size)"),
    ),
]

# ---------------------------------------------------------------- what columns, harnesses, judges and sources give


def column(body: str) -> Spoil:
    return plugin(
        f'@dataclass\nclass Gap(Column):\n    name = "gap"\n    def compute(self, context):\n        return {body}\n'
        '@dataclass\nclass Mine(Objective):\n    name = "mine"\n    needs = ("gap",)\n    def per_pair(self, batch):\n        return -batch.margin\n'
    )


def harness(
    collected: str = '[{"id": "a", "x": 1.0}]', judged: str = "rows", values: str = '{"x": {i["id"]: i["x"] for i in items}}'
) -> Spoil:
    """A harness of somebody's own beside the built-in one."""
    source = (
        f'@dataclass\nclass Own(Harness):\n    name = "own"\n    def collect(self, policy, source):\n        return {collected}\n'
        f"    def judge(self, rows, judge, source, calibration):\n        return {judged}\n"
        f"    def values(self, items):\n        return {values}\n"
    )
    return both(plugin(source), edit("[[harness]]", '[[harness]]\nname = "own"\n[[harness]]'))


def judge(replies: str) -> Spoil:
    """A judge of somebody's own, asked by AlpacaEval."""
    source = f'@dataclass\nclass Own(Judge):\n    name = "own"\n    def judge(self, requests):\n        return {replies}\n'
    files = both(plugin(source), put("q.json", '[{"instruction": "w1"}, {"instruction": "w2"}]'))
    track = edit(
        "held_out_share = 0.3",
        'held_out_share = 0.3\nalpaca_eval_questions = "q.json"\n[judge]\nname = "own"',
        "[[harness]]",
        '[[harness]]\nname = "alpaca_eval"\n[[harness]]',
    )
    return both(files, track)


def source(pairs: str) -> Spoil:
    """A source of somebody's own: the built-in one with other pairs."""
    code = f'from prefbench.data.local import LocalFiles\n@dataclass\nclass Own(LocalFiles):\n    name = "own"\n    def pairs(self, seed):\n        return {pairs}\n'
    return both(plugin(code), edit('name = "local"', 'name = "own"'))


COLUMNS = [
    Bad(
        "column-unknown",
        "data s0: PrefbenchError: no column is called 'refrence-margin'",
        "did you mean reference-margin?",
        loss("return losses", 'needs = ("refrence-margin",)'),
    ),
    Bad(
        "column-nan",
        "column 'gap' gave shape (45,) or numbers that are not finite, where (45,) is due",
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


# ---------------------------------------------------------------- what is said, and what goes on


@each(UNUSABLE)
def test_a_plugin_file_that_cannot_be_used_is_exit_code_3(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(with_options(bad, "--plugin mine.py"))
    assert told.code == 3
    assert not told.changed


@each(OBJECTIVES)
def test_an_objective_that_breaks_its_contract_costs_its_own_cells(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--only mine --only dpo --plugin mine.py"))
    records = Folder(place / "run").records()
    assert told.code == 1
    assert any(line.startswith("failed: mine.uniform.s0: ") and bad.error in line for line in told.stderr.splitlines())
    assert records["mine.uniform.s0"]["status"] == "failed"
    assert bad.error.split(": ")[-1] in records["mine.uniform.s0"]["error"]["message"]
    assert records["dpo.uniform.s0"]["status"] == "done"


@each(DIVERGED)
def test_a_loss_that_is_no_number_is_a_row_of_its_own_kind_and_no_failure(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--only mine --plugin mine.py"))
    assert told.code == 0
    assert Folder(place / "run").read_record("mine.uniform.s0")["status"] == "diverged"
    assert "mine,uniform" in (place / "run" / "board.csv").read_text()


@each(SCHEDULERS)
def test_a_scheduler_that_breaks_its_contract_costs_its_own_cells(bad: Bad, tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(bad, "--scheduler picks --scheduler uniform --plugin mine.py"))
    records = Folder(place / "run").records()
    assert told.code == 1
    assert f"failed: dpo.picks.s0: PrefbenchError: {bad.error}" in told.stderr
    assert (records["dpo.picks.s0"]["status"], records["dpo.uniform.s0"]["status"]) == ("failed", "done")


@each(COLUMNS, HARNESSES, JUDGES, SOURCES)
def test_what_every_cell_needs_is_named_with_its_plugin(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(with_options(bad, "--plugin mine.py" if bad not in COLUMNS else "--plugin mine.py --only mine"))
    assert told.code == 1
    assert any(line.startswith("failed: ") and bad.error in line for line in told.stderr.splitlines())


def test_a_harness_need_not_write_its_own_name_into_its_items(tell: Callable[[Bad], Told], place: Path) -> None:
    told = tell(with_options(Bad("good", "done", "", harness()), "--plugin mine.py"))
    assert told.code == 0
    assert {item["harness"] for item in Folder(place / "run").items("dpo.uniform.s0")} == {"own", "held_out"}
