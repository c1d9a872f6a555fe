"""A keyring for the examples of the documentation: a file in the home folder that the sandbox gave them."""

from __future__ import annotations

import json
from pathlib import Path

from keyring.backend import KeyringBackend

__all__ = ["FileKeyring"]


class FileKeyring(KeyringBackend):
    """Keeps passwords where a test can throw them away."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        _file().write_text(json.dumps(self._all() | {f"{service} {username}": password}))

    def _all(self) -> dict[str, str]:
        content: dict[str, str] = json.loads(_file().read_text()) if _file().exists() else {}
        return content


def _file() -> Path:
    return Path.home() / "keyring.json"
