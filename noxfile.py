"""Every check and the demo, each in an environment of its own: ``python -m nox -s NAME``."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"  # uv does not see a CPU build of torch that pip finds
nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True

PLUGINS = sorted(str(path.parent) for path in Path("plugins").glob("*/pyproject.toml"))
TEST_TOOLS = ["pytest>=8", "pytest-xdist>=3.5"]


def install(session: nox.Session, *more: str) -> None:
    """prefbench and the distributions under plugins/, as a user would install them."""
    session.install(".", *PLUGINS, *more)


@nox.session
def demo(session: nox.Session) -> None:
    """From nothing to a leaderboard: install everything and run the embedded track."""
    install(session)
    session.run("prefbench", "run", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite, on the interpreter that nox runs on."""
    session.install("-e", ".", *PLUGINS, *TEST_TOOLS)
    run_tests(session, "tests")


def run_tests(session: nox.Session, *paths: str) -> None:
    """pytest with one thread per worker, two workers unless told otherwise."""
    session.run("python", "-m", "pytest", "-n", "2", *paths, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def plugins(session: nox.Session) -> None:
    """Each distribution's own tests against prefbench as installed."""
    install(session, *TEST_TOOLS)
    for folder in PLUGINS:
        with session.chdir(folder):
            session.run("python", "-m", "pytest", "tests", *session.posargs)


@nox.session
def new(session: nox.Session) -> None:
    """What ``prefbench new`` writes, installed as a stranger's, passes its own checks."""
    install(session)
    for kind in ("objective", "scheduler", "column"):
        folder = Path(session.create_tmp()) / kind
        session.run(
            "python", "-m", "pip", "uninstall", "--yes", f"prefbench-first-{kind}"
        )  # the last time's: a name that is taken is refused
        shutil.rmtree(folder, ignore_errors=True)
        session.run("prefbench", "new", kind, f"first-{kind}", "--folder", str(folder))
        session.install("-e", f"{folder}[test]")
        with session.chdir(folder):
            for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["pytest"]):
                session.run("python", "-m", *command)
            session.run("prefbench", "check", f"first-{kind}")


@nox.session
def trl(session: nox.Session) -> None:
    """The losses that TRL has, and whole trainings, against TRL's own trainers."""
    session.install("-e", ".", "trl==1.16.*", *TEST_TOOLS)
    run_tests(session, "tests/objectives/test_against_trl.py", "tests/benchmarks/trl/test_against_trl.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the layers of the house."""
    session.install("ruff>=0.9", "import-linter>=2.1")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", env={"PYTHONPATH": "."})


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    session.install("-e", ".", "mypy>=1.13")
    session.run("mypy")


@nox.session
def boards(session: nox.Session) -> None:
    """Recompute every number of the committed leaderboards, and refuse what a branch may not change on them."""
    install(session)
    session.run("prefbench", "board", "check")
    base = branching_commit()
    if base:
        session.run("prefbench", "board", "diff", "--against", base)
    else:
        session.log("no earlier commit of origin/main here: the boards are compared with nothing")


def branching_commit() -> str | None:
    """The commit at which this branch left origin/main; on main itself the one before; None where there is no such commit."""
    base = git_line("merge-base", "HEAD", "origin/main")
    return git_line("rev-parse", "--verify", "--quiet", "HEAD^") if base and base == git_line("rev-parse", "HEAD") else base


def git_line(*arguments: str) -> str | None:
    """What a git command prints; None where it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@nox.session
def minimums(session: nox.Session) -> None:
    """The suite on the oldest supported dependencies, torch aside (an older torch is not everywhere to be had as a CPU build)."""
    constraints = Path(session.create_tmp()) / "minimums.txt"
    constraints.write_text("\n".join(oldest_dependencies()) + "\n")
    session.install("-e", ".", *PLUGINS, *TEST_TOOLS, "-c", str(constraints))
    run_tests(session, "tests")


def oldest_dependencies() -> list[str]:
    """``name==version`` for the lower bound of every dependency but torch."""
    dependencies = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    bounds = [re.match(r"([A-Za-z0-9-]+)>=([0-9.]+)", dependency) for dependency in dependencies]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound and bound[1] != "torch"]


@nox.session(python=["3.11", "3.12", "3.13"])
def matrix(session: nox.Session) -> None:
    """The suite on every supported Python; for hosted CI, where each job has its own interpreter."""
    install(session, *TEST_TOOLS)
    run_tests(session, "tests")


@nox.session
def hh_small(session: nox.Session) -> None:
    """Real preferences: ``python -m nox -s hh_small -- DATA`` prepares a small Llama and a judge, and runs the tracks that need no server."""
    if not session.posargs:
        session.error("name the folder that holds hh_rlhf/, tinystories/, alpaca_eval/ and the others: nox -s hh_small -- DATA")
    install(session)
    data, *options = session.posargs
    session.run("python", "leaderboards/hh-small/prepare.py", data, "leaderboards/hh-small/data")
    for track in ("hh-small", "hh-small-lora", "hh-small-scored"):
        session.run("prefbench", "run", f"leaderboards/{track}/track.toml", *options)
