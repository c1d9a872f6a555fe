from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest
from tests.device_bench import SMALL, boot_part, build_sketch, noise
from tests.vectors.images import esp32_image

from otaria.cli.keys import new_private_key
from otaria.device.core_version import Core
from otaria.device.rehearsal import Rehearsal, Verdict, rehearse
from otaria.device.rehearsal_hazards import HazardKind
from otaria.device.rehearsal_scene import Candidate, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.units import ByteCount
from otaria.wire.esp_image import FlashMode, Segment
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.signed import PrivateKey, SignaturePadding, sign

PLAIN_BOOT = Segment(0x4010F000, bytes(range(256)) * 10)
OLD = build_sketch("old", 6)
NEW = build_sketch("new", 7)
OTHER_MODE = build_sketch("new", 7, mode=FlashMode.QIO)
SPECIMEN = Specimen(SMALL, OLD)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return new_private_key(2048)


@pytest.fixture(scope="module")
def demanding(key: PrivateKey) -> Specimen:
    """A device that takes only signed images."""
    return Specimen(SMALL, OLD, key=key.public_key)


def rehearsed(content: bytes, specimen: Specimen = SPECIMEN, way: Way = Way.PUSH) -> Rehearsal:
    return rehearse(Candidate.of(content), specimen, way)


def kinds(rehearsal: Rehearsal) -> set[HazardKind]:
    return {hazard.kind for hazard in rehearsal.hazards}


def said(rehearsal: Rehearsal, kind: HazardKind) -> str:
    return next(hazard.explanation for hazard in rehearsal.hazards if hazard.kind is kind)


def test_a_good_image_has_no_hazard_by_any_way() -> None:
    for way in Way:
        assert rehearsed(NEW, way=way).hazards == ()


def test_a_damaged_file_says_what_is_wrong_with_it() -> None:
    damaged = bytearray(NEW)
    damaged[0x2000] ^= 1
    rehearsal = rehearsed(bytes(damaged))
    assert rehearsal.verdict is Verdict.BRICKS
    assert "CRC" in said(rehearsal, HazardKind.FLAWED)


def test_an_image_for_another_chip_is_taken_where_its_flash_size_suits_and_bricks() -> None:
    large = Specimen(SMALL, OLD, chip_size=ByteCount(1 << 20))  # what the image's byte 3 means to an ESP8266
    for_esp32 = esp32_image() + bytes(5000)
    assert rehearsed(for_esp32, large).verdict is Verdict.BRICKS
    assert rehearsed(for_esp32).verdict is Verdict.REFUSED
    for specimen in (large, SPECIMEN):
        assert "ESP32-C3" in said(rehearsed(for_esp32, specimen), HazardKind.OTHER_CHIP)


@pytest.mark.parametrize("core", [Core.V2_7, Core.V3_1, Core.MASTER])
def test_compressed_and_signed_bricks_a_device_that_does_not_verify(key: PrivateKey, core: Core) -> None:
    rehearsal = rehearsed(sign(packed(NEW), key), Specimen(SMALL, OLD, core))
    assert rehearsal.verdict is Verdict.BRICKS
    assert rehearsal.starts_once
    assert "verifies no signature" in said(rehearsal, HazardKind.GZIP_AND_SIGNED)


def test_compressed_and_signed_bricks_a_device_of_core_2_7_that_does_verify(key: PrivateKey) -> None:
    rehearsal = rehearsed(sign(packed(NEW), key), Specimen(SMALL, OLD, Core.V2_7, key.public_key))
    assert rehearsal.verdict is Verdict.BRICKS
    assert "core 2.7" in said(rehearsal, HazardKind.GZIP_AND_SIGNED)


def test_compressed_and_signed_installs_on_a_newer_device_that_verifies(key: PrivateKey, demanding: Specimen) -> None:
    rehearsal = rehearsed(sign(packed(NEW), key), demanding)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert rehearsal.hazards == ()


def test_before_gzip_was_known_compressed_and_signed_is_only_refused(key: PrivateKey) -> None:
    rehearsal = rehearsed(sign(packed(NEW), key, SignaturePadding.LEGACY), Specimen(SMALL, OLD, Core.V2_5))
    assert rehearsal.verdict is Verdict.REFUSED
    assert kinds(rehearsal) == {HazardKind.CANNOT_UNPACK}


# unpacking


BELOW = build_sketch("below", 6, boot=PLAIN_BOOT)
FLAT = build_sketch("flat", 24, boot=PLAIN_BOOT, content=noise("busy at first", 6000))


