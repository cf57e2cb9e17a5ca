"""Every way in which a plugin can be broken: it becomes a row with the reason and the line, and hides no other plugin."""

from __future__ import annotations

import pytest

from prefbench.errors import PrefbenchError
from prefbench.registry import PluginRow, load_registry
from tests.plugin_site import HOOK, LOSS, PLUGIN, PluginSite, line_with


def broken_row(site: PluginSite, source: str, at: str, **more: object) -> PluginRow:
    """Install the source as the plugin ``bad`` beside a good one; the row of ``bad``, which points to the line with ``at``."""
    site.install("good", PLUGIN.replace("my-loss", "good-loss"))
    module = site.install("bad", source, **more)  # type: ignore[arg-type]
    registry = load_registry()
    rows = {row.name: row for row in registry.rows}
    assert rows["bad"].status == "broken"
    assert rows["bad"].where == f"{module}:{line_with(source, at)}"
    assert registry.get("objective", "good-loss").name == "good-loss"
    assert registry.get("objective", "dpo").name == "dpo"
    return rows["bad"]


def test_missing_import(site: PluginSite) -> None:
    row = broken_row(site, "import a_library_that_is_not_here\n" + PLUGIN, at="a_library")
    assert row.reason == "ModuleNotFoundError: No module named 'a_library_that_is_not_here'"


def test_syntax_error(site: PluginSite) -> None:
    assert "SyntaxError" in broken_row(site, PLUGIN + "\ndef unfinished(:\n", at="unfinished").reason


def test_exit_at_import(site: PluginSite) -> None:
    """A script that was never meant to be imported must not end the run."""
    assert broken_row(site, PLUGIN + "\nraise SystemExit(3)\n", at="raise").reason == "SystemExit: 3"


def test_misspelt_hook(site: PluginSite) -> None:
    row = broken_row(site, PLUGIN.replace("prefbench_objectives", "prefbench_objective"), at="@hookimpl")
    assert row.reason == "prefbench_objective is no hook of prefbench: did you mean prefbench_objectives?"


def test_hook_without_its_mark(site: PluginSite) -> None:
    """Without the mark pluggy would never call it, and the method would be missing without a word."""
    row = broken_row(site, PLUGIN.replace("@hookimpl\n", ""), at="def prefbench_objectives")
    assert row.reason == "prefbench_objectives is not marked @hookimpl, so it would never be called"


def test_hook_with_arguments(site: PluginSite) -> None:
    row = broken_row(site, PLUGIN.replace("prefbench_objectives()", "prefbench_objectives(config)"), at="@hookimpl")
    assert row.reason == "prefbench_objectives takes arguments, and a hook takes none"


def test_hook_that_raises(site: PluginSite) -> None:
    row = broken_row(site, PLUGIN.replace("return [MyLoss]", "return [MyLos]"), at="return [MyLos]")
    assert row.reason.startswith("NameError: name 'MyLos' is not defined")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("MyLoss", "must return a list of Objective classes, and there is <class 'bad.MyLoss'> instead"),
        ("None", "must return a list of Objective classes, and there is None instead"),
        ("[MyLoss()]", "MyLoss(beta=0.1) instead; return the class, not an instance"),
        ("[dict]", "there is <class 'dict'> instead"),
    ],
)
def test_hook_that_returns_something_else(site: PluginSite, returned: str, said: str) -> None:
    assert said in broken_row(site, PLUGIN.replace("return [MyLoss]", f"return {returned}"), at="@hookimpl").reason


def test_component_of_another_kind(site: PluginSite) -> None:
    """An objective handed in as a scheduler."""
    assert "list of Scheduler classes" in broken_row(site, PLUGIN.replace("objectives", "schedulers"), at="@hookimpl").reason


def test_no_dataclass(site: PluginSite) -> None:
    """Its ``beta`` would be one shared Field object instead of an option."""
    row = broken_row(site, PLUGIN.replace("@dataclass\n", ""), at="class MyLoss")
    assert row.reason == "MyLoss is no dataclass: put @dataclass above it, so that its options are known"
    assert row.provides == ("objective my-loss",)


def test_no_name(site: PluginSite) -> None:
    assert "MyLoss has no name" in broken_row(site, PLUGIN.replace('    name = "my-loss"\n', ""), at="@dataclass").reason


@pytest.mark.parametrize("name", ["my loss", "a/b", "loss[beta]", "a+b", "", "../up"])
def test_name_that_fits_no_file_or_table(site: PluginSite, name: str) -> None:
    assert f"has the name {name!r}" in broken_row(site, PLUGIN.replace("my-loss", name), at="@dataclass").reason


def test_abstract_class(site: PluginSite) -> None:
    assert broken_row(site, PLUGIN.replace("per_pair", "perpair"), at="@dataclass").reason == "MyLoss does not define per_pair"


