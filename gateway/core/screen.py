"""What a kiosk shows, as values: a name from the table, and the few things that name needs.

The words stand in the kiosk's catalogue (`gateway/web/static/texts/`), one text a name; a test
holds the two together. No screen carries a code, a key or a person's name. `door` is a compartment
number.
"""

from dataclasses import dataclass

SCREENS: dict[str, str] = {
    "welcome": "Collect or Deliver",
    "out_of_service": "this locker cannot open now (why)",
    "collect.enter": "type the code; why: the last try was refused (count: tokens or seconds)",
    "collect.checking": "one moment",
    "collect.opening": "door is being opened; count: the attempt",
    "collect.pull": "the door sticks: pull while it clicks",
    "collect.open": "door is open: take the parcel, close the door",
    "collect.ajar": "please close the door",
    "collect.thanks": "collected; Open again until the grace is over",
    "collect.left": "the parcel is still inside; Open again",
    "collect.unsure": "closed; Open again for fifteen minutes with the same code",
    "collect.fault": "the door did not open: the code stays good, call for help",
    "deliver.enter": "type the courier's secret; why: refused",
    "deliver.scan": "scan or type a tracking number; door: the last one stored; why: refused",
    "deliver.again": "this number is already here: another piece of it?",
    "deliver.size": "choose a size; why: none free",
    "deliver.opening": "door is being opened; count: the attempt",
    "deliver.pull": "the door sticks: pull while it clicks",
    "deliver.check": "door is open: is the compartment empty?",
    "deliver.open": "door is open: put the parcel in, close the door; Does not fit",
    "deliver.ajar": "please close the door",
    "deliver.confirm": "closed: is the parcel inside?",
    "deliver.empty": "closed and still empty: again, larger, or leave it",
    "deliver.fault": "the door did not open: another compartment",
    "deliver.mine": "own deposits of this session, to take back (doors)",
    "deliver.took": "taken back",
    "deliver.done": "stored, by a right that is good for one parcel (door); take back",
    "capability.refused": "the QR code shown opens nothing (why; count: seconds to wait)",
    "service.menu": "a technician types a compartment number; why: refused",
    "service.door": "what a technician can do at a door; why: what was done, or refused",
    "service.opening": "door is being opened for a test",
    "service.open": "door is open for a test: look, close it",
    "service.pairing": "a device may be paired now (count: minutes)",
    "support.open": "support opened a door",
    "help": "how to get help",
}
"""Every screen and what it says, for whoever writes the words."""


@dataclass(frozen=True, slots=True)
class Screen:
    """One screen. `ends_ms`: how long it stays before the kiosk goes home; `warn`: this is near.

    `why` is a stable code where something was refused, `count` a number the text names, `doors`
    a list of own compartments, `sizes` the sizes to choose from with the number free of each.
    """

    name: str
    door: int | None = None
    why: str = ""
    count: int = 0
    size: str = ""
    doors: tuple[int, ...] = ()
    sizes: tuple[tuple[str, int], ...] = ()
    ends_ms: int = 0
    warn: bool = False

    def __post_init__(self) -> None:
        """Hold the name to the table."""
        assert self.name in SCREENS, self.name
