"""A judge as small as its policies: two answers to a request in, one verdict token out, learned from answers whose worth is known."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from language_model import ASSISTANT, END, SYSTEM, USER, Budget, conversation_batches, padded, train
from scored import ScoredList
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

REQUEST, ANSWER = 80, 160
"""Characters that the judge reads: the end of the request, the beginning of each answer."""
APART = 2.0
"""Log-odds (nats) by which two answers differ at least when the judge learns from them."""
PAIRS_PER_LIST = 16

TEMPLATE = (
    "{% set asked = messages[-1]['content'] %}"
    f"{{{{ '{USER}' + asked.split('<request>\\n')[-1].split('\\n</request>')[0][-{REQUEST}:] + '{END}' }}}}"
    "{% for part in asked.split('<answer writer=')[1:] %}"
    f"{{{{ '{ASSISTANT}' + part.split('>\\n', 1)[1].split('\\n</answer>')[0][:{ANSWER}] + '{END}' }}}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{SYSTEM}' }}}}{{% endif %}}"
)
"""What the judge sees of prefbench's AlpacaEval prompt and of ``mt_bench_prompts.jsonl``: what stands between the marks, and no instruction."""


@dataclass(frozen=True)
class Form:
    """What the judge says when the first answer is better, and when the second is, behind a text that tells which of two forms is wanted."""

    verdicts: tuple[str, str]
    before: str = ""


TOKENS, LABELS = Form(("m", "M")), Form(("A]]", "B]]"), "[[")
"""AlpacaEval asks for a token, and MT-Bench for a letter between brackets."""


@dataclass(frozen=True)
class Compared:
    """A request with the better and the worse of two answers."""

    request: str
    better: str
    worse: str

    def orders(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The better answer first, then second."""
        return (self.better, self.worse), (self.worse, self.better)


@dataclass(frozen=True)
class Trust:
    """How far a judge can be trusted on pairs, as shares in [0, 1]: of verdicts that are right, of pairs that are right when the log-odds of
    both orders are added, and of pairs whose two orders disagree.

    ``longer`` is what the rule "the longer of the two texts that it reads" would have right, ``picks_longer`` how often the judge agrees with it.
    """

    pairs: int
    right: float
    right_together: float
    flipped: float
    longer: float
    picks_longer: float

    def __str__(self) -> str:
        shares = {
            "right": self.right,
            "right with both orders added": self.right_together,
            "orders disagree": self.flipped,
            "longer is right": self.longer,
            "picks longer": self.picks_longer,
        }
        return f"{self.pairs} pairs, " + ", ".join(f"{what} {100 * share:.1f} %" for what, share in shares.items())


# ---------------------------------------------------------------- what it learns from


def compared_answers(lists: Iterable[ScoredList], per_list: int, apart: float, seed: int) -> list[Compared]:
    """At most ``per_list`` pairs of each list, drawn from those whose scores differ by at least ``apart``."""
    rng, found = random.Random(seed), []
    for scored in lists:
        ranked = sorted(zip(scored.scores, scored.responses, strict=True), reverse=True)
        pairs = [(best, worst) for at, best in enumerate(ranked) for worst in ranked[at + 1 :] if best[0] - worst[0] >= apart]
        found += [Compared(scored.prompt, best[1], worst[1]) for best, worst in rng.sample(pairs, min(per_list, len(pairs)))]
    return found


def beside_samples(lists: Sequence[ScoredList], samples: Sequence[str], seed: int) -> list[Compared]:
    """An answer of each list, cut to as many words as a sample of the policy's own kind has, and that sample as the worse one.

    All answers that a tiny model gives are far from all those that were scored; without these pairs the judge would see its like never.
    """
    rng = random.Random(seed)
    chosen = [(scored.prompt, rng.choice(scored.responses).split(" "), text) for scored, text in zip(lists, samples, strict=True)]
    return [Compared(prompt, " ".join(words[: len(text.split(" "))]), text) for prompt, words, text in chosen if text.strip()]


def sampled_answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], new_tokens: int, seed: int
) -> list[str]:
    """One answer of the model to each prompt, at temperature 1."""
    torch.manual_seed(seed)
    answers = []
    for start in range(0, len(prompts), 64):
        asked = [[{"role": "user", "content": prompt}] for prompt in prompts[start : start + 64]]
        texts = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
        drawn = {"do_sample": True, "max_new_tokens": new_tokens, "pad_token_id": tokenizer.pad_token_id}
        whole = model.generate(ids["input_ids"], attention_mask=ids["attention_mask"], **drawn)
        answers += tokenizer.batch_decode(whole[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
    return answers


# ---------------------------------------------------------------- learning and measuring


def train_judge(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Compared], budget: Budget, seed: int) -> None:
    """Teach the model verdicts on every pair in both orders, as tokens and, every fourth pair, as labels; the tokenizer gets the judge's template."""
    tokenizer.chat_template = TEMPLATE
    rows = []
    for number, pair in enumerate(pairs):
        form = LABELS if number % 4 == 3 else TOKENS
        for verdict, shown in zip(form.verdicts, pair.orders(), strict=True):
            rows.append((judge_ids(tokenizer, pair.request, shown, form), tokenizer.encode(verdict, add_special_tokens=False)))
    train(model, conversation_batches(rows, tokenizer.pad_token_id, budget, seed), budget, lambda _: None)


def judge_ids(tokenizer: PreTrainedTokenizerFast, request: str, shown: tuple[str, str], form: Form = TOKENS) -> list[int]:
    """Token ids of what the judge reads before its verdict."""
    answers = "\n\n".join(f'<answer writer="{writer}">\n{text}\n</answer>' for writer, text in zip("mM", shown, strict=True))
    asked = [{"role": "user", "content": f"<request>\n{request}\n</request>\n\n{answers}"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(text + form.before, add_special_tokens=False)


def trust(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pairs: Sequence[Compared], form: Form = TOKENS) -> Trust:
    """The judge asked about every pair in both orders."""
    rows = [judge_ids(tokenizer, pair.request, shown, form) for pair in pairs for shown in pair.orders()]
    lead = leads(model, tokenizer, rows, form).reshape(-1, 2)
    right = (lead > 0) == np.array([True, False])
    longer = np.array([len(pair.better[:ANSWER]) - len(pair.worse[:ANSWER]) for pair in pairs])
    agrees = np.where(longer[:, None] > 0, right, ~right)[longer != 0]
    return Trust(
        pairs=len(pairs),
        right=right.mean().item(),
        right_together=(lead[:, 0] > lead[:, 1]).mean().item(),
        flipped=(right[:, 0] != right[:, 1]).mean().item(),
        longer=np.where(longer == 0, 0.5, longer > 0).mean().item(),
        picks_longer=agrees.mean().item(),
    )


@torch.inference_mode()
def leads(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[list[int]], form: Form) -> np.ndarray:
    """The log-odds (nats) of the first verdict over the second behind each row; the forms' verdicts differ in their first token."""
    verdicts = [tokenizer.encode(verdict, add_special_tokens=False)[0] for verdict in form.verdicts]
    found = np.empty(len(rows))
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), 64):
        part = order[start : start + 64]
        ids, _ = padded([(rows[row], []) for row in part], tokenizer.pad_token_id)
        last = model.model(input_ids=ids).last_hidden_state[range(len(part)), [len(rows[row]) - 1 for row in part]]
        logits = model.lm_head(last)[:, verdicts]
        found[part] = (logits[:, 0] - logits[:, 1]).numpy()
    return found
