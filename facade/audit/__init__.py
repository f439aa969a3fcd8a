"""AuditService: a module for each of its parts, `service` puts them together."""
