"""The pages on writing methods: their plugins keep the contracts, their commands run, and their tables are what is printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.config import read_track
from prefbench.registry import load_registry
from prefbench.testing.running import contract_for, run_checks
from tests.bad_input.place import TRACK, good_folder, prefbench
from tests.judges.server import judge_server
from tests.plugin_site import PluginSite

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


# ---------------------------------------------------------------- what a method may ask for


EXAMPLES = blocks("what-a-method-may-ask.md", "python")


@pytest.mark.parametrize("code", EXAMPLES, ids=re.findall(r"class (\w+)", "".join(EXAMPLES)))
def test_what_a_method_may_ask_for_is_shown_with_methods_that_keep_their_contracts(site: PluginSite, tmp_path: Path, code: str) -> None:
    (tmp_path / "example.py").write_text(code)
    registry = load_registry([tmp_path / "example.py"])
    ((kind, _, name),) = [text.partition(" ") for text in registry.rows[-1].provides]
    contract = contract_for(kind, registry.get(kind, name))  # type: ignore[arg-type, call-overload]
    assert [outcome for outcome in run_checks(contract) if outcome.problem] == []


def test_its_track_is_a_track(tmp_path: Path) -> None:
    """With the page's own methods as plugins: a column under a label, and a chain with options for each link."""
    files = [tmp_path / f"example_{number}.py" for number in range(len(EXAMPLES))]
    for file, code in zip(files, EXAMPLES, strict=True):
        file.write_text(code)
    (tables,) = blocks("what-a-method-may-ask.md", "toml")
    rows = '[[grid]]\nmethods = ["prompted-dpo"]\nschedulers = ["easy-first", "easy-and-hard"]\n'
    (tmp_path / "track.toml").write_text(TRACK + tables + rows)
    track = read_track(tmp_path / "track.toml", load_registry(files))
    assert track.columns["long-unseen-loss"].options == {"epochs": 2.0}
    chain = track.schedulers["easy-and-hard"].links
    assert [(link.name, dict(link.options)) for link in chain] == [("selective", {"share": 0.75}), ("loss-ranked", {"ratio": 0.25})]


# ---------------------------------------------------------------- the table of all methods


