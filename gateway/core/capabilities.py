"""What a scanned capability means (FORMATS.md 7): who gave which right, and does it hold now."""

from gateway.core.inputs import CapabilityScanned
from gateway.core.screen import Screen
from gateway.core.state import State


def scanned(state: State, shown: CapabilityScanned) -> None:
    """Take what somebody showed."""
    state.show(shown.kiosk, Screen("help", ends_ms=state.settings.result_ms))
