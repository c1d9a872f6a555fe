from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from tests.fleet_bench import NOW

from otaria.fleet.deployment import STEPS, Deployment, Event, State
from otaria.fleet.model import ImageId

LATER = NOW + timedelta(minutes=5)


def after(*events: Event) -> Deployment:
    deployment = Deployment.offered(ImageId(1), NOW)
    for event in events:
        deployment = deployment.after(event, LATER)
    return deployment


def test_an_update_that_goes_well_is_offered_delivered_and_confirmed() -> None:
    assert after().state is State.OFFERED
    assert after(Event.DELIVERY).state is State.DELIVERED
    assert after(Event.DELIVERY, Event.REPORT).state is State.CONFIRMED


def test_a_broken_off_download_is_no_delivery() -> None:
    broken = after(Event.BREAK_OFF)
    assert (broken.state, broken.deliveries) == (State.BROKEN_OFF, 0)


def test_each_delivery_counts_however_it_is_mixed_with_others() -> None:
    assert after(Event.DELIVERY, Event.OFFER, Event.BREAK_OFF, Event.OFFER, Event.DELIVERY).deliveries == 2
    assert after(Event.DELIVERY, Event.DELIVERY).deliveries == 2


def test_of_two_downloads_at_once_the_one_that_broke_off_does_not_undo_the_other() -> None:
    assert after(Event.OFFER, Event.DELIVERY, Event.BREAK_OFF).state is State.DELIVERED
    assert after(Event.OFFER, Event.BREAK_OFF, Event.DELIVERY).state is State.DELIVERED


def test_a_report_proves_that_it_arrived_even_where_the_delivery_went_unseen() -> None:
    assert after(Event.REPORT).state is State.CONFIRMED
    assert after(Event.BREAK_OFF, Event.REPORT).state is State.CONFIRMED


def test_confirmation_does_not_forget_the_deliveries() -> None:
    # A device that falls back to its old sketch again and again is a loop, too.
    assert after(Event.DELIVERY, Event.REPORT, Event.OFFER, Event.DELIVERY).deliveries == 2


def test_the_moment_is_that_of_the_state() -> None:
    assert after().since == NOW
    assert after(Event.DELIVERY).since == LATER
    assert after(Event.OFFER).since == NOW


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_event_leaves_a_state_of_the_table(state: State, event: Event) -> None:
    deployment = Deployment(ImageId(1), state, 1, NOW).after(event, LATER)
    assert deployment.state is STEPS.get((state, event), state)
