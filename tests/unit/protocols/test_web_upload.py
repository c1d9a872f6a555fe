from __future__ import annotations

import base64

import pytest

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
from otaria.protocols.web_upload import Login, UploadRoom, WebUpdater, upload_image
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
    exchange = (page or page_of(machine)).serve(room_of(machine))
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
