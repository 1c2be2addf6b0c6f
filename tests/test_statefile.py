"""The state file: there before anybody is told, whole or refused, ours alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.stories import PAIR, Story, member
from viewservice.memory import Known, Memory
from viewservice.state_file import (
    StateError,
    StateFile,
    Volatile,
    decode,
    encode,
    is_mounted,
)

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
    assert file.save(replace(memory, lost="so it is"))


def test_the_first_save_writes_whatever_it_is(memory: Memory, path: Path) -> None:
    """Whether the file can be replaced is seen at the start, not with a view."""
    StateFile(path).save(memory)
    inode = path.stat().st_ino
    again = StateFile(path)
    assert again.load() == memory
    assert again.save(memory)
    assert path.stat().st_ino != inode
    assert not again.save(memory)


@pytest.mark.parametrize("target", ["there", "not there yet"])
def test_a_symbolic_link_stays_and_leads_to_what_was_saved(
    memory: Memory, path: Path, tmp_path: Path, target: str
) -> None:
    real = tmp_path / "elsewhere" / "real"
    real.parent.mkdir()
    if target == "there":
        StateFile(real).save(memory)
    path.symlink_to("elsewhere/real")
    file = StateFile(path)
    file.open()
    newer = replace(memory, lost="newer")
    assert file.save(newer)
    assert path.is_symlink()
    assert StateFile(real).load() == newer
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "state"]
    file.close()


def test_a_second_name_is_turned_away(
    memory: Memory, path: Path, tmp_path: Path
) -> None:
    """By a link to the file, to its directory, to a link,
    and by a hard link, also after the file was replaced."""
    StateFile(path).save(memory)
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "again").symlink_to("link")
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "directory").symlink_to(tmp_path)
    first = StateFile(path)
    first.open()
    for name in ("link", "again", "hard", "directory/state", "directory/hard"):
        with pytest.raises(StateError, match="in use"):
            StateFile(tmp_path / name).open()
    first.save(replace(memory, lost="newer"))
    for name in ("link", "hard"):
        with pytest.raises(StateError, match="in use"):
            StateFile(tmp_path / name).open()
    first.close()
    second = StateFile(tmp_path / "again")
    second.open()
    second.close()


def test_one_that_is_turned_away_holds_nothing(
    memory: Memory, path: Path, tmp_path: Path
) -> None:
    StateFile(path).save(memory)
    (tmp_path / "hard").hardlink_to(path)
    first, second = StateFile(path), StateFile(tmp_path / "hard")
    first.open()
    with pytest.raises(StateError, match="process unknown"):
        second.open()
    first.close()
    third = StateFile(tmp_path / "hard")
    third.open()
    third.close()


MOUNTS = """\
22 1 0:20 / / rw - ext4 /dev/root rw
36 22 98:0 /states/x /var/lib/my\\040states/x.state rw,noatime - ext4 /dev/root rw
37 22 98:0 / /srv/data rw - ext4 /dev/other rw
"""


def test_a_mount_point_is_known(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert is_mounted(Path("/var/lib/my states/x.state"), mounts)
    assert is_mounted(Path("/srv/data"), mounts)
    assert not is_mounted(Path("/srv/data/x.state"), mounts)
    assert not is_mounted(Path("/anywhere"), tmp_path / "no such file")


def test_a_file_that_is_mounted_is_refused_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also an empty one, which is made so that there is something to mount."""
    path.touch()
    monkeypatch.setattr("viewservice.state_file.is_mounted", lambda _: True)
    with pytest.raises(StateError, match="mount the directory, not the file"):
        StateFile(path).open()


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


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError) as found:
        StateFile(tmp_path / "missing" / "state").open()
    text = f"--state: there is no directory {tmp_path}/missing; create it"
    assert text == str(found.value)


def test_volatile_remembers_nothing(memory: Memory) -> None:
    file = Volatile()
    file.open()
    assert not file.save(memory)
    assert file.load() is None
    assert file.set_aside(NOW) is None
    file.close()


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    """To read a pipe waits for ever, and --new-cluster would rename a device."""
    pipe = tmp_path / "state"
    os.mkfifo(pipe)
    with pytest.raises(StateError, match="is no regular file; --state wants one"):
        StateFile(pipe).open()
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
