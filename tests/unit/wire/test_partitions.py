from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from tests.esp32_bench import APP_0, APP_1, APP_2, FACTORY_AND_TWO, NVS, OTADATA, SLOT, TWO_SLOTS, partition

from otaria.errors import BadInput
from otaria.units import MIB, ByteCount, FlashOffset
from otaria.wire.partitions import (
    MOST_PARTITIONS,
    TABLE_SIZE,
    TABLES,
    AppSubtype,
    DataSubtype,
    PartitionTable,
    PartitionType,
    find_table,
)

CLASSIC = TABLES["default"]
ROW = 32


def test_the_classic_table_has_the_rows_of_the_sheet() -> None:
    encoded = CLASSIC.encode()
    assert len(encoded) == TABLE_SIZE
    assert encoded[:ROW].hex() == "aa500102009000000050000" + "06e7673" + "00" * 17
    assert encoded[6 * ROW : 7 * ROW].hex() == "ebeb" + "ff" * 14 + "972dae2ff872a0142d60bad124c0666b"
    assert encoded[7 * ROW :] == b"\xff" * (TABLE_SIZE - 7 * ROW)


def test_the_classic_table_divides_four_megabytes() -> None:
    places = {each.name: (each.kind, each.subtype, each.offset, each.size) for each in CLASSIC.partitions}
    assert places == {
        "nvs": (1, 2, 0x9000, 0x5000),
        "otadata": (1, 0, 0xE000, 0x2000),
        "app0": (0, 0x10, 0x10000, 0x140000),
        "app1": (0, 0x11, 0x150000, 0x140000),
        "spiffs": (1, 0x82, 0x290000, 0x160000),
        "coredump": (1, 3, 0x3F0000, 0x10000),
    }


@pytest.mark.parametrize("name", TABLES)
def test_a_table_reads_as_it_was_written(name: str) -> None:
    assert PartitionTable.parse(find_table(name).encode(), 4 * MIB) == TABLES[name]


def test_a_table_that_nobody_knows_is_bad_input_and_says_which_there_are() -> None:
    with pytest.raises(BadInput, match="default, min_spiffs, huge_app"):
        find_table("rainmaker")


def test_a_table_may_do_without_the_md5_row() -> None:
    rows = CLASSIC.encode()[: 6 * ROW]
    assert PartitionTable.parse(rows.ljust(TABLE_SIZE, b"\xff")) == CLASSIC


def test_flags_and_types_of_ones_own_are_kept() -> None:
    own = replace(partition("mine", 0x40, 7, 0x9000, 0x1000), flags=3)
    assert PartitionTable.parse(PartitionTable((own,)).encode()).partitions == (own,)


def test_an_erased_chip_holds_an_empty_table() -> None:
    assert PartitionTable.parse(b"\xff" * TABLE_SIZE).partitions == ()


@pytest.mark.parametrize("index", [0, 40, 100, 6 * ROW + 20])
def test_a_flipped_byte_is_found(index: int) -> None:
    damaged = bytearray(CLASSIC.encode())
    damaged[index] ^= 1
    with pytest.raises(BadInput):
        PartitionTable.parse(bytes(damaged))


def test_a_wrong_md5_is_named() -> None:
    damaged = bytearray(CLASSIC.encode())
    damaged[3 * ROW + 5] ^= 1
    with pytest.raises(BadInput, match="MD5 is wrong"):
        PartitionTable.parse(bytes(damaged))


def test_only_one_md5_row_is_allowed() -> None:
    encoded = CLASSIC.encode()
    twice = encoded[: 7 * ROW] + encoded[6 * ROW : 7 * ROW] + encoded[8 * ROW :]
    with pytest.raises(BadInput, match="Row 7"):
        PartitionTable.parse(twice)


