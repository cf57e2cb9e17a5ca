"""Track files with a mistake in them, or several: each is named with its key, before anything starts."""

from __future__ import annotations

from collections.abc import Callable

from tests.bad_input.place import TRACK, Bad, Told, add, both, drop, each, edit, put

DPO = "[methods.dpo]\nbeta = 0.3"

TEXT = [
    Bad("track-missing", "no track named 'track.toml', and no such file", "packaged tracks: ", drop("track.toml")),
    Bad("track-empty", "[track] is missing", "docs/tracks.md", put("track.toml", "")),
    Bad("track-not-toml", "track.toml: not a TOML file", "docs/tracks.md", put("track.toml", '{"track": {"name": "mini"}}')),
    Bad("track-cut-short", "track.toml: not a TOML file", "docs/tracks.md", edit("[trivial]", "[trivial")),
    Bad("track-utf-16", "track.toml: not a TOML file", "UTF-8", put("track.toml", TRACK.encode("utf-16"))),
    Bad("track-latin-1", "track.toml: not a TOML file", "UTF-8", put("track.toml", TRACK.replace("mini", "été").encode("latin-1"))),
    Bad("track-byte-order-mark", "track.toml: not a TOML file", "byte order mark", put("track.toml", TRACK.encode("utf-8-sig"))),
]

TABLES = [
    Bad("head-missing", "the table [track] is missing", "", edit('[track]\nname = "mini"\nversion = 1\nseeds = [0]\n', "")),
    Bad("name-missing", "track.name: is missing", "", edit('name = "mini"\n', "")),
    Bad("version-text", "track.version: must be int, not '1.0'", "", edit("version = 1", 'version = "1.0"')),
    Bad("version-fraction", "track.version: must be int, not 1.5", "", edit("version = 1", "version = 1.5")),
    Bad("seeds-number", "track.seeds: must be a list of int, not 3", "", edit("seeds = [0]", "seeds = 3")),
    Bad("seeds-empty", "track.seeds: needs at least one seed", "", edit("seeds = [0]", "seeds = []")),
    Bad("seeds-twice", "track.seeds: names seed 2 twice", "", edit("seeds = [0]", "seeds = [2, 0, 2]")),
    Bad("seeds-negative", "track.seeds: must not be negative, and -1 is", "", edit("seeds = [0]", "seeds = [0, -1]")),
    Bad(
        "source-missing",
        "the table [source] is missing",
        "",
        edit('[source]\nname = "files"\nmodel = "sft"\npairs_file = "pairs.jsonl"\nheld_out_share = 0.3\n', ""),
    ),
    Bad("source-unknown", "source: no source is called 'filse'", "did you mean files?", edit('"files"', '"filse"')),
    Bad("source-text", "source: must be a table, not str", "", put("track.toml", 'source = "files"\n' + TRACK.split("[source]")[0])),
    Bad("table-unknown", "jugde: is not known here", "did you mean judge?", add("[jugde]\n")),
    Bad("key-unknown", "track.sedes: is not known here", "did you mean seeds?", edit("seeds = ", "sedes = ")),
    Bad("trivial-key-unknown", "trivial.row: is not known here", "did you mean rows?", edit("rows = [", "row = [")),
    Bad("judge-unknown", "judge: no judge is called 'gpt'", "prefbench plugins --check", add('[judge]\nname = "gpt"\n')),
    Bad("harness-unknown", "harness[0]: no harness is called 'mtbench'", "did you mean mt_bench?", edit('"held_out"', '"mtbench"')),
    Bad(
        "harness-missing",
        "a track needs at least one [[harness]] table",
        "",
        edit('[[harness]]\nname = "held_out"\nmax_new_tokens = 3\n', ""),
    ),
    Bad("harness-single", "harness: must be a list of tables", "[[harness]]", edit("[[harness]]", "[harness]")),
    Bad("harness-twice", "harness: held_out is there twice", "", add('[[harness]]\nname = "held_out"\n')),
    Bad(
        "objective-unknown", "methods.mine: no objective is called 'dpoo'", "did you mean dpo?", add('[methods.mine]\nobjective = "dpoo"\n')
    ),
    Bad(
        "scheduler-unknown",
        "schedulers.mine: no scheduler is called 'unifrom'",
        "did you mean uniform?",
        add('[schedulers.mine]\nscheduler = "unifrom"\n'),
    ),
    Bad(
        "weights-too-coarse-to-train",
        "model.weights: weights in bfloat16 cannot be trained",
        "add a table [lora]",
        add('[model]\nweights = "bfloat16"\n'),
    ),
    Bad(
        "weights-coarser-than-their-arithmetic",
        'model.weights is bfloat16, and train.dtype = "float32" computes in float32',
        'write dtype = "bfloat16" under [train]',
        both(add('[model]\nweights = "bfloat16"\n[lora]\n'), edit("steps = 2", 'steps = 2\ndtype = "float32"')),
    ),
    Bad("attention-unknown", "model: attention must be one of", "", add('[model]\nattention = "fast"\n')),
    Bad("lora-rank-zero", "lora: rank must be at least 1", "", add("[lora]\nrank = 0\n")),
    Bad("method-a-number", "methods.hinge: must be a table, not 0.5", "", edit("[methods.dpo]", "[methods]\nhinge = 0.5\n[methods.dpo]")),
    Bad(
        "scheduler-a-text",
        "schedulers.mine: must be a table, not 'uniform'",
        "",
        edit("[schedulers.half]", '[schedulers]\nmine = "uniform"\n[schedulers.half]'),
    ),
    Bad("distribution-a-number", "methods.dpo.distribution: must be str, not 3", "", edit(DPO, DPO + "\ndistribution = 3")),
    Bad("train-a-list", "train: must be a table, not list", "", edit("[train]", "[[train]]")),
]

