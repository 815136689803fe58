"""The archive on disk: acknowledged orders survive any crash, and later changes to the file are detected."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from histories import History, order

from drone_orchestrator.core.types import ArchivedOrder
from drone_orchestrator.ports import ArchiveUnavailable
from drone_orchestrator.runtime.framing import parse_line, record_line
from drone_orchestrator.store.archive import ArchiveFile, ArchiveWriter, NoArchive, find_archives
from drone_orchestrator.verification.archives import ArchiveRecord
from drone_orchestrator.verification.checker import check


def ended(message_id: str) -> ArchivedOrder:
    history = History()
    history.leader()
    wanted = order(message_id, deadline_s=60.0, pickup=order().destination, drone_class="courier", trace_context="00-a")
    history.deliver_from_start(wanted)
    return history.archived(message_id)


ORDERS = [ended(f"m{number}") for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def writer(folder: Path, name: str = "orchestrator_a", **options: int) -> ArchiveWriter:
    return ArchiveWriter(folder, "sf", name, **options)


def write(folder: Path, *orders: ArchivedOrder) -> Path:
    """Write ``orders`` to an archive and close it. Return its newest file."""
    archive = writer(folder)
    archive.append(orders)
    archive.close()
    return find_archives(folder)[-1]


def read(path: Path) -> list[ArchiveRecord]:
    return [record for file in find_archives(path) for record in ArchiveFile.open(file).records()]


def orders_in(path: Path) -> list[ArchivedOrder]:
    return [record.order for record in read(path) if record.order is not None]


def damage_in(path: Path) -> list[str]:
    return [record.damage for record in read(path) if record.damage]


# --- writing and reading ----------------------------------------------------------------------------------------------


def test_archived_orders_are_read_back_equal(folder: Path) -> None:
    write(folder, *ORDERS)
    assert orders_in(folder) == ORDERS
    assert damage_in(folder) == []


def test_no_file_is_created_before_the_first_order(folder: Path) -> None:
    writer(folder).close()
    assert not folder.exists()
    with pytest.raises(NoArchive, match="contains no archive"):
        find_archives(folder)


def test_a_restarted_writer_continues_its_file(folder: Path) -> None:
    assert write(folder, *ORDERS[:2]) == write(folder, *ORDERS[2:])
    assert orders_in(folder) == ORDERS


def test_a_full_file_is_followed_by_a_new_one_and_never_changed_again(folder: Path) -> None:
    archive = writer(folder, segment_bytes=1)
    archive.append(ORDERS[:1])
    [first] = find_archives(folder)
    before = first.read_bytes()
    for archived in ORDERS[1:]:
        archive.append([archived])
    archive.close()
    assert len(find_archives(folder)) == len(ORDERS)
    assert first.read_bytes() == before
    assert orders_in(folder) == ORDERS


def test_writers_of_different_names_share_the_folder(folder: Path) -> None:
    first, second = writer(folder, "/sf/orchestrator_a"), writer(folder, "/sf/orchestrator_b")
    first.append(ORDERS[:1])
    second.append(ORDERS[:1])
    first.close()
    second.close()
    report = check((), complete=False, archive=read(folder))
    assert (report.ok, report.archived, report.repeats) == (True, 1, 1)


def test_only_one_process_writes_under_a_name(folder: Path) -> None:
    holder = writer(folder)
    holder.append(ORDERS[:1])
    other = writer(folder)
    with pytest.raises(ArchiveUnavailable, match="another process"):
        other.append(ORDERS[1:2])
    holder.close()
    other.append(ORDERS[1:2])
    other.close()
    assert orders_in(folder) == ORDERS[:2]


def test_what_was_acknowledged_survives_a_kill(folder: Path) -> None:
    program = f"""
import os, signal, sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from pathlib import Path
from test_archive import ORDERS, writer
archive = writer(Path({str(folder)!r}))
archive.append(ORDERS)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert orders_in(folder) == ORDERS
    write(folder, ORDERS[0])  # the lock died with its holder
    assert orders_in(folder) == [*ORDERS, ORDERS[0]]


# --- torn and damaged -------------------------------------------------------------------------------------------------


