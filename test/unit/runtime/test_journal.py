"""A drone's journal on disk: which records survive, which are cut off, and which damage is reported."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drone_orchestrator.core.drone.events import (
    Acknowledged,
    Cleared,
    Closed,
    Dropping,
    Entry,
    EpochRaised,
    FleetJoined,
    GoalAccepted,
    Grounded,
    GroundingLifted,
    Loaded,
    Recalled,
    Unloading,
)
from drone_orchestrator.core.drone.state import fold
from drone_orchestrator.core.types import GeoPoint, Order, Outcome, Priority
from drone_orchestrator.runtime.drone_journal import HEADROOM_BYTES, DroneJournal, decode, encode, read_entries
from drone_orchestrator.runtime.journal import (
    FORMAT,
    VERSION,
    Journal,
    JournalCorrupt,
    JournalLocked,
    JournalUnusable,
    JournalWriteFailed,
    read,
    record_line,
)

RECORDS = [{"n": 1}, {"n": 2, "text": "größer\n"}, {"n": 3, "nested": {"a": [1.5, None]}}]

ORDER = Order(
    "m",
    "o-1",
    GeoPoint(37.5, -122.25),
    1.2,
    submitted_at=17.5,
    pickup=GeoPoint(37.0, -122.0),
    priority=Priority.HIGH,
    deadline_s=600.0,
    drone_class="courier",
    trace_context="00-abc-def-01",
)
ENTRIES: list[Entry] = [
    EpochRaised(3),
    GoalAccepted(ORDER, 1, 4),
    Cleared("m", 1, 5),
    Loaded("m", 1),
    Recalled("m", 1),
    Unloading("m", 1),
    Closed("m", 1, Outcome.RETURNED, 12.5, "recalled"),
    Acknowledged("m", 1),
    GoalAccepted(Order("n", "o-2", GeoPoint(0.0, 0.0), 1.0, submitted_at=0.0), 1, 5),
    Cleared("n", 1, 5),
    Loaded("n", 1),
    Dropping("n", 1),
    Closed("n", 1, Outcome.DELIVERED, 13.5),
    Grounded("motor"),
    GroundingLifted(),
    FleetJoined("other", assigned=True),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "drones" / "d1.journal"


def written(path: Path) -> bytes:
    """Write a journal of ``RECORDS`` to ``path`` and return its bytes."""
    journal = Journal.open(path)
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def test_a_new_journal_gets_an_identity_that_never_changes(path: Path) -> None:
    first = Journal.open(path)
    first.close()
    again = Journal.open(path)
    assert again.identity == first.identity
    assert (again.records, again.damage) == ((), None)
    again.close()


def test_appended_records_are_read_back(path: Path) -> None:
    written(path)
    journal = Journal.open(path)
    assert list(journal.records) == RECORDS
    journal.close()


def test_an_append_is_on_disk_when_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(path)
    synced: list[int] = []
    fsync = os.fsync

    def recording_fsync(fd: int) -> None:
        fsync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    journal.append({"n": 1})
    assert synced == [path.stat().st_size]
    assert read(path).records == ({"n": 1},)
    journal.close()


class TestTrustAfterACrash:
    """A process died between writing a record and syncing it: the record is in the page cache only."""

    class Platter:
        """Contents of files and names of folders as of their last sync: what a power loss leaves."""

        def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
            self.files: dict[int, bytes] = {}
            self.folders: dict[int, set[str]] = {}
            self._fsync = os.fsync
            monkeypatch.setattr(os, "fsync", self.fsync)

        def fsync(self, fd: int) -> None:
            self._fsync(fd)
            name = Path(os.readlink(f"/proc/self/fd/{fd}"))
            inode = os.fstat(fd).st_ino
            if name.is_dir():
                self.folders[inode] = {entry.name for entry in name.iterdir()}
            else:
                self.files[inode] = name.read_bytes()

        def has(self, path: Path) -> bool:
            """Return whether the file as it is, and its name, would survive."""
            return self.files.get(path.stat().st_ino) == path.read_bytes() and path.name in self.folders.get(
                path.parent.stat().st_ino, ()
            )

    @pytest.fixture
    def platter(self, monkeypatch: pytest.MonkeyPatch) -> Platter:
        return self.Platter(monkeypatch)

    @pytest.mark.parametrize("tail", [b"", b"0000"])
    def test_a_record_that_was_not_synced_is_on_disk_before_it_counts(
        self, path: Path, platter: Platter, tail: bytes
    ) -> None:
        written(path)
        with path.open("ab") as out:
            out.write(record_line({"n": 4}) + tail)
        platter.files.clear()
        platter.folders.clear()
        journal = Journal.open(path)
        assert journal.records[-1] == {"n": 4}
        assert platter.has(path)
        journal.close()

    def test_a_journal_that_cannot_be_synced_is_not_used(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        written(path)

        def broken(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(JournalUnusable, match="Input/output error"):
            Journal.open(path)

    def test_the_last_record_is_written_again_because_a_failed_sync_may_have_dropped_it(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a failed sync the kernel counts a page as clean: another sync alone would write nothing."""
        before = written(path)
        calls: list[tuple[str, object]] = []
        pwrite, fsync = os.pwrite, os.fsync
        monkeypatch.setattr(
            os, "pwrite", lambda fd, data, at: calls.append(("write", (at, data))) or pwrite(fd, data, at)
        )
        monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("sync", None)) or fsync(fd))
        Journal.open(path).close()
        last = record_line(RECORDS[-1])
        assert calls[:2] == [("write", (len(before) - len(last), last)), ("sync", None)]
        assert path.read_bytes() == before

    def test_the_folders_of_a_new_journal_are_on_disk(self, tmp_path: Path, platter: Platter) -> None:
        path = tmp_path / "new" / "drones" / "d1.journal"
        Journal.open(path).close()
        assert platter.has(path)
        assert "drones" in platter.folders[path.parent.parent.stat().st_ino]
        assert "new" in platter.folders[tmp_path.stat().st_ino]


