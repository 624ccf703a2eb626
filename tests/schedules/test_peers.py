"""Compared with cronsim, where its rule is the same: all but skipped times, which it makes up for at once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from litequeue.schedules import crontab

from .minute_scan import offset, transitions

cronsim = pytest.importorskip("cronsim")


def field(rng: random.Random, low: int, high: int, star: float) -> str:
    if rng.random() < star:
        return rng.choice(["*", "*", "*/2", "*/7"])
    first, last = sorted(rng.sample(range(low, high + 1), 2))
    return rng.choice([str(first), f"{first}-{last}", f"{first}-{last}/2", f"{first},{last}"])


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/New_York", "Africa/Casablanca"])
def test_the_same_instants(name: str) -> None:
    rng = random.Random(name)
    zone = ZoneInfo(name)
    gaps = [moment for moment in transitions(zone, 2016, 2030) if offset(zone, moment) > offset(zone, moment - 1)]
    for _ in range(100):
        # Where both are given, cronsim asks for one of them and we for both.
        days = rng.choice([(field(rng, 1, 28, 0.2), "*"), ("*", field(rng, 0, 6, 0.2))])
        times = field(rng, 0, 59, 0.3), field(rng, 0, 23, 0.4)
        text = " ".join([*times, days[0], field(rng, 1, 12, 0.8), days[1]])
        begin = datetime(2017, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(2 * 366 * 1440))
        ours = crontab.from_string(text).instants(begin.astimezone(zone), zone, limit=100)
        theirs = cronsim.CronSim(text, begin.astimezone(zone))
        for moment in ours:
            other = next(theirs)
            if any(abs(moment.timestamp() - gap) < 86400 for gap in gaps):
                break
            assert moment.timestamp() == other.timestamp(), text
