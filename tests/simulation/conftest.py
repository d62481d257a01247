"""Prints at the end how often each checker had something to check, and each fault struck."""

from collections import Counter

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the chunks of the simulations recorded, in whichever process they ran."""
    histories = inputs = apart = 0
    checks, cloud_checks = Counter[str](), Counter[str]()
    faults, cloud_faults = Counter[str](), Counter[str]()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if report.when != "call":
                continue
            if name == "simulation":
                for given, checked, struck in value:
                    histories += 1
                    inputs += given
                    checks.update(checked)
                    faults.update(struck)
            elif name == "cloud":
                count, checked, struck = value
                apart += count
                cloud_checks.update(checked)
                cloud_faults.update(struck)
    if histories:
        terminalreporter.section(f"simulation: {histories:,} histories, {inputs:,} inputs")
        _write(terminalreporter, checks, faults)
    if apart:
        terminalreporter.section(f"simulation of sites and hub: {apart:,} histories")
        _write(terminalreporter, cloud_checks, cloud_faults)


def _write(
    terminalreporter: pytest.TerminalReporter, checks: Counter[str], faults: Counter[str]
) -> None:
    for word, counted in (("checks", checks), ("faults", faults)):
        told = "  ".join(f"{name} {count:,}" for name, count in sorted(counted.items()))
        terminalreporter.write_line(f"{word}  {told}")
