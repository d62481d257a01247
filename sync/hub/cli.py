"""`locker-hub`: the cloud end. This version has the sites' end only, and says so."""

import sys

import click

# EX_UNAVAILABLE of sysexits.h: a script can tell "not in this version" from "failed".
_UNAVAILABLE = 69


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="parcel-locker-gateway", prog_name="locker-hub")
def main() -> None:
    """Run the hub, the cloud end of the sites' logs. It comes with a later version.

    Sites of this version need none: they collect, take deposits and keep their log by themselves.
    """
    click.echo(
        "hub.not_in_this_version: the hub comes with a later version; "
        "a site works without it (see locker-gateway --help)",
        err=True,
    )
    sys.exit(_UNAVAILABLE)
