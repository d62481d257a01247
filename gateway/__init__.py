"""This site: what it decides, shows and runs."""
