"""Folding the log anew: beside the live rows to compare, or to take their place.

`comparing` finds the rows that differ, `replaying` folds into a fresh file, `rebuild` builds a new
generation of the projections beside the one that is served and promotes it, `shards` does it for
every shard that the settings name.
"""
