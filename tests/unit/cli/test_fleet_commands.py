"""The commands on the fleet, as a shell runs them: arguments in, exit code, stdout and stderr out."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_bench import FILE_SYSTEM, MAC, check_in, fleet_in, sketch, zipped
from tests.vectors.images import esp32_image

from otaria.cli.main import main
from otaria.service.check_ins import check_in as poll
from otaria.units import MacAddress, Md5
from otaria.wire.http_update import Mode


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "fleet"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("OTARIA_DATA", str(data))

    def run(*arguments: str) -> Ran:
        code = main(list(arguments))
        captured = capsys.readouterr()
        # A table's cells are padded, and nobody sees it.
        out = "".join(line.rstrip() + "\n" for line in captured.out.splitlines())
        return Ran(code, out, captured.err)

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path, sketch("door", size=4000))


def written(folder: Path, content: bytes, name: str = "door.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def polled(data: Path, mac: MacAddress = MAC, **said: Any) -> None:
    with fleet_in(data) as fleet:
        poll(fleet.store, fleet.clock, replace(check_in(mac=mac), **said), asked_for="door")


def publish(run: Run, image: Path, version: str = "1.0", *options: str) -> Ran:
    return run("release", "publish", str(image), "--application", "door", "--version", version, *options)


# ---------------------------------------------------------------------- application


def test_an_application_is_made_and_listed(run: Run) -> None:
    made = run("application", "create", "door", "--chip", "ESP8266")
    assert (made.code, made.err) == (0, "")
    assert made.out == "Made the application door for the ESP8266. Its sketches ask at /update/door.\n"
    listed = run("application", "list")
    assert re.search(r"^door +ESP8266 +- +0 +\d{4}-", listed.out, re.MULTILINE)


def test_applications_are_listed_as_json(run: Run, image: Path, data: Path) -> None:
    run("application", "create", "door")
    publish(run, image)
    polled(data)
    (door,) = run("application", "list", "--json").json
    created = door.pop("created_at")
    assert door == {"name": "door", "chip": None, "newest_release": "1.0", "devices": 1}
    assert created.endswith("+00:00")


def test_a_fleet_without_applications_says_how_to_begin(run: Run) -> None:
    listed = run("application", "list")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err == "There is no application yet. Make one with `otaria application create NAME`.\n"
    assert run("application", "list", "--json").json == []


def test_a_name_that_is_taken_or_impossible_is_exit_2(run: Run) -> None:
    run("application", "create", "door")
    for name, message in (("door", "already"), ("a b", "cannot be the name")):
        refused = run("application", "create", name)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.startswith("Error: ")
        assert message in refused.err


# -------------------------------------------------------------------------- release


def test_a_release_is_published_with_a_short_report(run: Run, image: Path) -> None:
    run("application", "create", "door")
    published = publish(run, image)
    assert (published.code, published.err) == (0, "")
    lines = published.out.splitlines()
    assert lines[0] == "Published release 1.0 of door."
    assert lines[1:4] == [
        "  image      sketch, for the ESP8266",
        "  size       8128 bytes (7.9 KiB)",
        "  built for  4 MiB of flash",
    ]
    assert lines[-1] == "  devices    no device yet"


def test_a_release_is_published_as_json(run: Run, image: Path) -> None:
    run("application", "create", "door")
    facts = publish(run, image, "1.0", "--notes", "the first", "--json").json
    assert (facts["version"], facts["order"], facts["notes"], facts["kind"]) == ("1.0", 1, "the first", "sketch")
    assert (facts["size"], facts["chip"], facts["remarks"]) == (8128, "ESP8266", [])


def test_the_application_is_made_only_where_that_is_asked_for(run: Run, image: Path) -> None:
    assert publish(run, image).code == 2
    assert run("application", "list", "--json").json == []
    assert publish(run, image, "1.0", "--create").code == 0
    assert [one["name"] for one in run("application", "list", "--json").json] == ["door"]


def test_releases_are_listed_the_newest_first(run: Run, tmp_path: Path, image: Path) -> None:
    publish(run, image, "1.0", "--create")
    publish(run, written(tmp_path, zipped(sketch("two")), "two.bin.gz"), "2.0")
    publish(run, written(tmp_path, FILE_SYSTEM, "fs.bin"), "2.0", "--filesystem")
    run("application", "create", "garden")
    rows = [line.split()[:3] for line in run("release", "list").out.splitlines()[1:]]
    assert rows == [["door", "2.0", "sketch"], ["door", "2.0", "filesystem"], ["door", "1.0", "sketch"]]
    assert len(run("release", "list", "--application", "door", "--json").json) == 3
    assert run("release", "list", "--application", "garden", "--json").json == []
    assert run("release", "list", "--application", "gardn").code == 2


def test_what_an_owner_should_know_of_a_release_is_said_on_stderr(run: Run, image: Path) -> None:
    publish(run, image, "1.0", "--create")
    again = publish(run, image, "1.1")
    assert again.code == 0
    assert again.err.startswith("Note: The same file is release '1.0' of 'door' already")
    assert "Note" not in again.out


BAD_FILES = [
    (b"hello", [], "is no image"),
    (sketch("door")[:-30], [], "cut off"),
    (zipped(sketch("door"))[:-3], [], "cut off"),
    (esp32_image(), [], "for the ESP32-C3, and the application 'door' is for the ESP8266"),
    (sketch("door"), ["--filesystem"], "This is a sketch"),
    (b"", [], "is empty"),
]


@pytest.mark.parametrize(("content", "options", "message"), BAD_FILES)
def test_a_file_that_will_not_do_is_exit_2_and_leaves_nothing(
    run: Run, data: Path, tmp_path: Path, content: bytes, options: list[str], message: str
) -> None:
    run("application", "create", "door", "--chip", "ESP8266")
    refused = publish(run, written(tmp_path, content, "bad.bin"), "1.0", *options)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert run("release", "list", "--json").json == []
    assert not list((data / "images").rglob("*"))


def test_an_image_larger_than_the_free_space_of_all_devices_is_exit_5(run: Run, image: Path, data: Path) -> None:
    run("application", "create", "door")
    polled(data, free_space=4096)
    refused = publish(run, image)
    assert (refused.code, refused.out) == (5, "")
    assert "fits none of the 1 devices of 'door'" in refused.err
    assert run("release", "list", "--json").json == []
    assert publish(run, image, "1.0", "--anyway").code == 0


def test_a_file_that_is_not_there_is_exit_2(run: Run, tmp_path: Path) -> None:
    run("application", "create", "door")
    missing = publish(run, tmp_path / "missing.bin")
    assert missing.code == 2
    assert "missing.bin: No such file or directory" in missing.err
    assert publish(run, tmp_path).code == 2


# --------------------------------------------------------------------------- device


def test_devices_are_listed_with_what_they_were_answered_and_why(run: Run, image: Path, data: Path) -> None:
    publish(run, image, "1.0", "--create")
    polled(data)
    polled(data, MacAddress("18:FE:34:00:00:02"), free_space=0)
    rows = run("device", "list").out.splitlines()[1:]
    assert re.match(r"18:FE:34:00:00:02 +door +- +2026-\S+ \S+ +keep +The image takes 8192 bytes of flash", rows[0])
    assert re.match(r"18:FE:34:AA:BB:CC +door +- +2026-\S+ \S+ +serve +The image of release '1.0'", rows[1])


def test_a_device_that_runs_a_release_is_listed_with_it(run: Run, image: Path, data: Path) -> None:
    md5 = publish(run, image, "1.0", "--create", "--json").json["md5"]
    polled(data, sketch_md5=Md5(md5))
    polled(data, MacAddress("18:FE:34:00:00:02"), version="home-made")
    assert [device["runs"] for device in run("device", "list", "--json").json] == ["home-made", "1.0"]


def test_a_device_is_assigned_and_shown(run: Run, image: Path, data: Path) -> None:
    publish(run, image, "1.0", "--create")
    assigned = run("device", "assign", "18fe34aabbcc", "door")
    assert (assigned.code, assigned.out) == (0, "18:FE:34:AA:BB:CC is for door now.\n")
    shown = run("device", "show", MAC)
    assert re.search(r"^last seen +never$", shown.out, re.MULTILINE)
    polled(data, version="0.9")
    shown = run("device", "show", "18-fe-34-aa-bb-cc")
    assert re.search(r"^runs +0\.9$", shown.out, re.MULTILINE)
    assert re.search(r"^on sketch +serve \(newer\)$", shown.out, re.MULTILINE)
    assert re.search(r"^1\.0 +sketch +offered +0 +2026-", shown.out, re.MULTILINE)
    facts = run("device", "show", MAC, "--json").json
    assert (facts["answer"], facts["reason"], facts["deployments"][0]["state"]) == ("serve", "newer", "offered")
    polled(data, mode=Mode.FILESYSTEM)
    facts = run("device", "show", MAC, "--json").json
    assert (facts["reason"], [one["mode"] for one in facts["decisions"]]) == ("newer", ["sketch", "spiffs"])


def test_what_a_device_says_cannot_move_the_cursor(run: Run, data: Path) -> None:
    run("application", "create", "door")
    polled(data, version="\x1b[2J[red]1.0[/red]\n\x07")
    for command in (["device", "list"], ["device", "show", MAC]):
        out = run(*command).out
        assert r"\x1b[2J[red]1.0[/red]\n\x07" in out
        assert "\x1b" not in out


def test_a_device_may_try_again(run: Run, image: Path, data: Path) -> None:
    publish(run, image, "1.0", "--create")
    polled(data)
    assert run("device", "retry", MAC).out == f"{MAC} gets what is due to it when it polls next.\n"
    assert run("device", "show", MAC, "--json").json["deployments"] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["assign", MAC, "dor"], "no application 'dor'"),
        (["assign", "18:FE:34", "door"], "is not a MAC address"),
        (["show", MAC], "has never polled and was never assigned"),
        (["retry", MAC], "has never polled and was never assigned"),
    ],
)
def test_a_device_command_that_cannot_be_followed_is_exit_2(run: Run, arguments: list[str], message: str) -> None:
    run("application", "create", "door")
    refused = run("device", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err
    assert run("device", "list", "--json").json == []


# ---------------------------------------------------------------------- data folder


def test_the_data_folder_can_be_named(run: Run, tmp_path: Path) -> None:
    run("application", "create", "door", "--data", str(tmp_path / "other"))
    assert run("application", "list", "--json").json == []
    assert len(run("application", "list", "--json", "--data", str(tmp_path / "other")).json) == 1


def test_a_data_folder_that_cannot_be_used_is_exit_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = run("application", "list", "--data", str(tmp_path / "file"))
    assert refused.code == 2
    assert "as the data folder" in refused.err


def test_a_new_data_folder_is_its_owners_alone(run: Run, data: Path) -> None:
    run("application", "list")
    assert sys.platform == "win32" or data.stat().st_mode & 0o777 == 0o700


def test_a_database_that_is_no_database_is_exit_2_and_left_alone(run: Run, data: Path) -> None:
    data.mkdir()
    (data / "otaria.sqlite3").write_bytes(b"not a database, just some notes" * 40)
    refused = run("device", "list")
    assert refused.code == 2
    assert "is damaged or no database" in refused.err
    assert (data / "otaria.sqlite3").read_bytes().startswith(b"not a database")


def test_a_database_that_another_program_holds_is_exit_3(run: Run, data: Path, image: Path) -> None:
    publish(run, image, "1.0", "--create")
    other = sqlite3.connect(data / "otaria.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        held = publish(run, image, "1.1")
    finally:
        other.close()
    assert (held.code, held.out) == (3, "")
    assert "Another program has held the database" in held.err
    assert len(run("release", "list", "--json").json) == 1
