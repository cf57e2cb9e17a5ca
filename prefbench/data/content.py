"""What models and files hold: whether a model folder is whole, and identities that depend on the content alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from prefbench.api import Source
from prefbench.data.locations import HubLocation, is_on_hub, is_on_web, not_there
from prefbench.data.rows import lines
from prefbench.data.web_files import WebFile
from prefbench.errors import PrefbenchError
from prefbench.identity import digest, file_digest

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")
TEXT = ("tokenizer*", "chat_template*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json")


def check_model_folder(folder: Path) -> None:
    """Raise PrefbenchError unless the folder holds a config, safetensors weights (all shards, each whole) and a tokenizer."""
    if not folder.is_dir():
        raise not_there(folder, "model folder")
    if not (folder / "config.json").is_file():
        raise PrefbenchError(f"{folder}: no config.json", "save the model there with model.save_pretrained(folder)")
    _json_object(folder / "config.json")
    if not list(folder.glob("*.safetensors")):
        raise PrefbenchError(
            f"{folder}: no safetensors weights", "save the model there with model.save_pretrained(folder); pickles are not read"
        )
    if missing := _missing_shards(folder):
        raise PrefbenchError(f"{folder}: weights are missing: {', '.join(missing)}", "copy all the files that the index names")
    for path in sorted(folder.glob("*.safetensors")):
        _check_header(path)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise PrefbenchError(f"{folder}: no tokenizer", "save it there with tokenizer.save_pretrained(folder)")


def _missing_shards(folder: Path) -> list[str]:
    names: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        names |= set(_json_object(index).get("weight_map", {}).values())
    return sorted(name for name in names if not (folder / name).is_file())


def _check_header(path: Path) -> None:
    """The header of a safetensors file says how long the file is: a download that was cut short is found without reading the weights."""
    try:
        with safe_open(path, framework="np"):
            return
    except SafetensorError as error:
        raise PrefbenchError(f"{path}: damaged: {error}", "copy the file again; a pointer of Git LFS is not the file itself") from None


def check_chat_template(source: Source, seed: int, harnesses: Iterable[str]) -> None:
    """Raise PrefbenchError when the model has no chat template, and a prompt or a question is a conversation that one would render."""
    folder = source.models()["sft"]
    if has_chat_template(folder):
        return
    talks = any(not isinstance(pair.prompt, str) for pair in (*source.pairs(seed), *source.held_out()))
    if talks or any(source.questions(harness) for harness in harnesses):
        raise PrefbenchError(
            f"{folder}: no chat template, and the {'prompts' if talks else 'questions'} are conversations",
            "name one in the track ([model] chat_template), or give the model folder a chat_template.jinja, or prompts as plain text",
        )


def trains_beside_the_template(source: Source, seed: int, harnesses: Iterable[str]) -> bool:
    """Whether the pairs' prompts are plain text, used as they stand, while the questions go through the chat template."""
    if not any(source.questions(harness) for harness in harnesses):
        return False
    pairs = source.held_out() or source.pairs(seed)
    return bool(pairs) and isinstance(pairs[0].prompt, str)


def has_chat_template(folder: Path) -> bool:
    """Whether a model folder has one, in a file of its own or in the tokenizer's settings."""
    settings = folder / "tokenizer_config.json"
    return any((folder / name).is_file() for name in TEMPLATES) or bool(settings.is_file() and _json_object(settings).get("chat_template"))


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise PrefbenchError(f"{path}: not a JSON object: {error}", "save the model there with model.save_pretrained(folder)") from None
    if not isinstance(value, dict):
        raise PrefbenchError(f"{path}: not a JSON object", "save the model there with model.save_pretrained(folder)")
    return value


def model_digest(folder: Path) -> str:
    """sha256 over names and contents of a model folder's weights, configuration and tokenizer. Raises PrefbenchError when it is none."""
    check_model_folder(folder)
    found = sorted({path for pattern in (*WEIGHTS, *TEXT) for path in folder.glob(pattern) if path.is_file()})
    return digest({path.name: _remembered(file_digest, path) for path in found})


def text_digest(path: Path) -> str:
    """sha256 of a text file, unpacked where it is gzipped. Raises PrefbenchError when it cannot be read."""
    if not path.is_file():
        raise not_there(path, "file")
    return _remembered(_unpacked_digest, path)


def model_identity(location: str) -> str:
    """What identifies a model: its location on the hub, whose commit pins it, or the digest of its folder."""
    return str(HubLocation.at_commit(location)) if is_on_hub(location) else model_digest(Path(location))


def file_identity(location: str) -> str:
    """What identifies a file or a folder of files: its location on the hub, or a digest: of text unpacked, of all else byte by byte.

    Of a file of the web it is the digest that the location names: no network is needed, and a copy at another address is the same file.
    """
    if is_on_web(location):
        return WebFile.parse(location).sha256
    if is_on_hub(location):
        return str(HubLocation.at_commit(location))
    path = Path(location)
    if path.is_dir():
        found = sorted(entry for entry in path.rglob("*") if entry.is_file() and not entry.name.startswith("."))
        return digest({str(entry.relative_to(path)): _remembered(file_digest, entry) for entry in found})
    return _remembered(file_digest, path) if path.suffix == ".parquet" and path.is_file() else text_digest(path)


def _unpacked_digest(path: Path) -> str:
    found = hashlib.sha256()
    for line in lines(path):
        found.update(line.encode())
    return found.hexdigest()


def _remembered(function: Callable[[Path], str], path: Path) -> str:
    # A plan asks for the identity once per cell; weights of gigabytes are hashed again only when size or time of change say so.
    state = path.stat()
    return _digest_at(function, path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_at(function: Callable[[Path], str], path: Path, size: int, changed_ns: int) -> str:
    return function(path)
