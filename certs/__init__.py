"""Who: keys, signatures, checkpoints. Who said this, and may they."""
