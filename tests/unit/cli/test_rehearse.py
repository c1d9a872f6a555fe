from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.device_bench import build_sketch, noise
from tests.fleet_bench import MAC, check_in, fleet_in
from tests.vectors.images import esp32_image

from otaria.cli.keys import new_private_key
from otaria.cli.main import main
from otaria.cli.rehearse_picture import print_rehearsals
from otaria.device.rehearsal import rehearse
from otaria.device.rehearsal_scene import Candidate, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.service.check_ins import check_in as poll
from otaria.service.releases import Draft, publish
from otaria.units import Md5
from otaria.wire.esp_image import FlashMode
from otaria.wire.layouts import LAYOUTS
from otaria.wire.signed import sign

FOR_4M = 0x40
OLD = build_sketch("old", 12, size_and_frequency=FOR_4M)
NEW = build_sketch("new", 14, size_and_frequency=FOR_4M)

HEADERS = """GET /update/door HTTP/1.0
Host: server.example:8700
User-Agent: ESP8266-http-Update
Connection: close
x-ESP8266-Chip-ID: 11189196
x-ESP8266-STA-MAC: 18:FE:34:AA:BB:CC
x-ESP8266-AP-MAC: 1A:FE:34:AA:BB:CC
x-ESP8266-free-space: 671744
x-ESP8266-sketch-size: 373940
x-ESP8266-sketch-md5: a56f8ef78a0bebd812f62067daf1408a
x-ESP8266-chip-size: 4194304
x-ESP8266-sdk-version: 2.2.2-dev(38a443e)
x-ESP8266-mode: sketch
x-ESP8266-version: DOOR-7-g14f53a19
Content-Length: 0

"""
"""As protocols §2.1 has them: a device of layout 4m3m."""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def assumed(self, text: str) -> bool:
        return any(text in assumption for assumption in self.json["assumptions"])


