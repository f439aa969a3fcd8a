"""The only room that speaks Kafka: intake of usage events, relay of what was recorded, topics."""

__all__: list[str] = []
