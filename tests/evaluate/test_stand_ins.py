"""The two libraries import without what they forgot to declare, and leave no trace in the process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import prefbench
from prefbench.evaluate import stand_ins
from prefbench.evaluate.stand_ins import quiet_root, replaced

NAME = "a_module_that_nobody_installs"


@pytest.fixture
def undeclared(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType(NAME)
    monkeypatch.setitem(stand_ins._MAKERS, NAME, lambda: module)
    return module


def test_a_missing_module_has_a_stand_in_and_loses_it_again(undeclared: ModuleType) -> None:
    with stand_ins.stand_ins():
        assert __import__(NAME) is undeclared
        with stand_ins.stand_ins():
            pass
        assert NAME in sys.modules, "an inner block must not take away what the outer one gave"
    assert NAME not in sys.modules


def test_it_goes_away_after_a_failed_import_too(undeclared: ModuleType) -> None:
    with pytest.raises(ImportError), stand_ins.stand_ins():
        raise ImportError
    assert NAME not in sys.modules


def test_an_installed_module_is_never_shadowed(undeclared: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{NAME}.py").write_text("real = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with stand_ins.stand_ins():
        module = __import__(NAME)
    assert module.real
    assert sys.modules.pop(NAME) is module, "a real import stays"


def test_an_imported_module_is_never_shadowed(undeclared: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    own = ModuleType(NAME)
    monkeypatch.setitem(sys.modules, NAME, own)
    with stand_ins.stand_ins():
        assert sys.modules[NAME] is own
    assert sys.modules[NAME] is own


def test_both_libraries_import_in_a_fresh_process_and_leave_it_as_it_was(tmp_path: Path) -> None:
    program = """
import importlib.util, logging, os, sys
from prefbench.evaluate.stand_ins import stand_ins
installed = {name: importlib.util.find_spec(name) is not None for name in ("pkg_resources", "anthropic")}
with stand_ins():
    import alpaca_eval, fastchat.llm_judge.gen_judgment
for name, there in installed.items():
    assert (name in sys.modules) <= there, name
assert logging.getLogger().level == logging.WARNING, logging.getLogger().level
assert not logging.getLogger().handlers
assert alpaca_eval.utils.get_package_version("alpaca_eval") == "0.6.6"
assert not os.listdir(".")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(prefbench.__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_dotenv_file_of_whoever_runs_it_is_not_loaded(tmp_path: Path) -> None:
    dotenv = pytest.importorskip("dotenv", reason="only alpaca-eval asks for python-dotenv")
    (tmp_path / ".env").write_text("PREFBENCH_TEST_SECRET=1\n")
    with stand_ins.stand_ins():
        assert not dotenv.load_dotenv(tmp_path / ".env")
    assert dotenv.dotenv_values(tmp_path / ".env") == {"PREFBENCH_TEST_SECRET": "1"}


def test_only_the_root_loggers_own_records_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    handlers, filters = list(logging.getLogger().handlers), list(logging.getLogger().filters)
    with quiet_root():
        logging.warning("of a library that logs on the root")
        logging.getLogger("judge").warning("of a judge")
    assert [record.message for record in caplog.records] == ["of a judge"]
    assert (logging.getLogger().handlers, logging.getLogger().filters) == (handlers, filters)


def test_quiet_logging_installs_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    with quiet_root():
        logging.info("this call alone would install a handler for good")
    assert root.handlers == []


def test_replaced_attributes_come_back_after_an_error() -> None:
    module = ModuleType("some")
    module.value = 1  # type: ignore[attr-defined]

    def fail_with(**attributes: int) -> None:
        with replaced(module, **attributes):
            raise ZeroDivisionError(module.value)

    with pytest.raises(ZeroDivisionError, match="2"):
        fail_with(value=2)
    assert module.value == 1
    with pytest.raises(AttributeError, match="misspelt"):
        fail_with(misspelt=2)
