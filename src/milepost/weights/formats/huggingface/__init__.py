"""Tensors of Hugging Face folders: safetensors and `pytorch_model.bin`."""
