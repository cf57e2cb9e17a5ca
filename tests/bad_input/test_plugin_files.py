"""Plugin files that cannot be used: exit code 3, with the reason and the line, before anything starts."""

from __future__ import annotations

from collections.abc import Callable

from tests.bad_input.place import Bad, Spoil, Told, each, put
from tests.bad_input.plugin_files import define, plugin, with_options

OBJECTIVE = """
@dataclass
class Mine(Objective):
    name = "mine"
    beta: float = hyper(0.1, low=0.0)
    def per_pair(self, batch):
        return -self.beta * batch.margin
"""


def hook(returned: str) -> Spoil:
    """A good objective, and what its hook returns."""
    return plugin(OBJECTIVE, f"\n@hookimpl\ndef prefbench_objectives():\n    return {returned}\n")


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
        "MyScheduler wants the statistic 'losss', and there is none: did you mean loss?",
        "mine.py",
        plugin(define("Scheduler", "picks", 'wants = ("losss",)', "def select(self, pool, size, rng): return np.arange(size)")),
    ),
    Bad(
        "needs-a-text",
        "Mine has needs = 'gap': write a tuple of names",
        "mine.py",
        plugin(OBJECTIVE.replace('name = "mine"', 'name = "mine"\n    needs = "gap"')),
    ),
]


@each(UNUSABLE)
def test_a_plugin_file_that_cannot_be_used_is_exit_code_3(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(with_options(bad, "--plugin mine.py"))
    assert told.code == 3
    assert not told.changed