Run = Callable[..., Ran]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new.bin").write_bytes(NEW)
    (tmp_path / "old.bin").write_bytes(OLD)
    (tmp_path / "headers.txt").write_text(HEADERS, newline="\r\n")
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("OTARIA_DATA", str(data))
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> Ran:
        code = main(["rehearse", *arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


def verdicts(ran: Ran) -> dict[str, str]:
    return {one["way"]: one["verdict"] for one in ran.json["rehearsals"]}


# what it says


def test_a_good_image_is_exit_0_and_rehearsed_by_all_ways(run: Run) -> None:
    ran = run("new.bin", "--layout", "4m1m", "--running", "old.bin", "--core", "3.1", "--cut", "all")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith("new.bin (plain, 55.9 KiB) on a device: layout 4m1m, core 3.1")
    for way, checked, resets in (("push", "MD5", "52 / 0"), ("web", "nothing", "48 / 4"), ("pull", "MD5", "52 / 0")):
        first = rf"^{way} +installs +{checked} +2\.9 MiB +26 operations +0\.7 s, max 5\.8 s"
        second = rf"^{way} +54 of 54 operations +56 / 0 / 0 +0 / 1 / 51 +0 / {resets}"
        for line in (first, second):
            assert re.search(line, ran.out, re.MULTILINE), line
    assert hashlib.md5(NEW).hexdigest() in ran.out  # noqa: S324 - the device's protocol
    assert "Assumed" not in ran.out


def test_no_line_is_wider_than_a_terminal(run: Run, folder: Path) -> None:
    (folder / "flat.bin").write_bytes(build_sketch("flat", 140, content=noise("busy", 6000), size_and_frequency=0x20))
    ran = run("flat.bin", "--layout", "1m64", "--encoding", "gzip-signed", "--cut", "3")
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80


def test_only_the_ways_that_were_asked_for_are_rehearsed(run: Run) -> None:
    ran = run(
        "new.bin", "--layout", "4m1m", "--way", "pull", "--way", "push", "--way", "pull", "--cut", "none", "--json"
    )
    assert list(verdicts(ran)) == ["pull", "push"]
    assert [one["survival"] for one in ran.json["rehearsals"]] == [None, None]


def test_json_has_everything_in_values(run: Run) -> None:
    facts = run("new.bin", "--layout", "4m1m", "--way", "web", "--cut", "5", "--json").json
    assert (facts["image"], facts["layout"], facts["running_size"]) == ("new.bin", "4m1m", len(NEW))
    (web,) = facts["rehearsals"]
    assert (web["way"], web["verdict"], web["encoding"], web["core"]) == ("web", "installs", "plain", "3.1")
    assert web["md5_after"] == hashlib.md5(NEW).hexdigest()  # noqa: S324 - the device's protocol
    assert web["survival"]["operations"] == 5
    assert web["copy"]["work"]["operations"] == 26
    assert web["brick_window"] == {"typical_ms": 668.2, "maximum_ms": 5824}
    assert [area["kind"] for area in web["after"]] == ["sketch", "free", "filesystem", "system"]


# exit code 5


def test_an_image_that_does_not_fit_is_exit_5_and_says_by_how_much(run: Run, folder: Path) -> None:
    (folder / "large.bin").write_bytes(build_sketch("large", 130, size_and_frequency=0x20))
    ran = run("large.bin", "--layout", "1m64", "--cut", "none")
    assert ran.code == 5
    assert "push  refused (4)" in ran.out
    assert "100 KiB lacking" in ran.out
    assert ran.err == (
        "Error: large.bin must not be sent: a device would refuse it by push, web and pull. Do not send it like this.\n"
    )


def test_one_way_that_does_not_lead_there_is_enough_for_exit_5(run: Run, folder: Path) -> None:
    (folder / "just.bin").write_bytes(build_sketch("just", 120, size_and_frequency=0x20))
    (folder / "running.bin").write_bytes(build_sketch("running", 115, size_and_frequency=0x20))
    ran = run("just.bin", "--layout", "1m64", "--running", "running.bin", "--cut", "none", "--json")
    assert ran.code == 5
    assert verdicts(ran) == {"push": "installs", "web": "refused", "pull": "installs"}
    assert "would refuse it by web. It can be sent by push and pull." in ran.err
    assert run("just.bin", "--layout", "1m64", "--running", "running.bin", "--cut", "none", "--way", "push").code == 0


def test_a_brick_is_exit_5_and_drawn_as_one(run: Run, folder: Path) -> None:
    (folder / "e32.bin").write_bytes(esp32_image() + bytes(5000))
    ran = run("e32.bin", "--layout", "1m64", "--cut", "none")
    assert ran.code == 5
    assert "would be bricked by push, web and pull" in ran.err
    assert "▚ does not start" in ran.out
    assert "ESP32-C3" in ran.out


def test_a_device_that_would_hang_is_exit_5(run: Run, folder: Path) -> None:
    (folder / "endless.bin.gz").write_bytes(b"\x1f\x8b\x08\x08" + b"\x01" * 5000)
    ran = run("endless.bin.gz", "--layout", "4m1m", "--running", "old.bin", "--cut", "none", "--way", "push")
    assert ran.code == 5
    assert "would hang until its power is cut by push" in ran.err


def test_a_loop_is_exit_5(run: Run, folder: Path) -> None:
    packed = gzip.compress(NEW, mtime=0)
    (folder / "odd.bin.gz").write_bytes(packed[:3] + b"\x80" + packed[4:])
    ran = run("odd.bin.gz", "--layout", "4m1m", "--running", "old.bin", "--cut", "none")
    assert ran.code == 5
    assert "would get it again and again by push, web and pull" in ran.err


# the file's encoding


@pytest.mark.parametrize("encoding", ["plain", "gzip", "signed", "gzip-signed"])
def test_an_image_is_wrapped_for_the_rehearsal(run: Run, encoding: str) -> None:
    ran = run("new.bin", "--layout", "4m1m", "--encoding", encoding, "--cut", "none", "--json")
    assert ran.code == 0
    assert {one["encoding"] for one in ran.json["rehearsals"]} == {encoding}
    assert ran.assumed("checks signatures") is ("signed" in encoding)


def test_an_old_core_gets_the_signature_that_it_accepts(run: Run) -> None:
    ran = run("new.bin", "--layout", "4m1m", "--encoding", "signed", "--core", "2.5", "--cut", "none", "--json")
    assert set(verdicts(ran).values()) == {"installs"}


def test_a_core_that_knows_no_signatures_is_said_so(run: Run) -> None:
    ran = run("new.bin", "--layout", "4m1m", "--encoding", "signed", "--core", "2.3", "--cut", "none", "--json")
    assert ran.code == 0
    assert ran.assumed("if its core knew how")


@pytest.mark.parametrize("wanted", ["plain", "gzip", "gzip-signed"])
def test_what_is_signed_already_is_wrapped_no_further(run: Run, folder: Path, wanted: str) -> None:
    (folder / "signed").write_bytes(sign(NEW, new_private_key(2048)))
    ran = run("signed", "--layout", "4m1m", "--encoding", wanted)
    assert ran.code == 2
    assert "is signed already" in ran.err


def test_the_devices_key_is_held_against_the_signature(run: Run, folder: Path) -> None:
    key = new_private_key(2048)
    (folder / "public.key").write_bytes(key.public_key.pem())
    (folder / "signed").write_bytes(sign(NEW, key))
    (folder / "other").write_bytes(sign(NEW, new_private_key(2048)))
    options = ("--layout", "4m1m", "--key", "public.key", "--cut", "none", "--json")
    assert set(verdicts(run("signed", *options)).values()) == {"installs"}
    for name in ("other", "new.bin"):
        ran = run(name, *options)
        assert ran.code == 5
        assert {one["refusal"]["code"] for one in ran.json["rehearsals"]} == {12}


def test_an_image_is_not_signed_for_a_key_that_nobody_has_the_other_half_of(run: Run, folder: Path) -> None:
    (folder / "public.key").write_bytes(new_private_key(2048).public_key.pem())
    ran = run("new.bin", "--layout", "4m1m", "--key", "public.key", "--encoding", "signed")
    assert ran.code == 2
    assert "otaria image sign" in ran.err


def test_a_signed_running_image_without_a_key_is_an_assumption(run: Run, folder: Path) -> None:
    (folder / "running.signed").write_bytes(sign(OLD, new_private_key(2048)))
    ran = run("new.bin", "--layout", "4m1m", "--running", "running.signed", "--cut", "none", "--json")
    assert ran.code == 0
    assert ran.assumed("checks no signature, though it was signed itself")


# the device, by its headers


def test_the_layout_follows_from_the_headers_of_a_poll(run: Run) -> None:
    ran = run("new.bin", "--from-headers", "headers.txt", "--cut", "none", "--json")
    assert ran.code == 0
    facts = ran.json
    assert (facts["layout"], facts["device"]) == ("4m3m", "18:FE:34:AA:BB:CC")
    assert facts["running_size"] == 373_952  # a sketch's size is a multiple of 16
    assert {one["space"]["free"] for one in facts["rehearsals"]} == {671_744}
    assert ran.assumed("as it says")


def test_headers_alone_will_do_whatever_their_case(run: Run, folder: Path) -> None:
    lines = [line.lower() for line in HEADERS.splitlines() if line.startswith("x-ESP8266")]
    (folder / "headers.txt").write_text("\n".join(lines))
    assert run("new.bin", "--from-headers", "headers.txt", "--cut", "none", "--json").json["layout"] == "4m3m"


def changed(folder: Path, name: str, value: str | None) -> None:
    lines = [line for line in HEADERS.splitlines() if f"-{name}:" not in line]
    added = [] if value is None else [f"x-ESP8266-{name}: {value}"]
    (folder / "headers.txt").write_text("\n".join([*(line for line in lines if line), *added]))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("free-space", "671745", "no flash layout of the core has it there"),
        ("free-space", "a lot", "no size in bytes"),
        ("sketch-size", None, "has no x-esp8266-sketch-size"),
        ("STA-MAC", "nobody", "not a MAC address"),
    ],
)
def test_headers_that_no_device_sends_are_named_with_their_file(
    run: Run, folder: Path, name: str, value: str | None, message: str
) -> None:
    changed(folder, name, value)
    ran = run("new.bin", "--from-headers", "headers.txt")
    assert ran.code == 2
    assert ran.err.startswith("Error: headers.txt: ")
    assert message in ran.err


