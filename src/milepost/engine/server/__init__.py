"""Engine and generator for a served model: vLLM, SGLang or another OpenAI-compatible server."""
