from __future__ import annotations

import tracemalloc

import pytest
from tests.device_bench import noise

from otaria.device.flash import BLANK_SECTOR, BadSector, Flash, FlashMisuse, PowerLost, ResetStruck, UnreadableSector
from otaria.wire.layouts import SECTOR_SIZE

SIZE = 8 * SECTOR_SIZE
SECTOR = noise("a sector", SECTOR_SIZE)


def written(content: bytes = SECTOR) -> Flash:
    flash = Flash(SIZE)
    assert flash.erase(2)
    assert flash.write(2 * SECTOR_SIZE, content)
    return flash


def test_a_new_chip_is_erased_and_takes_no_memory() -> None:
    flash = Flash(SIZE)
    assert flash.dump() == b"\xff" * SIZE
    assert not flash._sectors


def test_what_is_written_can_be_read_across_sectors() -> None:
    flash = Flash(SIZE)
    content = noise("three sectors", 2 * SECTOR_SIZE + 8)
    assert flash.write(SECTOR_SIZE - 4, content)
    assert flash.read(SECTOR_SIZE - 4, len(content)) == content
    assert flash.read(SECTOR_SIZE - 5, 3) == b"\xff" + content[:2]


def test_erasing_a_sector_frees_it_and_leaves_the_others() -> None:
    flash = written()
    flash.write(3 * SECTOR_SIZE, b"kept")
    assert flash.erase(2)
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE + 4) == BLANK_SECTOR + b"kept"
    assert set(flash._sectors) == {3}


def test_clearing_more_bits_of_a_written_word_is_allowed() -> None:
    flash = written(b"\xf0\xff\x0f\xff")
    assert flash.write(2 * SECTOR_SIZE, b"\x80\x00\x00\x0f")
    assert flash.read(2 * SECTOR_SIZE, 4) == b"\x80\x00\x00\x0f"


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (2 * SECTOR_SIZE, b"\xff\xff\xff\xff"),
        (2 * SECTOR_SIZE + 2, b"abcd"),
        (2 * SECTOR_SIZE, b"abc"),
        (SIZE - 4, b"abcdefgh"),
        (-4, b"abcd"),
    ],
    ids=["a bit to set", "unaligned offset", "half a word", "over the end", "before the beginning"],
)
def test_a_misused_write_raises_and_changes_nothing(offset: int, content: bytes) -> None:
    flash = written(bytes(SECTOR_SIZE))
    before = flash.dump(), flash.operations
    with pytest.raises(FlashMisuse):
        flash.write(offset, content)
    assert (flash.dump(), flash.operations) == before


def test_a_write_that_is_wrong_in_its_second_sector_changes_not_even_the_first() -> None:
    flash = written(bytes(SECTOR_SIZE))
    with pytest.raises(FlashMisuse):
        flash.write(SECTOR_SIZE, b"\x11" * SECTOR_SIZE + b"\xff" * 4)
    assert flash.read(SECTOR_SIZE, SECTOR_SIZE) == BLANK_SECTOR


def test_there_is_no_sector_outside_the_chip() -> None:
    flash = Flash(SIZE)
    for sector in (-1, 8):
        with pytest.raises(FlashMisuse):
            flash.erase(sector)
    with pytest.raises(FlashMisuse):
        flash.read(SIZE - 1, 2)
    with pytest.raises(FlashMisuse):
        Flash(SECTOR_SIZE + 1)


def test_a_whole_sector_is_kept_as_the_object_that_was_written() -> None:
    flash = written()
    copied = flash.read(2 * SECTOR_SIZE, SECTOR_SIZE)
    assert copied is SECTOR
    flash.write(0, copied)
    assert flash._sectors[0] is flash._sectors[2]


def test_chips_with_a_pool_share_equal_sectors() -> None:
    pool: dict[bytes, bytes] = {}
    one, other = Flash(SIZE, pool=pool), Flash(SIZE, pool=pool)
    one.load(SECTOR)
    other.write(4 * SECTOR_SIZE, bytes(bytearray(SECTOR)))
    assert one._sectors[0] is other._sectors[4]


def test_loading_replaces_everything_and_counts_no_operation() -> None:
    flash = written()
    flash.load(b"new")
    assert flash.dump() == b"new".ljust(SIZE, b"\xff")
    assert flash.operations == 2
    with pytest.raises(FlashMisuse):
        flash.load(bytes(SIZE + 1))
    assert flash.read(0, 3) == b"new"


def test_a_hook_that_mirrors_every_change_ends_up_with_the_same_content() -> None:
    flash = written()
    mirror = bytearray(flash.dump())

    def mirror_change(offset: int, content: bytes) -> None:
        mirror[offset : offset + len(content)] = content

    flash.on_change = mirror_change
    flash.write(5 * SECTOR_SIZE + 8, b"only these bytes")
    flash.erase(2)
    flash.reset_at(0, share=0.5)
    with pytest.raises(ResetStruck):
        flash.write(6 * SECTOR_SIZE - 8, noise("torn", SECTOR_SIZE))
    flash.load(SECTOR * 2)
    assert bytes(mirror) == flash.dump()