def test_a_torn_last_record_is_cut_off_wherever_it_was_torn(path: Path) -> None:
    whole = written(path)
    start_of_last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for length in range(start_of_last, len(whole)):
        path.write_bytes(whole[:length])
        journal = Journal.open(path)
        assert list(journal.records) == RECORDS[:-1], length
        assert (journal.damage is None) == (length == start_of_last)
        assert journal.damage is None or not journal.damage.memory_lost
        journal.append({"after": "repair"})
        journal.close()
        assert list(read(path).records) == [*RECORDS[:-1], {"after": "repair"}], length


@pytest.mark.parametrize("garbage", [b"\0" * 40, b"\xff\xfe", b"00000000 {}", b"00000000 {}\n"])
def test_garbage_from_an_unfinished_write_is_cut_off(path: Path, garbage: bytes) -> None:
    path.write_bytes(written(path) + garbage)
    journal = Journal.open(path)
    assert list(journal.records) == RECORDS
    assert journal.damage is not None
    assert not journal.damage.memory_lost
    journal.close()


def test_any_flipped_byte_before_the_last_record_ends_the_identity(path: Path) -> None:
    whole = written(path)
    identity = read(path).identity
    start_of_last = whole.rindex(b"\n", 0, len(whole) - 1) + 1
    for position in range(start_of_last):
        damaged = bytearray(whole)
        damaged[position] ^= 0x04
        path.write_bytes(damaged)
        journal = Journal.open(path)
        assert journal.identity != identity, position
        assert journal.records == ()
        assert journal.damage is not None
        assert journal.damage.kept_as is not None
        assert journal.damage.kept_as.read_bytes() == damaged
        journal.close()
        journal.damage.kept_as.unlink()


@pytest.mark.parametrize("content", [b"", b"\n", b"not a journal", b"a\nb\nc\n"])
def test_a_file_without_a_header_is_kept_aside(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    journal = Journal.open(path)
    assert journal.damage is not None
    assert journal.damage.kept_as == path.with_name("d1.journal.corrupt-1")
    journal.close()


def test_files_kept_aside_do_not_replace_each_other(path: Path) -> None:
    path.parent.mkdir()
    for number in (1, 2, 3):
        path.write_bytes(b"damaged %d" % number)
        Journal.open(path).close()
        assert path.with_name(f"d1.journal.corrupt-{number}").read_bytes() == b"damaged %d" % number


def test_a_journal_of_a_newer_version_is_not_changed(path: Path) -> None:
    written(path)
    journal = Journal.open(path)
    journal.close()
    header = record_line({"format": FORMAT, "version": VERSION + 1, "identity": "x"})
    path.write_bytes(header)
    with pytest.raises(JournalUnusable, match="format 2"):
        Journal.open(path)
    assert path.read_bytes() == header


def test_two_processes_never_share_a_journal(path: Path) -> None:
    journal = Journal.open(path)
    code = (
        "import sys, pathlib\n"
        "from drone_orchestrator.runtime.journal import Journal, JournalLocked\n"
        "try: Journal.open(pathlib.Path(sys.argv[1]))\n"
        "except JournalLocked as error: print(error)\n"
    )
    other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert other.stdout == f"{path}: another process has opened this journal\n"
    journal.close()
    Journal.open(path).close()


def test_the_lock_outlives_compaction(path: Path) -> None:
    journal = Journal.open(path)
    journal.rewrite([{"n": 9}])
    with pytest.raises(JournalLocked):
        Journal.open(path)
    journal.append({"n": 10})
    journal.close()
    assert read(path).records == ({"n": 9}, {"n": 10})
    assert read(path).identity == journal.identity


def test_after_a_failed_write_nothing_more_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(JournalWriteFailed, match="No space left"):
            journal.append({"n": 1})
    with pytest.raises(JournalWriteFailed):
        journal.append({"n": 2})
    journal.close()


def test_an_unusable_folder_gives_a_clear_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable) as caught:
        Journal.open(tmp_path / "file" / "d1.journal")
    assert "\n" not in str(caught.value)


