"""The source of local files: every shape of pair, every bad row, splits and draws, and an identity that follows the content."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prefbench.data.content import text_digest, trains_beside_the_template
from prefbench.data.files import Files
from prefbench.data.plugin import prefbench_sources
from prefbench.data.preference_files import read_pairs
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError
from prefbench.registry import build
from tests.data.conftest import COMMIT, Hub
from tests.models import tiny_llama, word_tokenizer


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def write_rows(path: Path, rows: list[Any]) -> Path:
    """JSONL of objects, and of strings as they stand."""
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def standard(number: int) -> dict[str, str]:
    return {"prompt": f"p{number}", "chosen": f"good {number}", "rejected": f"bad {number}"}


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "sft"
    tiny_llama().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path, saved_model: Path) -> Path:
    """A track's folder: ``sft`` and ``pairs.jsonl`` of 200 pairs, two to a prompt."""
    shutil.copytree(saved_model, tmp_path / "sft")
    write_rows(tmp_path / "pairs.jsonl", [{**standard(i), "prompt": f"p{i // 2}"} for i in range(200)])
    return tmp_path


def source(folder: Path, **options: Any) -> Files:
    return Files(**{"model": "sft", "pairs_file": "pairs.jsonl", **options}).locate(folder)


# ---------------------------------------------------------------- rows


def test_gzipped_and_plain_files_hold_the_same_pairs(tmp_path: Path) -> None:
    rows = [standard(i) for i in range(3)]
    plain = read_pairs(Table(str(write_rows(tmp_path / "a.jsonl", rows))))
    assert read_pairs(Table(str(write_rows(tmp_path / "b.jsonl.gz", rows)))).pairs == plain.pairs
    assert len(plain.pairs) == 3


def test_plain_prompts_beside_questions_are_noticed_and_conversations_are_not(folder: Path) -> None:
    write_rows(folder / "questions.jsonl", [{"instruction": "Name a fruit."}])
    plain, talks = [standard(i) for i in range(2)], [{**standard(i), "prompt": [{"role": "user", "content": f"p{i}"}]} for i in range(2)]
    talks = [{**row, **{side: [{"role": "assistant", "content": row[side]}] for side in ("chosen", "rejected")}} for row in talks]
    for rows, expected in ((plain, True), (talks, False)):
        write_rows(folder / "pairs.jsonl", rows)
        found = source(folder, alpaca_eval_questions="questions.jsonl")
        assert trains_beside_the_template(found, 0, ["alpaca_eval"]) is expected
        assert not trains_beside_the_template(found, 0, ["held_out"])


# ---------------------------------------------------------------- bad rows


def test_bad_rows_are_refused_by_row_number(folder: Path) -> None:
    write_rows(folder / "pairs.jsonl", [standard(0), "{", "", "[]", standard(1), standard(0)])
    with pytest.raises(
        PrefbenchError, match=r"3 bad rows: row 2 \(not JSON\), row 4 \(not a JSON object\), row 6 \(the same pair as row 1\)"
    ):
        source(folder).prepare(folder, print)


def test_many_bad_rows_are_counted_behind_the_first_ten(folder: Path) -> None:
    write_rows(folder / "pairs.jsonl", ["{"] * 25)
    with pytest.raises(PrefbenchError, match=r"25 bad rows.*row 10 \(not JSON\), and 15 more"):
        source(folder).prepare(folder, print)


def test_dropped_rows_are_counted_by_reason_and_listed_in_a_file(folder: Path) -> None:
    write_rows(folder / "pairs.jsonl", [standard(0), "{", standard(1), standard(0), "["])
    told: list[str] = []
    found = source(folder, bad_rows="drop")
    found.prepare(folder / "cache", told.append)
    assert len(found.pairs(0)) == 2
    (listed,) = (folder / "cache" / "bad_rows").iterdir()
    assert told == [
        "files: 2 training pairs, 0 held out, format standard",
        f"files: 3 bad rows of pairs.jsonl dropped: 2 not JSON, 1 the same pair as an earlier row; listed in {listed}",
    ]
    assert json.loads(listed.read_text())["rows"] == {"2": "not JSON", "4": "the same pair as row 1", "5": "not JSON"}


