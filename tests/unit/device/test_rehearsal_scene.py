from __future__ import annotations

import gzip

import pytest
from tests.device_bench import SMALL, build_sketch, running
from tests.vectors.images import esp32_image

from otaria.cli.keys import new_private_key
from otaria.device.core_version import Core
from otaria.device.rehearsal_scene import Candidate, Encoding, Specimen, space_for
from otaria.device.rehearsal_ways import Way
from otaria.errors import BadInput, DoesNotFit
from otaria.units import ByteCount
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE
from otaria.wire.signed import PrivateKey, sign

SKETCH = build_sketch("sketch", 6)
PACKED = gzip.compress(SKETCH, mtime=0)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return new_private_key(2048)


# candidates


def test_a_files_encoding_is_told_by_its_ends(key: PrivateKey) -> None:
    files = {
        Encoding.PLAIN: SKETCH,
        Encoding.GZIP: PACKED,
        Encoding.SIGNED: sign(SKETCH, key),
        Encoding.GZIP_SIGNED: sign(PACKED, key),
    }
    for encoding, content in files.items():
        candidate = Candidate.of(content)
        assert candidate.encoding is encoding
        assert (candidate.plain, candidate.size, candidate.flaw) == (SKETCH, len(content), None)
        assert encoding.compressed is (encoding in (Encoding.GZIP, Encoding.GZIP_SIGNED))
        assert encoding.signed is (encoding in (Encoding.SIGNED, Encoding.GZIP_SIGNED))


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", SKETCH[:-1], b"anything else"])
def test_what_is_no_image_is_a_candidate_with_a_flaw(content: bytes) -> None:
    candidate = Candidate.of(content)
    assert candidate.image is None
    assert candidate.flaw
    assert candidate.plain == content


def test_an_image_for_another_chip_is_a_candidate_too() -> None:
    candidate = Candidate.of(esp32_image())
    assert candidate.image is not None
    assert candidate.image.family == "ESP32-C3"


# the device


def test_a_specimen_runs_its_sketch() -> None:
    machine = Specimen(SMALL, SKETCH, Core.V2_7).switched_on()
    assert machine.running
    assert (machine.core, machine.layout, machine.flash.size) == (Core.V2_7, SMALL, SMALL.flash_size)
    assert machine.sketch_size == len(SKETCH)


def test_a_specimens_chip_may_be_larger_than_its_layout() -> None:
    machine = Specimen(SMALL, SKETCH, chip_size=ByteCount(4 << 20)).switched_on()
    assert (machine.flash.size, machine.real_size, machine.flash_chip_size) == (4 << 20, 4 << 20, 512 << 10)


def test_a_sketch_that_reaches_into_the_file_system_is_another_devices() -> None:
    with pytest.raises(DoesNotFit, match="another device's"):
        Specimen(LAYOUTS["512k128"], build_sketch("large", 100)).switched_on()


@pytest.mark.parametrize("running", [b"", PACKED, SKETCH[:-4096], esp32_image()])
def test_what_does_not_start_cannot_be_what_runs(running: bytes) -> None:
    with pytest.raises(BadInput, match="does not start"):
        Specimen(SMALL, running).switched_on()


def test_a_specimen_verifies_where_it_has_a_key_and_a_core_that_can(key: PrivateKey) -> None:
    public = key.public_key
    assert not Specimen(SMALL, SKETCH).verifies
    assert not Specimen(SMALL, SKETCH, Core.V2_3, public).verifies
    assert Specimen(SMALL, SKETCH, Core.V2_5, public).verifies


# room


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("sectors", [1, 50, 99, 100, 101, 102, 150])
def test_room_is_reckoned_to_the_sector(way: Way, sectors: int) -> None:
    machine = running(SKETCH)
    free = SMALL.file_system_start - 6 * SECTOR_SIZE
    limit = free if way is not Way.WEB else free - SECTOR_SIZE
    for size in (sectors * SECTOR_SIZE - 1, sectors * SECTOR_SIZE):
        space = space_for(machine, way, size)
        assert (space.free, space.limit, space.needed) == (free, limit, sectors * SECTOR_SIZE)
        assert space.spare == limit - sectors * SECTOR_SIZE
        assert space.fits is (size <= limit)


def test_the_sheets_example_has_room_for_671744_bytes() -> None:
    machine = Specimen(LAYOUTS["4m3m"], build_sketch("sketch", 92, size_and_frequency=0x40)).switched_on()
    space = space_for(machine, Way.PULL, 373_940)
    assert (space.free, space.staging_start, space.fits, space.spare) == (671_744, 0xA4000, True, 0xA4000 - 0x5C000)


def test_where_the_pages_subtraction_wraps_there_is_no_room() -> None:
    full = build_sketch("full", SMALL.file_system_start // SECTOR_SIZE)
    space = space_for(running(full), Way.WEB, 5000)
    assert (space.free, space.limit, space.fits) == (0, 0, False)
