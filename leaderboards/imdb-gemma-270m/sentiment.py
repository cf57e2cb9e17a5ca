"""Step 3: how positive a sentiment classifier takes a text to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from prefbench.data.locations import MODEL_FILES, HubLocation, fetch_model, is_on_hub
from prefbench.errors import PrefbenchError
from prefbench.train.device import device

BATCH = 64
TOKENS = 512
"""That RoBERTa reads; the texts have far fewer."""


def fetch_classifier(location: str) -> Path:
    """A classifier's folder, wherever it is. Raises PrefbenchError where it is not there.

    Where a repository has no safetensors, its pickle is fetched too, as cardiffnlp's has nothing else; transformers reads it with
    ``weights_only``, which makes tensors and runs no code.
    """
    folder = fetch_model(location)
    if is_on_hub(location) and not list(folder.glob("*.safetensors")):
        folder = HubLocation.at_commit(location).fetch([*MODEL_FILES, "pytorch_model.bin"])
    if not (folder / "config.json").is_file():
        raise PrefbenchError(f"{folder}: there is no such classifier", "name its folder, or hf://OWNER/NAME@COMMIT, with --classifier")
    return folder


@torch.inference_mode()
def scores(folder: Path, texts: Sequence[str]) -> list[float]:
    """(P(positive) - .5) * 6 of each text, in [-3, 3]."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model = load_classifier(folder)
    positive, length = positive_label(model), min(TOKENS, tokenizer.model_max_length)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))  # so that little is padded
    found = [0.0] * len(texts)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        inputs = tokenizer([texts[row] for row in rows], padding=True, truncation=True, max_length=length, return_tensors="pt")
        probability = model(**inputs.to(model.device)).logits.double().softmax(-1)[:, positive]
        for row, score in zip(rows, ((probability - 0.5) * 6).tolist(), strict=True):
            found[row] = score
    return found


def load_classifier(folder: Path) -> PreTrainedModel:
    """In float32. Raises PrefbenchError for weights without a classifier's head, which transformers would draw at random."""
    model, loaded = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if missing := sorted(loaded["missing_keys"]):
        hint = "name a model that was tuned to classify sentiment"
        raise PrefbenchError(f"{folder}: no classifier: the weights lack {len(missing)} tensors, the first is {missing[0]}", hint)
    placed: PreTrainedModel = model.to(device()).eval()
    return placed


def positive_label(model: PreTrainedModel) -> int:
    """The place of the label that is called positive. Raises PrefbenchError where none is."""
    names = {int(place): name for place, name in model.config.id2label.items()}
    for place, name in names.items():
        if name.lower() == "positive":
            return place
    raise PrefbenchError(f"the classifier has the labels {', '.join(names.values())}", "name one with a label called positive")