def test_pairs_are_described_without_being_refused(folder: Path) -> None:
    write_rows(folder / "pairs.jsonl", [standard(0), "{"])
    counts, bad = source(folder).describe(folder / "cache")
    assert counts == "1 training pair, 0 held out, format standard"
    assert bad.startswith("1 bad row of pairs.jsonl refused: 1 not JSON; listed in ")


# ---------------------------------------------------------------- splits and draws


def test_the_split_is_by_prompt_and_does_not_depend_on_the_other_rows(folder: Path) -> None:
    local = source(folder, held_out_share=0.3)
    held_out = {pair.prompt for pair in local.held_out()}
    assert not held_out & {pair.prompt for pair in local.pairs(0)}
    assert len(local.held_out()) + len(local.pairs(0)) == 200
    assert 0.15 < len(local.held_out()) / 200 < 0.45

    kept = (folder / "pairs.jsonl").read_text().splitlines()[100:]
    write_rows(folder / "pairs.jsonl", kept)
    assert {pair.prompt for pair in source(folder, held_out_share=0.3).held_out()} == held_out & {f"p{i}" for i in range(50, 100)}


def test_a_held_out_file_that_shares_a_prompt_is_refused(folder: Path) -> None:
    write_rows(folder / "held_out.jsonl", [{"prompt": "p3", "chosen": "x", "rejected": "y"}])
    with pytest.raises(PrefbenchError, match="2 training pairs have a prompt of"):
        source(folder, held_out_file="held_out.jsonl").prepare(folder, print)


def test_training_pairs_with_a_held_out_prompt_are_left_out_where_bad_rows_are(folder: Path) -> None:
    write_rows(folder / "held_out.jsonl", [{"prompt": "p3", "chosen": "x", "rejected": "y"}])
    told: list[str] = []
    found = source(folder, held_out_file="held_out.jsonl", bad_rows="drop")
    found.prepare(folder / "cache", told.append)
    assert "p3" not in {pair.prompt for pair in found.pairs(0)}
    assert told[0] == "files: 198 training pairs, 1 held out, format standard"
    assert told[1].startswith("files: 2 bad rows of pairs.jsonl dropped: 2 its prompt is held out; listed in ")


@pytest.mark.usefixtures("own_data_sets")
def test_a_data_set_has_its_held_out_pairs_in_a_split(folder: Path) -> None:
    (folder / "set").mkdir()
    write_rows(folder / "set" / "train.jsonl", [standard(i) for i in range(5)])
    write_rows(folder / "set" / "test.jsonl", [standard(i) for i in range(5, 7)])
    found = source(folder, pairs_file="set", held_out_split="test")
    assert {pair.prompt for pair in found.pairs(0)} == {"p0", "p1", "p2", "p3", "p4"}
    assert [pair.prompt for pair in found.held_out()] == ["p5", "p6"]
    assert found.origin(found.held_out()[1]) == "set test row 2"


