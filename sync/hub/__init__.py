"""The hub: the other end of the book."""
