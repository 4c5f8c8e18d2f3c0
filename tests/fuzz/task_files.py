"""Write random task files and docs: everything in lm_eval's task guide, with oddities of real data."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import yaml

WORDS = (
    "the", "cat", "sat", "on", "mat", "dog", "ran", "after", "it", "small", "green", "door", "tower",
    "nobody", "knows", "yes", "no", "both", "naïve", "café", "日本語", "1234", "A.", "B.", "-", "…", "don't",
    "x=1;",
)  # fmt: skip
TEMPLATES = (
    "q", "{{q}}", "Question: {{q}}\nAnswer:", "{{q.strip()}} ", "{{q|upper}}:", "{{passage}}\n\n{{q}}",
    "{% if n > 2 %}many {% endif %}{{q}}", "{{q}}{% for c in choices %}\n{{loop.index}}. {{c}}{% endfor %}\n",
    "{% set s = q ~ '?' %}{{ s }}", "{{q}} ({{n}})", "",
)  # fmt: skip
DELIMITERS = (" ", " ", " ", "", "\n", "  ", ": ")


def random_text(random: Random, least: int = 1, most: int = 8) -> str:
    words = [random.choice(WORDS) for _ in range(random.randint(least, most))]
    text = random.choice((" ", " ", " ", "  ", "\n")).join(words)
    return (
        random.choice(("", "", "", "", " ", "\n")) + text + random.choice(("", "", "", "", " ", ".", "\n\n"))
    )


def random_docs(random: Random) -> list[dict[str, Any]]:
    n_choices, same = random.randint(2, 5), random.random() < 0.6
    docs = []
    for number in range(random.randint(4, 9)):
        n = n_choices if same else random.randint(2, 5)
        choices = [random_text(random, 1, 4) for _ in range(n)]
        if random.random() < 0.05:
            choices[0] = choices[-1]
        label = random.randrange(n)
        docs.append({
            "q": random_text(random), "n": number, "choices": choices, "label": label,
            "labels": sorted(random.sample(range(n), random.randint(1, n))), "right": choices[label],
            "answer": random_text(random, 1, 5), "answers": [random_text(random, 1, 2) for _ in range(2)],
            "passage": random_text(random, 5, 120 if random.random() < 0.2 else 20),
            "contexts": [random_text(random, 2, 6) for _ in range(n)],
        })  # fmt: skip
    return docs


def random_task(random: Random, name: str, data: Path) -> dict[str, Any]:
    """Return the content of a task file whose docs are in `data`."""
    files = {"test": str(data)} | ({"train": str(data)} if random.random() < 0.5 else {})
    content: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
    }
    kind = random.choice((_multiple_choice, _multiple_choice, _winogrande, _continuation, _rolling, _texts))
    content |= kind(random)
    if random.random() < 0.3:
        content["description"] = random.choice(("Be brief.", "Answer:\n", "{{q}} first", "  "))
    if content["output_type"] != "loglikelihood_rolling":
        _few_shots(random, content)
        if random.random() < 0.15 and content["output_type"] != "loglikelihood":
            content["gen_prefix"] = random.choice(("So:", "Answer: ", "{{n}}."))
    if random.random() < 0.2:
        content["metadata"] = {"version": random.choice((0, 1.0, "2a"))}
    return content


def _multiple_choice(random: Random) -> dict[str, Any]:
    static = random.random() < 0.2
    choices: Any = random.choice(("choices", "{{choices}}"))
    target: Any = random.choice(("label", "{{label}}", "{{choices[label]}}", "right", "labels"))
    if static:
        choices = random.choice((["yes", "no"], {"a": "A", "b": "B"}))
        target = random.choice((0, 1, "{{n % 2}}"))
    known = ("acc", "acc_norm", "acc_bytes", "exact_match", "acc_mutual_info")
    metrics = random.sample(known, random.randint(1, 3))
    if target == "labels":
        metrics = [metric for metric in metrics if metric != "acc_mutual_info"] or ["acc"]
    return {
        "output_type": "multiple_choice",
        "doc_to_text": random.choice(TEMPLATES),
        "doc_to_choice": choices,
        "doc_to_target": target,
        "target_delimiter": random.choice(DELIMITERS),
        "metric_list": [{"metric": metric} for metric in metrics],
    }


def _winogrande(random: Random) -> dict[str, Any]:
    """Return a task whose choices stand in the prompt, before the same scored text."""
    return {
        "output_type": "multiple_choice",
        "doc_to_text": random.choice(("label", "{{label}}")),
        "doc_to_choice": random.choice(("contexts", "{{contexts}}")),
        "doc_to_target": random.choice(("answer", "{{answer}}")),
        "target_delimiter": random.choice(DELIMITERS),
        "metric_list": [{"metric": "acc"}],
    }


def _continuation(random: Random) -> dict[str, Any]:
    metrics = [{"metric": "perplexity"}, {"metric": "acc"}]
    return {
        "output_type": "loglikelihood",
        "doc_to_text": random.choice(TEMPLATES),
        "doc_to_target": random.choice((" {{answer}}", "answer", "{{right}}", " {{passage}}")),
        "metric_list": metrics[: random.randint(1, 2)],
    }


def _rolling(random: Random) -> dict[str, Any]:
    metrics = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    return {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": random.choice(("passage", "{{passage}}", "{{q}} {{passage}}")),
        "metric_list": [{"metric": metric} for metric in random.sample(metrics, random.randint(1, 3))],
    }


def _texts(random: Random) -> dict[str, Any]:
    until = random.choice((["\n"], [".", "\n\n"], ["the"], [" "], ["zzz"], "\n"))
    content: dict[str, Any] = {
        "output_type": "generate_until",
        "doc_to_text": random.choice([template for template in TEMPLATES if template]),
        "doc_to_target": random.choice(("answer", "{{right}}")),
        "generation_kwargs": {
            "until": until, "do_sample": False, "max_gen_toks": random.choice((1, 3, 8, 16)),
        },
        "metric_list": [{
            "metric": "exact_match", "aggregation": "mean", "higher_is_better": True,
            "ignore_case": random.random() < 0.5, "ignore_punctuation": random.random() < 0.5,
        }],
    }  # fmt: skip
    if random.random() < 0.4:
        steps = [
            {"function": "regex", "regex_pattern": random.choice(("([a-z]+)", "(\\d+)", "(.)"))},
            {"function": "remove_whitespace"}, {"function": "lowercase"},
        ]  # fmt: skip
        chosen = random.sample(steps, random.randint(0, 2))
        content["filter_list"] = [{"name": "one", "filter": [*chosen, {"function": "take_first"}]}]
        if random.random() < 0.5:
            content["filter_list"].append({"name": "two", "filter": [{"function": "take_first"}]})
    return content


def _few_shots(random: Random, content: dict[str, Any]) -> None:
    if random.random() < 0.5:
        return
    content["num_fewshot"] = random.randint(0, 2)
    content["fewshot_split"] = "train" if "train" in content["dataset_kwargs"]["data_files"] else "test"
    if random.random() < 0.4:
        content["fewshot_config"] = {"sampler": random.choice(("default", "first_n"))}
    if random.random() < 0.3:
        content["fewshot_delimiter"] = random.choice(("\n", "\n\n", " | "))


def write_example(random: Random, folder: Path) -> list[str]:
    """Write one to three tasks, some in a group or with an include; returns the names for --tasks."""
    folder.mkdir(parents=True)
    names = []
    for number in range(random.randint(1, 3)):
        name = f"t{number}"
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(doc) + "\n" for doc in random_docs(random)), "utf-8")
        content = random_task(random, name, data)
        if random.random() < 0.2:
            moved = {key: content.pop(key) for key in ("metric_list", "test_split")}
            (folder / f"{name}.inc").write_text(yaml.safe_dump(moved, allow_unicode=True), "utf-8")
            content["include"] = f"{name}.inc"
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
        names.append(name)
    if len(names) > 1 and random.random() < 0.3:
        group: dict[str, Any] = {"group": "g", "task": names}
        if random.random() < 0.7:
            group["aggregate_metric_list"] = [{"metric": "acc", "weight_by_size": random.random() < 0.5}]
        (folder / "g.yaml").write_text(yaml.safe_dump(group), "utf-8")
        return ["g"]
    return names
