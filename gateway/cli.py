"""`locker-gateway`: the root of the command line.

A command's module is loaded when the command is used, so that `--help` and a small command stay
quick on a small machine. Trouble that one of our floors names ends the program with exit status 1
and one line on stderr: code, remedy, evidence. Anything else is a bug and shows its traceback.
"""

import importlib
from typing import Final

import click
from typing_extensions import override

from adapters.errors import AdapterError
from certs.errors import CertsError
from gateway.errors import GatewayError
from sync.errors import SyncError

# Name -> (module with `command`, the line in --help). tests/house compares it with the modules.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("gateway.commands.run", "Run the site in the foreground."),
    "init": ("gateway.commands.init", "Make a new site: its keys, its log."),
    "enrol": ("gateway.commands.enrol", "Let a hub govern this site, by a claim that it made."),
    "site": ("gateway.commands.site", "Import and export the map of boards and doors."),
    "courier": ("gateway.commands.courier", "Add, list and remove couriers."),
    "support": ("gateway.commands.support", "Help at one door, with a reason on record."),
    "code": ("gateway.commands.code", "Show the pick-up code of a parcel that is here."),
    "key": (
        "gateway.commands.key",
        "Look after the keys of this site: import, rotate, seal, check.",
    ),
    "discover": ("gateway.commands.discover", "Which gateways are on this network?"),
    "pairing": (
        "gateway.commands.pairing",
        "Let installers pair, see who is paired, end it.",
    ),
    "pair": ("gateway.commands.pair", "Pair this computer with a gateway on the LAN."),
    "remote": (
        "gateway.commands.remote",
        "Ask a gateway on the LAN that this computer is paired with.",
    ),
    "sync": (
        "gateway.commands.sync",
        "Show how the exchange with the hub stands; carry it on a stick.",
    ),
    "restored": ("gateway.commands.restored", "Say that this data folder came out of a backup."),
    "fence": ("gateway.commands.fence", "Show and lift the fence after a restore."),
    "replace": (
        "gateway.commands.replace",
        "Make a new gateway in the place of one that is lost.",
    ),
    "decommission": (
        "gateway.commands.decommission",
        "End this site for good: a last entry, then the wipe.",
    ),
    "annex": ("gateway.commands.annex", "Erase personal data; the log still verifies."),
    "doctor": ("gateway.commands.doctor", "Is this machine fit for a site?"),
    "trends": ("gateway.commands.trends", "Show what wears out, as the log tells."),
    "diagnostics": (
        "gateway.commands.diagnostics",
        "Write one file for whoever helps, without a secret.",
    ),
    "status": ("gateway.commands.status", "Show doors, custody and health of the running site."),
    "board": ("gateway.commands.board", "Find, address, teach and test boards; or speak to one."),
    "log": ("gateway.commands.log", "Show, verify and prove the signed log of a site."),
    "demo": (
        "gateway.commands.demo",
        "Start simulated boards and a gateway, and play a short day.",
    ),
    "sim": ("gateway.commands.sim", "Play simulated histories; check every invariant."),
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
        except (AdapterError, CertsError, GatewayError, SyncError) as trouble:
            raise click.ClickException(str(trouble)) from trouble


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parcel-locker-gateway", prog_name="locker-gateway")
def main() -> None:
    """Run and look after one parcel-locker site."""
