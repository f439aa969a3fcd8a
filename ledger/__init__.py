"""The application: commands, queries, settings and wiring over the rooms below."""
