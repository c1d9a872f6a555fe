from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from tests.fleet_bench import (
    FILE_SYSTEM,
    MAC,
    NOW,
    catalogue,
    check_in,
    device,
    image,
    patched,
    release,
    signed,
    sketch,
    zipped,
)
from tests.vectors.images import esp32_image

from otaria.fleet.decide import MOST_DELIVERIES, Decision, Keep, Refuse, Serve, decide, decide_file, objection_to_fit
from otaria.fleet.deployment import Deployment, State
from otaria.fleet.device import Device
from otaria.fleet.model import Catalogue, Image, ImageId, Release
from otaria.fleet.reasons import Reason
from otaria.units import ByteCount, Md5
from otaria.wire.chips import ChipFamily
from otaria.wire.esp_image import FlashMode
from otaria.wire.http_update import CheckIn, Mode
from otaria.wire.image_file import ImageKind

OLD = image(sketch("old"), number=1)
NEW = image(sketch("new"), number=2)
FS = image(FILE_SYSTEM, number=3, kind=ImageKind.FILESYSTEM)
FIRST = release(1, OLD)
SECOND = release(2, NEW)
BOTH = catalogue(FIRST, SECOND)


def decided(
    said: CheckIn | None = None, *, of: Device | None = None, there: Catalogue = BOTH, asked_for: str | None = None
) -> Decision:
    return decide(said or check_in(), of or device(), there, NOW, asked_for=asked_for)


def given(*deployments: Deployment) -> Device:
    return replace(device(), deployments=deployments)


def deployment(of: Image, deliveries: int, state: State = State.DELIVERED) -> Deployment:
    return Deployment(of.id, state, deliveries, NOW)


def assert_keeps(decision: Decision, reason: Reason) -> None:
    assert isinstance(decision, Keep), decision
    assert decision.reason is reason
    assert decision.at == NOW
    assert decision.explanation.endswith((".", "`."))


def assert_serves(decision: Decision, expected: Image) -> None:
    assert isinstance(decision, Serve), decision
    assert decision.image == expected


# -------------------------------------------------------------------- the right place


def test_a_device_that_belongs_to_no_application_is_told_how_to_change_that() -> None:
    decision = decided(of=device(application=None), there=Catalogue())
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.UNASSIGNED
    assert f"`otaria device assign {MAC} APPLICATION`" in decision.explanation


def test_an_application_that_does_not_exist_is_refused() -> None:
    decision = decided(of=device(application=None), there=Catalogue(), asked_for="dor")
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.NO_SUCH_APPLICATION
    assert "'dor'" in decision.explanation


def test_a_sketch_that_asks_for_another_application_than_its_own_is_refused() -> None:
    decision = decided(asked_for="garden")
    assert isinstance(decision, Refuse)
    assert decision.reason is Reason.OTHER_APPLICATION
    assert "'door'" in decision.explanation
    assert "'garden'" in decision.explanation


def test_what_the_address_says_of_an_application_is_quoted_without_its_control_characters() -> None:
    decision = decided(asked_for="x\x1b[2J\n")
    assert decision.explanation.isprintable()


# ------------------------------------------------------------------------ the target


def test_the_newest_release_by_order_is_served() -> None:
    assert_serves(decided(), NEW)
    assert_serves(decided(asked_for="door"), NEW)


def test_without_a_release_the_device_keeps_what_it_has() -> None:
    assert_keeps(decided(there=Catalogue()), Reason.NOTHING_RELEASED)


def test_a_release_with_a_file_system_alone_leaves_the_sketch_of_the_one_before_in_force() -> None:
    there = catalogue(FIRST, release(2, FS))
    assert_serves(decided(there=there), OLD)
    assert_serves(decided(check_in(mode=Mode.FILESYSTEM), there=there), FS)


