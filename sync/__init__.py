"""The book: what both ends must agree on."""
