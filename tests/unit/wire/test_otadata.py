from __future__ import annotations

from dataclasses import replace

import pytest

from otaria.wire.otadata import (
    ENTRY_SIZE,
    Entries,
    OtaState,
    SelectEntry,
    active_entry,
    is_initial,
    slot_of,
    switched_to,
)

BLANK = SelectEntry.decode(b"\xff" * ENTRY_SIZE)


def entry(sequence: int, state: OtaState = OtaState.VALID) -> SelectEntry:
    return SelectEntry.made(sequence, state)


@pytest.mark.parametrize(("sequence", "crc"), [(1, 0x4743989A), (2, 0x55F63774), (3, 0xED4A5011), (5, 0xC8210FCD)])
def test_the_crc_is_the_one_of_the_sheet(sequence: int, crc: int) -> None:
    assert entry(sequence).crc == crc


def test_the_entry_for_sequence_1_state_new_is_the_one_of_the_sheet() -> None:
    raw = bytes.fromhex("01000000" + "ff" * 20 + "00000000" + "9a984347")
    assert entry(1, OtaState.NEW).encode() == raw
    assert SelectEntry.decode(raw) == entry(1, OtaState.NEW)


def test_the_states_have_the_numbers_of_the_sheet() -> None:
    assert [int(state) for state in OtaState] == [0, 1, 2, 3, 4, 0xFFFFFFFF]


@pytest.mark.parametrize("state", [OtaState.NEW, OtaState.PENDING_VERIFY, OtaState.VALID, OtaState.UNDEFINED])
def test_an_entry_counts_in_each_state_that_does_not_speak_against_it(state: OtaState) -> None:
    assert entry(7, state).is_valid


@pytest.mark.parametrize("state", [OtaState.INVALID, OtaState.ABORTED])
def test_a_failed_app_does_not_count(state: OtaState) -> None:
    assert not entry(7, state).is_valid
    assert entry(7, state).is_out_of_use
    assert entry(7, state).is_written


def test_a_blank_entry_does_not_count() -> None:
    assert (BLANK.is_valid, BLANK.is_out_of_use, BLANK.is_written) == (False, True, False)


def test_a_wrong_crc_does_not_count_though_the_entry_is_not_out_of_use() -> None:
    torn = replace(entry(7), crc=0xFFFFFFFF)
    assert (torn.is_valid, torn.is_out_of_use, torn.is_written) == (False, False, False)


def test_the_crc_covers_the_sequence_number_alone() -> None:
    assert replace(entry(7), state=0x12345678, label=b"x" * 20).is_valid


@pytest.mark.parametrize(
    ("entries", "active"),
    [
        ((BLANK, BLANK), None),
        ((entry(1), BLANK), 0),
        ((BLANK, entry(1)), 1),
        ((entry(4), entry(5)), 1),
        ((entry(6), entry(5)), 0),
        ((entry(5), entry(5)), 0),
        ((entry(6, OtaState.ABORTED), entry(5)), 1),
        ((replace(entry(6), crc=0), entry(5)), 1),
        ((entry(6, OtaState.INVALID), entry(5, OtaState.ABORTED)), None),
    ],
)
def test_the_active_entry_is_the_valid_one_with_the_higher_number(entries: Entries, active: int | None) -> None:
    assert active_entry(entries) == active


@pytest.mark.parametrize(
    ("sequence", "slots", "slot"), [(1, 2, 0), (2, 2, 1), (3, 2, 0), (5, 8, 4), (1, 1, 0), (9, 1, 0)]
)
def test_the_slot_is_the_number_less_one_modulo_the_slots(sequence: int, slots: int, slot: int) -> None:
    assert slot_of(entry(sequence), slots) == slot


def test_blank_entries_and_torn_ones_are_initial() -> None:
    assert is_initial((BLANK, BLANK))
    assert is_initial((replace(entry(2), crc=1), BLANK))
    assert not is_initial((BLANK, entry(2, OtaState.ABORTED)))


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_blank_otadata_is_switched_by_its_first_entry(slot: int) -> None:
    assert switched_to((BLANK, BLANK), slot, 3, OtaState.NEW) == (0, entry(slot + 1, OtaState.NEW))


@pytest.mark.parametrize(
    ("now", "slot", "slots", "index", "sequence"),
    [
        ((entry(1), BLANK), 1, 2, 1, 2),
        ((entry(1), entry(2)), 0, 2, 0, 3),
        ((entry(4), entry(5)), 6, 8, 0, 7),
        ((entry(4), entry(5)), 3, 8, 0, 12),
        ((entry(3), entry(2)), 2, 3, 0, 3),
        ((entry(3), entry(2)), 0, 3, 1, 4),
    ],
)
def test_switching_takes_the_least_number_above_that_stands_for_the_slot(
    now: Entries, slot: int, slots: int, index: int, sequence: int
) -> None:
    assert switched_to(now, slot, slots, OtaState.UNDEFINED) == (index, entry(sequence, OtaState.UNDEFINED))


def test_the_active_entry_is_left_alone_unless_it_stands_for_the_slot_already() -> None:
    now = (entry(7), entry(6))
    assert switched_to(now, 1, 2, OtaState.NEW)[0] == 1
    assert switched_to(now, 0, 2, OtaState.NEW) == (0, entry(7, OtaState.NEW))


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 16])
def test_whatever_is_switched_to_is_what_starts_next(slots: int) -> None:
    entries: Entries = (BLANK, BLANK)
    for slot in [*range(slots), *reversed(range(slots)), 0, 0]:
        index, switched = switched_to(entries, slot, slots, OtaState.NEW)
        entries = (switched, entries[1]) if index == 0 else (entries[0], switched)
        active = active_entry(entries)
        assert active == index
        assert slot_of(entries[index], slots) == slot


def test_a_label_stays_as_it_is() -> None:
    labelled = replace(entry(1), label=b"keep me".ljust(20, b"\xff"))
    assert switched_to((labelled, BLANK), 0, 2, OtaState.NEW)[1].label == labelled.label


def test_the_number_wraps_around() -> None:
    last = entry(0xFFFFFFFE)
    _, switched = switched_to((last, BLANK), 0, 2, OtaState.NEW)
    assert switched.encode()
