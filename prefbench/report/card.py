"""The model card of a trained policy: README.md of its folder, with what it was trained on, how, and how it scored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from prefbench.config import LoraRules, Named, Track, resolved
from prefbench.data.locations import HubLocation, is_on_hub
from prefbench.plan import Cell
from prefbench.report.keys import Key
from prefbench.report.layout import Metric, ordered
from prefbench.report.rows import written_options
from prefbench.store.provenance import packages

CARD = "README.md"
PAIRS = ("pairs_file", "held_out_file")
"""Options of a source that name files of pairs."""
COUNTS = {
    "pairs": "to train on",
    "pairs_dropped": "dropped as longer than the track allows",
    "prompts_cut": "with a cut prompt",
    "answers_cut": "with a cut answer",
}
"""What a training counts of its pairs; those that were cut only where the track cuts."""


@dataclass(frozen=True)
class Trained:
    """A finished training: its cell and track, the compute dtype, the digest of the weights that it started from, the
    summary of the training, and the metrics, none before it is scored."""

    cell: Cell
    track: Track
    dtype: str
    base_sha256: str
    training: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]


def model_card(trained: Trained) -> str:
    """The whole card. It names no place of this machine: a model or a file from its disk goes by its own name."""
    cell = trained.cell
    title = f"{Key(cell.row.method, cell.row.scheduler, cell.row.condition).label}, seed {cell.seed}"
    sections = [
        _front_matter(trained),
        f"# {title}",
        "A causal language model, tuned on preference pairs by prefbench. The folder is an ordinary one of transformers.",
        _table(("What", "Value"), _facts(trained)),
        "## Pairs",
        _table(("Option", "Value"), _pairs(trained)),
        "## Scores",
        _scores(trained),
        "## Loading",
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        "model = AutoModelForCausalLM.from_pretrained(folder)\ntokenizer = AutoTokenizer.from_pretrained(folder)\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(trained: Trained) -> str:
    """What the hub reads. The licence is the user's to add: it follows from those of the base model and the pairs."""
    source = trained.track.source.options
    tags = dict.fromkeys(["prefbench", "preference-tuning", _method(trained)["name"], *(["lora"] if trained.track.lora else [])])
    lines = ["library_name: transformers", "pipeline_tag: text-generation"]
    if is_on_hub(str(source.get("model", ""))):
        lines += [f"base_model: {_quoted(_repository(source['model']))}", "base_model_relation: finetune"]
    if data := list(dict.fromkeys(_repository(source[name]) for name in PAIRS if is_on_hub(str(source.get(name, ""))))):
        lines += ["datasets:", *(f"- {_quoted(name)}" for name in data)]
    return "\n".join(["---", *lines, "tags:", *(f"- {_quoted(tag)}" for tag in tags), "---"])


def _facts(trained: Trained) -> Iterator[tuple[str, str]]:
    cell, track, model = trained.cell, trained.track, trained.track.model
    include, method = cell.include["train"], _method(trained)
    scheduler = include["scheduler"]
    yield "Method", _called(method["name"], method["options"])
    yield "Learning rate", f"{include['train']['learning_rate']:g}"
    yield "Scheduler", _called(scheduler["name"], scheduler["options"])
    yield "Base model", _base_model(track.source)
    yield "Base weights", f"sha256 {trained.base_sha256}"
    yield "Fine-tuning", _tuning(track.lora)
    yield "Weights", f"{model.weights}; computed in {trained.dtype}, attention {model.attention}"
    yield "Pairs", ", ".join(f"{trained.training[name]} {what}" for name, what in COUNTS.items() if name in trained.training)
    yield "Steps", f"{include['train']['steps']} of up to {include['train']['pool']} pairs"
    yield "Seed", str(cell.seed)
    yield "Track", f"{track.name}, version {track.version}"
    yield "prefbench", packages()["prefbench"]


def _method(trained: Trained) -> Mapping[str, Any]:
    found: Mapping[str, Any] = trained.cell.include["train"]["objective"]
    return found


def _called(name: str, options: Mapping[str, Any]) -> str:
    return f"{name} ({written})" if (written := written_options(options)) else name


def _base_model(source: Named) -> str:
    """A repository and its commit, the folder's name, or the source that brings its own."""
    location = str(source.options.get("model", ""))
    if not location:
        return f"the model of the source {source.name}"
    return location if is_on_hub(location) else PurePath(location).name


def _tuning(lora: LoraRules | None) -> str:
    return f"LoRA ({written_options(resolved(lora))}), merged into the weights" if lora else "all weights"


def _pairs(trained: Trained) -> Iterator[tuple[str, str]]:
    """What identifies the source, a line each: its options, and the digests of its files."""
    source = trained.cell.include["train"]["source"]
    yield "source", source["name"]
    for name, value in source["identity"].items():
        for key, own in value.items() if isinstance(value, Mapping) else [("", value)]:
            yield f"{name} {key}".strip(), _placeless(own if isinstance(own, str) else json.dumps(own))


def _scores(trained: Trained) -> str:
    if not trained.metrics:
        return "Not scored yet."
    rows = [(metric, trained.metrics[metric.name]) for metric in ordered(trained.metrics)]
    return "\n\n".join([f"{_judged(trained.cell)}.", _score_table(rows)])


def _judged(cell: Cell) -> str:
    """Which harnesses asked what, and which judge: a score means nothing without them."""
    harnesses = [_called(name, found["options"]) for name, found in cell.include["answer"]["harnesses"].items()]
    judge = cell.include["judge"]["judge"]
    return "; ".join([*harnesses, *([f"judged by {_called(judge['name'], judge['options'])}"] if judge else [])])


def _score_table(rows: Iterable[tuple[Metric, Mapping[str, Any]]]) -> str:
    return _table(
        ("Metric", "Value", "Questions"),
        ((metric.title + (" (%)" if metric.percent else ""), metric.number(found["value"]), str(found["n"])) for metric, found in rows),
    )


# ---------------------------------------------------------------- text


def _placeless(text: str) -> str:
    """An absolute path without its folders, which are this machine's; anything else as it is."""
    return PurePath(text).name if PurePath(text).is_absolute() else text


def _repository(location: str) -> str:
    return HubLocation.parse(location).repo


def _quoted(text: str) -> str:
    """Text for YAML, which reads JSON's strings: a name such as ``no`` stays a text."""
    return json.dumps(text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