def test_default_out_of_its_own_bounds(site: PluginSite) -> None:
    row = broken_row(site, PLUGIN.replace("hyper(0.1", "hyper(-0.1"), at="@dataclass")
    assert row.reason == "MyLoss has a default that it would refuse: beta must be at least 0, not -0.1"


def test_name_that_a_built_in_has(site: PluginSite) -> None:
    """Whoever installs a plugin must not find their dpo replaced."""
    row = broken_row(site, PLUGIN.replace("my-loss", "dpo"), at="@dataclass")
    assert row.reason == "the name objective dpo is taken: already provided by prefbench"
    assert load_registry().origin("objective", "dpo").distribution == "prefbench"


def test_name_that_another_plugin_has(site: PluginSite) -> None:
    """By alphabet of the distributions the first keeps it, on every machine."""
    site.install("one", PLUGIN)
    site.install("two", PLUGIN)
    rows = {row.name: row for row in load_registry().rows}
    assert rows["one"].status == "ok"
    assert rows["two"].reason == "the name objective my-loss is taken: already provided by one"


def test_name_twice_in_one_plugin(site: PluginSite) -> None:
    row = broken_row(site, PLUGIN.replace("[MyLoss]", "[MyLoss, MyLoss]"), at="@dataclass")
    assert row.reason == "the name objective my-loss is taken: already in the same plugin"


def test_no_hook_at_all(site: PluginSite) -> None:
    site.install("bad", LOSS)
    row = next(row for row in load_registry().rows if row.name == "bad")
    assert row.reason == "nothing in it is marked @hookimpl"


@pytest.mark.parametrize("requirement", ["prefbench>=9", "PrefBench (<0.0.1)", "prefbench==0.0.9; python_version > '3'"])
def test_another_version_of_prefbench_wanted(site: PluginSite, requirement: str) -> None:
    """Known from the metadata: the module, which would say so in its own way, is not imported."""
    site.install("bad", "raise RuntimeError('imported')\n", requires=["torch", requirement])
    row = next(row for row in load_registry().rows if row.name == "bad")
    assert row.status == "broken"
    assert row.reason.startswith("needs prefbench ")
    assert row.where.endswith("METADATA:5")


def test_requirement_of_an_extra_does_not_count(site: PluginSite) -> None:
    site.install("fine", PLUGIN, requires=["prefbench>=9; extra == 'future'", "prefbench>=0.1"])
    assert "my-loss" in load_registry().names("objective")


def test_module_that_is_not_there(site: PluginSite) -> None:
    site.describe("bad", {"entry_points.txt": "[prefbench]\nbad = bad.plugin\n"})
    row = next(row for row in load_registry().rows if row.name == "bad")
    assert row.reason == "ModuleNotFoundError: No module named 'bad'"
    assert row.where.endswith("entry_points.txt:2")


@pytest.mark.parametrize("text", ["bad\n", "bad = my-module\n"])
def test_malformed_entry_point(site: PluginSite, text: str) -> None:
    """Parsing all distributions in one go, as importlib.metadata offers, would lose every plugin here."""
    site.install("good", PLUGIN)
    site.describe("bad", {"entry_points.txt": f"[prefbench]\n{text}"})
    registry = load_registry()
    assert [row.status for row in registry.rows if row.name == "bad"] == ["broken"]
    assert "my-loss" in registry.names("objective")


def test_broken_plugin_stops_only_who_needs_it(site: PluginSite) -> None:
    site.install("bad", PLUGIN.replace("@dataclass\n", ""))
    registry = load_registry()
    assert registry.get("objective", "dpo").name == "dpo"
    with pytest.raises(
        PrefbenchError, match="objective my-loss belongs to the plugin bad, which is broken: MyLoss is no dataclass"
    ) as caught:
        registry.get("objective", "my-loss")
    assert caught.value.exit_code == 3
    assert caught.value.hint.startswith("mend ")


def test_strict_makes_any_broken_plugin_an_error(site: PluginSite) -> None:
    site.install("bad", PLUGIN + "1 / 0\n")
    site.set("PREFBENCH_STRICT_PLUGINS", "1")
    with pytest.raises(PrefbenchError, match=r"the plugin bad is broken: ZeroDivisionError.*PREFBENCH_STRICT_PLUGINS") as caught:
        load_registry()
    assert caught.value.exit_code == 3


def test_what_a_plugin_prints_stays_off_stdout(site: PluginSite, capsys: pytest.CaptureFixture[str]) -> None:
    """``prefbench plugins --check --format json | jq`` must see JSON only."""
    site.install("loud", "print('hello')\n" + LOSS + HOOK.replace("return", "print('again')\n    return"))
    load_registry()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\nagain\n"
