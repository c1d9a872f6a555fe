from __future__ import annotations

import gzip
import hashlib

import pytest
from tests.device_bench import SMALL, build_sketch

from otaria.cli.keys import new_private_key
from otaria.device.core_version import Core
from otaria.device.rehearsal import Verdict, rehearse
from otaria.device.rehearsal_cuts import Tally
from otaria.device.rehearsal_picture import AreaKind
from otaria.device.rehearsal_scene import Candidate, Encoding, Specimen
from otaria.device.rehearsal_timing import Span
from otaria.device.rehearsal_ways import Way
from otaria.errors import BadInput
from otaria.sim.firmware import images
from otaria.wire.esp_image import FlashMode
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE
from otaria.wire.signed import sign

OLD = build_sketch("old", 6)
NEW = build_sketch("new", 9)
PACKED = gzip.compress(NEW, mtime=0)
SPECIMEN = Specimen(SMALL, OLD)
CORES_WITH_GZIP = [Core.V2_7, Core.V3_1, Core.MASTER]


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()  # noqa: S324 - the device's protocol


# what comes of it


@pytest.mark.parametrize("core", Core)
@pytest.mark.parametrize("way", Way)
def test_a_plain_image_installs_on_every_core_by_every_way(way: Way, core: Core) -> None:
    rehearsal = rehearse(Candidate.of(NEW), Specimen(SMALL, OLD, core), way)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.installs
    assert rehearsal.refusal is None
    assert (rehearsal.way, rehearsal.core, rehearsal.encoding, rehearsal.size) == (way, core, Encoding.PLAIN, len(NEW))
    assert (rehearsal.md5_before, rehearsal.md5_after, rehearsal.recognised) == (md5(OLD), md5(NEW), True)


@pytest.mark.parametrize("core", CORES_WITH_GZIP)
@pytest.mark.parametrize("way", Way)
def test_a_compressed_image_installs_and_reports_the_digest_of_what_is_inside(way: Way, core: Core) -> None:
    rehearsal = rehearse(Candidate.of(PACKED), Specimen(SMALL, OLD, core), way)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.md5_after == md5(NEW)


@pytest.mark.parametrize("core", [Core.V2_5, *CORES_WITH_GZIP])
@pytest.mark.parametrize("way", Way)
def test_a_signed_image_installs_where_its_key_is_known_and_reports_the_digest_without_signature(
    way: Way, core: Core
) -> None:
    key = new_private_key(2048)
    signed = sign(NEW, key, core.behaviour.signature_padding)
    rehearsal = rehearse(Candidate.of(signed), Specimen(SMALL, OLD, core, key.public_key), way)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.md5_after == md5(NEW)


def test_the_reported_digest_is_that_of_the_image_with_the_devices_flash_mode() -> None:
    image = build_sketch("new", 9, mode=FlashMode.DOUT)
    rehearsal = rehearse(Candidate.of(image), SPECIMEN, Way.PUSH)
    assert rehearsal.md5_after == md5(image[:2] + bytes((FlashMode.DIO,)) + image[3:])
    assert rehearsal.recognised


def test_a_refused_image_changes_nothing_and_says_what_is_lacking() -> None:
    too_large = build_sketch("too large", 102)
    rehearsal = rehearse(Candidate.of(too_large), SPECIMEN, Way.PULL)
    assert rehearsal.verdict is Verdict.REFUSED
    assert rehearsal.refusal is not None
    assert rehearsal.refusal.code == -100
    assert (rehearsal.md5_before, rehearsal.md5_after) == (md5(OLD), md5(OLD))
    assert (rehearsal.copy, rehearsal.recognised, rehearsal.staged) == (None, None, None)
    assert rehearsal.space.spare == -SECTOR_SIZE
    assert "4 KiB too few" in rehearsal.explanation
    assert rehearsal.receiving.operations == 0


def test_a_refusal_for_another_cause_does_not_speak_of_space() -> None:
    rehearsal = rehearse(Candidate.of(b"\x7f\0\0\0" + bytes(100_000)), SPECIMEN, Way.PUSH)
    assert rehearsal.explanation == (
        "The device refuses it: ERROR[10]: Magic byte is not 0xE9. It keeps the sketch it has."
    )


