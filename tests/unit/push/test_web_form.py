from __future__ import annotations

import socket

import pytest

from otaria.aio.driver import Surroundings
from otaria.errors import BadInput, Unreachable
from otaria.push.web_form import Page, upload_to_page


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://porch", Page(("porch", 80), "/update")),
        ("http://porch/", Page(("porch", 80), "/update")),
        ("http://admin@porch:8080/firmware", Page(("porch", 8080), "/firmware", "admin")),
        ("http://a%40b@porch/update", Page(("porch", 80), "/update", "a@b")),
    ],
)
def test_a_page_is_named_by_its_address(url: str, page: Page) -> None:
    assert Page.parse(url) == page


@pytest.mark.parametrize("url", ["https://porch/update", "http://", "http://porch:x/", "ftp://porch/", "http://[::1"])
def test_what_is_no_page_is_bad_input(url: str) -> None:
    with pytest.raises(BadInput, match="no address"):
        Page.parse(url)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput) as refused:
        Page.parse("http://admin:hunter2@porch/update")
    assert "hunter2" not in str(refused.value)


async def test_nobody_at_the_address_is_unreachable() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        page = Page(("127.0.0.1", unheard.getsockname()[1]), "/update")
        with pytest.raises(Unreachable, match="Connection refused"):
            await upload_to_page(b"x", page, around=Surroundings())
