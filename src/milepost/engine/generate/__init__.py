"""Texts: prompts are continued token by token until they end."""