def test_a_file_that_the_bootloader_will_not_unpack_is_fetched_again_and_again() -> None:
    reserved_flag = PACKED[:3] + b"\x80" + PACKED[4:]
    rehearsal = rehearse(Candidate.of(reserved_flag), SPECIMEN, Way.PULL)
    assert rehearsal.verdict is Verdict.LOOPS
    assert "cp:5" in rehearsal.console
    assert rehearsal.md5_after == md5(OLD)
    assert "old sketch" in rehearsal.explanation


def test_a_file_whose_header_never_ends_hangs_the_bootloader_until_the_power_is_cut() -> None:
    endless_name = b"\x1f\x8b\x08\x08" + b"\x01" * 5000
    rehearsal = rehearse(Candidate.of(endless_name), SPECIMEN, Way.PUSH, cuts=None)
    assert rehearsal.verdict is Verdict.HANGS
    assert not rehearsal.installs
    assert rehearsal.md5_after == md5(OLD)
    assert "only when its power is cut" in rehearsal.explanation


def test_a_device_with_a_flash_mode_of_its_own_reports_a_digest_that_no_image_has() -> None:
    strange = Specimen(SMALL, OLD[:2] + b"\x07" + OLD[3:])
    rehearsal = rehearse(Candidate.of(NEW), strange, Way.PULL)
    assert rehearsal.verdict is Verdict.LOOPS
    assert rehearsal.md5_after == md5(NEW[:2] + b"\xff" + NEW[3:])
    assert rehearsal.recognised is False
    assert "none of this image's" in rehearsal.explanation


def test_padding_behind_the_app_is_copied_and_not_reported() -> None:
    padded = NEW + b"\xff" * SECTOR_SIZE
    rehearsal = rehearse(Candidate.of(padded), SPECIMEN, Way.PUSH)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.md5_after == md5(NEW)


def test_a_flawed_file_that_installs_all_the_same_is_not_called_a_loop() -> None:
    with_tail = NEW + b"appended"
    rehearsal = rehearse(Candidate.of(with_tail), SPECIMEN, Way.PUSH)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.recognised is None
    assert rehearsal.hazards


def test_a_compressed_file_that_nobody_can_look_into_is_told_by_what_it_comes_to() -> None:
    strange_mode = gzip.compress(NEW[:2] + b"\x07" + NEW[3:], mtime=0)
    rehearsal = rehearse(Candidate.of(strange_mode), SPECIMEN, Way.PUSH, cuts=None)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.recognised is None
    assert rehearsal.survival is not None
    assert rehearsal.survival.receiving.old == rehearsal.survival.receiving.total
    assert rehearsal.survival.resets.new > 0


def test_a_half_copied_image_without_a_crc_is_a_brick_though_nothing_stops_it() -> None:
    old_style = bytearray(NEW)
    old_style[0x1010:0x1018] = bytes(8)
    survival = rehearse(Candidate.of(bytes(old_style)), SPECIMEN, Way.PUSH, cuts=None).survival
    assert survival is not None
    assert survival.copying == Tally(new=1, bricked=31)


def test_installing_what_runs_already_leaves_what_ran() -> None:
    rehearsal = rehearse(Candidate.of(OLD), SPECIMEN, Way.PUSH, cuts=None)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.survival is not None
    assert rehearsal.survival.receiving == Tally(old=24)


def test_a_brick_is_called_one() -> None:
    damaged = bytearray(NEW)
    damaged[0x3000] ^= 0xFF
    rehearsal = rehearse(Candidate.of(bytes(damaged)), SPECIMEN, Way.PUSH)
    assert rehearsal.verdict is Verdict.BRICKS
    assert not rehearsal.starts_once
    assert rehearsal.md5_after is None
    assert "never starts again" in rehearsal.explanation
    assert rehearsal.after[0].kind is AreaKind.BROKEN


def test_what_is_said_to_run_must_run() -> None:
    with pytest.raises(BadInput, match="does not start"):
        rehearse(Candidate.of(NEW), Specimen(SMALL, PACKED), Way.PUSH)


def test_the_demo_firmware_can_be_rehearsed() -> None:
    specimen = Specimen(LAYOUTS["4m1m"], images.load("valve-1.0"))
    for way in Way:
        assert rehearse(Candidate.of(images.load("valve-2.0")), specimen, way).installs


# what it takes


