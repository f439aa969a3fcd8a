"""Servers for tests: a given one, else one that is started here, else a loud skip."""
