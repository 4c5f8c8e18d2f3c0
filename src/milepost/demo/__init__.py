"""The demo: an invented world, a tiny model that learns it, and questions about it."""
