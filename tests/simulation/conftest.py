"""Prints at the end how often each checker had something to check, and each fault struck."""

from collections import Counter

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the chunks of the simulation recorded, in whichever process they ran."""
    histories = inputs = 0
    checks: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in getattr(report, "user_properties", ()):
            if name == "simulation" and report.when == "call":
                for given, checked, struck in value:
                    histories += 1
                    inputs += given
                    checks.update(checked)
                    faults.update(struck)
    if histories:
        write = terminalreporter.write_line
        terminalreporter.section(f"simulation: {histories:,} histories, {inputs:,} inputs")
        write("checks  " + "  ".join(f"{name} {count:,}" for name, count in sorted(checks.items())))
        write("faults  " + "  ".join(f"{name} {count:,}" for name, count in sorted(faults.items())))
