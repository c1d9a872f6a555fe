from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from tests.esp32_bench import FILES, ONE_SLOT, build_app, label_of, running_esp32

from otaria.device.esp32_core_version import Esp32Core
from otaria.device.esp32_machine import Esp32Machine
from otaria.device.machine import Machine
from otaria.errors import (
    ConnectionBroken,
    OtariaError,
    OutcomeUnknown,
    PasswordNeeded,
    ProtocolViolation,
    Refused,
    WrongPassword,
)
from otaria.protocols.exchange import Receive, Send, StreamExchange
from otaria.protocols.web_upload import (
    ESP32_PAGE,
    SUCCESS,
    Login,
    PageDialect,
    UploadRoom,
    WebUpdater,
    upload_image,
)
from otaria.sim.network import Network
from otaria.wire.layouts import SECTOR_SIZE

BOUNDARY = "----edge"


def page_of(machine: Machine, login: Login | None = None) -> WebUpdater:
    return WebUpdater(machine.updater, name="porch", running="valve <1.0>", login=login)


def room_of(machine: Machine) -> UploadRoom:
    return UploadRoom(machine.free_sketch_space - SECTOR_SIZE, machine.layout.file_system_size)


def ask(machine: Machine, request: bytes | list[bytes | None], page: WebUpdater | None = None) -> tuple[bool, bytes]:
    """Send a request to the page; whether it restarts the device, and its answer."""
    pieces: list[bytes | None] = [request] if isinstance(request, bytes) else request
    return answer_of((page or page_of(machine)).serve(room_of(machine)), pieces)


def answer_of(exchange: StreamExchange[bool], pieces: list[bytes | None]) -> tuple[bool, bytes]:
    """Feed pieces to a page, then the end of the stream."""
    waiting = iter(pieces)
    answer = b""
    effect = next(exchange)
    try:
        while True:
            if isinstance(effect, Send):
                answer += effect.content
            effect = exchange.send(next(waiting, b"") if isinstance(effect, Receive) else None)
    except StopIteration as done:
        return done.value, answer


def part(name: str, content: bytes, file_name: str | None = "x.bin") -> bytes:
    file = f'; filename="{file_name}"' if file_name is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n'
    typed = "Content-Type: application/octet-stream\r\n" if file_name is not None else ""
    return f"{head}{typed}\r\n".encode() + content + b"\r\n"


