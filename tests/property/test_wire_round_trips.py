"""What was written reads as what it was, and what was damaged does not read as if nothing had happened."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaria.errors import NotAnImage
from otaria.units import ByteCount, MacAddress, Md5, Sha256
from otaria.wire.arduino_ota import (
    Accepted,
    AuthenticationFailed,
    Challenge,
    Command,
    Credentials,
    Invitation,
    Refusal,
    Reply,
    Scheme,
    encode_reply,
    parse_credentials,
    parse_invitation,
    parse_reply,
)
from otaria.wire.checksums import crc32_mpeg2
from otaria.wire.chips import ChipFamily
from otaria.wire.eboot import BootCommand
from otaria.wire.esp_image import Esp8266Image, FlashMode, Segment, build, installed_md5s, parse, sketch_size
from otaria.wire.http_update import CheckIn, Mode, parse_check_in, request_headers

RUNS = settings(max_examples=200, deadline=None)

HEX = "0123456789abcdef"
WORDS = st.integers(0, 0xFFFFFFFF)
DIGESTS = st.text(alphabet=HEX, min_size=32, max_size=32)
LONG_DIGESTS = st.text(alphabet=HEX, min_size=64, max_size=64)
MACS = st.binary(min_size=6, max_size=6).map(lambda raw: MacAddress.parse(raw.hex()))
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)
SIZES = WORDS.map(ByteCount)

REPLIES: st.SearchStrategy[Reply] = st.one_of(
    st.just(Accepted()),
    st.just(AuthenticationFailed()),
    DIGESTS.map(lambda nonce: Challenge(nonce, Scheme.MD5)),
    LONG_DIGESTS.map(lambda nonce: Challenge(nonce, Scheme.PBKDF2_SHA256)),
    PRINTABLE.map(Refusal),
)

CHECK_INS = st.builds(
    CheckIn,
    family=st.just(ChipFamily.ESP8266),
    mac=MACS,
    mode=st.sampled_from(Mode),
    free_space=SIZES,
    sketch_size=SIZES,
    sketch_md5=st.none() | DIGESTS.map(Md5),
    chip_size=SIZES,
    sdk_version=PRINTABLE,
    version=st.none() | PRINTABLE,
    ap_mac=MACS,
    chip_id=st.integers(0, 0xFFFFFF),
)

SEGMENTS = st.builds(Segment, WORDS, st.binary(max_size=60))
IROM = st.builds(Segment, st.just(0x40201010), st.binary(max_size=200).map(lambda content: bytes(8) + content))
BOOT = st.lists(SEGMENTS, min_size=1, max_size=16)
APP = st.builds(lambda irom, others: [irom, *others], IROM, st.lists(SEGMENTS, max_size=15))
IMAGES = st.builds(
    lambda boot, app, entries, mode, third: build(
        boot, app, boot_entry=entries[0], app_entry=entries[1], mode=mode, size_and_frequency=third
    ),
    BOOT,
    APP,
    st.tuples(WORDS, WORDS),
    st.sampled_from(FlashMode),
    st.integers(0, 255),
)


@RUNS
@given(st.sampled_from([Command.FLASH, Command.FILESYSTEM]), st.integers(0, 65535), st.integers(0, 10**15 - 1), DIGESTS)
def test_an_invitation_reads_as_it_was_written(command: Command, port: int, size: int, md5: str) -> None:
    invitation = Invitation(command, port, size, md5)
    assert parse_invitation(invitation.encode()) == invitation


@RUNS
@given(DIGESTS, DIGESTS)
def test_credentials_read_as_they_were_written(cnonce: str, response: str) -> None:
    credentials = Credentials(cnonce, response)
    assert parse_credentials(credentials.encode()) == credentials


@RUNS
@given(REPLIES)
def test_a_reply_reads_as_it_was_written(reply: Reply) -> None:
    assert parse_reply(encode_reply(reply)) == reply


@RUNS
@given(WORDS, st.lists(WORDS, max_size=29))
def test_a_boot_command_reads_as_it_was_written(action: int, arguments: list[int]) -> None:
    command = BootCommand(action, tuple(arguments))
    assert BootCommand.decode(command.encode()) == command
    assert [command.argument(index) for index in range(len(arguments))] == arguments


@RUNS
@given(WORDS, st.lists(WORDS, max_size=29), st.integers(0, 128 * 8 - 1))
def test_a_boot_command_with_a_flipped_bit_is_none(action: int, arguments: list[int], bit: int) -> None:
    block = bytearray(BootCommand(action, tuple(arguments)).encode())
    block[bit // 8] ^= 1 << bit % 8
    assert BootCommand.decode(bytes(block)) is None


@RUNS
@given(CHECK_INS)
def test_a_check_in_reads_as_it_was_told(check_in: CheckIn) -> None:
    agent = ("User-Agent", "ESP8266-http-Update")
    assert parse_check_in([agent, *request_headers(check_in)]) == check_in


@RUNS
@given(st.binary(min_size=6, max_size=6), st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_values_read_the_same_in_either_case(mac: bytes, md5: bytes, sha256: bytes) -> None:
    assert MacAddress.parse(mac.hex()) == MacAddress.parse(mac.hex().upper()) == MacAddress.parse(mac.hex("-"))
    assert Md5.parse(md5.hex().upper()) == md5.hex()
    assert Sha256.parse(sha256.hex().upper()) == sha256.hex()


@RUNS
@given(IMAGES, st.binary(max_size=300))
def test_an_image_reads_as_it_was_laid_out(content: bytes, trailer: bytes) -> None:
    image = parse(content + trailer)
    assert image.has_length_and_crc
    assert (image.size, image.trailer) == (len(content), trailer)
    assert laid_out_again(image) == content


def laid_out_again(image: Esp8266Image) -> bytes:
    """The image that its own values make, but for the stale checksum of the app part."""
    zeroed = Segment(image.app.segments[0].address, bytes(8) + image.app.segments[0].content[8:])
    return build(
        image.boot.segments,
        [zeroed, *image.app.segments[1:]],
        boot_entry=image.boot.header.entry,
        app_entry=image.app.header.entry,
        mode=FlashMode(image.boot.header.mode),
        size_and_frequency=image.boot.header.size_and_frequency,
    )


@RUNS
@given(IMAGES)
def test_the_walk_over_flash_ends_where_the_file_ends(content: bytes) -> None:
    flash = content + b"\xff" * 4096
    assert sketch_size(lambda offset, length: flash[offset : offset + length]) == len(content)


@settings(max_examples=25, deadline=None)
@given(IMAGES, st.data())
def test_an_image_cut_off_at_any_length_is_none(content: bytes, data: st.DataObject) -> None:
    lengths = [*range(0x1000, len(content)), data.draw(st.integers(0, 0xFFF))]
    for length in lengths:
        with pytest.raises(NotAnImage):
            parse(content[:length])


@RUNS
@given(IMAGES, st.data())
def test_a_flipped_bit_in_a_segment_of_the_boot_part_is_noticed(content: bytes, data: st.DataObject) -> None:
    positions = boot_content_positions(parse(content))
    if not positions:
        return
    position = data.draw(st.sampled_from(positions))
    damaged = bytearray(content)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotAnImage, match="checksum"):
        parse(bytes(damaged))


def boot_content_positions(image: Esp8266Image) -> list[int]:
    """Every file offset that holds content of a segment of the boot part, and its checksum's."""
    positions, at = [image.boot.size - 1], 8
    for segment in image.boot.segments:
        positions += range(at + 8, at + 8 + len(segment.content))
        at += 8 + len(segment.content)
    return positions


@RUNS
@given(IMAGES, st.data())
def test_a_flipped_bit_anywhere_is_noticed_by_something(content: bytes, data: st.DataObject) -> None:
    """By the parser, or by the CRC word, which covers all that the boot part's checksum does not."""
    position = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    try:
        image = parse(bytes(damaged))
    except NotAnImage:
        return
    assert not image.has_length_and_crc


@settings(max_examples=30, deadline=None)
@given(IMAGES, st.sampled_from(FlashMode))
def test_what_the_updater_makes_of_an_image_is_among_its_installed_digests(content: bytes, mode: FlashMode) -> None:
    digests = installed_md5s(content, parse(content))
    patched = content[:2] + bytes((mode,)) + content[3:]
    assert installed_md5s(patched, parse(patched)) == digests


@RUNS
@given(st.binary(max_size=200), st.integers(0, 1599))
def test_no_flipped_bit_escapes_the_crc(content: bytes, bit: int) -> None:
    if bit // 8 >= len(content):
        return
    damaged = bytearray(content)
    damaged[bit // 8] ^= 1 << bit % 8
    assert crc32_mpeg2(bytes(damaged)) != crc32_mpeg2(content)