def test_the_methods_page_has_a_line_for_every_method(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of prefbench and of plugins/, as far as they are installed; renew the page as it says when this fails."""
    ours = {"prefbench", *(path.name for path in (ROOT / "plugins").iterdir())}
    others = {row.distribution for row in load_registry().rows} - ours
    monkeypatch.setenv("PREFBENCH_DISABLE_PLUGINS", ",".join(others))
    assert prefbench("show --format md", monkeypatch) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 20
    assert [line for line in printed if line not in (DOCS / "methods.md").read_text(encoding="utf-8").splitlines()] == []


# ---------------------------------------------------------------- a method of your own


class Reader:
    """Follows a page in an empty folder: types its commands, makes its edits, and compares what it says is printed.

    Three things are not as the page has them, so that this takes seconds and no network: pip's editable installation is imitated, a track
    file of two steps on a tiny model takes the packaged track's place, and its cells run in this process.
    """

    def __init__(self, folder: Path, site: PluginSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.site, self.monkeypatch, self.capsys = folder, site, monkeypatch, capsys
        good_folder(folder)
        (folder / "track.toml").rename(folder / "prefworld.toml")
        (folder / "prefworld.toml").write_text(TRACK.replace('"mini"', '"prefworld"'))
        monkeypatch.chdir(folder)

    def edit(self, code: str) -> None:
        """Put a block of code in the place of the one in the distribution that begins with the same line."""
        first = code.splitlines()[0]
        (file,) = [path for path in (self.folder / "prefbench-my-loss").rglob("*.py") if first in path.read_text()]
        head, _, tail = file.read_text().partition(first)
        file.write_text(head + code + "".join(tail.partition("\n\n\n")[1:]).removeprefix("\n"))

    def type(self, command: str) -> tuple[int, str]:
        """The exit code and what is printed to stdout."""
        match shlex.split(command):
            case ["python", "-m", "pip", "install", "-e", folder]:
                self.site.install_folder(self.folder / folder.partition("[")[0])
                return 0, ""
            case ["python", "-m", "pytest", folder]:
                return self.run_tests(folder)
            case ["prefbench", "run", "prefworld", *options]:
                return self.run_prefbench(["run", "prefworld.toml", "--in-process", *options])
            case ["prefbench", *words]:
                return self.run_prefbench(words)
        raise AssertionError(f"nobody knows how to run {command!r}")

    def run_prefbench(self, words: list[str]) -> tuple[int, str]:
        for name in [name for name in sys.modules if name.startswith("prefbench_my_loss")]:
            del sys.modules[name]  # a process of its own would import the file as it is now
        code = prefbench(shlex.join(words), self.monkeypatch)
        return code, self.capsys.readouterr().out

    def run_tests(self, folder: str) -> tuple[int, str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), folder]), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", folder]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


STEPS = re.compile(r"```(console|python)\n(.*?)```", re.DOTALL)


def test_the_page_on_a_method_of_your_own_from_its_first_command_to_a_row_on_a_board(
    site: PluginSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command succeeds, except that the old formula's values are no longer right; where the page shows a command's output, that is it."""
    monkeypatch.delenv("PREFBENCH_DISABLE_PLUGINS")
    (tmp_path / "reader").mkdir()
    reader = Reader(tmp_path / "reader", site, monkeypatch, capsys)
    failed = []
    for language, block in STEPS.findall((DOCS / "your-own-method.md").read_text(encoding="utf-8")):
        if language == "python":
            reader.edit(block)
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            code, printed = reader.type(command)
            failed += [command] if code else []
            assert shown in ("", printed)
    assert failed == ["python -m pytest prefbench-my-loss"]
    assert "my-loss,uniform,3," in (tmp_path / "reader" / "leaderboards" / "prefworld" / "board.csv").read_text()


# ---------------------------------------------------------------- a model of one's own


def test_the_track_for_a_model_of_ones_own_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a smaller model, and a set of 60 questions of its own."""
    monkeypatch.setenv("JUDGE_KEY", "anything")
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))  # where replies are kept, which another test run would find
    good_folder(tmp_path)
    (tmp_path / "sft").rename(tmp_path / "model")
    questions = [{"instruction": f"w{i % 40} w{i // 40}"} for i in range(60)]
    (tmp_path / "questions.json").write_text(json.dumps(questions))
    (tmp_path / "references.json").write_text(json.dumps([{**row, "output": "w1 w2"} for row in questions]))
    gamed = [f"{model},{i},{sign * (1 + i % 3)},0.5" for model, sign in (("wordy", 1), ("terse", -1)) for i in range(60)]
    (tmp_path / "df_gamed.csv").write_text("\n".join(["model,index,std_delta_len,preference", *gamed]))
    (tmp_path / "instruction_difficulty.csv").write_text("\n".join(["index,instruction_difficulty", *(f"{i},{i % 7}" for i in range(60))]))
    track = blocks("your-own-model.md", "toml")[0]
    with judge_server() as server:
        (tmp_path / "my-track.toml").write_text(track.replace("http://127.0.0.1:8766/v1", server.url))
        monkeypatch.chdir(tmp_path)
        assert prefbench("run my-track.toml --only dpo --seeds 1 --in-process --format json", monkeypatch) == 0
        assert 100 < len(server.calls) <= 120  # a reply that both cells need is asked for once
    board = json.loads(capsys.readouterr().out)
    assert {row["method"]: 0.3 < row["win_rate"] < 0.7 for row in board} == {"dpo": True, "sft": True}  # a coin's
    for row in board:  # with a coin the length control may find that lengths explain nothing, and says so
        assert (row.get("length_controlled_win_rate") is None) == ("cross-validation" in row["refused"])
