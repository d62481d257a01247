"""The pure heart: inputs in, outputs out."""
