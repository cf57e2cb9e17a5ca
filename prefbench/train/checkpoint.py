"""Policies on disk: ordinary Hugging Face folders, safetensors only."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prefbench.config import ModelRules
from prefbench.errors import PrefbenchError, first_line
from prefbench.identity import digest, file_digest
from prefbench.store.files import PARTIAL, storage_error
from prefbench.train.adapters import has_adapters, merged

EAGER = 'attention = "eager" under [model]'

AS_DECLARED = ModelRules()
"""float32 weights, and nothing that a track would have to ask for."""


def load_tokenizer(folder: Path, rules: ModelRules = AS_DECLARED) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with the track's chat template where it names one. Raises PrefbenchError when there is none."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=rules.trust_remote_code)
    except (OSError, ValueError, ImportError) as error:
        hint = _what_to_write(error) or "save it with tokenizer.save_pretrained(folder)"
        raise PrefbenchError(f"{folder}: no tokenizer: {first_line(error)}", hint) from None
    if rules.chat_template:
        tokenizer.chat_template = rules.chat_template
    return tokenizer


def load_model(folder: Path, device: torch.device, rules: ModelRules = AS_DECLARED) -> PreTrainedModel:
    """A causal LM from safetensors, as the track has its models loaded; in evaluation mode.

    Raises PrefbenchError when the folder has none, or weights for a part of it only, or when it cannot be run as the track says.
    """
    hint = "save it with model.save_pretrained(folder)"
    settings: dict[str, Any] = {"trust_remote_code": rules.trust_remote_code, "attn_implementation": rules.attention}
    try:
        _refuse_lost_cap(folder, rules)
        model, loaded = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, rules.weights), use_safetensors=True, output_loading_info=True, **settings
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise PrefbenchError(f"{folder}: no causal LM: {first_line(error)}", _what_to_write(error) or hint) from None
    except RuntimeError as error:
        raise PrefbenchError(f"{folder}: no causal LM: the weights do not fit config.json: {first_line(error)}", hint) from None
    if missing := sorted(loaded["missing_keys"]):  # transformers would draw them at random, and go on
        raise PrefbenchError(f"{folder}: no causal LM: the weights lack {len(missing)} tensors, the first is {missing[0]}", hint)
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _refuse_lost_cap(folder: Path, rules: ModelRules) -> None:
    """Raise PrefbenchError for a model that caps its attention logits, as Gemma 2 does, under an implementation that leaves the cap out."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=rules.trust_remote_code).get_text_config()
    cap = getattr(config, "attn_logit_softcapping", None)
    if cap is not None and rules.attention == "sdpa":
        message = f"{folder}: the model caps its attention logits at {cap}, which scaled dot-product attention (sdpa) cannot"
        raise PrefbenchError(message, f"write {EAGER}")


def _what_to_write(error: Exception) -> str:
    """What in the track would have kept transformers from this error; empty where nothing would."""
    if isinstance(error, ImportError):
        return 'install what it names; or, where that is FlashAttention, write attention = "sdpa" under [model]'
    if "trust_remote_code" in str(error):
        return "read the code that comes with it, then write trust_remote_code = true under [model]"
    return f"write {EAGER}" if "attention implementation" in str(error) else ""


def save_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save model, its adapters merged, and tokenizer as an ordinary folder of transformers that is whole or absent.

    Raises StorageError where there is no room, or no right, to write.
    """
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=PARTIAL))
        plain, weights = merged(model) if has_adapters(model) else (model, None)
        plain.save_pretrained(temporary, state_dict=weights)
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
