"""How much a judge prefers answers to a baseline's, asked and read through alpaca-eval."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefbench.api import Judge, JudgeReply, JudgeRequest, Message, Question
from prefbench.evaluate.checked import checked_replies
from prefbench.evaluate.stand_ins import quiet_root, replaced, stand_ins

OWN_PROMPT = "prefbench"
STOCK_PROMPT = "alpaca_eval_clf_gpt4_turbo"
"""The prompt of the published AlpacaEval 2 leaderboard, which is read from the installed alpaca-eval."""
CHOICES = ("m", "M")
"""The verdict tokens: m prefers the answer that is shown first, M the second."""

_FOLDER = Path(__file__).parent / "prompts" / "alpaca_eval"
_PLACEHOLDER = re.compile(r"\{(instruction|output_1|output_2)\}")


@dataclass(frozen=True)
class Comparison:
    """One answer to a question beside the baseline's."""

    question: Question
    baseline: str
    answer: str

    def shown(self, swapped: bool) -> tuple[str, str]:
        """The two answers in the order in which the judge sees them: the baseline's first, unless swapped."""
        return (self.answer, self.baseline) if swapped else (self.baseline, self.answer)


def preferences(comparisons: Sequence[Comparison], judge: Judge, prompt: str = OWN_PROMPT) -> list[float | None]:
    """The judge's preference for each answer over the baseline's, in [0, 1]; None where it gave no verdict.

    alpaca-eval decides the order in which two answers are shown (a coin that depends on the instruction alone), gives 0.5 where they are
    the same text, reads the verdicts with its ``logprob_parser``, and turns those of swapped pairs round. One call of the judge for all.
    """
    if not comparisons:
        return []
    with stand_ins():
        from alpaca_eval import utils
        from alpaca_eval.annotators import PairwiseAnnotator
    template = _template(prompt)

    def complete(prompts: Sequence[str]) -> dict[str, list[Any]]:
        replies = checked_replies(judge, [_request(key, comparisons, template) for key in prompts])
        return {"completions_all": [_completion(reply) for reply in replies]}

    without_bar = SimpleNamespace(tqdm=lambda rows, **_: rows)
    with quiet_root(), replaced(utils, tqdm=without_bar):
        # A row number among the input keys keeps apart what the library would merge: the same instruction twice, the same answer twice.
        annotator = PairwiseAnnotator(
            annotators_config=_FOLDER, input_keys=("instruction", "row"), fn_completions=complete, caching_path=None
        )
        annotated = annotator.annotate_head2head(
            outputs_1=_outputs(comparisons, [c.baseline for c in comparisons]),
            outputs_2=_outputs(comparisons, [c.answer for c in comparisons]),
            chunksize=None,
        )
    by_row = {int(row["row"]): _fraction(row["preference"]) for row in annotated}
    return [by_row[i] for i in range(len(comparisons))]


def _outputs(comparisons: Sequence[Comparison], texts: Sequence[str]) -> list[dict[str, str]]:
    """One side of the comparisons in alpaca-eval's form."""
    pairs = zip(comparisons, texts, strict=True)
    return [{"row": str(i), "instruction": c.question.turns[0], "output": text} for i, (c, text) in enumerate(pairs)]


def _template(prompt: str) -> tuple[Message, ...]:
    """The messages of a prompt, placeholders unfilled."""
    from alpaca_eval import constants, utils

    path = _FOLDER / "prompt.txt" if prompt == OWN_PROMPT else constants.EVALUATORS_CONFIG_DIR / prompt / "alpaca_eval_clf.txt"
    return tuple(utils.prompt_to_chatml(path.read_text(encoding="utf-8")))


def _request(key: str, comparisons: Sequence[Comparison], template: Sequence[Message]) -> JudgeRequest:
    """What the judge is asked about the row that the library's rendered key names.

    The library fills placeholders one after the other and splits the result at its chat marks, so that an instruction that contains
    ``{output_1}`` swallows an answer and an answer that contains a mark forges a message. Here the marks are read first and every text
    goes in once.
    """
    row, swapped = key.split()
    comparison = comparisons[int(row)]
    first, second = comparison.shown(swapped == "True")
    texts = {"instruction": comparison.question.turns[0], "output_1": first, "output_2": second}
    messages = tuple({**message, "content": _fill(message["content"], texts)} for message in template)
    return JudgeRequest(messages=messages, question=comparison.question, answers=((first,), (second,)), choices=CHOICES)


def _fill(template: str, texts: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def _completion(reply: JudgeReply) -> dict[str, Any]:
    """A reply in the form in which alpaca-eval's ``logprob_parser`` wants it; a judge without log-probs casts a whole vote."""
    verdict = reply.text.strip()
    log_probs = reply.log_probs if reply.log_probs is not None else {verdict: 0.0}
    top = [{"token": token, "logprob": value} for token, value in log_probs.items() if token in CHOICES]
    return {"logprobs": {"content": [{"top_logprobs": top}]}}


def _fraction(preference: float | None) -> float | None:
    """alpaca-eval's preference, 1 for the baseline to 2 for the answer, as a share; None for its None and its NaN."""
    return None if preference is None or preference != preference else float(preference) - 1.0
