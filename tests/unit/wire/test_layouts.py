from __future__ import annotations

import pytest

from otaria.errors import BadInput
from otaria.units import KIB, MIB
from otaria.wire.layouts import LAYOUTS, SECTOR_SIZE, Layout, find_layout, layouts_with_file_system_at


@pytest.mark.parametrize("name", ["4m1m", "4M1M", "4M1m"])
def test_a_layout_is_found_in_any_case(name: str) -> None:
    assert find_layout(name) is LAYOUTS["4m1m"]


def test_an_unknown_layout_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadInput, match=r"no flash layout '3m'.*512k, .*16m15m\.$"):
        find_layout("3m")


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_every_border_lies_between_two_sectors_and_in_order(layout: Layout) -> None:
    borders = [
        0,
        layout.file_system_start,
        layout.file_system_end,
        layout.eeprom,
        layout.rf_calibration,
        layout.sdk_configuration,
        layout.flash_size,
    ]
    assert borders == sorted(borders)
    assert all(border % SECTOR_SIZE == 0 for border in borders)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_a_file_system_is_made_of_whole_blocks(layout: Layout) -> None:
    if layout.file_system_size == 0:
        assert (layout.page, layout.block) == (0, 0)
    else:
        assert layout.page == 256
        assert layout.block in (4 * KIB, 8 * KIB)
        assert layout.file_system_size % layout.block == 0


def test_the_running_sketch_takes_whole_sectors_from_the_free_space() -> None:
    layout = find_layout("1m")
    assert layout.free_sketch_space(SECTOR_SIZE) == layout.file_system_start - SECTOR_SIZE
    assert layout.free_sketch_space(SECTOR_SIZE + 1) == layout.file_system_start - 2 * SECTOR_SIZE


def test_an_image_is_staged_as_high_as_whole_sectors_allow() -> None:
    layout = find_layout("1m")
    assert layout.staging_start(1) == layout.file_system_start - SECTOR_SIZE
    assert layout.staging_start(SECTOR_SIZE + 1) == layout.file_system_start - 2 * SECTOR_SIZE


def test_an_image_larger_than_everything_would_be_staged_at_zero_where_the_sketch_is() -> None:
    layout = find_layout("1m")
    assert layout.staging_start(layout.file_system_start + 1) == 0
    assert layout.staging_start(16 * MIB) == 0


def test_layouts_are_found_by_where_their_file_system_begins() -> None:
    assert [layout.name for layout in layouts_with_file_system_at(4 * MIB, 0x200000)] == ["4m2m"]
    assert layouts_with_file_system_at(4 * MIB, 0x123000) == ()


def test_every_layout_is_found_by_its_own_flash_size_and_start() -> None:
    for layout in LAYOUTS.values():
        assert layouts_with_file_system_at(layout.flash_size, layout.file_system_start) == (layout,)
