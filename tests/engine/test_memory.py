"""What the system says of memory: how much there is, and that it ran out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from prefbench.engine.memory import available_bytes, container_limit_bytes, is_out_of_memory, kills_for_memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """One with 8 GiB left."""
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal:       {16 * GIB // 1024} kB\nMemFree:        12 kB\nMemAvailable:   {8 * GIB // 1024} kB\n")
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The control group of a process in a container: the root of all that it sees."""
    path = tmp_path / "cgroup"
    path.write_text("4:memory:/elsewhere\n0::/\n")
    return path


def group(folder: Path, limit: int | str, used: int = 0, unread: int = 0) -> Path:
    """A control group's own accounts; ``unread`` bytes of its files could be let go."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 77\nfile {3 * unread}\ninactive_file {unread}\nactive_file {2 * unread}\n")
    return folder


def test_a_containers_limit_counts_where_it_leaves_less_than_the_machine(tmp_path, own, machine):
    """Or the machine's memory would be planned with, and the container's processes killed."""
    assert available_bytes(group(tmp_path / "small", 4 * GIB, used=3 * GIB, unread=GIB // 2), own, machine) == 1.5 * GIB
    assert available_bytes(group(tmp_path / "large", 64 * GIB, used=3 * GIB), own, machine) == 8 * GIB
    assert available_bytes(group(tmp_path / "full", GIB, used=GIB + 1), own, machine) == 0


def test_a_batch_job_is_bound_by_its_own_group_and_by_those_around_it(tmp_path, own, machine):
    own.write_text("0::/slurm/job_7/step_0\n")
    group(tmp_path / "groups/slurm", "max", used=9 * GIB)
    group(tmp_path / "groups/slurm/job_7", 4 * GIB, used=GIB)
    group(tmp_path / "groups/slurm/job_7/step_0", 6 * GIB, used=GIB // 2)
    group(tmp_path / "groups/slurm/job_8", GIB, used=GIB)
    assert container_limit_bytes(tmp_path / "groups", own) == 4 * GIB
    assert available_bytes(tmp_path / "groups", own, machine) == 3 * GIB


def test_without_a_limit_it_is_the_machines(tmp_path, own, machine):
    free = group(tmp_path / "free", "max", used=3 * GIB)
    assert container_limit_bytes(free, own) is None
    assert available_bytes(free, own, machine) == available_bytes(tmp_path / "no such folder", tmp_path / "nowhere", machine) == 8 * GIB


def test_a_system_that_does_not_say_has_a_great_deal(tmp_path):
    assert available_bytes(tmp_path, tmp_path / "nowhere", tmp_path / "nowhere") == sys.maxsize


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_ran_out_is_told_from_other_errors(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_the_systems_own_count_of_processes_killed_for_memory(tmp_path):
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert kills_for_memory((tmp_path / "nowhere", tmp_path / "memory.events")) == 2
    assert kills_for_memory((tmp_path / "nowhere",)) == 0


def test_a_containers_count_of_none_is_not_made_up_by_the_machines(tmp_path):
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    (tmp_path / "vmstat").write_text("oom_kill 9\n")
    assert kills_for_memory((tmp_path / "memory.events", tmp_path / "vmstat")) == 0
