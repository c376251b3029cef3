"""How many processes run a command together is what their launcher says, whatever the device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from neuronspec.errors import NeuronspecError
from neuronspec.processes import _read_quotas, count_cpus, count_processes, is_first_process, join_processes, work_alone

LAUNCHED = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
# Says how many processes there are, and where they compute.
ASK = """
import os
from neuronspec.processes import join_processes
state = join_processes(cpu=bool({cpu}))
line = f"{{state.num_processes}} {{state.process_index}} {{state.device.type}}\\n"
os.write(1, line.encode())  # in one piece, whatever the other process writes
"""


def _launch(processes: int, code: str) -> list[str]:
    """Run code on several processes and return the lines that they print."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [*command, "--no-python", sys.executable, "-c", code],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


def test_processes_on_a_machine_without_a_gpu_know_of_each_other() -> None:
    assert _launch(2, ASK.format(cpu=0)) == ["2 0 cpu", "2 1 cpu"]


def test_a_launcher_that_starts_one_process_starts_one() -> None:
    assert _launch(1, ASK.format(cpu=0)) == ["1 0 cpu"]


def test_alone_without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    assert count_processes() == 1
    assert is_first_process()
    assert join_processes(cpu=True).num_processes == 1
    work_alone()


@pytest.mark.parametrize("names", [("WORLD_SIZE", "RANK"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")])
def test_what_cannot_be_divided_is_left_to_the_first_process(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    count, rank = names
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(count, "2")
    monkeypatch.setenv(rank, "1")
    assert not is_first_process()
    with pytest.raises(SystemExit) as left:
        work_alone()
    assert not left.value.code
    monkeypatch.setenv(rank, "0")
    work_alone()
    assert count_processes() == 1


def test_nobody_waits_for_processes_that_were_not_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(NeuronspecError, match=r"WORLD_SIZE=2 .* but RANK is not set"):
        work_alone()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(NeuronspecError, match="WORLD_SIZE is 'two'; expected a whole number"):
        count_processes()


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"a/cpu.max": "150000 100000", "cpu.max": "max 100000"}, "0::/a/b", [1.5]),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "50000 100000"}, "0::/a/b", [4, 0.5]),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, "5:cpu,cpuacct:/unseen", [2]),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "5:cpuset:/\n1:cpu:/", []),
    ],
)
def test_quotas_of_control_groups_limit_the_cores(
    tmp_path: Path, files: dict[str, str], membership: str, expected: list[float]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "cgroup").write_text(membership)
    assert list(_read_quotas(tmp_path / "cgroup", tmp_path)) == expected
    assert list(_read_quotas(tmp_path / "missing", tmp_path)) == []


def test_cores_are_those_on_which_this_process_may_run() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert count_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)
