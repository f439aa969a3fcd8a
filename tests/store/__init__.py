"""What every store has to keep; one suite for every backend."""
