"""The state file: there before anybody is told, whole or refused, ours alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.stories import PAIR, Story, member
from viewservice.memory import Known, Memory
from viewservice.statefile import StateError, StateFile, Volatile, decode, encode

NOW = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def memory() -> Memory:
    return Story().tell(PAIR + "!A A'0 B2").views.memory()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_what_was_saved_is_loaded(memory: Memory, path: Path) -> None:
    assert StateFile(path).save(memory)
    assert memory == StateFile(path).load()


def test_numbers_of_64_bits_and_any_name(memory: Memory) -> None:
    odd = replace(member("A"), name='"s\u00fc\n\\', incarnation=2**64 - 1)
    memory = replace(memory, servers=(Known(odd, (2**64 - 1, 0)),))
    assert memory == decode(encode(memory))


def test_there_may_be_none(path: Path) -> None:
    assert StateFile(path).load() is None


def test_nothing_is_written_where_nothing_has_changed(
    memory: Memory, path: Path
) -> None:
    file = StateFile(path)
    assert file.save(memory)
    inode = path.stat().st_ino
    assert not file.save(decode(encode(memory)))
    assert path.stat().st_ino == inode
    again = StateFile(path)
    again.load()
    assert not again.save(memory)
    assert again.save(replace(memory, lost="so it is"))


def test_the_file_is_synced_before_it_has_its_name_and_the_name_after(
    memory: Memory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace

    def synced(number: int) -> None:
        steps.append(f"sync {Path(f'/proc/self/fd/{number}').readlink().name}")
        fsync(number)

    def renamed(old: Path, new: Path) -> Path:
        steps.append(f"rename to {new.name}")
        return rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    StateFile(path).save(memory)
    assert ["sync state.new", "rename to state", f"sync {path.parent.name}"] == steps


def test_a_crash_while_writing_leaves_the_old(
    memory: Memory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = StateFile(path)
    file.save(memory)

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    newer = replace(memory, acknowledged=not memory.acknowledged)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="No space"):
            file.save(newer)
    assert memory == StateFile(path).load()
    assert file.save(newer)
    assert newer == StateFile(path).load()


def test_no_damage_passes(memory: Memory, path: Path) -> None:
    whole = encode(memory)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="it"):
            decode(whole[:length])
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x01
        with pytest.raises(ValueError, match="it"):
            decode(bytes(flipped))
    path.write_bytes(whole[:-1])
    with pytest.raises(StateError, match="--new-cluster"):
        StateFile(path).load()


def test_another_version_is_named(memory: Memory) -> None:
    newer = encode(memory).replace(b"service 2 ", b"service 3 ")
    with pytest.raises(ValueError, match="version is 3, and 2"):
        decode(newer)


def test_a_second_process_is_turned_away(memory: Memory, path: Path) -> None:
    first, second = StateFile(path), StateFile(path)
    first.open()
    with pytest.raises(StateError, match=f"in use by .*process {os.getpid()}"):
        second.open()
    # The lock is not on the file that is renamed over.
    first.save(memory)
    with pytest.raises(StateError, match="in use"):
        second.open()
    first.close()
    first.close()
    second.open()
    second.close()


def test_set_aside_is_kept(path: Path) -> None:
    file = StateFile(path)
    assert file.set_aside(NOW) is None
    for name in ("state.2031-02-03T04-05-06Z", "state.2031-02-03T04-05-06Z.2"):
        path.write_text(name)
        assert file.set_aside(NOW) == path.with_name(name)
        assert path.with_name(name).read_text() == name
        assert not path.exists()


@pytest.mark.parametrize("place", ["missing/state", "", "file/state"])
def test_a_place_where_no_file_can_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="directory"):
        StateFile(tmp_path / place).open()


def test_volatile_remembers_nothing(memory: Memory) -> None:
    file = Volatile()
    file.open()
    assert not file.save(memory)
    assert file.load() is None
    assert file.set_aside(NOW) is None
    file.close()
