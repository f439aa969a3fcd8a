"""Faults from outside: killed processes, full disks, refused data directories, clocks that jump."""
