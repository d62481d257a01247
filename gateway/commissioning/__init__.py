"""Commissioning: boards found, doors taught and proved, and the site's map made of it in one turn.

Pure rooms decide what is known; `bench`, `rig` and `keeping` carry bytes, time and the disk.
"""
