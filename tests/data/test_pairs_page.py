"""The page about pairs: its examples are rows of the formats that they stand under."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prefbench.data.formats import FORMATS, checked, format_of

PAGE = (Path(__file__).parents[2] / "docs" / "pairs.md").read_text(encoding="utf-8")


def test_the_example_of_every_format_is_a_pair_of_it() -> None:
    examples = re.findall(r"^`([a-z]+)`: .*?```json\n(.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert [name for name, _ in examples] == list(FORMATS)
    for name, text in examples:
        row = json.loads(text)
        assert format_of(row) is FORMATS[name]
        checked(FORMATS[name].parse(row))
