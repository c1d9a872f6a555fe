from __future__ import annotations

import pytest

from otaria.cli.main import main


def test_ports_that_do_not_exist_are_said_before_anything_is_switched_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virtual", "run", "--ota-port", "65530", "--count", "10", "--in-memory"]) == 2
    assert "10 devices from port 65530 on would need ports above 65535" in " ".join(capsys.readouterr().err.split())


def test_a_user_without_a_password_is_bad_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTARIA_PASSWORD", raising=False)
    assert main(["virtual", "run", "--web-user", "admin", "--in-memory"]) == 2
    assert "--web-user needs a password" in capsys.readouterr().err


def test_a_wrong_address_to_poll_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["virtual", "run", "--poll", "10.0.0.1/update", "--in-memory"]) == 2
    assert "is no address that a virtual device can poll" in " ".join(capsys.readouterr().err.split())