def test_an_esp32_image_never_goes_to_an_esp8266() -> None:
    there = catalogue(release(1, image(esp32_image(), number=7)))
    assert_keeps(decided(there=there), Reason.OTHER_CHIP)


def test_an_esp8266_image_never_goes_to_an_esp32() -> None:
    assert_keeps(decided(check_in(family=ChipFamily.ESP32)), Reason.OTHER_CHIP)


def test_of_a_release_for_two_chips_each_gets_its_own() -> None:
    for_c3 = image(esp32_image(), number=7)
    there = catalogue(release(1, OLD, for_c3))
    assert_serves(decided(there=there), OLD)
    assert_serves(decided(check_in(family=ChipFamily.ESP32, chip_id=None), there=there), for_c3)


def test_an_esp32_that_could_be_either_of_two_chips_gets_neither() -> None:
    there = catalogue(release(1, image(esp32_image(5), number=7), image(esp32_image(9), number=8)))
    assert_keeps(decided(check_in(family=ChipFamily.ESP32), there=there), Reason.AMBIGUOUS_CHIP)


# --------------------------------------------------------------------- already there


@pytest.mark.parametrize("mode", FlashMode)
def test_a_device_that_runs_the_release_keeps_it_whatever_its_flash_mode(mode: FlashMode) -> None:
    reported = Md5(hashlib.md5(patched(sketch("new"), mode)).hexdigest())  # noqa: S324 - the device's protocol
    assert_keeps(decided(check_in(md5=reported)), Reason.INSTALLED)


def test_what_was_sent_compressed_is_recognised_unpacked() -> None:
    there = catalogue(release(1, image(zipped(sketch("new")), number=2)))
    assert_keeps(decided(check_in(md5=NEW.md5), there=there), Reason.INSTALLED)


def test_a_sketch_that_calls_itself_as_the_release_keeps_what_it_has() -> None:
    assert_keeps(decided(check_in(version="1.2")), Reason.SAME_VERSION)


def test_another_version_string_does_not_matter() -> None:
    assert_serves(decided(check_in(version="1.2 ")), NEW)
    assert_serves(decided(check_in(version="9.9")), NEW)


def test_the_sketchs_version_says_nothing_of_the_file_system() -> None:
    there = catalogue(release(1, FS))
    assert_serves(decided(check_in(mode=Mode.FILESYSTEM, version="1.1"), there=there), FS)


def test_a_file_system_is_served_once() -> None:
    there = catalogue(release(1, FS))
    said = check_in(mode=Mode.FILESYSTEM)
    assert_serves(decided(said, of=given(deployment(FS, 0, State.OFFERED)), there=there), FS)
    assert_serves(decided(said, of=given(deployment(FS, 0, State.BROKEN_OFF)), there=there), FS)
    assert_keeps(decided(said, of=given(deployment(FS, 1)), there=there), Reason.ALREADY_DELIVERED)


# ------------------------------------------------------------------------- direction


def test_a_device_that_runs_something_newer_is_not_taken_back() -> None:
    newer = release(3, image(FILE_SYSTEM, number=9, kind=ImageKind.FILESYSTEM), version="1.3")
    assert_keeps(decided(check_in(version="1.3"), there=catalogue(FIRST, SECOND, newer)), Reason.OLDER)


def test_the_md5_is_believed_before_the_version_string() -> None:
    newer = release(3, image(FILE_SYSTEM, number=9, kind=ImageKind.FILESYSTEM), version="1.3")
    said = check_in(md5=OLD.md5, version="1.3")
    assert_serves(decided(said, there=catalogue(FIRST, SECOND, newer)), NEW)


def test_the_same_bytes_under_a_newer_version_are_up_to_date() -> None:
    again = release(3, replace(OLD, id=ImageId(9)), version="1.0 again")
    assert_keeps(decided(check_in(md5=OLD.md5), there=catalogue(FIRST, SECOND, again)), Reason.INSTALLED)


# ------------------------------------------------------------------------------- fit


