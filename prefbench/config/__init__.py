"""Track files (TOML) read into frozen dataclasses."""

from prefbench.config.files import find_track, name_and_version, packaged_folder, packaged_tracks
from prefbench.config.reader import read_track
from prefbench.config.rules import (
    UNTRAINED,
    AnswerRules,
    Chosen,
    Condition,
    LoraRules,
    Method,
    ModelRules,
    Named,
    Row,
    Scheduling,
    Selection,
    Track,
    TrainRules,
    TuneRules,
    resolved,
    seeds_from,
)

__all__ = [
    "UNTRAINED",
    "AnswerRules",
    "Chosen",
    "Condition",
    "LoraRules",
    "Method",
    "ModelRules",
    "Named",
    "Row",
    "Scheduling",
    "Selection",
    "Track",
    "TrainRules",
    "TuneRules",
    "find_track",
    "name_and_version",
    "packaged_folder",
    "packaged_tracks",
    "read_track",
    "resolved",
    "seeds_from",
]
