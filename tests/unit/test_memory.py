"""A limited address space is one sentence before anything is loaded, and never a crash of a numerical library."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from curation.base import memory
from tests import programs


def limited(mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (mib * memory.MIB, mib * memory.MIB))


@pytest.mark.parametrize("mib", [1_000, 1_700])
def test_a_run_in_too_little_address_space_ends_with_a_sentence(tmp_path: Path, mib: int) -> None:
    (tmp_path / "data").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "curation.cli.commands", "run", str(tmp_path / "data"), "-w", str(tmp_path / "space")],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: limited(mib),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"curate: the address space is limited to {mib:,} MiB and ")
    assert "Traceback" not in done.stderr


def test_without_a_limit_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for needed in memory.Needed:
        memory.require(needed)


@pytest.mark.parametrize("needed", memory.Needed)
def test_the_limit_itself_is_enough_and_a_mebibyte_less_is_not(
    monkeypatch: pytest.MonkeyPatch, needed: memory.Needed
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (needed * memory.MIB, resource.RLIM_INFINITY))
    memory.require(needed)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (needed * memory.MIB - 1, resource.RLIM_INFINITY))
    with pytest.raises(memory.AddressSpaceError, match=needed.name):
        memory.require(needed)


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (MemoryError(), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("No module named x"), False),
        (RuntimeError("anything else"), False),
    ],
)
def test_want_of_memory_is_known_under_its_other_names(error: BaseException, meant: bool) -> None:
    assert memory.ran_out(error) is meant


def test_arrow_takes_the_allocator_that_gives_back_at_once() -> None:
    assert programs.run("arrow_pool") == memory.ARROW_POOL


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
def test_what_was_freed_between_other_blocks_goes_back() -> None:
    """Every second block of half a MiB is freed: it is given back when asked for, larger ones by themselves."""
    large, small = map(int, programs.run("freed_memory").split())
    assert small > 100 and large > 100