def test_an_image_built_for_more_flash_than_there_is_does_not_go_out() -> None:
    assert_keeps(decided(check_in(chip_size=1 << 20)), Reason.FLASH_TOO_SMALL)
    assert_serves(decided(check_in(chip_size=16 << 20)), NEW)


@pytest.mark.parametrize(("free_space", "fits"), [(8192, True), (4096, False), (0, False)])
def test_an_image_needs_room_in_whole_sectors(free_space: int, fits: bool) -> None:
    assert NEW.size == 4192
    decision = decided(check_in(free_space=free_space))
    if fits:
        assert_serves(decision, NEW)
    else:
        assert_keeps(decision, Reason.NO_ROOM)
        assert "8192 bytes" in decision.explanation


@pytest.mark.parametrize(("size", "fits"), [(3121152, True), (3121153, False)])
def test_a_file_system_must_fit_where_the_layout_tells_how_large_it_is(size: int, fits: bool) -> None:
    whole = image(b"\1".ljust(size, b"\xff"), number=3, kind=ImageKind.FILESYSTEM)
    decision = decided(check_in(mode=Mode.FILESYSTEM), there=catalogue(release(1, whole)))
    if fits:
        assert_serves(decision, whole)
    else:
        assert_keeps(decision, Reason.NO_FILE_SYSTEM)


def test_a_layout_that_the_core_does_not_have_is_left_to_the_device() -> None:
    large = image(b"\1".ljust(3_200_000, b"\xff"), number=3, kind=ImageKind.FILESYSTEM)
    said = check_in(mode=Mode.FILESYSTEM, free_space=671744 + 4096)
    assert_serves(decided(said, there=catalogue(release(1, large))), large)


def test_a_device_without_a_file_system_gets_none() -> None:
    said = check_in(mode=Mode.FILESYSTEM, free_space=0x3FB000 - 376832)
    assert_keeps(decided(said, there=catalogue(release(1, FS))), Reason.NO_FILE_SYSTEM)


# ------------------------------------------------------------ compressed and signed

SMALL = image(zipped(sketch("new", size=20_000)), number=4)


def test_a_compressed_image_goes_to_a_device_that_may_unpack_it() -> None:
    assert_serves(decided(there=catalogue(release(1, SMALL))), SMALL)


def test_a_device_of_a_core_before_2_6_does_not_unpack() -> None:
    assert_keeps(decided(check_in(chip_id=None), there=catalogue(release(1, SMALL))), Reason.CANNOT_UNPACK)


def test_a_device_that_runs_an_image_of_a_core_before_2_7_does_not_unpack() -> None:
    running = replace(OLD, has_length_and_crc=False)
    there = catalogue(release(1, running), release(2, SMALL))
    assert_keeps(decided(check_in(md5=OLD.md5), there=there), Reason.CANNOT_UNPACK)
    assert_serves(decided(check_in(md5=OLD.md5), there=catalogue(FIRST, release(2, SMALL))), SMALL)


def test_what_would_unpack_over_the_file_system_stays_here() -> None:
    huge = replace(SMALL, payload_size=ByteCount((1 << 20) + 1))
    assert_keeps(decided(there=catalogue(release(1, huge))), Reason.UNPACKS_OVER_ITSELF)


def test_what_would_overtake_its_own_source_stays_here() -> None:
    assert SMALL.staging_floor == 24576
    said = check_in(sketch_size=4096, free_space=24576)
    assert_serves(decided(said, there=catalogue(release(1, SMALL))), SMALL)
    said = check_in(sketch_size=4096, free_space=20480)
    assert_keeps(decided(said, there=catalogue(release(1, SMALL))), Reason.UNPACKS_OVER_ITSELF)


