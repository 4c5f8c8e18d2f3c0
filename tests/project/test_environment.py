"""The closed environment that all other tests rely on."""

import os
from pathlib import Path


def test_caches_lie_in_a_folder_of_this_session() -> None:
    import huggingface_hub.constants

    home = Path(os.environ["HF_HOME"])
    assert "milepost-tests-" in str(home)
    assert Path(huggingface_hub.constants.HF_HUB_CACHE).is_relative_to(home)


def test_the_only_hub_is_on_this_machine() -> None:
    import huggingface_hub.constants

    assert huggingface_hub.constants.ENDPOINT.startswith("http://127.0.0.1:")


def test_the_offline_hub_answers(hub: str) -> None:
    import huggingface_hub

    branches = huggingface_hub.list_repo_refs("tiny/english-4m").branches
    assert "step-100" in {branch.name for branch in branches}


def test_the_tiny_llama_encodes_any_text_and_answers_it(tiny_llama: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    ids = tokenizer("Zürich, 北京!")["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Zürich, 北京!"
    with torch.inference_mode():
        assert model(torch.tensor([ids])).logits.isfinite().all()
