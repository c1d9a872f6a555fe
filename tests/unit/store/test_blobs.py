from __future__ import annotations

import hashlib
import resource
from pathlib import Path

import pytest

from otaria.errors import UnreadableFile
from otaria.store.blobs import FileBlobs
from otaria.units import Sha256

CONTENT = b"an image" * 1000
DIGEST = Sha256(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "images")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_put_can_be_opened_by_its_digest(blobs: FileBlobs) -> None:
    assert blobs.put(CONTENT) == DIGEST
    with blobs.open(DIGEST) as file:
        assert file.read() == CONTENT


def test_the_same_content_is_kept_once(blobs: FileBlobs, tmp_path: Path) -> None:
    blobs.put(CONTENT)
    blobs.put(CONTENT)
    assert files(tmp_path) == [DIGEST]


def test_what_was_removed_is_gone_and_may_be_removed_again(blobs: FileBlobs, tmp_path: Path) -> None:
    blobs.put(CONTENT)
    blobs.remove(DIGEST)
    blobs.remove(DIGEST)
    assert files(tmp_path) == []


def test_a_file_that_is_gone_is_named_with_what_to_do(blobs: FileBlobs) -> None:
    with pytest.raises(UnreadableFile, match=f"{DIGEST} cannot be read: No such file.*publish the image again"):
        blobs.open(DIGEST)


def test_a_full_disk_leaves_nothing_behind(blobs: FileBlobs, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(UnreadableFile, match="Cannot store the image"):
            blobs.put(CONTENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(UnreadableFile, match="Cannot store the image in"):
        FileBlobs(tmp_path / "images").put(CONTENT)
