"""A plugin that is one file: the shortest way from an idea to a row on the board."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.registry import build, load_registry
from tests.plugin_site import LOSS, PLUGIN, PluginSite, line_with


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my_loss.py"


@pytest.mark.parametrize("source", [LOSS, PLUGIN])
def test_with_hooks_or_without(site: PluginSite, file: Path, source: str) -> None:
    """Without a hook the components that it defines are picked up, and the imported base class is not."""
    file.write_text(source)
    registry = load_registry([file])
    assert build(registry.get("objective", "my-loss"), {"beta": 1}).options() == {"beta": 1.0}
    assert registry.rows[-1].provides == ("objective my-loss",)
    assert registry.origin("objective", "my-loss").source_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_helper_classes_are_left_out(site: PluginSite, file: Path) -> None:
    """A private class, and an abstract base that another class completes, are no components of their own."""
    base = LOSS.replace("class MyLoss", "class Base").replace("per_pair", "loss_of").replace('name = "my-loss"', 'name = "base"')
    rest = '\n\n@dataclass\nclass Mine(Base):\n    name = "mine"\n    per_pair = Base.loss_of\n\n\nclass _Scratch(Mine):\n    pass\n'
    file.write_text(base + rest)
    assert load_registry([file]).rows[-1].provides == ("objective mine",)


def test_an_edit_is_seen_at_once(site: PluginSite, file: Path) -> None:
    """Same size, same second: a bytecode file would hide it, and the identity would be that of code that never ran."""
    file.write_text(LOSS)
    assert build(load_registry([file]).get("objective", "my-loss"), {}).options() == {"beta": 0.1}
    file.write_text(LOSS.replace("0.1", "0.7"))
    assert build(load_registry([file]).get("objective", "my-loss"), {}).options() == {"beta": 0.7}


def test_given_twice_counts_once(site: PluginSite, file: Path) -> None:
    file.write_text(LOSS)
    assert load_registry([file, file.parent / "." / file.name]).names("objective").count("my-loss") == 1


def test_broken_file_is_an_error_at_once(site: PluginSite, file: Path) -> None:
    """It was named because it is needed: training the built-in dpo in place of the file's own would be worse than stopping."""
    source = LOSS.replace("my-loss", "dpo")
    file.write_text(source)
    with pytest.raises(PrefbenchError, match="the plugin my_loss is broken: the name objective dpo is taken") as caught:
        load_registry([file])
    assert caught.value.exit_code == 3
    assert caught.value.hint == f"mend {file}:{line_with(source, '@dataclass')}"


def test_file_with_nothing_in_it(site: PluginSite, file: Path) -> None:
    file.write_text("x = 1\n")
    with pytest.raises(PrefbenchError, match="nothing in it is marked @hookimpl, and it defines no component"):
        load_registry([file])


def test_file_that_is_not_there(site: PluginSite, file: Path) -> None:
    with pytest.raises(PrefbenchError, match="there is no such file") as caught:
        load_registry([file])
    assert caught.value.exit_code == 2


def test_file_that_is_no_python(site: PluginSite, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x = 1\n")
    with pytest.raises(PrefbenchError, match=r"a plugin file ends in \.py"):
        load_registry([tmp_path / "notes.txt"])