def post(*parts: bytes, headers: tuple[str, ...] = (), boundary: str = BOUNDARY) -> bytes:
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    lines = [
        "POST /update HTTP/1.1",
        "Host: porch",
        f"Content-Type: multipart/form-data; boundary={boundary}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def test_the_page_has_the_two_documented_file_fields_and_shows_names_as_text(machine: Machine) -> None:
    restart, answer = ask(machine, b"GET /update HTTP/1.1\r\nHost: porch\r\n\r\n")
    assert not restart
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    assert b'name="firmware"' in answer
    assert b'name="filesystem"' in answer
    assert b"valve &lt;1.0&gt;" in answer


def test_an_upload_installs_and_restarts(machine: Machine, new_image: bytes) -> None:
    restart, answer = ask(machine, post(part("firmware", new_image)))
    assert restart
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Access-Control-Allow-Origin: *" in answer
    assert answer.endswith(b'<META http-equiv="refresh" content="15;URL=/">Update Success! Rebooting...')
    assert machine.reset().console.endswith("@cp:B0\nld\n")
    assert machine.flash.read(0, len(new_image)) == new_image


@pytest.mark.parametrize("size", [1, 3, 17, 1460, 2048, 5000])
def test_a_form_may_arrive_in_pieces_of_any_size(machine: Machine, new_image: bytes, size: int) -> None:
    whole = post(part("firmware", new_image))
    pieces: list[bytes | None] = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert ask(machine, pieces)[0]


def test_the_image_is_staged_one_sector_above_the_sketch(machine: Machine, new_image: bytes) -> None:
    ask(machine, post(part("firmware", new_image)))
    start = machine.layout.free_sketch_space(0) - room_of(machine).sketch
    assert machine.flash.read(start, 4) == new_image[:4]


def test_any_other_field_name_is_taken_for_a_sketch(machine: Machine, new_image: bytes) -> None:
    assert ask(machine, post(part("whatever", new_image)))[0]


def test_a_failure_has_status_200_and_says_why(machine: Machine) -> None:
    restart, answer = ask(machine, post(part("firmware", b"x" * 5000)))
    assert not restart
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Update error: ERROR[10]: Magic byte is not 0xE9\n")


def test_a_file_of_one_sector_or_less_always_fails_with_error_13(machine: Machine) -> None:
    _, answer = ask(machine, post(part("firmware", b"\xe9" * 4096)))
    assert answer.endswith(b"Update error: ERROR[13]: No data supplied\n")


def test_an_empty_file_fails_with_error_13(machine: Machine) -> None:
    _, answer = ask(machine, post(part("firmware", b"")))
    assert answer.endswith(b"Update error: ERROR[13]: No data supplied\n")


def test_the_filesystem_field_writes_files_in_place(machine: Machine) -> None:
    files = bytes(range(256)) * 64
    assert ask(machine, post(part("filesystem", files)))[0]
    assert machine.flash.read(machine.layout.file_system_start, len(files)) == files


def test_an_upload_that_breaks_off_installs_nothing_and_gets_no_answer(
    machine: Machine, old_image: bytes, new_image: bytes
) -> None:
    restart, answer = ask(machine, post(part("firmware", new_image))[:-8000])
    assert (restart, answer) == (False, b"")
    assert machine.reset().running
    assert machine.flash.read(0, len(old_image)) == old_image


def test_options_lets_scripts_of_other_origins_ask(machine: Machine) -> None:
    _, answer = ask(machine, b"OPTIONS /update HTTP/1.1\r\nOrigin: http://evil\r\n\r\n")
    assert b"Access-Control-Allow-Headers: *\r\nAccess-Control-Allow-Origin: *" in answer
    assert answer.endswith(b"\r\n\r\ny")


def test_another_path_is_not_found(machine: Machine) -> None:
    assert ask(machine, b"GET / HTTP/1.0\r\n\r\n")[1].startswith(b"HTTP/1.0 404 ")


def test_without_the_login_nothing_is_flashed(machine: Machine, new_image: bytes) -> None:
    page = page_of(machine, Login("admin", "secret"))
    before = machine.flash.operations
    restart, answer = ask(machine, post(part("firmware", new_image)), page)
    assert not restart
    assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert answer.endswith(b"\r\n\r\n"), "it has no body"
    assert b'WWW-Authenticate: Basic realm="Login Required"' in answer
    assert machine.flash.operations == before


def test_with_the_login_it_installs(machine: Machine, new_image: bytes) -> None:
    page = page_of(machine, Login("admin", "secret"))
    header = "Authorization: Basic " + base64.b64encode(b"admin:secret").decode()
    assert ask(machine, post(part("firmware", new_image), headers=(header,)), page)[0]


def test_a_login_with_an_empty_password_is_not_asked_for(machine: Machine, new_image: bytes) -> None:
    assert ask(machine, post(part("firmware", new_image)), page_of(machine, Login("admin", "")))[0]


def test_a_post_without_a_file_meets_the_answer_of_the_last_upload(machine: Machine) -> None:
    assert ask(machine, post(part("note", b"text", None)))[1].startswith(b"HTTP/1.1 401 ")


def test_a_text_field_before_the_file_is_passed_over(machine: Machine, new_image: bytes) -> None:
    assert ask(machine, post(part("note", b"text", None), part("firmware", new_image)))[0]


def test_a_boundary_in_quotes_is_understood(machine: Machine, new_image: bytes) -> None:
    assert ask(machine, post(part("firmware", new_image), boundary=f'"{BOUNDARY}"'))[0]


def test_a_parameter_before_the_boundary_is_not_understood(machine: Machine, new_image: bytes) -> None:
    restart, _ = ask(machine, post(part("firmware", new_image), boundary=f"x; charset=a; boundary={BOUNDARY}"))
    assert not restart


@pytest.mark.parametrize("request_bytes", [b"", b"\r\n", b"nonsense\r\n\r\n", b"GET /update HTTP/1.1\r\nHos"])
def test_what_is_no_request_gets_no_answer(machine: Machine, request_bytes: bytes) -> None:
    assert ask(machine, request_bytes) == (False, b"")


# --------------------------------------------------------------- the form, as strictly as the core


def test_several_files_in_one_form_are_installed_one_after_the_other(machine: Machine, new_image: bytes) -> None:
    files = bytes(range(256)) * 64
    restart, answer = ask(machine, post(part("filesystem", files), part("firmware", new_image)))
    assert restart
    assert answer.endswith(SUCCESS.encode())
    assert machine.flash.read(machine.layout.file_system_start, len(files)) == files
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


def test_the_last_file_decides_and_the_first_stays_installed(machine: Machine, new_image: bytes) -> None:
    too_large = b"f" * (machine.layout.file_system_size + 1)
    restart, answer = ask(machine, post(part("firmware", new_image), part("filesystem", too_large)))
    assert not restart
    assert answer.endswith(b"Update error: ERROR[4]: Not Enough Space\n")
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image, "its boot command was there already"


def test_a_bad_sketch_behind_a_good_one_overwrites_it_and_the_next_restart_bricks(
    machine: Machine, new_image: bytes
) -> None:
    restart, answer = ask(machine, post(part("firmware", new_image), part("firmware", b"x" * 5000)))
    assert not restart
    assert answer.endswith(b"Update error: ERROR[10]: Magic byte is not 0xE9\n")
    machine.reset()
    assert machine.bricked, "the first one's boot command is still there, and no longer what it copies"


def test_a_good_file_behind_a_bad_one_is_success(machine: Machine, new_image: bytes) -> None:
    assert ask(machine, post(part("firmware", b"x" * 5000), part("firmware", new_image)))[0]


def test_a_peer_that_is_gone_right_after_the_file_gets_no_answer_and_the_update_is_there(
    machine: Machine, new_image: bytes
) -> None:
    closing = f"--{BOUNDARY}--\r\n".encode()
    form = post(part("firmware", new_image)).removesuffix(closing)
    assert ask(machine, form + f"--{BOUNDARY}".encode()) == (False, b"")
    assert not machine.updater.is_running
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


def test_an_upload_that_breaks_off_has_its_last_buffer_dropped(machine: Machine, new_image: bytes) -> None:
    form = post(part("firmware", new_image))
    head = form.index(new_image)
    ask(machine, form[: head + 4096 + 2048])
    assert not machine.updater.is_running
    assert machine.updater.error == 13, "4096 bytes were handed over, and 4096 fill the buffer"


@pytest.mark.parametrize("tail", [b"\r\n", b"-\r\n", b"--x\r\n"])
def test_a_form_that_does_not_end_as_it_should_is_waited_for(machine: Machine, new_image: bytes, tail: bytes) -> None:
    form = post(part("firmware", new_image)).removesuffix(b"--\r\n") + tail
    assert ask(machine, [form, None]) == (False, b"")


@pytest.mark.parametrize("empty_lines", [0, 1, 2])
def test_up_to_two_empty_lines_before_the_form_are_tolerated(
    machine: Machine, new_image: bytes, empty_lines: int
) -> None:
    head, body = post(part("firmware", new_image)).split(b"\r\n\r\n", 1)
    assert ask(machine, head + b"\r\n\r\n" + b"\r\n" * empty_lines + body)[0]


@pytest.mark.parametrize("before", [b"\r\n" * 3, b"preamble\r\n", b"--other\r\n"])
def test_a_form_that_begins_otherwise_is_dropped_without_an_answer(
    machine: Machine, new_image: bytes, before: bytes
) -> None:
    head, body = post(part("firmware", new_image)).split(b"\r\n\r\n", 1)
    operations = machine.flash.operations
    assert ask(machine, head + b"\r\n\r\n" + before + body) == (False, b"")
    assert machine.flash.operations == operations


def form_with(disposition: str, content: bytes, *more_lines: str) -> bytes:
    lines = [f"--{BOUNDARY}", disposition, *more_lines, "", ""]
    return post("\r\n".join(lines).encode() + content + b"\r\n")


@pytest.mark.parametrize(
    ("disposition", "is_file"),
    [
        ('Content-Disposition: form-data; name="firmware"; filename="x.bin"', True),
        ('content-disposition: form-data; name="firmware"; filename="x.bin"', True),
        ('Content-Disposition: form-data; name="firmware"; filename=x.bin', True),
        ('Content-Disposition: form-data; filename="x.bin"; name="firmware"', True),
        ('Content-Disposition: form-data; name="firmware"', False),
    ],
)
def test_a_part_is_a_file_where_a_second_equals_sign_follows(
    machine: Machine, new_image: bytes, disposition: str, is_file: bool
) -> None:
    assert ask(machine, form_with(disposition, new_image))[0] is is_file


def test_the_name_is_what_stands_behind_the_first_equals_sign_whatever_it_is(machine: Machine) -> None:
    files = bytes(range(256)) * 64
    swapped = 'Content-Disposition: form-data; filename="filesystem"; name="x"'
    assert ask(machine, form_with(swapped, files))[0]
    assert machine.flash.read(machine.layout.file_system_start, len(files)) == files


def test_a_header_other_than_the_content_type_becomes_part_of_the_file(machine: Machine, new_image: bytes) -> None:
    disposition = 'Content-Disposition: form-data; name="firmware"; filename="x.bin"'
    lines = ["Content-Type: application/octet-stream", "Content-Length: 3"]
    restart, answer = ask(machine, form_with(disposition, new_image, *lines))
    assert not restart
    assert b"ERROR[10]" in answer


def test_a_part_needs_no_content_type(machine: Machine, new_image: bytes) -> None:
    disposition = 'Content-Disposition: form-data; name="firmware"; filename="x.bin"'
    assert ask(machine, form_with(disposition, new_image))[0]


def test_lines_before_a_parts_first_one_are_passed_over(machine: Machine, new_image: bytes) -> None:
    form = post(f"--{BOUNDARY}\r\nX-Odd: 1\r\n".encode() + part("firmware", new_image).split(b"\r\n", 1)[1])
    assert ask(machine, form)[0]


def test_a_text_argument_may_have_several_lines_and_ends_at_the_delimiter(machine: Machine, new_image: bytes) -> None:
    text = part("note", b"one\r\ntwo\r\n--three", None)
    assert ask(machine, post(text, part("firmware", new_image)))[0]


def test_a_form_of_texts_alone_ends_at_its_closing_delimiter(machine: Machine) -> None:
    assert ask(machine, post(part("note", b"text", None)))[1].startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("content", [b"\r\n", b"\r\n--", b"\r\n------edg", b"\r\r\n\r\n----", b"-" * 100])
def test_what_only_begins_like_the_delimiter_belongs_to_the_file(machine: Machine, content: bytes) -> None:
    files = content * (6000 // len(content) + 1)
    whole = post(part("filesystem", files))
    for size in (1, 7, len(whole)):
        pieces: list[bytes | None] = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert ask(machine, pieces)[0]
        assert machine.flash.read(machine.layout.file_system_start, len(files)) == files
        machine.reset()


def test_the_content_length_of_a_form_is_not_looked_at(machine: Machine, new_image: bytes) -> None:
    whole = post(part("firmware", new_image))
    assert ask(machine, whole.replace(b"Content-Length: ", b"Content-Length: 7"))[0]


@pytest.mark.parametrize("length", ["5", "", "x"])
def test_any_other_body_is_read_by_its_length(machine: Machine, length: str) -> None:
    head = f"POST /update HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
    assert ask(machine, head.encode() + b"hello")[1].startswith(b"HTTP/1.1 401 ")


def test_a_body_that_is_shorter_than_its_length_gets_no_answer(machine: Machine) -> None:
    head = b"POST /update HTTP/1.1\r\nContent-Length: 9\r\n\r\n"
    assert ask(machine, [head, b"hello", None]) == (False, b"")


def test_the_waits_are_five_seconds_but_for_the_content_of_a_file(machine: Machine, new_image: bytes) -> None:
    form = post(part("firmware", new_image))
    cut = form.index(new_image) + 1000
    pieces = iter([form[:10], form[10:200], form[200:cut], form[cut:-4], form[-4:]])
    exchange = page_of(machine).serve(room_of(machine))
    waits: list[float | None] = []
    effect = next(exchange)
    while not isinstance(effect, Send):
        if isinstance(effect, Receive):
            waits.append(effect.timeout_s)
        effect = exchange.send(next(pieces) if isinstance(effect, Receive) else None)
    assert waits == [5.0, 5.0, 5.0, None, 5.0]


def test_a_stalled_uploader_blocks_the_page_for_as_long_as_it_stays(machine: Machine, new_image: bytes) -> None:
    exchange = page_of(machine).serve(room_of(machine))
    next(exchange)
    effect = exchange.send(post(part("firmware", new_image))[:5000])
    while not isinstance(effect, Receive):
        effect = exchange.send(None)
    assert effect == Receive(None)


# ------------------------------------------------------------------------------ the request


def test_only_with_a_body_are_header_values_trimmed(machine: Machine, new_image: bytes) -> None:
    page = page_of(machine, Login("admin", "secret"))
    login = base64.b64encode(b"admin:secret").decode()
    tight = f"Authorization:Basic {login}"
    _, answer = ask(machine, f"GET /update HTTP/1.1\r\n{tight}\r\n\r\n".encode(), page)
    assert answer.startswith(b"HTTP/1.1 401 "), "a character was skipped, and it was the B"
    _, answer = ask(machine, f"GET /update HTTP/1.1\r\nAuthorization: Basic {login}\r\n\r\n".encode(), page)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert ask(machine, post(part("firmware", new_image), headers=(tight,)), page)[0]


def test_a_line_without_a_colon_ends_the_head(machine: Machine) -> None:
    page = page_of(machine, Login("admin", "secret"))
    login = base64.b64encode(b"admin:secret").decode()
    request = f"GET /update HTTP/1.1\r\nnonsense\r\nAuthorization: Basic {login}\r\n\r\n"
    assert ask(machine, request.encode(), page)[1].startswith(b"HTTP/1.1 401 ")


def test_the_query_is_not_part_of_the_path(machine: Machine) -> None:
    assert ask(machine, b"GET /update?now=1 HTTP/1.1\r\n\r\n")[1].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("version", "answered"), [("HTTP/1.0", b"HTTP/1.0"), ("HTTP/1.1", b"HTTP/1.1"), ("x", b"HTTP/1.0")]
)
def test_the_answer_has_the_version_of_the_request(machine: Machine, version: str, answered: bytes) -> None:
    assert ask(machine, f"GET /update {version}\r\n\r\n".encode())[1].startswith(answered + b" 200 ")


def test_a_method_that_the_server_does_not_know_is_taken_for_get(machine: Machine) -> None:
    assert b'name="firmware"' in ask(machine, b"BREW /update HTTP/1.1\r\n\r\n")[1]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_found(machine: Machine, method: str) -> None:
    assert ask(machine, f"{method} /update HTTP/1.1\r\n\r\n".encode())[1].startswith(b"HTTP/1.1 404 ")


def test_a_form_for_another_path_is_read_and_not_found(machine: Machine, new_image: bytes) -> None:
    before = machine.flash.operations
    request = post(part("firmware", new_image)).replace(b"POST /update", b"POST /upload")
    assert ask(machine, request)[1].startswith(b"HTTP/1.1 404 ")
    assert machine.flash.operations == before


def test_the_page_may_be_anywhere(machine: Machine, new_image: bytes) -> None:
    page = WebUpdater(machine.updater, name="porch", running="valve", path="/secret")
    assert ask(machine, b"GET /secret HTTP/1.1\r\n\r\n", page)[1].startswith(b"HTTP/1.1 200 ")
    assert ask(machine, post(part("firmware", new_image)), page)[1].startswith(b"HTTP/1.1 404 ")


# ------------------------------------------------------------------------------ the answers


def test_every_answer_to_a_form_lets_other_origins_read_it(machine: Machine, new_image: bytes) -> None:
    page = page_of(machine, Login("admin", "secret"))
    _, answer = ask(machine, post(part("firmware", new_image)), page)
    assert b"Access-Control-Allow-Headers: *\r\nAccess-Control-Allow-Origin: *" in answer
    _, answer = ask(machine, post(part("firmware", b"x")))
    assert b"Access-Control-Allow-Headers: *\r\nAccess-Control-Allow-Origin: *" in answer


def test_options_asks_for_no_login(machine: Machine) -> None:
    page = page_of(machine, Login("admin", "secret"))
    assert ask(machine, b"OPTIONS /update HTTP/1.1\r\n\r\n", page)[1].startswith(b"HTTP/1.1 200 ")


def test_a_post_without_a_file_after_an_authorised_upload_says_success_and_restarts(
    machine: Machine, new_image: bytes
) -> None:
    page = page_of(machine)
    assert ask(machine, post(part("firmware", new_image)), page)[0]
    restart, answer = ask(machine, post(part("note", b"text", None)), page)
    assert restart
    assert answer.endswith(SUCCESS.encode())


def test_a_post_without_a_file_after_a_failure_says_it_again(machine: Machine) -> None:
    page = page_of(machine)
    ask(machine, post(part("firmware", b"x" * 5000)), page)
    _, answer = ask(machine, post(part("note", b"text", None)), page)
    assert answer.endswith(b"Update error: ERROR[10]: Magic byte is not 0xE9\n")


def test_an_unauthorised_upload_takes_the_authorisation_away_again(machine: Machine, new_image: bytes) -> None:
    page = page_of(machine, Login("admin", "secret"))
    header = "Authorization: Basic " + base64.b64encode(b"admin:secret").decode()
    assert ask(machine, post(part("firmware", new_image), headers=(header,)), page)[0]
    ask(machine, post(part("firmware", new_image)), page)
    assert ask(machine, post(part("note", b"text", None), headers=(header,)), page)[1].startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("header", ["Digest username=admin", "Bearer x", "Basic", "basic YWRtaW46c2VjcmV0"])
def test_any_other_authorization_is_none(machine: Machine, new_image: bytes, header: str) -> None:
    page = page_of(machine, Login("admin", "secret"))
    request = post(part("firmware", new_image), headers=(f"Authorization: {header}",))
    assert ask(machine, request, page)[1].startswith(b"HTTP/1.1 401 ")


def test_a_file_system_that_cannot_begin_is_told_by_its_first_piece(machine: Machine) -> None:
    no_room = page_of(machine).serve(UploadRoom(sketch=0, file_system=0))
    _, answer = answer_of(no_room, [post(part("filesystem", b"x" * 3000))])
    assert answer.endswith(b"Update error: ERROR[5]: Bad Size Given\n")


def test_an_image_larger_than_the_space_is_error_4(machine: Machine) -> None:
    too_large = b"\xe9" + bytes(room_of(machine).sketch)
    _, answer = ask(machine, post(part("firmware", too_large)))
    assert answer.endswith(b"Update error: ERROR[4]: Not Enough Space\n")


# -------------------------------------------------------------------------------- the ESP32

OLD_APP = build_app("old")
NEW_APP = build_app("new", 3)
SMALL_APP = build_app("small", 1)
FROM_PAGE = ("Origin: http://porch",)


def esp32_page(machine: Esp32Machine, login: Login | None = None, dialect: PageDialect = ESP32_PAGE) -> WebUpdater:
    return WebUpdater(machine.updater, name="porch", running="app", login=login, dialect=dialect)


def ask_esp32(machine: Esp32Machine, request: bytes, page: WebUpdater | None = None) -> tuple[bool, bytes]:
    room = UploadRoom(machine.free_sketch_space - SECTOR_SIZE, machine.file_system_size)
    return answer_of((page or esp32_page(machine)).serve(room), [request])


def test_an_esp32_installs_and_restarts() -> None:
    machine = running_esp32(OLD_APP)
    restart, answer = ask_esp32(machine, post(part("firmware", NEW_APP), headers=FROM_PAGE))
    assert restart
    assert answer.endswith(SUCCESS.encode())
    assert b"Access-Control" not in answer
    machine.reset()
    assert label_of(machine) == "new"


def test_an_esp32_takes_a_file_of_one_sector() -> None:
    machine = running_esp32(OLD_APP)
    assert ask_esp32(machine, post(part("firmware", SMALL_APP), headers=FROM_PAGE))[0]


@pytest.mark.parametrize("headers", [(), ("Origin: http://evil",), ("Origin: https://porch",), ("Origin: null",)])
def test_an_esp32_refuses_what_does_not_come_from_its_own_page(headers: tuple[str, ...]) -> None:
    machine = running_esp32(OLD_APP)
    before = machine.flash.operations
    restart, answer = ask_esp32(machine, post(part("firmware", NEW_APP), headers=headers))
    assert not restart
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nUpdate error: Wrong origin received!")
    assert machine.flash.operations == before


def test_with_a_login_a_wrong_origin_is_answered_by_asking_for_it() -> None:
    machine = running_esp32(OLD_APP)
    login = Login("admin", "secret")
    request = post(part("firmware", NEW_APP), headers=(f"Authorization: {login.basic}", "Origin: http://evil"))
    assert ask_esp32(machine, request, esp32_page(machine, login))[1].startswith(b"HTTP/1.1 401 ")


def test_an_esp32_before_core_3_3_did_not_look_at_the_origin() -> None:
    machine = running_esp32(OLD_APP, core=Esp32Core.V2_0)
    older = replace(ESP32_PAGE, checks_origin=machine.core.behaviour.checks_origin)
    assert ask_esp32(machine, post(part("firmware", NEW_APP)), esp32_page(machine, dialect=older))[0]


def test_without_the_origin_check_a_post_without_a_file_asks_for_a_login() -> None:
    machine = running_esp32(OLD_APP)
    older = replace(ESP32_PAGE, checks_origin=False)
    page = esp32_page(machine, dialect=older)
    assert ask_esp32(machine, post(part("note", b"x", None)), page)[1].startswith(b"HTTP/1.1 401 ")


def test_an_esp32s_failure_has_no_number_and_a_line_end_of_its_own() -> None:
    machine = running_esp32(OLD_APP)
    damaged = NEW_APP[:5000] + b"\0\0\0\0" + NEW_APP[5004:]
    restart, answer = ask_esp32(machine, post(part("firmware", damaged), headers=FROM_PAGE))
    assert not restart
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nUpdate error: Could Not Activate The Firmware\r\n")


def test_an_esp32_without_a_second_slot_says_so() -> None:
    machine = running_esp32(OLD_APP, table=ONE_SLOT)
    _, answer = ask_esp32(machine, post(part("firmware", NEW_APP), headers=FROM_PAGE))
    assert answer.endswith(b"Update error: Partition Could Not be Found\r\n")


def test_an_empty_file_is_error_3_on_an_esp32() -> None:
    _, answer = ask_esp32(running_esp32(OLD_APP), post(part("firmware", b""), headers=FROM_PAGE))
    assert answer.endswith(b"Update error: Flash Read Failed\r\n")


def test_an_esp32_does_not_answer_options() -> None:
    machine = running_esp32(OLD_APP)
    assert ask_esp32(machine, b"OPTIONS /update HTTP/1.1\r\n\r\n")[1].startswith(b"HTTP/1.1 404 ")


def test_an_esp32s_form_takes_an_image_of_files_by_another_ending(machine: Machine) -> None:
    page = b"GET /update HTTP/1.1\r\n\r\n"
    esp32 = ask_esp32(running_esp32(OLD_APP), page)[1]
    assert b'accept=".bin,.bin.gz,.image" name="filesystem"' in esp32
    assert b'accept=".bin,.bin.gz" name="firmware"' in esp32
    assert b".image" not in ask(machine, page)[1]


def test_an_esp32_writes_a_file_system_into_its_partition() -> None:
    machine = running_esp32(OLD_APP)
    files = bytes(range(256)) * 20
    assert ask_esp32(machine, post(part("filesystem", files), headers=FROM_PAGE))[0]
    assert machine.flash.read(FILES.offset, len(files)) == files


def test_an_upload_to_an_esp32_that_breaks_off_leaves_the_old_app() -> None:
    machine = running_esp32(OLD_APP)
    assert ask_esp32(machine, post(part("firmware", NEW_APP), headers=FROM_PAGE)[:-3000]) == (False, b"")
    machine.reset()
    assert label_of(machine) == "old"


def test_our_uploader_is_let_in_by_an_esp32() -> None:
    machine = running_esp32(OLD_APP)
    room = UploadRoom(machine.free_sketch_space - SECTOR_SIZE, machine.file_system_size)
    network = Network()
    browser, device = network.connect(uploading(NEW_APP), esp32_page(machine).serve(room))
    network.run(deadline_s=600)
    assert (browser.error, browser.result, device.result) == (None, True, True)


def test_the_reason_of_an_esp32_is_told_with_a_remedy() -> None:
    machine = running_esp32(OLD_APP)
    room = UploadRoom(machine.free_sketch_space - SECTOR_SIZE, machine.file_system_size)
    network = Network()
    browser, _ = network.connect(uploading(NEW_APP[:-500]), esp32_page(machine).serve(room))
    network.run(deadline_s=600)
    assert isinstance(browser.error, Refused)
    assert "Could Not Activate The Firmware. The chip found the image unfit to start" in str(browser.error)


# ------------------------------------------------------------------------ the browser's side


def uploading(image: bytes, login: Login | None = None) -> StreamExchange[bool]:
    yield from upload_image(image, name="porch", host="porch", boundary=BOUNDARY, login=login)
    return True


def upload_over_network(machine: Machine, image: bytes, *, page: Login | None, host: Login | None) -> None:
    network = Network()
    browser, device = network.connect(uploading(image, host), page_of(machine, page).serve(room_of(machine)))
    network.run(deadline_s=600)
    if browser.error is not None:
        raise browser.error
    assert browser.result is True
    assert device.result is True


def test_both_sides_of_an_upload_understand_each_other(machine: Machine, new_image: bytes) -> None:
    upload_over_network(machine, new_image, page=None, host=None)
    machine.reset()
    assert machine.flash.read(0, len(new_image)) == new_image


def test_both_sides_agree_on_a_login(machine: Machine, new_image: bytes) -> None:
    login = Login("admin", "pass:wörd")
    upload_over_network(machine, new_image, page=login, host=login)


@pytest.mark.parametrize(
    ("host", "error"), [(None, PasswordNeeded), (Login("admin", "no"), WrongPassword)], ids=["none", "wrong"]
)
def test_a_missing_or_wrong_login_is_denied(
    machine: Machine, new_image: bytes, host: Login | None, error: type[OtariaError]
) -> None:
    with pytest.raises(error):
        upload_over_network(machine, new_image, page=Login("admin", "secret"), host=host)


def test_the_pages_reason_is_told_with_its_number(machine: Machine) -> None:
    with pytest.raises(Refused, match=r"porch refused the update: ERROR\[10\]") as refused:
        upload_over_network(machine, b"x" * 5000, page=None, host=None)
    assert refused.value.code == 10


def hear(early: bytes | None, *answers: bytes | None) -> None:
    """Upload to a page that says something early, and these answers once everything was sent."""
    exchange = uploading(b"x" * 9000)
    waiting = iter(answers)
    effect = next(exchange)
    try:
        while True:
            match effect:
                case Receive(0):
                    effect = exchange.send(early)
                case Receive():
                    effect = exchange.send(next(waiting, b""))
                case _:
                    effect = exchange.send(None)
    except StopIteration:
        return


def test_an_answer_before_the_end_is_judged_at_once() -> None:
    with pytest.raises(ProtocolViolation, match="413"):
        hear(b"HTTP/1.1 413 Too Large\r\n\r\n")


def test_closing_in_the_middle_says_how_far_it_came() -> None:
    with pytest.raises(ConnectionBroken, match="after 0 of 9000 bytes"):
        hear(b"")


def test_no_answer_to_the_whole_form_is_an_unknown_outcome() -> None:
    with pytest.raises(OutcomeUnknown):
        hear(None, b"")


def test_an_answer_cut_in_two_is_success() -> None:
    hear(None, b"HTTP/1.1 200 OK\r\n\r\nUpdate Suc", b"cess! Rebooting...")


def test_an_endless_answer_is_cut_short() -> None:
    with pytest.raises(ProtocolViolation):
        hear(None, *[b"x" * 4000] * 1000)
