"""The installer's listener on the LAN: pairing by physical presence, then a few things to do."""
