"""A real HTTP server with OpenAI's completions endpoint around a small model, as vLLM would serve it.

It computes with transformers alone, one request after the other, so it owes nothing to what is tested.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

ECHO, PROMPT_LOGPROBS, NO_LOGPROBS = "echo", "prompt_logprobs", "none"


class Served:
    """The model, the requests that it got, and the faults that it shows."""

    def __init__(self, module: Any, tokenizer: Any, knows: str, busy: int, names: tuple[str, ...]) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.knows = knows
        self.busy = busy
        self.names = names
        self.asked: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.url = ""

    @torch.no_grad()
    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        tokens = asked["prompt"]
        if asked.get("echo") or asked.get("prompt_logprobs"):
            return self._scored(tokens, asked)
        text, generated = "", list(tokens)
        for _ in range(asked["max_tokens"]):
            logits = self.module(torch.tensor([generated])).logits[0, -1]
            generated.append(int(logits.argmax()))
            text = self.tokenizer.decode(generated[len(tokens) :], skip_special_tokens=True)
            stops = [text.index(stop) for stop in asked.get("stop", ()) if stop in text]
            if stops:
                text = text[: min(stops)]
            if stops or generated[-1] == self.tokenizer.eos_token_id:
                break
        return {"text": text}

    def _scored(self, tokens: list[int], asked: dict[str, Any]) -> dict[str, Any]:
        wanted = ECHO if asked.get("echo") else PROMPT_LOGPROBS
        if self.knows != wanted:
            raise ValueError(f"{wanted} is not supported")
        logprobs = self.module(torch.tensor([tokens[:-1]])).logits[0].log_softmax(-1)
        best = logprobs.max(-1)
        own = [float(at[token]) for at, token in zip(logprobs, tokens[1:], strict=True)]
        if wanted == ECHO:
            likeliest = [{str(int(i)): float(v)} for v, i in zip(best.values, best.indices, strict=True)]
            return {
                "text": "",
                "logprobs": {"token_logprobs": [None, *own], "top_logprobs": [None, *likeliest]},
            }
        ranks = [int((at > at[token]).sum()) + 1 for at, token in zip(logprobs, tokens[1:], strict=True)]
        ranked = [
            {str(token): {"logprob": logprob, "rank": rank}}
            for token, logprob, rank in zip(tokens[1:], own, ranks, strict=True)
        ]
        return {"text": "?", "prompt_logprobs": [None, *ranked]}


@contextmanager
def serving(
    module: Any, tokenizer: Any, *, knows: str = ECHO, busy: int = 0, names: tuple[str, ...] = ("tiny",)
) -> Iterator[Served]:
    """Serve on a free port; `knows` is how the server gives log-probabilities of prompts, `busy` how many
    first requests it refuses with 503."""
    served = Served(module, tokenizer, knows, busy, names)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/v1/models":
                self._answer(200, {"object": "list", "data": [{"id": name} for name in served.names]})
            else:
                self._answer(404, {"error": {"message": "no such page"}})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                if served.busy:
                    served.busy -= 1
                    self._answer(503, {"error": {"message": "busy"}})
                    return
                served.asked.append(asked)
                try:
                    choice = served.complete(asked)
                except ValueError as error:
                    self._answer(400, {"error": {"message": str(error)}})
                    return
            self._answer(200, {"object": "text_completion", "choices": [{"index": 0, **choice}]})

        def _answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