def test_a_table_without_an_end_is_none() -> None:
    endless = CLASSIC.encode()[:ROW] * (TABLE_SIZE // ROW)
    with pytest.raises(BadInput, match="has no end"):
        PartitionTable.parse(endless)


@pytest.mark.parametrize("content", [b"", b"\xaa\x50", bytes(TABLE_SIZE), b"\xe9" * TABLE_SIZE])
def test_something_else_is_no_table(content: bytes) -> None:
    with pytest.raises(BadInput, match="Row 0"):
        PartitionTable.parse(content)


def test_a_partition_must_lie_inside_the_chip() -> None:
    with pytest.raises(BadInput, match="'spiffs' ends at 0x3f0000, and the flash ends at 0x200000"):
        PartitionTable.parse(PartitionTable(CLASSIC.partitions[4:]).encode(), 2 * MIB)
    assert PartitionTable.parse(CLASSIC.encode(), 4 * MIB) == CLASSIC


# ------------------------------------------------------------------------------ what is in it


def test_slots_are_found_by_their_numbers_whatever_the_tables_order() -> None:
    table = PartitionTable((APP_2, APP_0, APP_1))
    assert table.ota_slots == {0: APP_0, 1: APP_1, 2: APP_2}
    assert list(table.ota_slots) == [0, 1, 2]
    assert table.ota_slot_count == 3


def test_slots_behind_a_gap_do_not_count() -> None:
    table = PartitionTable((APP_0, APP_2))
    assert list(table.ota_slots) == [0, 2]
    assert table.ota_slot_count == 1


def test_of_two_slots_with_one_number_the_first_counts() -> None:
    again = partition("again", PartitionType.APP, AppSubtype.OTA_0, 5 * SLOT, SLOT)
    assert PartitionTable((APP_0, again)).ota_slots == {0: APP_0}


def test_factory_and_otadata_are_found() -> None:
    assert FACTORY_AND_TWO.factory is not None
    assert FACTORY_AND_TWO.otadata == OTADATA
    assert TWO_SLOTS.factory is None
    assert PartitionTable((NVS,)).otadata is None


def test_a_test_app_and_data_are_no_slots() -> None:
    assert partition("test", PartitionType.APP, AppSubtype.TEST, SLOT, SLOT).ota_slot is None
    assert partition("data", PartitionType.DATA, 0x10, SLOT, SLOT).ota_slot is None
    assert partition("last", PartitionType.APP, 0x1F, SLOT, SLOT).ota_slot == 15


def test_the_end_is_the_first_offset_behind() -> None:
    assert APP_0.end == APP_1.offset


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (replace(APP_0, offset=FlashOffset(0x11000)), "'app0' begins at 0x11000"),
        (replace(NVS, offset=FlashOffset(0x9100)), "'nvs' begins at 0x9100"),
        (replace(NVS, offset=FlashOffset(0x8000)), "'nvs' begins at 0x8000"),
        (replace(NVS, name="a name of 17 byte"), "needs a name of at most 16 bytes"),
        (replace(NVS, size=ByteCount(0)), "and a size"),
    ],
)
def test_a_partition_that_lies_wrong_is_not_written(wrong: object, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        PartitionTable((wrong,)).encode()  # type: ignore[arg-type]  # it is a Partition


def test_partitions_that_overlap_are_not_written() -> None:
    larger = replace(APP_0, size=ByteCount(SLOT + 0x1000))
    with pytest.raises(BadInput, match="'app0' and 'app1' overlap"):
        PartitionTable((APP_1, larger)).encode()


def test_a_table_that_is_full_is_not_written() -> None:
    places = range(0x9000, 0x9000 + (MOST_PARTITIONS + 1) * 0x1000, 0x1000)
    rows = [partition("row", 0x40, 0, place, 0x1000) for place in places]
    with pytest.raises(BadInput, match="There are 95 partitions; a table has room for 94"):
        PartitionTable(tuple(rows)).encode()
    assert len(PartitionTable.parse(PartitionTable(tuple(rows[1:])).encode()).partitions) == 94


def test_the_md5_covers_all_rows_before_it() -> None:
    encoded = TWO_SLOTS.encode()
    rows = len(TWO_SLOTS.partitions) * ROW
    digest = hashlib.md5(encoded[:rows]).digest()  # noqa: S324 - the format's own
    assert encoded[rows + 16 : rows + 32] == digest


def test_the_numbers_are_those_of_the_sheet() -> None:
    assert [int(kind) for kind in PartitionType] == [0, 1, 2, 3]
    assert [int(kind) for kind in AppSubtype] == [0, 0x10, 0x20]
    assert [int(kind) for kind in DataSubtype] == [0, 1, 2, 3, 4, 5, 0x81, 0x82, 0x83]
