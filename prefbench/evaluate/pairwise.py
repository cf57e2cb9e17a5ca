"""How much a judge prefers answers to a baseline's, asked and read through alpaca-eval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from prefbench.api import Judge, JudgeRequest, Question
from prefbench.evaluate.annotators import Annotator
from prefbench.evaluate.checked import checked_replies
from prefbench.evaluate.stand_ins import quiet_root, replaced, stand_ins

_KEYS = Path(__file__).parent / "prompts" / "alpaca_eval" / "keys"


@dataclass(frozen=True)
class Comparison:
    """One answer to a question beside the baseline's."""

    question: Question
    baseline: str
    answer: str

    def shown(self, swapped: bool) -> tuple[str, str]:
        """The two answers in the order in which the judge sees them: the baseline's first, unless swapped."""
        return (self.answer, self.baseline) if swapped else (self.baseline, self.answer)

    def exchanged(self) -> Comparison:
        """The same two answers with their parts exchanged: the judge sees them in the other order."""
        return Comparison(self.question, self.answer, self.baseline)


class Verdict(NamedTuple):
    """The preference for the answer in [0, 1], None without one; and whether the two orders contradict each other, None where only one was asked
    for or one gave no verdict."""

    preference: float | None
    flip: bool | None


def verdicts(comparisons: Sequence[Comparison], judge: Judge, annotator: Annotator, both_orders: bool = False) -> list[Verdict]:
    """A verdict per comparison; of both orders the mean, with one call of the judge for all."""
    if not both_orders:
        return [Verdict(preference, None) for preference in preferences(comparisons, judge, annotator)]
    asked = preferences([*comparisons, *(c.exchanged() for c in comparisons)], judge, annotator)
    return [_of_both(here, there) for here, there in zip(asked[: len(comparisons)], asked[len(comparisons) :], strict=True)]


def _of_both(here: float | None, there: float | None) -> Verdict:
    """From the preference for the answer, and for the baseline when the two are shown the other way round."""
    if here is None or there is None:
        return Verdict(None, None)
    return Verdict((here + 1.0 - there) / 2, (here - 0.5) * (0.5 - there) < 0)


def preferences(comparisons: Sequence[Comparison], judge: Judge, annotator: Annotator) -> list[float | None]:
    """The judge's preference for each answer over the baseline's, in [0, 1]; None where it gave no verdict.

    alpaca-eval decides the order in which two answers are shown (a coin that depends on the instruction alone, unless the annotator shows them as
    they are given), gives 0.5 where they are the same text, reads the verdicts with the annotator's parser, and turns those of swapped pairs
    round. One call of the judge for all.
    """
    if not comparisons:
        return []
    with stand_ins():
        from alpaca_eval import utils
        from alpaca_eval.annotators import PairwiseAnnotator

    def complete(prompts: Sequence[str]) -> dict[str, list[Any]]:
        replies = checked_replies(judge, [_request(key, comparisons, annotator) for key in prompts])
        return {annotator.reading["completion_key"]: [annotator.completion(reply) for reply in replies]}

    without_bar = SimpleNamespace(tqdm=lambda rows, **_: rows)
    with quiet_root(), replaced(utils, tqdm=without_bar):
        # A row number among the input keys keeps apart what the library would merge: the same instruction twice, the same answer twice.
        library = PairwiseAnnotator(
            annotators_config=_KEYS,
            prompt_template=_KEYS / ("random_order.txt" if annotator.reading["is_randomize_output_order"] else "as_given.txt"),
            input_keys=("instruction", "row"),
            fn_completions=complete,
            caching_path=None,
            **{**annotator.reading, "fn_completion_parser": _tolerant(annotator.reading["fn_completion_parser"])},
        )
        annotated = library.annotate_head2head(
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


def _request(key: str, comparisons: Sequence[Comparison], annotator: Annotator) -> JudgeRequest:
    """What the judge is asked about the row that the library's rendered key names, in the order that it drew."""
    row, swapped = key.split()
    comparison = comparisons[int(row)]
    return annotator.request(comparison.question, *comparison.shown(swapped == "True"))


def _tolerant(name: str) -> Callable[..., list[float | None]]:
    """A parser of alpaca-eval by name, whose draw of 0 the library would turn into 3 and then refuse, together with all other verdicts."""
    from alpaca_eval import completion_parsers

    parser = getattr(completion_parsers, name)
    return lambda completion, **arguments: [_preference(value) for value in parser(completion, **arguments)]


def _preference(value: Any) -> float | None:
    """A parsed verdict on alpaca-eval's scale from 1 to 2, None for what is on neither that scale nor a draw."""
    if value == 0:
        return 1.5
    return float(value) if isinstance(value, int | float) and 1 <= value <= 2 else None


def _fraction(preference: float | None) -> float | None:
    """alpaca-eval's preference, 1 for the baseline to 2 for the answer, as a share; None for its None and its NaN."""
    return None if preference is None or preference != preference else float(preference) - 1.0