def test_an_esp32s_headers_are_refused(run: Run, folder: Path) -> None:
    (folder / "headers.txt").write_text(HEADERS.replace("ESP8266", "ESP32"))
    ran = run("new.bin", "--from-headers", "headers.txt")
    assert ran.code == 2
    assert "only updates of the ESP8266 are rehearsed" in ran.err


def test_a_chip_larger_than_its_layout_is_an_assumption(run: Run, folder: Path) -> None:
    changed(folder, "chip-size", str(32 << 20))
    ran = run("new.bin", "--from-headers", "headers.txt", "--cut", "none", "--json")
    assert ran.json["layout"] == "16m15m"
    assert ran.assumed("less than the 32 MiB of flash")


def test_the_variant_that_the_device_reports_is_what_runs(run: Run, folder: Path) -> None:
    installed = OLD[:2] + bytes((FlashMode.QOUT,)) + OLD[3:]
    size = -(-len(OLD) // 4096) * 4096
    changed(folder, "sketch-md5", hashlib.md5(installed).hexdigest())  # noqa: S324 - the device's protocol
    text = (folder / "headers.txt").read_text()
    text = text.replace("sketch-size: 373940", f"sketch-size: {len(OLD)}")
    (folder / "headers.txt").write_text(text.replace("free-space: 671744", f"free-space: {(1 << 20) - size}"))
    ran = run("new.bin", "--from-headers", "headers.txt", "--running", "old.bin", "--cut", "none", "--json")
    assert ran.code == 0
    expected = NEW[:2] + bytes((FlashMode.QOUT,)) + NEW[3:]
    reported = {one["md5_after"] for one in ran.json["rehearsals"]}
    assert reported == {hashlib.md5(expected).hexdigest()}  # noqa: S324 - the device's protocol


def test_a_running_image_that_is_not_what_the_device_reports_is_an_assumption(run: Run) -> None:
    ran = run("new.bin", "--from-headers", "headers.txt", "--running", "old.bin", "--cut", "none", "--json")
    assert ran.assumed("though it reports sketch-MD5 a56f8ef78a0bebd812f62067daf1408a")


@pytest.mark.parametrize(("missing", "core"), [("sketch-md5", "2.3"), ("Chip-ID", "2.5")])
def test_the_core_is_guessed_by_what_the_device_does_not_send(run: Run, folder: Path, missing: str, core: str) -> None:
    changed(folder, missing, None)
    ran = run("new.bin", "--from-headers", "headers.txt", "--cut", "none", "--json")
    assert {one["core"] for one in ran.json["rehearsals"]} == {core}
    assert ran.assumed(f"core {core}")


def test_an_image_without_length_and_crc_is_of_an_old_core(run: Run, folder: Path) -> None:
    old_style = bytearray(OLD)
    old_style[0x1010:0x1018] = bytes(8)
    (folder / "old.bin").write_bytes(old_style)
    ran = run("new.bin", "--layout", "4m1m", "--running", "old.bin", "--cut", "none", "--json")
    assert ran.assumed("core 2.5, as its image has neither length nor CRC")


# the device, by its MAC


def polled(data: Path, md5: Md5 | None = None, *, with_release: bool = True) -> None:
    """A device that has polled, with its running image published or not."""
    size = -(-len(OLD) // 4096) * 4096
    said = check_in(free_space=(3 << 20) - size, sketch_size=len(OLD))
    with fleet_in(data) as fleet:
        if with_release:
            draft = Draft("door", "1.0", "door.bin", OLD, create=True)
            publish(fleet.store, fleet.blobs, fleet.clock, draft)
        poll(fleet.store, fleet.clock, replace(said, sketch_md5=md5 or said.sketch_md5), asked_for="door")


def test_a_device_that_has_polled_is_known_by_its_mac_and_runs_what_it_reports(run: Run, data: Path) -> None:
    polled(data, Md5(hashlib.md5(OLD).hexdigest()))  # noqa: S324 - the device's protocol
    ran = run("new.bin", "--device", MAC.lower(), "--cut", "none", "--json")
    assert ran.code == 0
    assert (ran.json["device"], ran.json["layout"]) == (MAC, "4m1m")
    assert {one["md5_before"] for one in ran.json["rehearsals"]} == {hashlib.md5(OLD).hexdigest()}  # noqa: S324 - the device's protocol
    assert not ran.assumed("The running sketch has")


def test_a_device_that_runs_something_unpublished_gets_a_stand_in(run: Run, data: Path) -> None:
    polled(data)
    ran = run("new.bin", "--device", MAC, "--cut", "none", "--json")
    assert ran.code == 0
    assert ran.json["running_size"] == len(OLD)
    assert ran.assumed("as it says")


def test_a_device_that_nobody_knows_is_exit_2(run: Run) -> None:
    ran = run("new.bin", "--device", MAC)
    assert ran.code == 2
    assert "has never polled and was never assigned" in ran.err


def test_a_device_that_was_assigned_and_never_polled_has_an_unknown_flash(run: Run, data: Path) -> None:
    polled(data)
    assert main(["device", "assign", "18:FE:34:00:00:01", "door"]) == 0
    ran = run("new.bin", "--device", "18:FE:34:00:00:01")
    assert ran.code == 2
    assert "nobody knows its flash" in ran.err


# what cannot be meant


@pytest.mark.parametrize(
    "options",
    [(), ("--layout", "4m1m", "--from-headers", "headers.txt"), ("--device", MAC, "--layout", "4m1m")],
)
def test_the_device_is_named_in_exactly_one_way(run: Run, options: tuple[str, ...]) -> None:
    ran = run("new.bin", *options)
    assert ran.code == 2
    assert "in one way" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layout", "5m"), "no flash layout"),
        (("--layout", "4m1m", "--cut", "0"), "from 1 on"),
        (("--layout", "4m1m", "--cut", "some"), "--cut"),
        (("--layout", "4m1m", "--core", "9"), "--core"),
        (("--layout", "4m1m", "--way", "post"), "--way"),
        (("--layout", "4m1m", "--running", "nothing.bin"), "nothing.bin"),
        (("--from-headers", "nothing.txt"), "Cannot read nothing.txt"),
        (("--layout", "4m1m", "--running", "headers.txt"), "headers.txt"),
        (("--layout", "512k128", "--running", "huge.bin"), "another device's"),
        (("--layout", "4m1m", "--key", "headers.txt"), "headers.txt: This is no key"),
    ],
)
def test_what_cannot_be_is_exit_2_and_said(run: Run, folder: Path, options: tuple[str, ...], message: str) -> None:
    (folder / "huge.bin").write_bytes(build_sketch("huge", 120))
    ran = run("new.bin", *options)
    assert (ran.code, ran.out) == (5 if "another" in message else 2, "")
    assert message in ran.err


