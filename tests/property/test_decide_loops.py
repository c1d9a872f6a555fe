"""What holds of every decision, whatever the device and the catalogue."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.fleet_bench import NOW, catalogue, check_in, device, image, patched, release, signed, sketch, zipped

from otaria.fleet.decide import MOST_DELIVERIES, Keep, Serve, decide
from otaria.fleet.deployment import Deployment, Event
from otaria.fleet.model import Catalogue
from otaria.units import Md5, round_up
from otaria.wire.esp_image import FlashMode
from otaria.wire.http_update import CheckIn
from otaria.wire.layouts import SECTOR_SIZE

PLAIN = {name: sketch(name, size=3000 * number) for number, name in enumerate(("one", "two", "three"), start=1)}
WRAPPINGS = (lambda content: content, zipped, signed)

releases = st.lists(st.tuples(st.sampled_from(sorted(PLAIN)), st.sampled_from(WRAPPINGS)), min_size=1, max_size=4).map(
    lambda chosen: catalogue(
        *(release(order, image(wrap(PLAIN[name]), number=order)) for order, (name, wrap) in enumerate(chosen, start=1))
    )
)


def running(name: str, mode: FlashMode) -> Md5:
    return Md5(hashlib.md5(patched(PLAIN[name], mode)).hexdigest())  # noqa: S324 - the device's protocol


check_ins = st.builds(
    check_in,
    md5=st.none() | st.builds(running, st.sampled_from(sorted(PLAIN)), st.sampled_from(FlashMode)),
    version=st.none() | st.sampled_from(["1.1", "1.2", "1.3", "other"]),
    free_space=st.integers(0, 40).map(lambda sectors: sectors * SECTOR_SIZE),
    sketch_size=st.integers(0, 1 << 20),
    chip_size=st.sampled_from([1 << 20, 2 << 20, 4 << 20]),
    chip_id=st.none() | st.just(1),
)


@given(releases, check_ins, st.sampled_from(FlashMode))
def test_a_device_that_installs_what_it_is_served_is_served_nothing_more(
    there: Catalogue, said: CheckIn, mode: FlashMode
) -> None:
    first = decide(said, device(), there, NOW)
    if not isinstance(first, Serve):
        return
    reported = {Md5(hashlib.md5(patched(content, mode)).hexdigest()) for content in PLAIN.values()}  # noqa: S324
    (now_running,) = reported & first.image.installed_md5s
    assert isinstance(decide(replace(said, sketch_md5=now_running), device(), there, NOW), Keep)


@given(releases, check_ins)
def test_a_device_that_never_changes_is_served_a_bounded_number_of_times(there: Catalogue, said: CheckIn) -> None:
    known, served = device(), 0
    for _ in range(MOST_DELIVERIES + 3):
        decision = decide(said, known, there, NOW)
        if isinstance(decision, Serve):
            served += 1
            before = known.deployment_of(decision.image.id) or Deployment.offered(decision.image.id, NOW)
            known = replace(known, deployments=(before.after(Event.DELIVERY, NOW),))
    assert served in (0, MOST_DELIVERIES)


@given(releases, check_ins)
def test_what_is_served_fits_and_is_the_newest(there: Catalogue, said: CheckIn) -> None:
    decision = decide(said, device(), there, NOW)
    if isinstance(decision, Serve):
        assert round_up(decision.image.size, SECTOR_SIZE) <= said.free_space
        assert (decision.image.flash_size or 0) <= said.chip_size
        assert decision.release == there.releases[-1]
        assert said.sketch_md5 not in decision.image.installed_md5s


@given(releases, check_ins)
def test_the_same_question_has_the_same_answer(there: Catalogue, said: CheckIn) -> None:
    assert decide(said, device(), there, NOW) == decide(said, device(), there, NOW)