OPTIONS = [
    Bad("option-unknown", "methods.dpo: bta is no option of dpo: did you mean beta?", "prefbench show", edit("beta = 0.3", "bta = 0.3")),
    Bad("option-text", "methods.dpo: beta must be float, not '0.3'", "", edit("beta = 0.3", 'beta = "0.3"')),
    Bad("option-true", "methods.dpo: beta must be float, not True", "", edit("beta = 0.3", "beta = true")),
    Bad("option-out-of-range", "methods.dpo: beta must be at least", "", edit("beta = 0.3", "beta = -0.3")),
    Bad("option-nan", "methods.dpo: beta must be finite, not nan", "", edit("beta = 0.3", "beta = nan")),
    Bad("option-infinite", "methods.dpo: beta must be finite, not inf", "", edit("beta = 0.3", "beta = inf")),
    Bad("ratio-negative", "schedulers.half: ratio must be at least 0, not -0.5", "", edit("ratio = 0.5", "ratio = -0.5")),
    Bad("ratio-above-1", "schedulers.half: ratio must be at most 1, not 50", "", edit("ratio = 0.5", "ratio = 50")),
    Bad(
        "rate-text",
        "methods.dpo.learning_rate: must be a finite number of at least 0, not 'fast'",
        "",
        edit(DPO, DPO + '\nlearning_rate = "fast"'),
    ),
    Bad(
        "rate-infinite",
        "methods.dpo.learning_rate: must be a finite number of at least 0, not inf",
        "",
        edit(DPO, DPO + "\nlearning_rate = inf"),
    ),
    Bad(
        "rate-true",
        "methods.dpo.learning_rate: must be a finite number of at least 0, not True",
        "",
        edit(DPO, DPO + "\nlearning_rate = true"),
    ),
    Bad("steps-text", "train: steps must be int, not 'two'", "", edit("steps = 2", 'steps = "two"')),
    Bad("steps-fraction", "train: steps must be int, not 2.5", "", edit("steps = 2", "steps = 2.5")),
    Bad("steps-zero", "train: steps must be at least 1, not 0", "", edit("steps = 2", "steps = 0")),
    Bad(
        "schedule-unknown",
        "train: schedule must be one of cosine, linear, constant, not 'cosin'",
        "",
        edit("steps = 2", 'steps = 2\nschedule = "cosin"'),
    ),
    Bad("rule-unknown", "train: batch_size is no option of train", "", edit("pool = 4", "batch_size = 4")),
    Bad(
        "harness-option-unknown",
        "harness[0]: max_tokens is no option of held_out: did you mean max_new_tokens?",
        "",
        edit("max_new_tokens", "max_tokens"),
    ),
    Bad("source-option-missing", "source: pairs_file must be given", "prefbench show", edit('pairs_file = "pairs.jsonl"\n', "")),
    Bad(
        "prompt-length-without-cut",
        "train: max_prompt_length is for over_long",
        "",
        edit("max_length = 40", "max_length = 40\nmax_prompt_length = 9"),
    ),
    Bad(
        "prompt-length-leaves-nothing",
        "train: max_prompt_length leaves no token",
        "",
        edit("max_length = 40", 'max_length = 40\nover_long = "truncate"\nmax_prompt_length = 40'),
    ),
    Bad("source-option-empty", "files: model is empty", "folder", edit('model = "sft"', 'model = ""')),
    Bad(
        "source-options-contradict",
        "files: held_out_file and held_out_share are both given",
        "leave one of them out",
        edit("held_out_share", 'held_out_file = "h.jsonl"\nheld_out_share'),
    ),
]