def test_an_image_that_is_not_there_is_exit_2(run: Run) -> None:
    assert run("nothing.bin", "--layout", "4m1m").code == 2


# how it looks


def shown(*ways: Way, encoding: str = "utf-8", width: int = 80, colours: bool = False) -> str:
    """What a terminal of that kind gets."""
    output = io.BytesIO()
    file = io.TextIOWrapper(output, encoding)
    console = Console(
        file=file, width=width, force_terminal=colours, highlight=False, color_system="standard" if colours else None
    )
    candidate, specimen = (
        Candidate.of(build_sketch("new", 50, size_and_frequency=0x20)),
        Specimen(LAYOUTS["1m64"], SMALL),
    )
    print_rehearsals(console, "a title", (), [rehearse(candidate, specimen, way) for way in ways or Way])
    file.flush()
    return output.getvalue().decode(encoding)


SMALL = build_sketch("old", 25, size_and_frequency=0x20)


def bars(text: str, width: int = 80) -> list[str]:
    """The bars, without what stands left of them."""
    return [line[10:width] for line in text.splitlines() if re.fullmatch(r"[█▓·▒■▚SRXf.# ]{30,}", line[10:width])]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_bars_are_to_scale(width: int) -> None:
    before, staged, after = bars(shown(Way.PUSH, width=width), width)
    for bar, sketch in ((before, 25), (staged, 25), (after, 50)):
        assert len(bar) == width - 10
        assert abs(bar.count("█") / len(bar) - sketch / 256) < 1.5 / len(bar)
    assert abs(staged.count("▓") / len(staged) - 50 / 256) < 1.5 / len(staged)
    assert staged.index("▒") == staged.rindex("▓") + 1, "as high as it fits below the file system"
    assert before[-1] == "■", "narrower than a column and drawn all the same"


