"""Attention over packed tokens, put under transformers' own modules: each sequence sees itself, and answers see the prompt that they share."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from prefbench.train.layout import Packing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "prefbench"
"""The attention implementation that transformers knows this module's by."""


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in each layer: query (B, H, T, D), key and value (B, G, T, D) with G heads or groups of them; (B, T, H, D) out.

    Without a packing it is transformers' own scaled dot-product attention.
    """
    if packing is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        result: tuple[torch.Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return result
    query, key = (
        query.to(value.dtype),
        key.to(value.dtype),
    )  # under autocast rotary embeddings leave them in float32, and the values in bfloat16
    window = options.get("sliding_window")
    if window is not None and window >= packing.longest:
        window = None
    settings = {"dropout": options.get("dropout", 0.0), "scale": options.get("scaling")}
    if query.is_cuda and not settings["dropout"] and min(query.shape[3], value.shape[3]) >= NARROWEST:
        return flexible(query, key, value, packing, window, settings["scale"]), None
    return by_blocks(query, key, value, packing, window, settings["dropout"], settings["scale"]), None


# ---------------------------------------------------------------- which models it suits

NARROWEST = 16
"""Width of a head that FlexAttention's kernels can take."""
CALL = 500_000
"""What a call of the attention costs on a CPU beside its arithmetic, in multiply-adds: padding that is cheaper is taken to save one."""
WINDOWED = ("gemma3_text", "mistral", "qwen2", "qwen3")
"""Architectures with sliding windows that hand each layer's window to its attention; of others only those without any are packed."""


def obstacle(model: PreTrainedModel) -> str:
    """Why a model cannot be given packed tokens, as far as its class and its settings say; empty where nothing does."""
    config = model.config.get_text_config()
    if model.config._attn_implementation not in ("sdpa", NAME):
        return f"attention is {model.config._attn_implementation}"
    if not getattr(model, "_supports_attention_backend", False):
        return f"{type(model).__name__} does not call transformers' attention interface"
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds or any(isinstance(module, torch.nn.Conv1d) for module in model.modules()):
        return f"{type(model).__name__} has layers that look back without attention"
    if (getattr(config, "rope_parameters", None) or {}).get("rope_type") in ("dynamic", "longrope"):
        return f"{type(model).__name__} has rotary embeddings that follow the longest text of a batch"
    windowed = getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None)
    if windowed and config.model_type not in WINDOWED:
        return f"{type(model).__name__} has windows that its attention may not be told of"
    return ""


def use_attention(model: PreTrainedModel, name: str) -> None:
    """From now on the model's layers call the attention of this name. Padded tokens are attended to by ours as by sdpa."""
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask  # seconds, which the process that only plans a run is spared
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config._attn_implementation = name
    model.config.get_text_config()._attn_implementation = name


def worthwhile_padding(model: PreTrainedModel) -> int:
    """Tokens of padding that cost about as much as a call of the attention; none on a GPU, where one call does for all families."""
    if model.device.type != "cpu":
        return 0
    config = model.config.get_text_config()
    embeddings = model.get_input_embeddings().weight.numel()
    layer = (sum(weight.numel() for weight in model.base_model.parameters()) - embeddings) // config.num_hidden_layers
    return int(CALL // max(1, layer))


# ---------------------------------------------------------------- CPU: a call per block of families


def by_blocks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packing: Packing, window: int | None, dropout: float, scale: float | None
) -> torch.Tensor:
    """Block by block: families of one width are a batch of their own. Query (1, H, T, D), key and value (1, G, T, D); (1, T, H, D) out."""
    grouped = query.shape[1] != key.shape[1]
    sizes = [families * width for families, width in packing.blocks]
    outputs = []
    # squeezed, and not [0]: the backward of that fills a tensor of zeros first
    for number, parts in enumerate(zip(*(tensor.squeeze(0).split(sizes, dim=1) for tensor in (query, key, value)), strict=True)):
        families, width = packing.blocks[number]
        mask = block_mask(packing, number, window, query.dtype)
        # (H, F * W, D) as (F, H, W, D), without a copy
        q, k, v = (part.unflatten(1, (families, width)).transpose(0, 1) for part in parts)
        found = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scale, enable_gqa=grouped
        )
        outputs.append(found.transpose(1, 2).reshape(1, families * width, query.shape[1], value.shape[3]))
    return torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]


def block_mask(packing: Packing, number: int, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    """What is added to a block's scores, (F, 1, W, W): 0 or -inf. None where plain causal attention does: no two answers share a prompt."""
    if not packing.branching and window is None:
        return None
    key = (number, window, dtype)
    if key not in packing.masks:
        start = sum(families * width for families, width in packing.blocks[:number])
        families, width = packing.blocks[number]
        part, place = (values[start : start + families * width].view(families, width) for values in (packing.part, packing.place))
        hidden = ~visible(part[:, :, None], part[:, None, :], place[:, :, None], place[:, None, :], window)
        hidden |= torch.ones(width, width, dtype=torch.bool, device=part.device).triu(1)
        packing.masks[key] = torch.zeros(hidden.shape, dtype=dtype, device=part.device).masked_fill_(hidden, float("-inf"))[:, None]
    found: Any = packing.masks[key]
    return torch.as_tensor(found)


def visible(part: torch.Tensor, other: torch.Tensor, place: torch.Tensor, other_place: torch.Tensor, window: int | None) -> torch.Tensor:
    """Whether a token may see an earlier one of its family: of the prompt or of its own answer, and no further back than the window."""
    seen = (other == 0) | (other == part)
    return seen if window is None else seen & (place - other_place < window)


# ---------------------------------------------------------------- CUDA: FlexAttention, which skips what no token of a tile may see


def flexible(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packing: Packing, window: int | None, scale: float | None
) -> torch.Tensor:
    """All families in one call. Query (1, H, T, D), key and value (1, G, T, D); (1, T, H, D) out."""
    if window not in packing.masks:
        packing.masks[window] = flexible_mask(packing, window)
    attention = compiled_flex_attention() if query.device.type == "cuda" else _flex().flex_attention
    grouped = query.shape[1] != key.shape[1]
    found: torch.Tensor = attention(query, key, value, block_mask=packing.masks[window], scale=scale, enable_gqa=grouped)
    return found.transpose(1, 2)


def flexible_mask(packing: Packing, window: int | None) -> Any:
    """The block mask of FlexAttention."""
    part, family, place = packing.part, packing.family, packing.place

    def may_see(_batch: torch.Tensor, _head: torch.Tensor, at: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        inside = (family[at] == family[other]) & (at >= other)
        return inside & visible(part[at], part[other], place[at], place[other], window)

    return _flex().create_block_mask(may_see, None, None, len(part), len(part), device=str(part.device))


def _flex() -> Any:
    from torch.nn.attention import flex_attention  # imports the compiler, which a run on the CPU does not need

    return flex_attention


@cache
def compiled_flex_attention() -> Any:
    """Compiled once for all lengths: uncompiled it would hold every score."""
    import torch._dynamo

    # One for each window, with and without gradient, for many tiles and for one: more than the usual limit, past which every score would be held.
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)
    return torch.compile(_flex().flex_attention, dynamic=True, fullgraph=True)
