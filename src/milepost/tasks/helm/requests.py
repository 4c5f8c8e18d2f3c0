"""HELM's request states to Milepost's requests: each different one once, and the docs they belong to.

A doc is an instance, or a perturbed version of one. A request asks for tokens and their log-probabilities:
those that the model generates, or those of the prompt (`echo_prompt` with `max_tokens=0`).
Source: helm/clients/huggingface_client.py (0.5.16), whose ways of tokenizing and stopping these are.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

from helm.benchmark.adaptation.request_state import RequestState
from helm.common.general import asdict_without_nones
from helm.common.request import Request as HelmRequest

from milepost.errors import TaskError
from milepost.tasks.helm.answers import HelmClient
from milepost.tasks.helm.states import Adapted, dump_instance, dump_states
from milepost.tasks.question_source import DocRecord, TaskRequests
from milepost.text.language import Phrase
from milepost.types.generation import Generation, GenerationDefaults
from milepost.types.requests import Request

GREEDY_TEMPERATURE = 1e-7
"""HELM's client divides the logits by it where a request has temperature 0."""
DEFAULT_TOP_K = 50
"""transformers' own, where a model's generation config says nothing."""
SAMPLED_OPTIONS = (
    "top_k",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "no_repeat_ngram_size",
)
"""What a model's generation config can still say: HELM's client sets temperature and top_p itself."""


def requests_of(
    name: str, adapted: Adapted, client: HelmClient, defaults: GenerationDefaults
) -> TaskRequests:
    """Return the requests of a run, ordered by the doc that asks them first, and its docs.

    The `arguments` of a doc hold its request states, each with the place of its request.

    Args:
        name: of the task.
        defaults: what the model's own files say of how texts end and are chosen.

    Raises:
        TaskError: a request asks for something else than tokens of text.
    """
    by_doc: list[list[RequestState]] = []
    for state in adapted.states:
        if not by_doc or by_doc[-1][0].instance is not state.instance:
            by_doc.append([])
        by_doc[-1].append(state)
    collected = _Requests(client, defaults)
    docs = []
    for doc_id, states in enumerate(by_doc):
        places = [collected.place_of(name, doc_id, state.request) for state in states]
        docs.append(_doc(doc_id, states, places))
    return TaskRequests(name, collected.requests, docs, task_generations=list(collected.task_generations))


def _doc(doc_id: int, states: list[RequestState], places: list[int]) -> DocRecord:
    instance = states[0].instance
    doc = dump_instance(instance)
    target = _target(states[0])
    return DocRecord(
        doc_id=doc_id,
        doc=doc,
        target=target,
        arguments=dump_states(states, places),
        doc_hash=_hash(doc),
        prompt_hash=_hash(states[0].request.prompt),
        target_hash=_hash(target),
    )


def _target(state: RequestState) -> str:
    """Return the right answer, after its letter where letters are offered; several as JSON."""
    right = [reference.output.text for reference in state.instance.all_correct_references]
    if state.reference_index is None:
        letters = {text: letter for letter, text in (state.output_mapping or {}).items()}
        right = [f"{letters[text]}. {text}" if text in letters else text for text in right]
    return right[0] if len(right) == 1 else json.dumps(right, ensure_ascii=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


LOOKED_BACK = 1000
"""Requests among which those of the same doc are counted."""


@dataclass(slots=True)
class _Requests:
    """Requests so far, by what is asked; HELM's cache gives equal requests one answer as well."""

    client: HelmClient
    defaults: GenerationDefaults
    requests: list[Request] = field(default_factory=list)
    task_generations: list[Generation] = field(default_factory=list)
    """The requests' generations without what the models' own files say."""
    _place: dict[str, int] = field(default_factory=dict)

    def place_of(self, task: str, doc_id: int, asked: HelmRequest) -> int:
        if asked.embedding or asked.multimodal_prompt is not None or asked.response_format is not None:
            raise TaskError(
                Phrase("{task}: doc {doc_id} asks for something else than text", task=task, doc_id=doc_id),
                "leave it out",
            )
        key = json.dumps(asdict_without_nones(asked), sort_keys=True)
        if key not in self._place:
            self._place[key] = len(self.requests)
            index = sum(request.doc_id == doc_id for request in self.requests[-LOOKED_BACK:])
            prompt = self.client.get_prompt(asked)
            self.task_generations.append(self._generation(asked, GenerationDefaults()))
            generation = self._generation(asked, self.defaults)
            self.requests.append(Request("generate_until", doc_id, index, prompt, "", generation))
        return self._place[key]

    def _generation(self, asked: HelmRequest, defaults: GenerationDefaults) -> Generation:
        generation = Generation(until=(), max_new_tokens=asked.max_tokens, returns="tokens")
        if asked.echo_prompt and asked.max_tokens == 0 and asked.num_completions == 1:
            return generation
        options = {"top_k": DEFAULT_TOP_K, **dict(defaults.options)}
        sampled = asked.temperature != 0
        stops = [tuple(self.client.encode_stop(stop)) for stop in asked.stop_sequences]
        stop_tokens = defaults.stop_tokens
        if len(stops) == 1 and len(stops[0]) == 1:
            stop_tokens, stops = stops[0], []
        if self.client.end_of_text_id is not None and not asked.echo_prompt:
            # HELM cuts the text there, so that whatever would follow is dropped.
            stop_tokens = tuple(dict.fromkeys((*stop_tokens, self.client.end_of_text_id)))
        chosen = {name: value for name, value in options.items() if name in SAMPLED_OPTIONS}
        if asked.top_p != 1:
            chosen["top_p"] = float(asked.top_p)
        return replace(
            generation,
            stop_tokens=stop_tokens,
            stop_sequences=tuple(stops),
            do_sample=sampled,
            temperature=asked.temperature if sampled else GREEDY_TEMPERATURE,
            options=tuple(sorted(chosen.items())),
            n_answers=asked.num_completions,
            n_alternatives=asked.top_k_per_token if asked.top_k_per_token > 1 else 0,
            seed=0 if asked.random is None else int(_hash(asked.random)[:8], 16),
        )