def test_ways_that_look_the_same_share_a_bar() -> None:
    text = shown()
    assert len(bars(text)) == 4
    assert "received, by push and pull" in text
    assert "received, by web" in text


def test_a_terminal_without_unicode_gets_letters() -> None:
    text = shown(encoding="ascii")
    assert text.isascii()
    before, *_ = bars(text)
    assert re.fullmatch(r"S+\.+f+#", before)
    assert "S sketch" in text


def test_colours_are_added_and_nothing_depends_on_them() -> None:
    coloured, plain = shown(colours=True), shown()
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_the_scale_says_where_the_file_system_begins_and_flash_ends() -> None:
    text = shown(Way.PUSH)
    scale = next(line for line in text.splitlines() if line.endswith("1 MiB"))
    assert scale.startswith("          0 ")
    assert "940 KiB" not in scale, "no room for it beside the end"
    four = next(line for line in print_on("4m1m").splitlines() if line.endswith("4 MiB"))
    before, *_ = bars(print_on("4m1m"))
    assert four[10:].index("3 MiB") == before.index("▒")


def print_on(layout: str) -> str:
    output = io.StringIO()
    specimen = Specimen(LAYOUTS[layout], OLD)
    rehearsals = [rehearse(Candidate.of(NEW), specimen, Way.PUSH)]
    print_rehearsals(Console(file=output, width=80, highlight=False), "a title", (), rehearsals)
    return output.getvalue()
