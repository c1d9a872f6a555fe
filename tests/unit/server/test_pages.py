from __future__ import annotations

import pytest

from otaria.server.pages import sketch_line, start_page, url_for_sketches

LAN = "http://192.168.1.5:8700"


def test_the_start_page_has_the_lines_to_paste_into_a_sketch() -> None:
    page = start_page(version="0.1.0", url=LAN, applications=["door", "garden"])
    assert page.startswith("Otaria 0.1.0\n")
    assert '    ESPhttpUpdate.update(client, "http://192.168.1.5:8700/update/door");\n' in page
    assert '    httpUpdate.update(client, "http://192.168.1.5:8700/update/door");\n' in page
    assert "The applications here are: door, garden." in page


def test_without_an_application_the_page_says_how_to_make_one() -> None:
    page = start_page(version="0.1.0", url=LAN, applications=[])
    assert "/update/APPLICATION" in page
    assert "`otaria application create NAME`" in page


def test_the_line_of_a_sketch_names_its_application() -> None:
    assert sketch_line(LAN, "door") == 'ESPhttpUpdate.update(client, "http://192.168.1.5:8700/update/door");'


@pytest.mark.parametrize("host", ["192.168.1.7:8700", "ota.example", "ota.lan:80", "[fe80::1]:8700"])
def test_what_the_browser_reaches_devices_reach_too(host: str) -> None:
    assert url_for_sketches(host, LAN) == f"http://{host}"


@pytest.mark.parametrize(
    "host", ["localhost:8700", "LOCALHOST", "a.localhost:1", "127.0.0.1:8700", "127.1.2.3", "[::1]:8700"]
)
def test_an_address_that_means_this_machine_to_itself_is_replaced(host: str) -> None:
    assert url_for_sketches(host, LAN) == LAN


@pytest.mark.parametrize("host", ["", "a b", 'x");evil("', "a/b", "host:port", "ü.example", "a\x1b[2J", "[<>]:1"])
def test_a_host_header_that_is_no_host_is_not_repeated(host: str) -> None:
    assert url_for_sketches(host, LAN) == LAN