def test_compressed_and_signed_goes_only_to_a_device_that_is_known_to_verify() -> None:
    both = image(signed(zipped(sketch("new"))), number=5)
    assert_keeps(decided(there=catalogue(FIRST, release(2, both))), Reason.UNVERIFIED_SIGNATURE)
    runs_unsigned = check_in(md5=OLD.md5)
    assert_keeps(decided(runs_unsigned, there=catalogue(FIRST, release(2, both))), Reason.UNVERIFIED_SIGNATURE)
    with_signed = catalogue(release(1, image(signed(sketch("old")), number=1)), release(2, both))
    assert_serves(decided(runs_unsigned, there=with_signed), both)


# ---------------------------------------------------------------------- the ledger


@pytest.mark.parametrize("deliveries", range(MOST_DELIVERIES + 2))
def test_after_three_deliveries_without_a_change_the_device_keeps_what_it_has(deliveries: int) -> None:
    decision = decided(of=given(deployment(NEW, deliveries)))
    if deliveries < MOST_DELIVERIES:
        assert_serves(decision, NEW)
    else:
        assert_keeps(decision, Reason.NO_CHANGE)
        assert f"`otaria device retry {MAC}`" in decision.explanation


def test_deliveries_of_another_image_do_not_count() -> None:
    assert_serves(decided(of=given(deployment(OLD, 9))), NEW)


# -------------------------------------------------------------------- mode version


@pytest.mark.parametrize("said", [check_in(), check_in(md5=NEW.md5), check_in(free_space=0), check_in(version="1.2")])
def test_a_question_for_the_version_is_decided_like_one_for_the_sketch(said: CheckIn) -> None:
    assert decided(replace(said, mode=Mode.VERSION)) == decided(said)


# ---------------------------------------------------------------------- files by name


def named(said: CheckIn, of: Release, wanted: Image, known: Device | None = None) -> Decision:
    return decide_file(said, known or device(application=None), of, wanted, NOW)


def test_a_file_is_served_to_a_device_of_no_application() -> None:
    assert_serves(named(check_in(), SECOND, NEW), NEW)


def test_a_file_that_the_device_runs_already_is_not() -> None:
    assert_keeps(named(check_in(md5=NEW.md5), SECOND, NEW), Reason.INSTALLED)


def test_the_sketchs_version_says_nothing_of_a_file() -> None:
    assert_serves(named(check_in(version="1.2"), SECOND, NEW), NEW)


def test_a_file_for_another_chip_or_place_stays_here() -> None:
    for_c3 = image(esp32_image(), number=7)
    assert_keeps(named(check_in(), release(1, for_c3), for_c3), Reason.OTHER_CHIP)
    assert_keeps(named(check_in(mode=Mode.FILESYSTEM), SECOND, NEW), Reason.OTHER_KIND)
    assert_keeps(named(check_in(), release(1, FS), FS), Reason.OTHER_KIND)
    assert_keeps(named(check_in(free_space=0), SECOND, NEW), Reason.NO_ROOM)


def test_a_file_is_not_sent_for_ever_either() -> None:
    assert_keeps(named(check_in(), SECOND, NEW, given(deployment(NEW, MOST_DELIVERIES))), Reason.NO_CHANGE)
    said = check_in(mode=Mode.FILESYSTEM)
    assert_keeps(named(said, release(1, FS), FS, given(deployment(FS, 1))), Reason.ALREADY_DELIVERED)


# --------------------------------------------------------------- would it fit


def test_whether_an_image_fits_a_device_that_never_polled_nobody_knows() -> None:
    assert objection_to_fit(device(), Catalogue(), SECOND, NEW) is None


def test_whether_an_image_fits_is_told_by_what_the_device_said_last() -> None:
    roomy, full = replace(device(), check_in=check_in()), replace(device(), check_in=check_in(free_space=0))
    assert objection_to_fit(roomy, Catalogue(), SECOND, NEW) is None
    objection = objection_to_fit(full, Catalogue(), SECOND, NEW)
    assert objection is not None
    assert objection.reason is Reason.NO_ROOM
