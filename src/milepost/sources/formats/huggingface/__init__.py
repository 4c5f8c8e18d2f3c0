"""Hugging Face folders: layout and safetensors headers."""
