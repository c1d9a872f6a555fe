"""Whatever lies in an ESP32's flash, it is read, started or refused; nothing else ever happens."""

from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.esp32_bench import APP_0, APP_1, CHIP, FLASH_SIZE, MAC, OTADATA, TWO_SLOTS, build_app, partition
from tests.vectors.images import MINIMAL_IMAGE, esp32_image

from otaria.device.esp32_machine import Esp32BootOutcome, Esp32Machine, as_flashed
from otaria.device.flash import Flash
from otaria.errors import BadInput, NotAnImage
from otaria.units import FlashOffset
from otaria.wire.chips import CHIP_IDS, ChipFamily
from otaria.wire.esp32_image import AppDescriptor, Esp32Image, Header, ImageFlaw, build, examine, parse
from otaria.wire.esp_image import Segment
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.otadata import (
    ENTRY_SIZE,
    Entries,
    OtaState,
    SelectEntry,
    active_entry,
    slot_of,
    switched_to,
)
from otaria.wire.partitions import TABLE_OFFSET, TABLE_SIZE, PartitionTable

RUNS = settings(max_examples=300, deadline=None)
APP = build_app("app")
WORDS = st.integers(0, 0xFFFFFFFF)

headers = st.builds(
    Header,
    segments=st.integers(0, 255),
    entry=WORDS,
    chip_id=st.sampled_from([*CHIP_IDS, 1, 0xFFFF]),
    mode=st.integers(0, 255),
    size_and_speed=st.integers(0, 255),
    min_revision=st.integers(0, 0xFFFF),
    max_revision=st.integers(0, 0xFFFF),
    digest_appended=st.booleans(),
    write_protect_pin=st.integers(0, 255),
    drive_settings=st.binary(min_size=3, max_size=3),
    legacy_min_revision=st.integers(0, 255),
)
segment_headers = st.builds(lambda address, length: struct.pack("<II", address, length), WORDS, st.integers(0, 600))
almost_images = st.one_of(
    st.binary(max_size=700),
    st.builds(lambda header, rest: header.encode() + rest, headers, st.binary(max_size=700)),
    st.builds(
        lambda header, first, rest: header.encode() + first + rest, headers, segment_headers, st.binary(max_size=700)
    ),
    st.builds(lambda at, byte: APP[:at] + bytes((byte,)) + APP[at + 1 :], st.integers(0, 400), st.integers(0, 255)),
    st.sampled_from([APP, esp32_image(), MINIMAL_IMAGE]),
)


@RUNS
@given(almost_images)
def test_any_bytes_are_an_image_or_refused(content: bytes) -> None:
    try:
        image = parse(content)
    except NotAnImage:
        return
    assert image.size <= len(content)
    assert Header.decode(content) == image.header
    assert len(image.segments) == image.header.segments


@RUNS
@given(almost_images, st.integers(0, 20_000))
def test_any_bytes_are_started_or_have_a_flaw(content: bytes, room: int) -> None:
    found = examine(content, CHIP, room)
    if isinstance(found, Esp32Image):
        assert found == parse(content)
        assert found.checksum_holds
        assert found.digest_holds
        assert found.size <= room
    else:
        assert found in ImageFlaw


@RUNS
@given(almost_images, st.integers(1, 300))
def test_a_sound_image_stays_sound_whatever_follows_and_is_never_sound_when_cut(content: bytes, cut: int) -> None:
    found = examine(content, CHIP, FLASH_SIZE)
    if isinstance(found, Esp32Image):
        assert examine(content + bytes(cut), CHIP, FLASH_SIZE) == found
        shorter = content[: found.size - min(cut, found.size)]
        assert isinstance(examine(shorter, CHIP, FLASH_SIZE), ImageFlaw)


@RUNS
@given(headers)
def test_a_header_reads_as_it_was_written(header: Header) -> None:
    assert Header.decode(header.encode()) == header


@RUNS
@given(st.lists(st.binary(max_size=300).map(lambda content: content + bytes(-len(content) % 4)), max_size=16))
def test_what_is_built_is_sound_and_reads_as_it_was_built(contents: list[bytes]) -> None:
    segments = tuple(Segment(0x3FFB0000 + 4 * index, content) for index, content in enumerate(contents))
    found = examine(build(segments, family=ChipFamily.ESP32, entry=7), CHIP, FLASH_SIZE)
    assert isinstance(found, Esp32Image)
    assert found.segments == segments


texts = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=16)


@RUNS
@given(
    st.builds(
        AppDescriptor,
        version=texts,
        project_name=texts,
        time=texts,
        date=texts,
        idf_version=texts,
        elf_sha256=st.binary(min_size=32, max_size=32),
        secure_version=WORDS,
        page_size_log2=st.integers(0, 255),
    )
)
def test_a_descriptor_reads_as_it_was_written(descriptor: AppDescriptor) -> None:
    assert AppDescriptor.decode(bytes(0x20) + descriptor.encode()) == descriptor


# ---------------------------------------------------------------------------- table and entries


