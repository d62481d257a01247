"""One file for each command of `locker-hub`: each has `command`, a click.Command."""