def test_a_clone_goes_its_own_way() -> None:
    flash = written()
    flash.spoil(7, BadSector.ERASE_FAILS)
    twin = flash.clone()
    twin.erase(2)
    flash.write(0, b"here")
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == SECTOR
    assert twin.read(0, 4) == b"\xff" * 4
    assert not twin.erase(7)
    assert twin.erase_count(2) == flash.erase_count(2) + 1


@pytest.mark.parametrize(("share", "words"), [(0.0, 0), (0.25, 256), (0.5, 512), (1.0, 1024)])
def test_power_lost_during_a_write_leaves_a_prefix(share: float, words: int) -> None:
    flash = Flash(SIZE)
    flash.lose_power_at(1, share)
    flash.erase(0)
    with pytest.raises(PowerLost):
        flash.write(0, SECTOR)
    assert flash.read(0, SECTOR_SIZE) == SECTOR[: words * 4].ljust(SECTOR_SIZE, b"\xff")


def test_power_lost_during_an_erase_leaves_a_mix_of_old_and_erased() -> None:
    flash = written()
    flash.lose_power_at(0, share=0.5)
    with pytest.raises(PowerLost):
        flash.erase(2)
    mix = flash.read(2 * SECTOR_SIZE, SECTOR_SIZE)
    assert all(now in (before, 0xFF) for now, before in zip(mix, SECTOR, strict=True))
    assert sum(now == 0xFF for now in mix) == pytest.approx(SECTOR_SIZE / 2, abs=SECTOR_SIZE / 50)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_erase_can_be_cut_before_it_begins_or_after_it_is_done(share: float) -> None:
    flash = written()
    flash.lose_power_at(0, share)
    with pytest.raises(PowerLost):
        flash.erase(2)
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == (BLANK_SECTOR if share else SECTOR)


def test_without_power_nothing_works_but_a_clip_still_reads_the_chip() -> None:
    flash = written()
    flash.lose_power_at(0)
    with pytest.raises(PowerLost):
        flash.erase(0)
    with pytest.raises(PowerLost):
        flash.erase(0)
    with pytest.raises(PowerLost):
        flash.write(0, b"abcd")
    assert not flash.powered
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == SECTOR
    flash.powered = True
    assert flash.erase(0)


def test_a_reset_stops_one_operation_and_the_chip_goes_on() -> None:
    flash = written()
    flash.reset_at(0)
    with pytest.raises(ResetStruck):
        flash.erase(2)
    assert flash.powered
    assert flash.erase(2)


@pytest.mark.parametrize(
    ("behaviour", "erases", "writes", "after"),
    [
        (BadSector.ERASE_FAILS, False, True, SECTOR),
        (BadSector.ERASE_IGNORED, True, True, bytes(SECTOR_SIZE)),
        (BadSector.PROGRAM_FAILS, True, False, BLANK_SECTOR),
        (BadSector.PROGRAM_IGNORED, True, True, BLANK_SECTOR),
    ],
)
def test_bad_sectors_fail_in_their_own_way(behaviour: BadSector, erases: bool, writes: bool, after: bytes) -> None:
    flash = written()
    flash.spoil(2, behaviour)
    assert flash.erase(2) is erases
    content = bytes(255 - byte for byte in SECTOR) if behaviour is BadSector.ERASE_IGNORED else SECTOR
    assert flash.write(2 * SECTOR_SIZE, content) is writes
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == after


def test_a_sector_that_cannot_be_read_says_so_until_it_is_mended() -> None:
    flash = written()
    flash.spoil(2, BadSector.READ_FAILS)
    with pytest.raises(UnreadableSector):
        flash.read(2 * SECTOR_SIZE - 1, 2)
    assert flash.read(2 * SECTOR_SIZE - 1, 1) == b"\xff"
    flash.spoil(2, None)
    assert flash.read(2 * SECTOR_SIZE, SECTOR_SIZE) == SECTOR


def test_a_worn_sector_can_no_more_be_erased() -> None:
    flash = Flash(SIZE, endurance=3)
    assert [flash.erase(1) for _ in range(5)] == [True, True, True, False, False]
    assert flash.erase(2)
    assert flash.erase_count(1) == 5


def test_a_thousand_chips_of_4_mib_with_the_same_content_are_small() -> None:
    template = Flash(4 << 20)
    template.load(noise("an image", 100 * SECTOR_SIZE))
    tracemalloc.start()
    chips = [template.clone() for _ in range(1000)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert chips[-1].read(0, SECTOR_SIZE) == template.read(0, SECTOR_SIZE)
    assert used < 20 << 20