def overtaking() -> bytes:
    """Much that packs well, then much that does not: when the noise is read, it has been overwritten."""
    return build_sketch("overtaking", 80, boot=PLAIN_BOOT, content=bytes(60 * SECTOR_SIZE) + noise("busy", 60_000))


def test_unpacking_from_low_down_can_overtake_its_source_and_brick() -> None:
    rehearsal = rehearsed(packed(overtaking()), Specimen(SMALL, BELOW), Way.WEB)
    assert rehearsal.verdict is Verdict.BRICKS
    assert rehearsal.copy is not None
    assert rehearsal.copy.margin < 0
    assert "Unpacking overtakes the file it reads" in said(rehearsal, HazardKind.OVERTAKES)


def test_the_same_file_higher_up_installs_without_hazard() -> None:
    rehearsal = rehearsed(packed(overtaking()), Specimen(SMALL, BELOW), Way.PUSH)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert HazardKind.OVERTAKES not in kinds(rehearsal)
    assert rehearsal.copy is not None
    assert rehearsal.copy.margin >= 0


def test_unpacking_that_stays_just_behind_is_told_from_unpacking_that_is_safe() -> None:
    rehearsal = rehearsed(packed(FLAT), Specimen(SMALL, BELOW), Way.WEB)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert "stays just behind" in said(rehearsal, HazardKind.OVERTAKES)


def test_an_image_that_unpacks_into_the_file_system_overwrites_it() -> None:
    huge = build_sketch("huge", 110, content=b"\0")
    rehearsal = rehearsed(packed(huge))
    assert rehearsal.copy is not None
    assert rehearsal.copy.end > SMALL.file_system_start
    assert "overwrites the files" in said(rehearsal, HazardKind.OVER_FILE_SYSTEM)


def test_a_reset_is_dangerous_where_the_copy_reaches_its_source() -> None:
    large = build_sketch("large", 60)
    rehearsal = rehearsed(large)
    assert rehearsal.copy is not None
    assert rehearsal.copy.overlap == (60 + 60) * SECTOR_SIZE - SMALL.file_system_start
    assert f"{rehearsal.copy.source:#x}" in said(rehearsal, HazardKind.RESET_BRICKS)


def test_a_reset_is_dangerous_where_the_bootloader_forgets_first() -> None:
    rehearsal = rehearsed(NEW, Specimen(SMALL, OLD, Core.V2_5))
    assert "core 2.5 forgets" in said(rehearsal, HazardKind.RESET_BRICKS)


# flash mode


def test_a_compressed_image_keeps_its_flash_mode() -> None:
    rehearsal = rehearsed(packed(OTHER_MODE))
    assert rehearsal.verdict is Verdict.INSTALLS
    assert "flash mode QIO" in said(rehearsal, HazardKind.COMPRESSED_FLASH_MODE)


def test_a_plain_image_gets_the_devices_flash_mode_and_its_crc_no_longer_holds() -> None:
    rehearsal = rehearsed(OTHER_MODE)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert kinds(rehearsal) == {HazardKind.FLASH_CRC}
    assert kinds(rehearsed(OTHER_MODE, way=Way.PULL)) == {HazardKind.FLASH_CRC, HazardKind.OTHER_DIGEST}


def test_a_signed_image_of_another_flash_mode_is_refused(key: PrivateKey, demanding: Specimen) -> None:
    rehearsal = rehearsed(sign(OTHER_MODE, key), demanding)
    assert rehearsal.refusal is not None
    assert rehearsal.refusal.code == 12
    assert kinds(rehearsal) == {HazardKind.SIGNED_FLASH_MODE}


def test_a_signed_compressed_image_of_another_flash_mode_installs(key: PrivateKey, demanding: Specimen) -> None:
    rehearsal = rehearsed(sign(packed(OTHER_MODE), key), demanding)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert kinds(rehearsal) == {HazardKind.COMPRESSED_FLASH_MODE, HazardKind.BOOT_PART}


# signatures


def test_an_unsigned_image_is_refused_where_signatures_are_checked(demanding: Specimen) -> None:
    rehearsal = rehearsed(NEW, demanding)
    assert rehearsal.verdict is Verdict.REFUSED
    assert rehearsal.verifies
    assert kinds(rehearsal) == {HazardKind.NOT_SIGNED}


