"""A seeded step simulation of the real core: see README.md."""
