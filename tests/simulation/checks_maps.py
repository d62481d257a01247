"""A checker of the map: what stands in the book was asked for, whole, and moves nobody's parcel."""

from typing_extensions import override

from gateway.core import inputs
from gateway.core.inputs import Input
from sync.sitemap import SiteMap
from tests.simulation.checkers import Checker


class MapIsWhole(Checker):
    """The map in the book is one that was signed or imported, whole; parcels keep their points."""

    invariant = 0

    @override
    def start(self) -> None:
        self.asked: list[SiteMap] = []
        self.last: SiteMap | None = None
        self.book: SiteMap | None = None

    @override
    def given(self, given: Input) -> None:
        match given:
            case inputs.SiteSigned(map=site) | inputs.MapImported(map=site):
                self.asked += [] if site in self.asked else [site]
            case _:
                pass

    @override
    def handled(self, given: Input) -> None:
        tale, engine = self.watch.tale, self.site.engine
        if tale.maps and tale.maps[-1] is not self.last:
            before, self.last = self.last, tale.maps[-1]
            self.check(holds=self.last in self.asked, why=f"nobody asked for {self.last}")
            if before is not None:
                self._compare(before, self.last)
        known = self.book if engine is None else engine.state.book.map  # type: ignore[attr-defined]
        if self.last is not None and known is not self.book:
            self.book = known
            self.check(holds=known == self.last, why=f"in the book is {known}, not {self.last}")

    def _compare(self, before: SiteMap, after: SiteMap) -> None:
        for number, told in self.watch.tale.doors.items():
            if told.parcel is not None:
                kept = _points(before, number) == _points(after, number)
                self.check(holds=kept, why=f"{number} is moved, with {told.parcel} in it")

    @override
    def booted(self) -> None:
        self.last = self.book = None
        half = self.watch.tale.half
        self.check(holds=not half, why=f"{len(half)} items of a map are all that is left of it")

    @override
    def lost(self) -> None:
        self.last = self.book = None


def _points(site: SiteMap, number: int) -> tuple[object, ...]:
    """Return where a compartment's points really end."""
    door = site.doors.get(number)
    if door is None:
        return ()
    points = [one.partition(":") for one in (door.lock, door.switch, door.occupancy) if one]
    return tuple((site.boards[board], channel) for board, _, channel in points)


MAPS: tuple[type[Checker], ...] = (MapIsWhole,)
