"""Names: what is registered, what an unknown one is told, where a component comes from, what the environment switches off."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.registry import check_plugins, load_registry
from tests.plugin_site import LOSS, PLUGIN, PluginSite

BUILT_IN_SCHEDULERS = "curriculum loss-ranked margin-filter online-batch random-subset rho-loss selective uniform".split()
FIRST_OBJECTIVES = "apo-down apo-zero dpo hinge ipo simpo".split()
REFERENCE_BASED = (
    "aot aot-unpaired bco-pair discopop dpo-shift exo kto kto-paired ld-dpo mmpo nca odpo r-dpo robust sppo-hard tdpo1 tdpo2 wpo".split()
)

LENGTH_NORMALISED_OR_MOVED_BY_THE_BATCH = "alpha-dpo alphapo amapo beta-dpo cpo orpo rrhf slic-hf".split()


def test_built_ins_come_in_through_their_entry_points(site: PluginSite) -> None:
    registry = load_registry()
    assert registry.names("objective") == sorted([*FIRST_OBJECTIVES, *REFERENCE_BASED, *LENGTH_NORMALISED_OR_MOVED_BY_THE_BATCH])
    assert registry.names("scheduler") == BUILT_IN_SCHEDULERS
    assert {row.name for row in registry.rows if row.status == "ok"} == {"objectives", "schedulers"}


def test_unknown_name_is_told_the_closest(site: PluginSite) -> None:
    with pytest.raises(PrefbenchError, match="no objective is called 'apo-zro'") as caught:
        load_registry().get("objective", "apo-zro")
    assert caught.value.hint.startswith("did you mean apo-zero")
    assert caught.value.exit_code == 2


def test_name_of_another_kind_is_unknown(site: PluginSite) -> None:
    with pytest.raises(PrefbenchError, match="no scheduler is called 'dpo'"):
        load_registry().get("scheduler", "dpo")


def test_unknown_name_hears_of_broken_plugins(site: PluginSite) -> None:
    """Nobody knows what a plugin that never imported would have provided; but it is the first thing to look at."""
    site.install("bad", "1 / 0\n")
    with pytest.raises(PrefbenchError) as caught:
        load_registry().get("objective", "zephyr-loss")
    assert "it may belong to a plugin that is broken: bad (ZeroDivisionError: division by zero)" in caught.value.hint


def test_name_of_a_plugin_that_broke_since_the_last_check(site: PluginSite) -> None:
    module = site.install("mine", PLUGIN)
    check_plugins()
    module.write_text(PLUGIN + "1 / 0\n")
    del sys.modules["mine"]
    with pytest.raises(PrefbenchError, match="objective my-loss belongs to the plugin mine, which is broken: ZeroDivisionError") as caught:
        load_registry().get("objective", "my-loss")
    assert caught.value.exit_code == 3


def test_name_in_any_kind(site: PluginSite) -> None:
    registry = load_registry()
    assert [kind for kind, _ in registry.named("uniform")] == ["scheduler"]
    with pytest.raises(PrefbenchError, match="no component is called 'unifrom'") as caught:
        registry.named("unifrom")
    assert caught.value.hint == "did you mean uniform?"


def test_origin_is_distribution_version_and_source(site: PluginSite) -> None:
    module = site.install("mine", PLUGIN, version="2.5")
    origin = load_registry().origin("objective", "my-loss")
    assert (origin.distribution, origin.version) == ("mine", "2.5")
    assert origin.source_sha256 == hashlib.sha256(module.read_bytes()).hexdigest()


def test_origin_follows_the_classes_it_builds_on(site: PluginSite) -> None:
    """A loss inherited from another file changes with that file."""
    child = "from dataclasses import dataclass\nfrom parent_loss import MyLoss\nfrom prefbench.api import hookimpl\n\n\n@dataclass\n"
    child += 'class Child(MyLoss):\n    name = "child"\n\n\n@hookimpl\ndef prefbench_objectives():\n    return [Child]\n'
    parent = site.folder / "parent_loss.py"
    parent.write_text(LOSS)
    module = site.install("child", child)
    expected = hashlib.sha256(module.read_bytes() + parent.read_bytes()).hexdigest()
    assert load_registry().origin("objective", "child").source_sha256 == expected


@pytest.mark.parametrize("listed", ["mine", "other, Mine", "all"])
def test_disabled_plugin_is_not_imported(site: PluginSite, listed: str) -> None:
    site.install("mine", "raise RuntimeError('imported')\n")
    site.set("PREFBENCH_DISABLE_PLUGINS", f"{listed},prefworld,sources,harnesses,columns")
    registry = load_registry()
    assert [row.status for row in registry.rows if row.name == "mine"] == ["disabled"]
    assert "dpo" in registry.names("objective")


def test_disabled_plugin_says_so_when_it_is_asked_for(site: PluginSite) -> None:
    site.install("mine", PLUGIN)
    check_plugins()
    site.set("PREFBENCH_DISABLE_PLUGINS", "all")
    with pytest.raises(PrefbenchError, match="belongs to the plugin mine, which is switched off by PREFBENCH_DISABLE_PLUGINS") as caught:
        load_registry().get("objective", "my-loss")
    assert caught.value.exit_code == 2


def test_file_is_never_disabled(site: PluginSite, tmp_path: Path) -> None:
    """It was named on the command line."""
    (tmp_path / "my_loss.py").write_text(PLUGIN)
    site.set("PREFBENCH_DISABLE_PLUGINS", "all,my_loss")
    assert "my-loss" in load_registry([tmp_path / "my_loss.py"]).names("objective")


def test_an_edited_helper_of_a_package_is_another_origin(site: PluginSite) -> None:
    """A method whose networks stand in a file of their own must not keep its old results when they are edited."""
    package = site.folder / "stranger"
    package.mkdir()
    (package / "__init__.py").write_text("from stranger.loss import MyLoss, prefbench_objectives\n")
    (package / "loss.py").write_text(f"import stranger.networks\n{PLUGIN}")
    (package / "networks.py").write_text("WIDTH = 8\n")
    site.describe("stranger", {"entry_points.txt": "[prefbench]\nstranger = stranger\n"})
    before = load_registry().origin("objective", "my-loss").source_sha256
    (package / "networks.py").write_text("WIDTH = 9\n")
    assert load_registry().origin("objective", "my-loss").source_sha256 != before
