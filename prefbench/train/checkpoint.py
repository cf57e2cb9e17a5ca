"""Policies on disk: ordinary Hugging Face folders, safetensors only."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prefbench.errors import PrefbenchError
from prefbench.identity import digest, file_digest
from prefbench.store.files import PARTIAL, storage_error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder. Raises PrefbenchError when there is none."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise PrefbenchError(f"{folder}: no tokenizer: {first_line(error)}", "save it with tokenizer.save_pretrained(folder)") from None
    return tokenizer


def load_model(folder: Path, device: torch.device) -> PreTrainedModel:
    """A causal LM in float32 from safetensors. Raises PrefbenchError when the folder has none, or weights for a part of it only."""
    hint = "save it with model.save_pretrained(folder)"
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise PrefbenchError(f"{folder}: no causal LM: {first_line(error)}", hint) from None
    except RuntimeError as error:
        raise PrefbenchError(f"{folder}: no causal LM: the weights do not fit config.json: {first_line(error)}", hint) from None
    if missing := sorted(loaded["missing_keys"]):  # transformers would draw them at random, and go on
        raise PrefbenchError(f"{folder}: no causal LM: the weights lack {len(missing)} tensors, the first is {missing[0]}", hint)
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model and tokenizer as one folder that is whole or absent. Raises StorageError where there is no room, or no right, to write."""
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=PARTIAL))
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except Exception as error:  # safetensors, which writes the weights, has errors of its own
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        raise storage_error(folder, error) or error from None


def weights_digest(folder: Path) -> str:
    """sha256 over a model folder's safetensors files, 64 hexadecimal digits."""
    return digest({path.name: file_digest(path) for path in sorted(folder.glob("*.safetensors"))})


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a message of our own."""
    return (str(error).splitlines() or [type(error).__name__])[0]
