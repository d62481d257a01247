"""Pins what a thin link gets: an alarm passes a backlog, and the window fits the link."""

from sync.message import Frame, Hello, Seal, decode, table
from sync.window import SLICE_MIN, WINDOW_AGAIN_MAX, WINDOW_MAX, WINDOW_MIN, WINDOW_START, Window
from tests.pair import SITE, End, both, log_of
from tests.shelf_memory import entry

CUSTODY, URGENT, TELEMETRY = (log_of(SITE, lane) for lane in ("custody", "urgent", "telemetry"))


class Thin:
    """A link of so many bytes a second and so much delay, each way; a queue before it."""

    def __init__(self, one: End, two: End, bytes_s: int, rtt_ms: int) -> None:
        self.ends = one, two
        self.now_ms = 0
        self._bytes_s, self._delay_ms = bytes_s, rtt_ms // 2
        self._free_at = [0, 0]
        self._under_way: list[list[tuple[int, bytes]]] = [[], []]
        self.carried = 0
        one.begin()
        two.begin()

    def step(self) -> None:
        """10 ms pass."""
        self.now_ms += 10
        for side, end in enumerate(self.ends):
            outbox, end.outbox = end.outbox, []
            for data in outbox:
                took_ms = (len(data) + 8) * 1000 // self._bytes_s
                self._free_at[side] = max(self._free_at[side], self.now_ms) + took_ms
                self._under_way[side].append((self._free_at[side] + self._delay_ms, data))
        for side, end in enumerate(self.ends):
            other, queue = self.ends[1 - side], self._under_way[side]
            end.now_ms = other.now_ms = self.now_ms
            while queue and queue[0][0] <= self.now_ms:
                data = queue.pop(0)[1]
                self.carried += len(data)
                other.receive(data)
        for end in self.ends:
            if end.wake_at is not None and end.wake_at <= self.now_ms:
                end.tick(self.now_ms)

    def until(self, origin: str, size: int, most_ms: int) -> int:
        """Run until the far end holds so much; return the time it took."""
        began = self.now_ms
        far = self.ends[1]
        while far.holds().get(origin, (0, b""))[0] < size:
            self.step()
            assert self.now_ms - began < most_ms
        return self.now_ms - began


def backlog(site: End) -> None:
    site.shelf.write(CUSTODY, *[entry(n, door=n % 96) for n in range(2_000)])
    site.shelf.write(TELEMETRY, *[entry(n, values={"a": n}) for n in range(2_000)])


def test_an_alarm_behind_a_backlog_arrives_within_the_round_trip_and_two_seconds() -> None:
    for codecs in ((0,), (0, 1, 2)):
        for after_ms in (1_200, 2_500, 4_000, 7_000, 9_990):
            site, hub = both(codecs=codecs)
            backlog(site)
            thin = Thin(site, hub, 2_000, 600)
            for _ in range(after_ms // 10):
                thin.step()
            assert hub.holds().get(TELEMETRY, (0, b""))[0] < 2_000 or codecs != (0,)
            site.write(URGENT, entry(1))
            assert thin.until(URGENT, 1, 60_000) <= 2_600


def test_a_link_is_used_when_it_is_wide_and_not_flooded_when_it_is_thin() -> None:
    for bytes_s, rtt_ms, most_s in ((8_000, 600, 18), (2_000, 200, 66), (1_000_000, 100, 3)):
        site, hub = both(codecs=(0,))
        site.shelf.write(CUSTODY, *[entry(n, door=n % 96) for n in range(2_000)])
        thin = Thin(site, hub, bytes_s, rtt_ms)
        took_ms = thin.until(CUSTODY, 2_000, 200_000)
        least_ms = thin.carried * 1000 // bytes_s
        assert took_ms <= max(least_ms * 5 // 4, most_s * 1000)
        window = site.session._sender.window
        assert WINDOW_MIN <= window.size <= WINDOW_MAX
        queue_ms = window.size * 1000 // bytes_s
        assert queue_ms <= 2 * rtt_ms + 2_000


def test_the_window_shrinks_to_what_passes_and_has_a_floor() -> None:
    window = Window()
    window.credit = 1 << 20
    at_ms = 0
    assert window.slice_bytes == 1024
    for rtt_ms in (100, 100, 5_000, 5_000, 60_000, 60_000, 60_000):
        window.went(window.size, at_ms)
        at_ms += rtt_ms
        assert window.taken(window.sent, 1 << 20, at_ms)
        assert window.rtt_ms == rtt_ms
    assert window.size == WINDOW_MIN
    assert window.slice_bytes == SLICE_MIN
    assert not window.taken(window.sent, 1 << 20, at_ms)


def test_a_new_link_begins_as_fast_as_the_last_one_was_but_not_with_a_flood() -> None:
    for bytes_s, rtt_ms, size in (
        (0, 600, WINDOW_START), (2_000, 600, WINDOW_START), (4_000, 600, 5_200),
        (8_000, 100, 6_400), (10**9, 1, WINDOW_AGAIN_MAX),
    ):  # fmt: skip
        window = Window(bytes_s)
        window.greeted(rtt_ms)
        assert window.size == size
        window.greeted(10 * rtt_ms)
        assert window.size == size, "only the first answer waited for nothing"


def test_the_speed_of_a_link_is_left_to_the_next_one() -> None:
    site, hub = both(codecs=(0,))
    backlog(site)
    thin = Thin(site, hub, 8_000, 600)
    thin.until(CUSTODY, 1_000, 60_000)
    site.end()
    assert 6_000 <= site.memory.bytes_s <= 8_500
    site.begin(site.now_ms)
    assert site.session._sender.window.bytes_s == site.memory.bytes_s


def test_a_window_grows_only_while_it_is_used() -> None:
    window = Window()
    for at_ms in range(100):
        window.went(10, at_ms)
        window.taken(window.sent, 1 << 20, at_ms + 1)
    assert window.size == WINDOW_START
    for at_ms in range(200, 400):
        window.went(window.size, at_ms)
        window.taken(window.sent, 1 << 20, at_ms + 1)
    assert window.size == WINDOW_MAX


def test_counts_that_cannot_be_are_bounded_by_what_was_sent() -> None:
    window = Window()
    for _ in range(3_000):
        window.went(1, 0)
    window.taken(10**9, 5, 10)
    assert window.under_way == 0
    window.taken(0, 5, 20)
    assert window.under_way == 0


def test_on_an_open_link_one_entry_costs_less_than_two_hundred_bytes() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[entry(n, door=n % 96) for n in range(9)])
    thin = Thin(site, hub, 100_000, 50)
    for _ in range(400):
        thin.step()
    before = thin.carried
    site.write(CUSTODY, entry(77, door=5, of="e1-9f2c01ab:sc117"))
    for _ in range(50):
        thin.step()
    assert thin.carried - before <= 200


def test_frames_are_short_where_the_link_is_thin() -> None:
    site, hub = both(codecs=(0,))
    backlog(site)
    thin = Thin(site, hub, 1_000, 600)
    lengths = []
    for _ in range(6_000):
        for data in site.outbox:
            one = decode(data).message
            if isinstance(one, Frame):
                lengths.append(len(one.data))
            assert isinstance(one, Frame | Seal | Hello) or one is not None
        thin.step()
    assert max(lengths[-10:]) <= 1_000
    assert table([]) == []