# --- the drone's entries in it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: type(entry).__name__)
def test_every_entry_round_trips(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


def test_a_drone_that_joins_by_a_leader_writes_what_older_versions_write() -> None:
    assert encode(FleetJoined("fleet")) == {"entry": "FleetJoined", "fleet_id": "fleet"}
    assert decode({"entry": "FleetJoined", "fleet_id": "fleet", "assigned": True}) == FleetJoined("fleet", True)


@pytest.mark.parametrize(
    "record", [{}, {"entry": 5}, {"entry": "Loaded"}, {"entry": "EpochRaised", "x": 1}], ids=str
)
def test_an_invalid_entry_is_corrupt(record: dict[str, object]) -> None:
    with pytest.raises(JournalCorrupt):
        decode(record)


def test_an_entry_of_a_newer_version_is_skipped() -> None:
    assert decode({"entry": "Unheard"}) is None
    assert decode({"entry": "EpochRaised", "epoch": 3, "by": "a newer program"}) == EpochRaised(3)


def test_a_reopened_journal_folds_to_the_same_state(path: Path) -> None:
    journal = DroneJournal.open(path)
    for entry in ENTRIES:
        journal.append(entry)
    identity = journal.identity
    assert read_entries(path) == (identity, ENTRIES)  # readable while in use
    journal.close()
    again = DroneJournal.open(path)
    assert again.durable == fold(ENTRIES)
    assert again.identity == identity
    again.close()


def test_every_interrupted_prefix_folds(path: Path) -> None:
    for length in range(len(ENTRIES)):
        journal = DroneJournal.open(path)
        assert journal.durable == fold(ENTRIES[:length])
        journal.append(ENTRIES[length])
        journal.close()


def test_a_long_journal_is_compacted_without_loss(path: Path) -> None:
    journal = DroneJournal.open(path)
    for epoch in range(1, 50):
        journal.append(EpochRaised(epoch))
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    size = path.stat().st_size
    compacted = DroneJournal.open(path, compact_above=20)
    identity, entries = read_entries(path)
    assert identity == journal.identity == compacted.identity
    assert fold(entries) == compacted.durable
    assert path.stat().st_size < size / 2
    compacted.close()


def test_entries_that_do_not_follow_end_the_identity(path: Path) -> None:
    journal = DroneJournal.open(path)
    journal.append(Dropping("m", 1))
    journal.close()
    again = DroneJournal.open(path)
    assert again.identity != journal.identity
    assert again.damage is not None
    assert again.damage.memory_lost
    again.append(EpochRaised(1))
    again.close()


class TestAfterAFailedWrite:
    """Reopening a journal after a failed write: it is used again only if it can be written."""

    def entries(self, path: Path) -> list[Entry]:
        return read_entries(path)[1]

    def test_it_is_rewritten_with_all_its_records(self, path: Path) -> None:
        journal = DroneJournal.open(path)
        for epoch in (1, 2, 3):
            journal.append(EpochRaised(epoch))
        journal.close()
        before = path.stat()
        journal = DroneJournal.reopen(path)
        assert path.stat().st_ino != before.st_ino
        assert path.stat().st_size == before.st_size
        journal.append(EpochRaised(4))
        journal.close()
        assert self.entries(path) == [EpochRaised(epoch) for epoch in (1, 2, 3, 4)]

    def test_room_for_its_records_alone_is_not_enough(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        journal = DroneJournal.open(path)
        journal.append(EpochRaised(1))
        journal.close()
        write = os.write

        def full(fd: int, data: bytes) -> int:
            if len(data) >= HEADROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(fd, data)

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(JournalUnusable, match="No space left on device"):
            DroneJournal.reopen(path)
        assert not path.with_name(f"{path.name}.new").exists()
        journal = DroneJournal.open(path)  # it left no lock behind
        journal.append(EpochRaised(2))
        journal.close()
        assert self.entries(path) == [EpochRaised(1), EpochRaised(2)]

    def test_a_long_journal_that_cannot_be_compacted_is_used_unchanged(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal = DroneJournal.open(path)
        for epoch in (1, 2, 3):
            journal.append(EpochRaised(epoch))
        journal.close()

        def full(self: Journal, *_: object, **__: object) -> None:
            raise JournalUnusable("no room")

        monkeypatch.setattr(Journal, "rewrite", full)
        journal = DroneJournal.open(path, compact_above=2)
        assert journal.durable.highest_epoch == 3
        journal.append(EpochRaised(4))
        journal.close()
