"""One file for each command of `locker-gateway`: each has `command`, a click.Command."""