def test_the_copy_is_counted_to_the_operation_and_timed_by_the_data_sheet() -> None:
    rehearsal = rehearse(Candidate.of(NEW), SPECIMEN, Way.PUSH)
    copy = rehearsal.copy
    assert copy is not None
    # eight sectors, the ninth is the boot part, which is equal and skipped
    assert (copy.work.operations, copy.work.erases, copy.work.written) == (16, 8, 8 * SECTOR_SIZE)
    assert copy.brick_window == Span(8 * (45 + 16 * 0.4), 8 * (400 + 16 * 3))
    assert not copy.rewrites_boot_part
    assert (copy.source, copy.end, copy.floor) == (SMALL.file_system_start - 9 * SECTOR_SIZE, 9 * SECTOR_SIZE, 0)
    assert (rehearsal.receiving.operations, rehearsal.receiving.written) == (18, len(NEW))


def test_a_core_that_rewrites_an_equal_boot_part_takes_one_sector_more() -> None:
    copy = rehearse(Candidate.of(NEW), Specimen(SMALL, OLD, Core.V2_7), Way.PUSH).copy
    assert copy is not None
    assert (copy.work.operations, copy.rewrites_boot_part) == (18, True)


def test_the_bootloaders_console_is_kept() -> None:
    assert rehearse(Candidate.of(NEW), SPECIMEN, Way.PUSH).console.endswith("@cp:B0\nld\n")


def test_flash_is_drawn_before_while_received_and_after() -> None:
    rehearsal = rehearse(Candidate.of(NEW), SPECIMEN, Way.WEB)
    assert rehearsal.staged is not None
    sizes = [
        {area.kind: area.end - area.start for area in areas}
        for areas in (rehearsal.before, rehearsal.staged, rehearsal.after)
    ]
    assert [size[AreaKind.SKETCH] // SECTOR_SIZE for size in sizes] == [6, 6, 9]
    assert sizes[1][AreaKind.STAGED] == 9 * SECTOR_SIZE


# accidents


def test_without_cuts_nothing_is_broken_off() -> None:
    assert rehearse(Candidate.of(NEW), SPECIMEN, Way.PUSH).survival is None


def test_power_cuts_while_receiving_leave_the_old_sketch_and_while_copying_a_brick() -> None:
    survival = rehearse(Candidate.of(NEW), SPECIMEN, Way.PUSH, cuts=None).survival
    assert survival is not None
    assert (survival.operations, survival.of) == (34, 34)
    assert survival.receiving == Tally(old=36)
    assert survival.copying == Tally(new=1, bricked=31)
    assert survival.resets == Tally(new=32)


def test_a_refused_file_is_only_received() -> None:
    no_sketch = b"\x7f\0\0\0" + bytes(20_000)
    survival = rehearse(Candidate.of(no_sketch), SPECIMEN, Way.PUSH, cuts=None).survival
    assert survival is not None
    assert survival.receiving == Tally(old=20)
    assert survival.copying == survival.resets == Tally()


def test_a_file_that_is_refused_at_once_has_no_operations_to_cut() -> None:
    survival = rehearse(Candidate.of(b""), SPECIMEN, Way.PULL, cuts=None).survival
    assert survival is not None
    assert (survival.operations, survival.of) == (0, 0)


@pytest.mark.parametrize("cuts", [1, 2, 3, 10, 33, 34, 35, 1000])
def test_as_many_operations_are_cut_as_were_asked_for_as_far_as_there_are(cuts: int) -> None:
    progress: list[tuple[int, int]] = []
    rehearsal = rehearse(
        Candidate.of(NEW), SPECIMEN, Way.PUSH, cuts=cuts, on_progress=lambda done, of: progress.append((done, of))
    )
    wanted = min(cuts, 34)
    survival = rehearsal.survival
    assert survival is not None
    assert (survival.operations, survival.of) == (wanted, 34)
    assert survival.receiving.total + survival.copying.total == 2 * wanted
    assert survival.copying.total == survival.resets.total
    assert progress == [(done, wanted) for done in range(1, wanted + 1)]


def test_the_first_and_the_last_operation_are_among_the_chosen() -> None:
    survival = rehearse(Candidate.of(NEW), SPECIMEN, Way.PUSH, cuts=2).survival
    assert survival is not None
    assert survival.receiving == Tally(old=2), "the first"
    assert survival.copying == Tally(new=1, bricked=1), "the last: in the middle of it, and right after it"


def test_the_same_rehearsal_always_comes_out_the_same() -> None:
    candidate = Candidate.of(PACKED)
    assert rehearse(candidate, SPECIMEN, Way.WEB, cuts=7) == rehearse(candidate, SPECIMEN, Way.WEB, cuts=7)
