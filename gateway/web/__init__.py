"""The pages of this site."""