def test_each_seed_draws_its_own_subset_and_order(folder: Path) -> None:
    local = source(folder, pairs_per_seed=50)
    draws = [[pair.id for pair in local.pairs(seed)] for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert set(draws[0]) != set(draws[2])
    assert len(set(draws[0])) == 50
    everything = source(folder)
    assert {pair.id for pair in everything.pairs(0)} == {pair.id for pair in everything.pairs(1)}
    assert everything.pairs(0) != everything.pairs(1)


def test_noise_exchanges_the_answers_of_its_share_and_leaves_a_mask(folder: Path) -> None:
    pairs = source(folder, noise=0.2).pairs(3)
    assert sum(pair.columns["flipped"] for pair in pairs) == 40
    assert all(pair.chosen.startswith("bad" if pair.columns["flipped"] else "good") for pair in pairs)
    clean = source(folder).pairs(3)
    assert [pair.prompt for pair in pairs] == [pair.prompt for pair in clean]
    assert all("flipped" not in pair.columns for pair in clean)


def test_a_flipped_pair_is_known_by_its_row_and_keeps_no_number_of_its_format(folder: Path) -> None:
    write_rows(folder / "pairs.jsonl", [{**standard(i), "score_chosen": 2, "score_rejected": 1} for i in range(4)])
    scores = ("score_chosen", "score_rejected", "score-gap")
    assert source(folder).pair_columns == tuple(source(folder).pairs(0)[0].columns) == scores
    noisy = source(folder, noise=0.5)
    assert noisy.pair_columns == ("flipped",)
    for pair in noisy.pairs(0):
        assert pair.columns.keys() == {"flipped"}
        assert noisy.origin(pair) == f"pairs.jsonl row {int(pair.prompt[1:]) + 1}"  # type: ignore[index]  # plain text here


def test_held_out_labels_are_never_flipped(folder: Path) -> None:
    assert all(pair.chosen.startswith("good") for pair in source(folder, noise=0.5, held_out_share=0.3).held_out())


# ---------------------------------------------------------------- identity


def test_the_identity_follows_content_and_not_the_place(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "pairs.jsonl").rename(elsewhere / "renamed.jsonl")
    before = source(folder).identity()
    assert source(elsewhere, pairs_file="renamed.jsonl").identity() == before
    assert str(folder) not in json.dumps(before)


@pytest.mark.parametrize("name", ["pairs.jsonl", "sft/model.safetensors", "sft/tokenizer.json", "sft/config.json"])
def test_the_identity_changes_with_any_file_that_matters(folder: Path, name: str) -> None:
    before = source(folder).identity()
    content = (folder / name).read_bytes()
    longer, other = content + b" ", content[:-1] + bytes([content[-1] ^ 1])  # weights that are longer than their header says are refused
    (folder / name).write_bytes(other if name.endswith(".safetensors") else longer)
    assert source(folder).identity() != before


def test_the_identity_has_the_options_and_ignores_compression(folder: Path) -> None:
    before = source(folder).identity()
    (folder / "pairs.jsonl.gz").write_bytes(gzip.compress((folder / "pairs.jsonl").read_bytes()))
    assert source(folder, pairs_file="pairs.jsonl.gz").identity() == before
    assert source(folder, noise=0.1).identity() != before


def test_a_location_on_the_hub_is_its_own_identity_and_no_network_is_asked(folder: Path) -> None:
    model, pairs = f"hf://owner/name@{COMMIT}", f"hf://datasets/owner/name@{COMMIT}"
    found = source(folder, model=model, pairs_file=pairs, pairs_split="train_prefs")
    assert found.identity()["contents"] == {"model": model, "pairs_file": pairs}
    assert found.identity()["pairs_split"] == "train_prefs"
    assert found.pair_columns is None


def test_a_format_is_part_of_the_identity_only_where_it_is_named(folder: Path) -> None:
    assert "pairs_format" not in source(folder).identity()
    assert source(folder, pairs_format="standard").identity()["pairs_format"] == "standard"


def test_questions_and_what_judges_read_are_no_part_of_what_was_trained(folder: Path) -> None:
    (folder / "q.json").write_text('[{"instruction": "Why?"}]')
    write_rows(folder / "bench.jsonl", [{"question_id": 1, "category": "math", "turns": ["1+1?"]}])
    on_hub = f"hf://datasets/tatsu-lab/alpaca_eval@{COMMIT}/df_gamed.csv"
    given = {"alpaca_eval_questions": "q.json", "alpaca_eval_gamed": on_hub, "mt_bench_questions": "bench.jsonl"}
    found = source(folder, **given)
    assert found.identity() == source(folder).identity()
    asked = found.harness_identity("alpaca_eval")
    assert asked == {"questions": {"alpaca_eval_questions": text_digest(folder / "q.json")}, "files": {"alpaca_eval_gamed": on_hub}}
    assert found.harness_identity("alpaca_eval_1") == {"questions": asked["questions"], "files": {}}
    write_rows(folder / "answers.jsonl", [{"question_id": 1, "choices": [{"turns": ["2"]}]}])
    before, after = (
        found.harness_identity("mt_bench"),
        source(folder, **given, mt_bench_references="answers.jsonl").harness_identity("mt_bench"),
    )
    assert after["questions"] == before["questions"]
    assert after["files"] == {"mt_bench_references": text_digest(folder / "answers.jsonl")}


def test_a_harness_of_somebodys_own_depends_on_all_that_it_could_ask_for(folder: Path) -> None:
    (folder / "q.json").write_text('[{"instruction": "Why?"}]')
    (folder / "r.json").write_text('[{"instruction": "Why?", "output": "So."}]')
    found = source(folder, alpaca_eval_questions="q.json", alpaca_eval_references="r.json")
    assert found.harness_identity("verdicts") == {
        "questions": {"alpaca_eval_questions": text_digest(folder / "q.json")},
        "files": {"alpaca_eval_references": text_digest(folder / "r.json")},
    }
    assert source(folder).harness_identity("verdicts") == {"questions": {}, "files": {}}


def test_the_identity_of_a_folder_of_pairs_follows_its_files(folder: Path) -> None:
    (folder / "set").mkdir()
    write_rows(folder / "set" / "train.jsonl", [standard(0)])
    before = source(folder, pairs_file="set").identity()
    assert source(folder, pairs_file="set").identity() == before
    write_rows(folder / "set" / "test.jsonl", [standard(1)])
    assert source(folder, pairs_file="set").identity() != before


# ---------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("sft", "no such model folder"),
        ("sft/config.json", "no config.json"),
        ("sft/model.safetensors", "no safetensors weights"),
        ("sft/tokenizer.json", "no tokenizer"),
        ("pairs.jsonl", "cannot be read"),
    ],
)
def test_what_is_missing_is_named_with_a_hint(folder: Path, gone: str, message: str) -> None:
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(PrefbenchError, match=message) as caught:
        source(folder).prepare(folder, print)
    assert caught.value.hint


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "sft" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(PrefbenchError, match=r"weights are missing: model-2\.safetensors"):
        source(folder).prepare(folder, print)