ROWS = [
    Bad(
        "grid-unknown-method",
        "grid[0].methods: no objective is called 'dppo'",
        "did you mean dpo?",
        edit('methods = ["dpo"]', 'methods = ["dppo"]'),
    ),
    Bad(
        "grid-unknown-scheduler",
        "grid[0].schedulers: no scheduler is called 'halve'",
        "did you mean half?",
        edit('["uniform"]', '["halve"]'),
    ),
    Bad("grid-empty", "grid[0].methods: names nothing", "", edit('methods = ["dpo"]', "methods = []")),
    Bad("grid-without-methods", "grid[0].methods: names nothing", "", edit('methods = ["dpo"]\n', "")),
    Bad("grid-without-schedulers", "grid[0].schedulers: names nothing", "", edit('schedulers = ["uniform"]', "schedulers = []")),
    Bad(
        "no-rows",
        "grid: the track has no rows",
        "",
        edit('[[grid]]\nmethods = ["dpo"]\nschedulers = ["uniform"]\n[trivial]\nrows = ["sft"]\n', ""),
    ),
    Bad("trivial-unknown", "the source has no model 'bsae'", "it has sft", edit('rows = ["sft"]', 'rows = ["bsae"]')),
    Bad("trivial-a-path", "trivial.rows: '../sft' cannot be part of a file name", "", edit('rows = ["sft"]', 'rows = ["../sft"]')),
    Bad("label-twice", "track.toml: not a TOML file", "docs/tracks.md", add("[methods.dpo]\nbeta = 0.5\n")),
    Bad(
        "label-with-slash",
        "methods: 'dpo/strong' cannot be part of a file name",
        "letters and digits",
        add('[methods."dpo/strong"]\nobjective = "dpo"\n'),
    ),
    Bad(
        "label-that-climbs",
        "methods: '../dpo' cannot be part of a file name",
        "letters and digits",
        add('[methods."../dpo"]\nobjective = "dpo"\n'),
    ),
    Bad("label-unquoted-dot", "methods.dpo-0: no objective is called 'dpo-0'", "did you mean dpo", add("[methods.dpo-0.5]\nbeta = 0.5\n")),
    Bad(
        "scheduler-label-with-space",
        "schedulers: 'my half' cannot be part of a file name",
        "letters and digits",
        add('[schedulers."my half"]\nscheduler = "uniform"\n'),
    ),
    Bad(
        "labels-that-collide",
        "grid: dpo.a.uniform is the name of two rows",
        "",
        edit(
            'methods = ["dpo"]\nschedulers = ["uniform"]',
            'methods = ["dpo"]\nschedulers = ["a.uniform"]\n[[grid]]\nmethods = ["dpo.a"]\n[methods."dpo.a"]\nobjective = "dpo"\n'
            '[schedulers."a.uniform"]\nscheduler = "uniform"',
        ),
    ),
]


@each(TEXT, TABLES, OPTIONS, ROWS)
def test_a_mistake_in_a_track_is_named_and_changes_nothing(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(bad)
    assert told.code == bad.code
    assert not told.changed


def test_all_mistakes_of_a_track_are_told_at_once(tell: Callable[[Bad], Told]) -> None:
    several = edit(
        "seeds = [0]", "seeds = [0, 0]", '"files"', '"filse"', "steps = 2", 'steps = "two"', "max_new_tokens", "max_tokens",
        "beta = 0.3", "beta = nan", "ratio = 0.5", "ratio = 2", 'methods = ["dpo"]', 'methods = ["dpo", "hinje"]', "[trivial]", "[trivail]",
    )  # fmt: skip
    told = tell(Bad("several", "8 mistakes:", "docs/tracks.md", several))
    mistakes = (
        "track.seeds: names seed 0 twice",
        "no source is called 'filse'; did you mean files?",
        "steps must be int, not 'two'",
        "max_tokens is no option of held_out",
        "beta must be finite, not nan",
        "ratio must be at most 1, not 2",
        "no objective is called 'hinje'; did you mean hinge?",
        "trivail: is not known here; did you mean trivial?",
    )
    assert [mistake for mistake in mistakes if mistake not in told.stderr] == []
    assert (told.code, told.changed) == (2, set())
