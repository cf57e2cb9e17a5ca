"""Claims as their file has them: statements that are read, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.report.claims import Term, parse, read_claims
from prefbench.report.keys import Key
from prefbench.store.folder import Folder

CLAIM = """
scale = "a toy"
[[claim]]
paper = "arXiv 2405.14734"
place = "Table 4"
says = "SimPO beats DPO by 6.4 points"
statement = "win_rate[simpo] - win_rate[dpo] > 0"
published = 0.064
"""


def test_a_difference() -> None:
    found = parse("win_rate[simpo] - win_rate[dpo] > 0")
    assert found.terms == (Term("win_rate", "simpo", 1.0), Term("win_rate", "dpo", -1.0))
    assert (found.sign, found.bound, found.ratio) == (">", 0.0, False)


def test_a_category_is_part_of_the_metric() -> None:
    assert parse("mt_bench[stem][dpo + sams] > 5.5").terms == (Term("mt_bench[stem]", "dpo + sams", 1.0),)
    assert parse("mt_bench[dpo] < 5").terms == (Term("mt_bench", "dpo", 1.0),)


def test_a_label_of_a_harness_is_part_of_the_metric() -> None:
    assert parse("win_rate@t25[apo-zero, noise-20] > 0.5").terms == (Term("win_rate@t25", "apo-zero, noise-20", 1.0),)


def test_a_ratio_and_a_difference_of_differences() -> None:
    ratio = parse("cost_seconds[dpo + sams] / cost_seconds[dpo] < 1.05")
    assert ratio.ratio
    assert [term.sign for term in ratio.terms] == [1.0, -1.0]
    whole = parse("a[x] - a[y] - a[x, n] + a[y, n] > -0.01")
    assert [term.sign for term in whole.terms] == [1.0, -1.0, -1.0, 1.0]
    assert whole.bound == -0.01


def test_a_row_is_named_as_on_a_board() -> None:
    assert Term("m", "dpo", 1.0).meant() == [Key("dpo", "uniform"), Key("dpo", "-")]
    assert Term("m", "dpo + selective+sams", 1.0).meant() == [Key("dpo", "selective+sams")]
    assert Term("m", "dpo + sams, noise-20", 1.0).meant() == [Key("dpo", "sams", "noise-20")]


NONE = [
    "",
    "win_rate > 0",
    "win_rate[a]",
    "win_rate[a] - win_rate[b]",
    "win_rate[a] > win_rate[b]",
    "win_rate[a] * win_rate[b] > 0",
    "win_rate[a] / win_rate[b] / win_rate[c] > 1",
    "win_rate[a] / win_rate[b] > 0",
    "win_rate[a] - > 0",
    "win_rate[a] win_rate[b] > 0",
    "win_rate[a] > high",
    "win_rate[a] > 0 > 1",
]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_statement(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(CLAIM)
    found = read_claims(Folder(tmp_path))
    assert found.scale == "a toy"
    assert found.claims[0].published == 0.064


def test_no_file_is_no_claim(tmp_path: Path) -> None:
    assert read_claims(Folder(tmp_path)).claims == ()


WRONG = [
    ('scale = "a toy"\n', "", "scale is missing"),
    ('place = "Table 4"\n', "", "claim 1: place is missing"),
    ("published", "publised", "claim 1: publised is not known"),
    ("> 0", "= 0", "claim 1: an equality, and nothing else, has a margin"),
    ("published = 0.064", "margin = 0.1", "claim 1: an equality, and nothing else, has a margin"),
    ("> 0", "over 0", "claim 1: 'win_rate[simpo] - win_rate[dpo] over 0' is no statement"),
    ("scale", "scale =", "not a TOML file"),
]


@pytest.mark.parametrize(("before", "after", "message"), WRONG)
def test_a_file_with_a_mistake_says_which(tmp_path: Path, before: str, after: str, message: str) -> None:
    (tmp_path / "claims.toml").write_text(CLAIM.replace(before, after))
    with pytest.raises(PrefbenchError) as caught:
        read_claims(Folder(tmp_path))
    assert message in str(caught.value)