rows = st.builds(
    partition,
    st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=16),
    st.integers(0, 0xFE),
    st.integers(0, 255),
    st.integers(0, 0xFFFF).map(lambda number: number * 0x1000),
    st.integers(0, 0xFFFF).map(lambda number: number * 0x1000),
)
tables = st.lists(rows, max_size=8).map(lambda partitions: PartitionTable(tuple(partitions)))


@RUNS
@given(tables)
def test_a_table_reads_as_it_was_written_or_is_not_written(table: PartitionTable) -> None:
    try:
        encoded = table.encode()
    except BadInput:
        return
    assert PartitionTable.parse(encoded) == table


@RUNS
@given(st.binary(max_size=TABLE_SIZE) | st.binary(max_size=200).map(lambda rest: TWO_SLOTS.encode()[:160] + rest))
@example(b"\xff" * TABLE_SIZE)
def test_any_bytes_are_a_table_or_bad_input(content: bytes) -> None:
    try:
        table = PartitionTable.parse(content, FLASH_SIZE)
    except BadInput:
        return
    assert all(each.end <= FLASH_SIZE for each in table.partitions)
    assert table.ota_slot_count <= len(table.ota_slots) <= 16


entries = st.one_of(
    st.binary(min_size=ENTRY_SIZE, max_size=ENTRY_SIZE).map(SelectEntry.decode),
    st.builds(SelectEntry.made, st.integers(0, 40) | WORDS, st.sampled_from(OtaState)),
    st.builds(
        lambda entry, state: replace(entry, state=state),
        st.builds(SelectEntry.made, WORDS, st.just(OtaState.NEW)),
        WORDS,
    ),
    st.just(SelectEntry.decode(b"\xff" * ENTRY_SIZE)),
)


@RUNS
@given(entries)
def test_an_entry_reads_as_it_was_written(entry: SelectEntry) -> None:
    assert SelectEntry.decode(entry.encode()) == entry
    assert not (entry.is_valid and entry.is_out_of_use)


@RUNS
@given(st.tuples(entries, entries), st.integers(1, 16), st.integers(0, 15), st.sampled_from(OtaState))
def test_switching_makes_the_slot_the_active_one(now: Entries, slots: int, slot: int, state: OtaState) -> None:
    slot %= slots
    active = active_entry(now)
    if active is not None and now[active].sequence >= 0xFFFFFFF0:
        return  # the number would wrap around, after four thousand million updates
    index, entry = switched_to(now, slot, slots, state)
    after = (entry, now[1]) if index == 0 else (now[0], entry)
    if state in (OtaState.INVALID, OtaState.ABORTED):
        return
    assert active_entry(after) == index
    assert slot_of(entry, slots) == slot


# ------------------------------------------------------------------------------ a whole machine


short_images = st.one_of(
    st.just(APP),
    st.binary(max_size=60),
    st.builds(lambda header, rest: header.encode() + rest, headers, st.binary(max_size=60)),
    st.builds(lambda at, byte: APP[:at] + bytes((byte,)) + APP[at + 1 :], st.integers(0, 400), st.integers(0, 255)),
)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=100) | st.just(TWO_SLOTS.encode()),
    st.tuples(entries, entries),
    short_images,
    short_images,
    st.booleans(),
)
def test_a_machine_starts_or_says_why_not_with_anything_in_flash(
    table: bytes, now: Entries, first: bytes, second: bytes, rollback: bool
) -> None:
    content = bytearray(as_flashed(APP, TWO_SLOTS).ljust(FLASH_SIZE, b"\xff"))
    pieces = [(TABLE_OFFSET, table), (APP_0.offset, first), (APP_1.offset, second)]
    pieces += [(FlashOffset(OTADATA.offset + index * SECTOR_SIZE), entry.encode()) for index, entry in enumerate(now)]
    for offset, piece in pieces:
        content[offset : offset + len(piece)] = piece
    flash = Flash(FLASH_SIZE)
    flash.load(bytes(content))
    machine = Esp32Machine(flash, MAC, chip=CHIP, rollback=rollback)
    boot = machine.power_on()
    assert boot.running is machine.running is (boot.outcome is Esp32BootOutcome.RUNS) is not machine.bricked
    assert machine.sketch_size == len(machine.sketch_content) or not boot.running
    # Each start takes at most one entry that is on trial a step further; once both are settled, nothing changes.
    for _ in range(4):
        machine.power_on()
    settled = machine.flash.dump()
    outcome = machine.power_on()
    assert machine.flash.dump() == settled
    assert outcome.running is boot.running


@settings(max_examples=100, deadline=None)
@given(st.tuples(entries, entries), st.booleans())
def test_with_two_sound_apps_no_otadata_bricks(now: Entries, rollback: bool) -> None:
    content = bytearray(as_flashed(APP, TWO_SLOTS).ljust(FLASH_SIZE, b"\xff"))
    content[APP_1.offset : APP_1.offset + len(APP)] = APP
    for index, entry in enumerate(now):
        at = OTADATA.offset + index * SECTOR_SIZE
        content[at : at + ENTRY_SIZE] = entry.encode()
    flash = Flash(FLASH_SIZE)
    flash.load(bytes(content))
    assert Esp32Machine(flash, MAC, chip=CHIP, rollback=rollback).power_on().running
