"""Every row and column of protocols §7, and the worked examples below the table."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from otaria.units import KIB, round_up
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE, Layout, find_layout

TABLE = list(csv.DictReader((Path(__file__).parent / "flash_layouts.csv").read_text(encoding="ascii").splitlines()))
BOOT_PART_AND_HEADERS = 4112


def columns(layout: Layout) -> dict[str, int]:
    return {
        "flash": layout.flash_size,
        "fs_start": layout.file_system_start,
        "fs_end": layout.file_system_end,
        "fs_size": layout.file_system_size,
        "page": layout.page,
        "block": layout.block,
        "eeprom": layout.eeprom,
        "rf_calibration": layout.rf_calibration,
        "sdk_configuration": layout.sdk_configuration,
        "irom_max": layout.irom_max,
        "total": layout.free_sketch_space(0),
        "same_size_ota": layout.same_size_ota,
    }


def test_the_layouts_are_those_of_the_table_in_its_order() -> None:
    assert list(LAYOUTS) == [row["layout"] for row in TABLE]


@pytest.mark.parametrize("row", TABLE, ids=[row["layout"] for row in TABLE])
def test_every_column_of_a_row_comes_out_of_the_formulas(row: dict[str, str]) -> None:
    expected = {column: int(text, 0) for column, text in row.items() if column != "layout"}
    assert columns(find_layout(row["layout"])) == expected


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_the_system_area_ends_every_flash(layout: Layout) -> None:
    assert layout.eeprom == layout.flash_size - 20 * KIB
    assert layout.rf_calibration == layout.flash_size - 16 * KIB
    assert layout.sdk_configuration == layout.flash_size - 12 * KIB
    assert layout.irom_max + BOOT_PART_AND_HEADERS <= 1024 * KIB


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_an_image_of_the_same_size_fits_beside_the_running_one(layout: Layout) -> None:
    size = layout.same_size_ota
    assert layout.free_sketch_space(size) >= size
    assert layout.staging_start(size) >= size


@pytest.mark.parametrize(
    ("layout", "free", "staging"),
    [("4m3m", 671744, 0xA4000), ("4m2m", 1720320, 0x1A4000)],
)
def test_an_equal_image_is_staged_right_below_the_file_system(layout: str, free: int, staging: int) -> None:
    assert find_layout(layout).free_sketch_space(373940) == free
    assert find_layout(layout).staging_start(373940) == staging


def test_half_a_megabyte_does_not_fit_beside_itself_on_a_one_megabyte_board() -> None:
    layout = find_layout("1m64")
    assert round_up(500000, SECTOR_SIZE) == 503808
    assert layout.free_sketch_space(500000) == 458752
    assert layout.staging_start(500000) < round_up(500000, SECTOR_SIZE)
    assert layout.staging_start(458752) == round_up(500000, SECTOR_SIZE)


def test_the_documents_own_sample_is_a_4m3m_board() -> None:
    """The request of protocols §2.1: free space 671744 beside a sketch of 373940 bytes."""
    file_system_start = 671744 + round_up(373940, SECTOR_SIZE)
    assert round_up(373940, SECTOR_SIZE) == 376832
    assert file_system_start == 1048576 == find_layout("4m3m").file_system_start
