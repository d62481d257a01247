"""`locker-hub`: the root of the command line.

A command's module is loaded when the command is used. Trouble that one of our floors names ends the
program with exit status 1 and one line on stderr: code, remedy, evidence. Anything else is a bug
and shows its traceback.
"""

import importlib
from typing import Final

import click
from typing_extensions import override

from certs.errors import CertsError
from sync.errors import SyncError

# Name -> (module with `command`, the line in --help). tests/house compares it with the modules.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "init": ("sync.hub.commands.init", "Make a new hub: its keys, its configuration."),
    "ca": (
        "sync.hub.commands.ca",
        "Make, show, renew and rotate what the gateways of this operator trust.",
    ),
    "claim": (
        "sync.hub.commands.claim",
        "Make, list and end the claims by which gateways enrol.",
    ),
    "device": (
        "sync.hub.commands.device",
        "List the gateways of a site; switch one off, now, or let it in again.",
    ),
    "backend": (
        "sync.hub.commands.backend",
        "Let a backend pull the logs of sites by a certificate, reading only.",
    ),
    "run": ("sync.hub.commands.run", "Run the hub in the foreground."),
    "site": (
        "sync.hub.commands.site",
        "Add, list and show sites; name a new gateway's key; lift a site's fence.",
    ),
    "account": ("sync.hub.commands.account", "Make, list and end the accounts of the API."),
    "open": (
        "sync.hub.commands.open",
        "Ask SITE to open DOOR within five minutes; the site decides.",
    ),
    "approve": (
        "sync.hub.commands.approve",
        "Approve the request ID at SITE; without ID, list what waits there.",
    ),
    "grant": (
        "sync.hub.commands.grant",
        "Issue rights as QR codes, list and revoke them, show what is denied.",
    ),
    "vkey": ("sync.hub.commands.vkey", "Print the keys that a site's gateway is to know."),
    "key": ("sync.hub.commands.key", "Wrap the hub's keys with its credential; check them."),
    "code-key": ("sync.hub.commands.code_key", "Write a site's code key to a file."),
    "restored": ("sync.hub.commands.restored", "Say that the database came out of a backup."),
    "sync": ("sync.hub.commands.sync", "Carry the exchange with a site on a stick."),
    "status": ("sync.hub.commands.status", "Show health and sites of the running hub."),
}


class CommandTable(click.Group):
    """A group whose commands are named in a table and loaded when used."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            msg = f"{COMMANDS[cmd_name][0]}.command is no click.Command"
            raise TypeError(msg)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without loading a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (CertsError, SyncError) as trouble:
            raise click.ClickException(str(trouble)) from trouble


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parcel-locker-gateway", prog_name="locker-hub")
def main() -> None:
    """Run the hub, the cloud end of the sites' logs."""
