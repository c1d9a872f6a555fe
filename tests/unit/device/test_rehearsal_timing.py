from __future__ import annotations

from otaria.device.rehearsal_timing import W25Q32JV, FlashOperation, FlashPart, Span, flash_work

PART = FlashPart("a chip", sector_erase=Span(50, 500), page_program=Span(1, 10))


def test_the_part_is_a_real_one_with_the_figures_of_its_data_sheet() -> None:
    assert FlashPart("Winbond W25Q32JV", sector_erase=Span(45, 400), page_program=Span(0.4, 3)) == W25Q32JV


def test_a_write_takes_a_program_for_each_page_that_is_begun() -> None:
    durations = {size: FlashOperation(0, size).duration(PART) for size in (1, 256, 257, 4096)}
    assert durations == {1: Span(1, 10), 256: Span(1, 10), 257: Span(2, 20), 4096: Span(16, 160)}


def test_an_erase_takes_as_long_wherever_it_is() -> None:
    assert FlashOperation(0x3000, None).duration(PART) == Span(50, 500)


def test_work_is_the_sum_of_its_operations() -> None:
    work = flash_work([FlashOperation(0, None), FlashOperation(0, 4096), FlashOperation(4096, None)], PART)
    assert (work.operations, work.erases, work.written) == (3, 2, 4096)
    assert work.duration == Span(116, 1160)


def test_no_work_takes_no_time() -> None:
    work = flash_work([])
    assert (work.operations, work.erases, work.written, work.duration) == (0, 0, 0, Span(0, 0))


def test_a_copy_of_256_kib_keeps_a_usual_chip_busy_for_three_seconds() -> None:
    sectors = [FlashOperation(sector * 4096, size) for sector in range(64) for size in (None, 4096)]
    assert flash_work(sectors).duration == Span(64 * (45 + 16 * 0.4), 64 * (400 + 16 * 3))
