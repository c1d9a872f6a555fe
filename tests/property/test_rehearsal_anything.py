"""A rehearsal takes whatever a file holds, and what it says holds together."""

from __future__ import annotations

import gzip
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.device_bench import SMALL, build_sketch

from otaria.cli.keys import new_private_key
from otaria.device.core_version import Core
from otaria.device.rehearsal import Verdict, rehearse
from otaria.device.rehearsal_scene import Candidate, Specimen
from otaria.device.rehearsal_ways import Way
from otaria.errors import WrongSignature
from otaria.wire.signed import PrivateKey, append_signature, sign, split, verify

OLD = build_sketch("old", 3)
NEW = build_sketch("new", 3)
FILES = (NEW, gzip.compress(NEW, mtime=0), OLD, b"\xe9\x01\x02\x00" + bytes(9000), b"")


@cache
def key() -> PrivateKey:
    return new_private_key(2048)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Images with some bytes changed, a piece cut off and something behind them; or anything."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(0, 3))):
        if content:
            content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(content)) | st.just(len(content)))
    return bytes(content[:end]) + draw(st.binary(max_size=20))


@settings(deadline=None, max_examples=150)
@given(content=files(), way=st.sampled_from(Way), core=st.sampled_from(Core), verifying=st.booleans())
@example(content=b"", way=Way.WEB, core=Core.V2_3, verifying=False)
@example(content=sign(FILES[1], key()), way=Way.PULL, core=Core.V2_7, verifying=True)
def test_whatever_is_sent_the_verdict_fits_what_is_left(content: bytes, way: Way, core: Core, verifying: bool) -> None:
    specimen = Specimen(SMALL, OLD, core, key().public_key if verifying else None)
    rehearsal = rehearse(Candidate.of(content), specimen, way, cuts=6)
    survival = rehearsal.survival
    assert survival is not None
    assert (rehearsal.refusal is not None) is (rehearsal.verdict is Verdict.REFUSED) is (rehearsal.copy is None)
    assert (rehearsal.md5_after is None) is (rehearsal.verdict is Verdict.BRICKS)
    if rehearsal.verdict is Verdict.REFUSED:
        assert rehearsal.md5_after == rehearsal.md5_before
        assert rehearsal.after == rehearsal.before
    # nothing that happens before the restart touches the sketch that runs
    assert survival.receiving.old == survival.receiving.total
    assert rehearsal.explanation.endswith(".")
    assert all(hazard.explanation.endswith((".", ")")) for hazard in rehearsal.hazards)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_signed_file_or_not(content: bytes) -> None:
    file = split(content)
    if file is not None:
        assert append_signature(file.payload, file.signature) == content
    try:
        verify(content, key().public_key)
    except WrongSignature:
        return
    raise AssertionError("noise was signed by our key")


@given(st.binary(max_size=300))
def test_no_noise_is_a_signature(noise: bytes) -> None:
    assert key().public_key.recover(noise.ljust(256, b"\0")[:256]) is None
