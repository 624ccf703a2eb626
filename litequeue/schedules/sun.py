"""`solar`: where the sun stands, computed here.

The position of the sun by J. Meeus, Astronomical Algorithms (2nd edition), chapters 12 (sidereal time), 13 (altitude)
and 25 (solar coordinates, low accuracy: 0.01 degree), the formulas that NOAA's solar calculator uses too. Sunrise and
sunset are those of the upper limb with a refraction of 34 minutes of arc, the twilights those of the centre.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from typing import Any, Final

from litequeue.schedules.base import BaseSchedule, check_number
from litequeue.schedules.errors import ScheduleError
from litequeue.schedules.offsets import DAY

_RISING: Final = 1
_SETTING: Final = -1
_TRANSIT: Final = 0

EVENTS: Final[dict[str, tuple[int, float]]] = {
    "dawn_astronomical": (_RISING, -18.0),
    "dawn_nautical": (_RISING, -12.0),
    "dawn_civil": (_RISING, -6.0),
    "sunrise": (_RISING, -34 / 60),
    "solar_noon": (_TRANSIT, 0.0),
    "sunset": (_SETTING, -34 / 60),
    "dusk_civil": (_SETTING, -6.0),
    "dusk_nautical": (_SETTING, -12.0),
    "dusk_astronomical": (_SETTING, -18.0),
}
"""Which way the sun goes, and its altitude in degrees."""

_LIMB: Final = frozenset({"sunrise", "sunset"})
_SEARCHED_DAYS: Final = 400
"""At the poles the sun rises once a year."""
_J2000: Final = 10957.5
"""The noon of 1 January 2000, in days since 1970."""
_CLOCK_LAG: Final = 69.2 / DAY
"""Terrestrial time minus UTC in days, as it is in the 2020s. A minute of it moves the sun by 0.0007 degree."""


class solar(BaseSchedule):
    """An event of the sun at a place: each day on which it happens, to a few seconds up to the polar circles.

    `lat` and `lon` are degrees, north and east positive. On days without the event (polar night, white nights) there is
    no instant. ScheduleError for an unknown event or a place that is not on Earth.
    """

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
    ) -> None:
        super().__init__(nowfun=nowfun, app=app)
        if event not in EVENTS:
            raise ScheduleError(f"event={event!r}: the events are {', '.join(sorted(EVENTS))}")
        self.event = event
        self.lat = check_number("lat", lat, -90, 90)
        self.lon = check_number("lon", lon, -180, 180)

    def next_instant(self, after: float, zone: tzinfo, anchor: float | None = None) -> float | None:
        """The first event after `after`, to the second."""
        # Solar days are counted from 1970, so that an event is found from the same numbers whenever it is looked for.
        today = math.floor(after / DAY + self.lon / 360) - 1
        for day in range(today, today + _SEARCHED_DAYS):
            for instant in self._events(day):
                if instant > after:
                    return instant
        return None

    def _events(self, day: int) -> Iterator[float]:
        way, altitude = EVENTS[self.event]
        noon = _transit(day + 0.5 - self.lon / 360, self.lon, 0.0)
        if way == _TRANSIT:
            yield float(round(noon * DAY))
            return
        midnight = _transit(day - self.lon / 360, self.lon, 180.0)
        following = _transit(day + 1 - self.lon / 360, self.lon, 180.0)

        def height(moment: float) -> float:
            # Rising through the horizon is the way from below 0 to above; setting the same with the sign turned.
            return way * (_altitude(moment, self.lat, self.lon, self.event in _LIMB) - altitude)

        # Near the poles the sun may rise in the afternoon of its clock.
        for low, high in ((midnight, noon), (noon, following)):
            if height(low) < 0 <= height(high):
                yield float(round(_crossing(height, low, high) * DAY))

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The event and the place."""
        if type(self).__init__ is not solar.__init__:
            return super().arguments()
        return (self.event, self.lat, self.lon), {} if self.nowfun is None else {"nowfun": self.nowfun}

    def __hash__(self) -> int:
        return hash((type(self), self.event, self.lat, self.lon))

    __eq__ = BaseSchedule.__eq__

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"


def _sun(moment: float) -> tuple[float, float, float, float]:
    """Right ascension and declination (radians), apparent sidereal time at Greenwich (degrees), distance (AU).

    `moment` is in days since 1970, UTC.
    """
    days = moment - _J2000
    century = (days + _CLOCK_LAG) / 36525
    anomaly = math.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    excentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = (
        (1.914602 - century * (0.004817 + 0.000014 * century)) * math.sin(anomaly)
        + (0.019993 - 0.000101 * century) * math.sin(2 * anomaly)
        + 0.000289 * math.sin(3 * anomaly)
    )
    distance = 1.000001018 * (1 - excentricity**2) / (1 + excentricity * math.cos(anomaly + math.radians(centre)))
    node = math.radians(125.04 - 1934.136 * century)
    true_longitude = 280.46646 + century * (36000.76983 + 0.0003032 * century) + centre
    longitude = math.radians(true_longitude - 0.00569 - 0.00478 * math.sin(node))
    obliquity = math.radians(23.4392911 - 0.0130042 * century + 0.00256 * math.cos(node))
    ascension = math.atan2(math.cos(obliquity) * math.sin(longitude), math.cos(longitude))
    declination = math.asin(math.sin(obliquity) * math.sin(longitude))
    sidereal = 280.46061837 + 360.98564736629 * days - 0.00478 * math.sin(node) * math.cos(obliquity)
    return ascension, declination, sidereal, distance


def _altitude(moment: float, lat: float, lon: float, limb: bool) -> float:
    """The altitude (degrees) of the sun's centre, or of its upper limb, without refraction."""
    ascension, declination, sidereal, distance = _sun(moment)
    hour_angle = math.radians(sidereal + lon) - ascension
    north = math.radians(lat)
    sine = math.sin(north) * math.sin(declination)
    sine += math.cos(north) * math.cos(declination) * math.cos(hour_angle)
    altitude = math.asin(max(-1.0, min(1.0, sine)))
    # Parallax (8.8") and radius (960") of the sun at its mean distance.
    parallax = 8.794 / 3600 / distance * math.cos(altitude)
    return math.degrees(altitude) - parallax + (959.63 / 3600 / distance if limb else 0.0)


def _transit(moment: float, lon: float, hour_angle: float) -> float:
    """The time near `moment` at which the sun's hour angle (degrees) is `hour_angle`: 0 at noon, 180 at midnight."""
    for _ in range(4):
        ascension, _, sidereal, _ = _sun(moment)
        ahead = (sidereal + lon - math.degrees(ascension) - hour_angle + 180) % 360 - 180
        moment -= ahead / 360
    return moment


def _crossing(height: Callable[[float], float], low: float, high: float) -> float:
    while (high - low) * DAY > 0.05:
        middle = (low + high) / 2
        if height(middle) < 0:
            low = middle
        else:
            high = middle
    return high