def test_a_file_torn_at_any_byte_lacks_only_the_unfinished_record(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", *ORDERS[:2]).read_bytes()
    first_end = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for cut in range(first_end, len(whole)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "sf.orchestrator_a.000001.archive").write_bytes(whole[:cut])
        expected = ORDERS[:2] if cut == len(whole) - 1 else ORDERS[:1]  # the newline alone may be missing
        assert orders_in(folder) == expected, cut
        if cut % 16 and len(whole) - cut > 16:
            continue  # syncing thousands of files is slow
        write(folder, ORDERS[2])
        assert orders_in(folder) == [*expected, ORDERS[2]], cut
        assert damage_in(folder) == [], cut


def test_a_torn_tail_is_reported(folder: Path) -> None:
    path = write(folder, *ORDERS)
    path.write_bytes(path.read_bytes()[:-100])
    file = ArchiveFile.open(path)
    assert [record.order for record in file.records()] == ORDERS[:-1]
    assert file.torn_bytes > 0


@pytest.mark.parametrize("line", [1, 2, 4])
def test_a_changed_byte_is_detected_in_any_line(folder: Path, line: int) -> None:
    path = write(folder, *ORDERS)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"DELIVERED", b"CANCELLED", 1)
    path.write_bytes(b"".join(lines))
    [damage] = damage_in(path)
    assert "checksum" in damage
    assert len(orders_in(path)) == len(ORDERS) - 1


def test_a_removed_line_is_detected(folder: Path) -> None:
    path = write(folder, *ORDERS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert damage_in(path) == ["must be record 2, got record 3"]


def test_an_edit_with_a_valid_checksum_does_not_replay(folder: Path) -> None:
    path = write(folder, *ORDERS)
    lines = path.read_bytes().splitlines()
    record = parse_line(lines[2])
    assert record is not None
    record["saga"]["drone_id"] = "somebody_elses"
    lines[2] = record_line(record).rstrip(b"\n")
    path.write_bytes(b"\n".join(lines) + b"\n")
    report = check((), complete=False, archive=read(path))
    assert report.invariants["I6"] == 1
    assert f"{path}:3" in report.violations[0].text


def test_a_damaged_file_is_left_as_evidence_and_a_new_one_is_started(folder: Path) -> None:
    path = write(folder, *ORDERS[:2])
    damaged = path.read_bytes().replace(b"delivered", b"Delivered", 1)
    path.write_bytes(damaged)
    assert write(folder, ORDERS[2]) != path
    assert path.read_bytes() == damaged


def test_an_overwritten_last_newline_does_not_cost_the_next_record(folder: Path) -> None:
    path = write(folder, *ORDERS[:2])
    damaged = path.read_bytes()[:-1] + b"x"
    path.write_bytes(damaged)
    assert len(damage_in(path)) == 1
    assert write(folder, ORDERS[2]) != path
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"", b"hello\n", record_line({"format": "something else"}), b"\xff" * 100])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.archive"
    path.write_bytes(content)
    with pytest.raises(NoArchive, match="not an archive"):
        ArchiveFile.open(path)


def test_an_archive_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.archive"
    path.write_bytes(record_line({"format": "drone_orchestrator.archive", "version": 2, "region": "sf"}))
    with pytest.raises(NoArchive, match="format 2"):
        ArchiveFile.open(path)


# --- a disk that refuses ----------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_created_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArchiveUnavailable, match="file"):
        writer(tmp_path / "file" / "archive").append(ORDERS[:1])


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_an_error_and_later_records_are_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    archive = writer(folder)
    archive.append(ORDERS[:1])
    real_write = os.write

    def full_write(fd: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(fd, bytes(data)[: len(data) // 2])

    def full_fsync(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full_write if call == "write" else full_fsync)
        with pytest.raises(ArchiveUnavailable, match="No space left"):
            archive.append(ORDERS[1:3])
    archive.append(ORDERS[1:3])
    archive.close()
    report = check((), complete=False, archive=read(folder))
    assert report.ok
    assert {o.saga.message_id for o in orders_in(folder)} == {"m0", "m1", "m2"}


def test_a_number_that_json_cannot_express_never_reaches_the_disk(folder: Path) -> None:
    path = write(folder, ORDERS[0])
    before = path.read_bytes()
    strange = replace(ORDERS[1], saga=replace(ORDERS[1].saga, not_before=float("nan")))
    archive = writer(folder)
    with pytest.raises(ValueError, match="JSON compliant"):
        archive.append([strange])
    archive.close()
    assert path.read_bytes() == before
