"""The boards: how to speak to a locker board of each make."""
