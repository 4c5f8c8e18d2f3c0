"""Generators: continue prompts token by token until their texts end."""
