"""The command line: what it refuses, in one line and with exit code 2, before anything is trained."""

from __future__ import annotations

import pytest

from benchmarks.trl import __main__ as command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["stap"], "no mode is called 'stap'"),
        (["selective", "--sizes", "s,xl"], "no size is called 'xl'"),
        (["step", "--against", "worst"], "no configuration is called 'worst'"),
        (["step", "--sizes", "m", "--lengths", "wide"], "it has xs mild, s mild, m mild, s wide"),
        (["selective", "--steps", "7"], "the losses of 8 steps are compared"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments, message, capsys):
    assert command.main(arguments) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_without_trl_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert command.main(["selective", "step"]) == 2
    assert "pip install 'trl==1.16.*'" in capsys.readouterr().err
    assert command.unusable(["selective"], command.parser().parse_args(["selective"])) == ""


def test_a_mode_without_a_gpu_says_that_it_was_skipped(monkeypatch, capsys):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: "found")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command.main(["cuda"]) == 0
    assert "Skipped: torch finds no GPU here." in capsys.readouterr().out