def test_a_signature_by_another_key_or_for_another_core_is_named_as_the_cause(
    key: PrivateKey, demanding: Specimen
) -> None:
    by_another = rehearsed(sign(NEW, new_private_key(2048)), demanding)
    assert "not with this one" in said(by_another, HazardKind.WRONG_SIGNATURE)
    for_old_cores = rehearsed(sign(NEW, key, SignaturePadding.LEGACY), demanding)
    assert said(for_old_cores, HazardKind.WRONG_SIGNATURE).endswith("Sign it without --legacy.")
    old = Specimen(SMALL, OLD, Core.V2_5, key.public_key)
    for_new_cores = rehearsed(sign(NEW, key), old)
    assert said(for_new_cores, HazardKind.WRONG_SIGNATURE).endswith("Sign it with --legacy.")
    for rehearsal in (by_another, for_old_cores, for_new_cores):
        assert rehearsal.refusal is not None
        assert rehearsal.refusal.code == 12


def test_a_signature_that_nobody_checks_is_told_of(key: PrivateKey) -> None:
    rehearsal = rehearsed(sign(NEW, key))
    assert rehearsal.verdict is Verdict.INSTALLS
    assert kinds(rehearsal) == {HazardKind.SIGNATURE_IGNORED}


# the rest


def test_another_flash_size_puts_files_and_settings_elsewhere() -> None:
    smaller = rehearsed(build_sketch("new", 7, size_and_frequency=0x10))
    assert smaller.verdict is Verdict.INSTALLS
    assert "256 KiB of flash" in said(smaller, HazardKind.OTHER_FLASH_SIZE)


def test_an_auto_layout_has_any_flash_size() -> None:
    auto = Specimen(SMALL, OLD, flash_map=True)
    assert HazardKind.OTHER_FLASH_SIZE not in kinds(rehearsed(build_sketch("new", 7, size_and_frequency=0x40), auto))


def test_a_small_file_cannot_be_uploaded_by_browser() -> None:
    small = packed(build_sketch("small", 7, boot=PLAIN_BOOT, content=b"\0"))
    assert len(small) <= SECTOR_SIZE
    assert kinds(rehearsed(small, way=Way.WEB)) == {HazardKind.SMALL_UPLOAD}
    assert rehearsed(small, way=Way.WEB).verdict is Verdict.REFUSED
    assert rehearsed(small, way=Way.PUSH).verdict is Verdict.INSTALLS


@pytest.mark.parametrize("core", [Core.V2_7, Core.V3_1])
def test_a_boot_part_that_is_rewritten_is_a_danger_of_its_own(core: Core) -> None:
    other = build_sketch("new", 7, boot=boot_part("eboot 2"))
    assert HazardKind.BOOT_PART in kinds(rehearsed(other, Specimen(SMALL, OLD, core)))
    # an equal one is left alone since core 3.0
    assert (HazardKind.BOOT_PART in kinds(rehearsed(NEW, Specimen(SMALL, OLD, core)))) is (core is Core.V2_7)


def test_an_image_beside_which_no_other_of_its_size_fits_is_the_last() -> None:
    rehearsal = rehearsed(build_sketch("large", 60))
    assert rehearsal.verdict is Verdict.INSTALLS
    assert "It will be the last" in said(rehearsal, HazardKind.LAST_OF_ITS_SIZE)
    assert HazardKind.LAST_OF_ITS_SIZE not in kinds(rehearsed(packed(FLAT), Specimen(SMALL, BELOW)))


def test_a_pull_whose_digest_differs_from_the_sketchs_loops_on_simple_servers() -> None:
    rehearsal = rehearsed(packed(NEW), way=Way.PULL)
    assert rehearsal.md5_after is not None
    assert rehearsal.md5_after in said(rehearsal, HazardKind.OTHER_DIGEST)
    assert HazardKind.OTHER_DIGEST not in kinds(rehearsed(packed(NEW), way=Way.PUSH))


def test_an_image_that_runs_already_is_told_of() -> None:
    rehearsal = rehearsed(OLD)
    assert rehearsal.verdict is Verdict.INSTALLS
    assert kinds(rehearsal) == {HazardKind.ALREADY_THERE}


def test_grave_hazards_come_before_those_that_are_good_to_know(key: PrivateKey) -> None:
    found: Iterator[bool] = (
        hazard.kind.grave for hazard in rehearsed(sign(packed(OTHER_MODE), key), way=Way.WEB).hazards
    )
    graveness = list(found)
    assert graveness == sorted(graveness, reverse=True)
    assert set(graveness) == {True, False}
