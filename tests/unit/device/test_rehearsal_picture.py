from __future__ import annotations

import pytest

from otaria.device.rehearsal_picture import AreaKind, flash_areas
from otaria.wire.layouts import LAYOUTS, Layout

SKETCH, BROKEN, FREE, STAGED = AreaKind.SKETCH, AreaKind.BROKEN, AreaKind.FREE, AreaKind.STAGED
FILESYSTEM, SYSTEM, UNUSED = AreaKind.FILESYSTEM, AreaKind.SYSTEM, AreaKind.UNUSED


def kinds(layout: Layout, sketch_size: int, staged: tuple[int, int] | None = None) -> list[AreaKind]:
    return [area.kind for area in flash_areas(layout, layout.flash_size, sketch_size, staged=staged)]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_areas_cover_the_chip_without_gaps_or_overlaps(layout: Layout) -> None:
    areas = flash_areas(layout, layout.flash_size, 200_000, staged=(0x40000, 0x40000 + 100_000))
    assert areas[0].start == 0
    assert int(areas[-1].end) == layout.flash_size
    assert [int(area.end) for area in areas[:-1]] == [int(area.start) for area in areas[1:]]
    assert all(area.end > area.start and area.start % 4096 == area.end % 4096 == 0 for area in areas)


def test_sketch_free_space_files_and_settings_follow_one_another() -> None:
    assert kinds(LAYOUTS["4m1m"], 300_000) == [SKETCH, FREE, FILESYSTEM, SYSTEM]


def test_without_a_file_system_there_is_none() -> None:
    assert kinds(LAYOUTS["4m"], 300_000) == [SKETCH, FREE, SYSTEM]


def test_a_full_layout_has_nothing_free() -> None:
    assert kinds(LAYOUTS["1m"], 0xFB000) == [SKETCH, SYSTEM]


def test_what_is_staged_lies_between_free_space_or_at_its_end() -> None:
    layout = LAYOUTS["4m1m"]
    assert kinds(layout, 300_000, (0x60000, 0x60000 + 5000)) == [SKETCH, FREE, STAGED, FREE, FILESYSTEM, SYSTEM]
    assert kinds(layout, 300_000, (0x2F0000, 0x300000)) == [SKETCH, FREE, STAGED, FILESYSTEM, SYSTEM]


def test_a_sketch_that_does_not_start_is_broken() -> None:
    layout = LAYOUTS["4m1m"]
    assert flash_areas(layout, layout.flash_size, 5000, starts=False)[0].kind is BROKEN


def test_a_chip_larger_than_its_layout_ends_unused() -> None:
    layout = LAYOUTS["1m64"]
    last = flash_areas(layout, 4 << 20, 5000)[-1]
    assert (last.kind, last.start, last.end) == (UNUSED, 1 << 20, 4 << 20)