def test_a_truncated_gzip_file_is_an_error_and_not_fewer_pairs(folder: Path) -> None:
    whole = gzip.compress((folder / "pairs.jsonl").read_bytes())
    (folder / "pairs.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PrefbenchError, match="cannot be read"):
        source(folder, pairs_file="pairs.jsonl.gz").prepare(folder, print)


def test_too_few_pairs_for_a_seed_are_refused(folder: Path) -> None:
    with pytest.raises(PrefbenchError, match="200 training pairs, and 201 are asked for"):
        source(folder, pairs_per_seed=201).prepare(folder, print)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out_file": "h.jsonl", "held_out_share": 0.1}, "held_out_file and held_out_share are both given"),
        ({"held_out_split": "test", "held_out_share": 0.1}, "held_out_split and held_out_share are both given"),
        ({"noise": 0.1, "columns": ("gap",)}, "both given"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(PrefbenchError, match=message):
        source(tmp_path, **options)


def test_model_and_pairs_must_be_given() -> None:
    with pytest.raises(PrefbenchError, match="model must be given; pairs_file must be given"):
        build(Files, {})


# ---------------------------------------------------------------- questions, models, registration


def test_alpaca_eval_questions_come_from_a_json_list_or_jsonl(folder: Path) -> None:
    rows = [{"instruction": "What?", "dataset": "selfinstruct", "output": "x"}, {"instruction": "Why?"}]
    (folder / "a.json").write_text(json.dumps(rows))
    write_rows(folder / "b.jsonl.gz", rows)
    found = source(folder, alpaca_eval_questions="a.json").questions("alpaca_eval")
    assert [(question.turns, question.category) for question in found] == [(("What?",), "selfinstruct"), (("Why?",), "")]
    assert source(folder, alpaca_eval_questions="b.jsonl.gz").questions("alpaca_eval") == found


def test_mt_bench_questions_keep_their_ids_and_take_reference_answers_by_id(folder: Path) -> None:
    write_rows(folder / "q.jsonl", [{"question_id": 111, "category": "math", "turns": ["1+1?", "+1?"], "reference": ["2", "3"]}])
    write_rows(folder / "r.jsonl", [{"question_id": 111, "choices": [{"index": 0, "turns": ["It is 2.", "It is 3."]}]}])
    (own,) = source(folder, mt_bench_questions="q.jsonl").questions("mt_bench")
    assert (own.id, own.category, own.turns, own.references) == ("111", "math", ("1+1?", "+1?"), ("2", "3"))
    (judged,) = source(folder, mt_bench_questions="q.jsonl", mt_bench_references="r.jsonl").questions("mt_bench")
    assert judged.references == ("It is 2.", "It is 3.")


def test_a_set_of_somebodys_own_may_count_from_0(folder: Path) -> None:
    write_rows(folder / "q.jsonl", [{"question_id": number, "category": "own", "turns": ["1+1?"]} for number in range(2)])
    assert [question.id for question in source(folder, mt_bench_questions="q.jsonl").questions("mt_bench")] == ["0", "1"]


def test_question_files_are_checked(folder: Path) -> None:
    write_rows(folder / "q.jsonl", [{"instruction": "What?"}, {"instruction": "What?"}])
    with pytest.raises(PrefbenchError, match="question 2 repeats an earlier one"):
        source(folder, alpaca_eval_questions="q.jsonl").prepare(folder, print)
    with pytest.raises(PrefbenchError, match="question 1 has no usable question_id"):
        source(folder, mt_bench_questions="q.jsonl").prepare(folder, print)


def test_a_harness_without_a_file_has_no_questions(folder: Path) -> None:
    assert source(folder).questions("alpaca_eval") == source(folder).questions("mt_bench") == ()


def test_models_are_by_role_and_resolved_against_the_track(folder: Path) -> None:
    assert source(folder).models() == {"sft": folder / "sft"}
    assert source(folder, base="sft").models() == {"sft": folder / "sft", "base": folder / "sft"}


def test_the_files_of_a_harness_are_those_that_are_given(folder: Path, hub: Hub) -> None:
    (hub("dataset", "tatsu-lab/alpaca_eval") / "df_gamed.csv").write_text("gamed")
    (folder / "outputs.json").write_text("[]")
    gamed = f"hf://datasets/tatsu-lab/alpaca_eval@{COMMIT}/df_gamed.csv"
    found = source(folder, alpaca_eval_references="outputs.json", alpaca_eval_gamed=gamed, mt_bench_prompts="prompts.jsonl")
    files = found.files("alpaca_eval")
    assert files["references"] == folder / "outputs.json"
    assert files["gamed"].read_text() == "gamed"
    assert files.keys() == {"references", "gamed"}
    assert found.files("mt_bench") == {"judge_prompts": folder / "prompts.jsonl"}
    assert found.files("held_out") == found.files("alpaca_eval_1") == {}


def test_a_model_and_its_questions_may_be_on_the_hub(folder: Path, hub: Hub) -> None:
    shutil.copytree(folder / "sft", hub("model", "owner/tiny"), dirs_exist_ok=True)
    (hub("dataset", "owner/questions") / "q.json").write_text('[{"instruction": "Why?"}]')
    questions = f"hf://datasets/owner/questions@{COMMIT}/q.json"
    found = source(folder, model=f"hf://owner/tiny@{COMMIT}", alpaca_eval_questions=questions)
    found.prepare(folder / "cache", print)
    assert (found.models()["sft"] / "config.json").is_file()
    assert found.questions("alpaca_eval") == found.questions("alpaca_eval_1")
    assert [question.turns for question in found.questions("alpaca_eval")] == [("Why?",)]


def test_questions_that_a_training_prompt_repeats_are_reported_and_looked_for_once(folder: Path) -> None:
    (folder / "q.json").write_text('[{"instruction": "P7!"}, {"instruction": "Something else?"}]')
    for _ in range(2):
        told: list[str] = []
        source(folder, alpaca_eval_questions="q.json").prepare(folder / "cache", told.append)
        assert told[1:] == [
            "files: 1 question of alpaca_eval nearly in the training prompts (50% or more of their 8-word sequences are in one prompt), "
            "the first is 'P7!'"
        ]
    assert len(list((folder / "cache" / "overlap").iterdir())) == 1


def test_the_hook_offers_the_source() -> None:
    assert prefbench_sources() == [Files]
