"""A simulated bank that answers like a real one."""
