"""The workbench of the ESP32 tests: small apps of any size, and machines that run them."""

from __future__ import annotations

from tests.device_bench import noise

from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Machine, as_flashed
from otaria.device.flash import Flash
from otaria.units import KIB, ByteCount, FlashOffset, MacAddress
from otaria.wire.arduino_ota import Command
from otaria.wire.chips import ChipFamily
from otaria.wire.esp32_image import MAPPED_ADDRESSES, AppDescriptor, Chip, build
from otaria.wire.esp_image import Segment
from otaria.wire.layouts import SECTOR_SIZE
from otaria.wire.partitions import AppSubtype, DataSubtype, Partition, PartitionTable, PartitionType

MAC = MacAddress("24:6F:28:AA:BB:CC")
CHIP = Chip(ChipFamily.ESP32, 301)
SLOT = 64 * KIB
FLASH_SIZE = 6 * SLOT


def partition(name: str, kind: int, subtype: int, offset: int, size: int) -> Partition:
    return Partition(name, kind, subtype, FlashOffset(offset), ByteCount(size))


NVS = partition("nvs", PartitionType.DATA, DataSubtype.NVS, 0x9000, 0x5000)
OTADATA = partition("otadata", PartitionType.DATA, DataSubtype.OTA, 0xE000, 0x2000)
FACTORY = partition("factory", PartitionType.APP, AppSubtype.FACTORY, SLOT, SLOT)
APP_0 = partition("app0", PartitionType.APP, AppSubtype.OTA_0, SLOT, SLOT)
APP_1 = partition("app1", PartitionType.APP, AppSubtype.OTA_0 + 1, 2 * SLOT, SLOT)
APP_2 = partition("app2", PartitionType.APP, AppSubtype.OTA_0 + 2, 3 * SLOT, SLOT)
FILES = partition("spiffs", PartitionType.DATA, DataSubtype.SPIFFS, 4 * SLOT, SLOT)
TEST_APP = partition("test", PartitionType.APP, AppSubtype.TEST, 5 * SLOT, SLOT)

TWO_SLOTS = PartitionTable((NVS, OTADATA, APP_0, APP_1, FILES))
THREE_SLOTS = PartitionTable((NVS, OTADATA, APP_0, APP_1, APP_2, FILES))
FACTORY_AND_TWO = PartitionTable(
    (
        NVS,
        OTADATA,
        FACTORY,
        partition("app0", PartitionType.APP, AppSubtype.OTA_0, 2 * SLOT, SLOT),
        partition("app1", PartitionType.APP, AppSubtype.OTA_0 + 1, 3 * SLOT, SLOT),
        FILES,
    )
)
FACTORY_ONLY = PartitionTable((NVS, FACTORY))
ONE_SLOT = PartitionTable((NVS, OTADATA, APP_0, FILES))


def build_app(
    label: str,
    sectors: int = 2,
    *,
    family: ChipFamily = ChipFamily.ESP32,
    content: bytes | None = None,
    min_revision: int = 0,
    max_revision: int = 0xFFFF,
) -> bytes:
    """An image that takes that many sectors, the last one not quite; its descriptor calls it by the label."""
    described = AppDescriptor(label, "bench").encode()
    length = sectors * SECTOR_SIZE - len(described) - 200
    body = noise(label, length) if content is None else content[:length].ljust(length, b"\0")
    read_only = MAPPED_ADDRESSES[family][-1][0] + 0x20
    return build(
        [Segment(read_only, described + body), Segment(0x3FFB0000, noise(label + " data", 64))],
        family=family,
        entry=0x40080000,
        min_revision=min_revision,
        max_revision=max_revision,
    )


def new_esp32(
    image: bytes,
    *,
    table: PartitionTable = TWO_SLOTS,
    core: Esp32Core = Esp32Core.V3_3_1,
    rollback: bool = True,
    verify_later: bool = False,
) -> Esp32Machine:
    """A machine with the image in its first app partition, not yet switched on."""
    flash = Flash(FLASH_SIZE)
    flash.load(as_flashed(image, table))
    return Esp32Machine(flash, MAC, chip=CHIP, core=core, rollback=rollback, verify_later=verify_later)


def running_esp32(
    image: bytes,
    *,
    table: PartitionTable = TWO_SLOTS,
    core: Esp32Core = Esp32Core.V3_3_1,
    rollback: bool = True,
    verify_later: bool = False,
) -> Esp32Machine:
    """A machine that runs the image."""
    machine = new_esp32(image, table=table, core=core, rollback=rollback, verify_later=verify_later)
    assert machine.power_on().running
    return machine


def give(machine: Esp32Machine, image: bytes, command: int = Command.FLASH) -> bool:
    """Give the whole image to the Updater, in pieces as a TCP stream brings them."""
    updater = machine.updater
    if not updater.begin(len(image), command):
        return False
    for offset in range(0, len(image), 1460):
        if updater.write(image[offset : offset + 1460]) == 0:
            break
    return updater.end()


def app_in(machine: Esp32Machine, place: Partition, length: int) -> bytes:
    """The beginning of what lies in a partition."""
    return machine.flash.read(place.offset, length)


def label_of(machine: Esp32Machine) -> str | None:
    """What the running app calls itself; None where nothing runs."""
    return machine.descriptor.version if machine.descriptor is not None else None
