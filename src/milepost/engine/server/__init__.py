"""A model that somebody else serves: vLLM, SGLang or another server with OpenAI's completions endpoint."""
