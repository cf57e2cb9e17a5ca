"""Rows with their numbers from every kind of file and from data sets, and what is said of those that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError
from tests.data.conftest import COMMIT

ROWS = [{"prompt": f"p{number}", "chosen": "a\nb", "rejected": "42"} for number in range(3)]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(path: Path, config: str = "", split: str = "") -> list[Any]:
    return list(Table(str(path), config, split).rows())


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.txt", "list.json", "a.csv", "a.parquet", "a.jsonl.gz", "list.json.gz", "a.csv.gz"]
)
def test_every_kind_of_file_gives_the_same_rows_with_numbers(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        Dataset.from_list(ROWS).to_parquet(path)
    else:
        csv = "prompt,chosen,rejected\n" + "".join(f'{row["prompt"]},"{row["chosen"]}",{row["rejected"]}\n' for row in ROWS)
        text = csv if ".csv" in name else json.dumps(ROWS, indent=1) if "list" in name else jsonl(ROWS)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert read(path) == list(enumerate(ROWS, start=1))


def test_lines_count_and_blank_ones_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n[]\n{\n')
    assert read(tmp_path / "a.jsonl") == [(1, {"a": 1}), (3, "not a JSON object"), (4, "not JSON")]


def test_a_csv_row_with_too_few_or_too_many_fields_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1\n1,2,3\n")
    assert read(tmp_path / "a.csv") == [
        (1, {"a": "1", "b": "2"}),
        (2, "not as many fields as the header"),
        (3, "not as many fields as the header"),
    ]


def test_a_long_field_of_csv_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"a,b\n{'x' * 200_000},2\n")
    assert len(read(tmp_path / "a.csv")[0][1]["a"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[{]", "not JSON"),
        ("a.csv", 'a,b\n"1,2\n', "not CSV"),
        ("a.parquet", "version https://git-lfs.github.com/spec/v1", "cannot be read"),
        ("a.jsonl.gz", "plain", "cannot be read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named_with_a_hint(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(PrefbenchError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert caught.value.hint


def test_a_file_has_no_splits(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(jsonl(ROWS))
    with pytest.raises(PrefbenchError, match="is a file, and has no configurations and no splits"):
        read(tmp_path / "a.jsonl", split="train")


# ---------------------------------------------------------------- data sets


@pytest.fixture
def data_set(tmp_path: Path, own_data_sets: None) -> Path:
    """A folder in the layout of a data set: two configurations, of which one has two splits."""
    folder = tmp_path / "pairs"
    (folder / "big").mkdir(parents=True)
    (folder / "small").mkdir()
    configs = [
        {
            "config_name": "big",
            "default": True,
            "data_files": [{"split": split, "path": f"big/{split}.jsonl"} for split in ("train", "test")],
        },
        {"config_name": "small", "data_files": "small/*.jsonl"},
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    for name, rows in (("big/train", ROWS), ("big/test", ROWS[:1]), ("small/all", ROWS[1:])):
        (folder / f"{name}.jsonl").write_text(jsonl(rows))
    return folder


def test_a_folder_is_a_data_set_with_configurations_and_splits(data_set: Path) -> None:
    assert read(data_set) == list(enumerate(ROWS, start=1))
    assert read(data_set, split="test") == [(1, ROWS[0])]
    assert read(data_set, "small") == list(enumerate(ROWS[1:], start=1))
    assert Table(str(data_set), "big", "test").name == "pairs big test"


def test_an_unknown_split_is_told_with_those_that_there_are(data_set: Path) -> None:
    with pytest.raises(PrefbenchError, match=r"Unknown split \"validation\".*train.*test") as caught:
        read(data_set, split="validation")
    assert "pairs_split" in caught.value.hint


def test_an_unknown_configuration_is_told_with_those_that_there_are(data_set: Path) -> None:
    with pytest.raises(PrefbenchError, match=r"'huge' not found\. Available: \['big', 'small'\]") as caught:
        read(data_set, "huge")
    assert "pairs_config" in caught.value.hint


def test_a_data_set_that_is_a_script_is_not_run(tmp_path: Path, own_data_sets: None) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text("raise SystemExit('ran')")
    with pytest.raises(PrefbenchError, match="scripts are no longer supported") as caught:
        read(tmp_path / "scripted")
    assert "data files" in caught.value.hint


def test_without_a_network_a_data_set_of_the_hub_is_told_apart_from_a_wrong_name(own_data_sets: None) -> None:
    with pytest.raises(PrefbenchError, match="cannot be loaded: Couldn't reach") as caught:
        list(Table(f"hf://datasets/owner/name@{COMMIT}").rows())
    assert "where there is a network" in caught.value.hint


def test_a_model_is_no_data_set() -> None:
    with pytest.raises(PrefbenchError, match="is no data set") as caught:
        list(Table(f"hf://owner/name@{COMMIT}").rows())
    assert f"hf://datasets/owner/name@{COMMIT}" in caught.value.hint
