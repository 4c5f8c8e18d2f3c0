"""A training run made on the spot: an invented world, a tiny model that learns it, and questions about it."""
