"""Count kernels and bytes of one decoder layer, as Inductor lowers it for an H100 without having one.

    pip install triton; python benchmarks/layer_kernels.py [--tokens 32768]

The layer is traced for a CPU; its operators are then lowered as if their tensors lay on a GPU, so nothing is
computed and no card is needed. Prints a row for the layer as the engine compiles it, its attention opaque,
and one as the engine did before, with keys kept and NaN guarded inside the layer. Attention itself and the
seven matrix products are the same in both.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

CONTEXT, KEY_HEADS, HEAD_SIZE = 2048, 4, 64
SHAPE = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 1,
    "num_key_value_heads": KEY_HEADS, "vocab_size": 50_257, "max_position_embeddings": 2048,
}  # fmt: skip
"""The 500M model of the tables."""


class H100:
    """Properties of an H100 that Inductor reads."""

    name, major, minor = "H100", 9, 0
    multi_processor_count, warp_size, total_memory, L2_cache_size = 132, 32, 80 * 2**30, 50 * 2**20
    regs_per_multiprocessor, max_threads_per_multi_processor, max_threads_per_block = 65_536, 2048, 1024
    shared_memory_per_block, shared_memory_per_block_optin = 49_152, 232_448
    shared_memory_per_multiprocessor, gcnArchName, is_integrated = 233_472, "", 0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=32_768)
    n_tokens = parser.parse_args(arguments).tokens
    for name in ("guarded", "opaque"):
        kernels, n_bytes = count(name, n_tokens)
        print(f"{name}: {kernels} kernels, {n_bytes / 1e9:.3f} GB a layer of {n_tokens} tokens", flush=True)


def count(attention: str, n_tokens: int) -> tuple[int, int]:
    """Return one layer's generated kernels, and the bytes that all operators read and write."""
    from torch._inductor import metrics
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    from transformers import AttentionInterface

    from milepost.engine.attention_op import NAME

    layer = layer_with(NAME if attention == "opaque" else attention)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        AttentionInterface.register("guarded", guarded_attention(n_tokens))
        graph, inputs = operators(layer, n_tokens)
        with card():
            for node in graph.graph.nodes:
                if "device" in node.kwargs:
                    node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
                node.meta["val"] = torch.utils._pytree.tree_map(on_card, node.meta.get("val"))
            (output,) = (node for node in graph.graph.nodes if node.op == "output")
            output.meta["original_output_strides"] = [
                one.meta["val"].stride() if isinstance(one, torch.fx.Node) else None for one in output.args[0]
            ]
            graph.recompile()
            on_it = [on_card(one) for one in inputs]
            lowering: Any = GraphLowering(
                graph, example_inputs=on_it, shape_env=ShapeEnv(), is_inference=True
            )
            metrics.reset()
            with V.set_graph_handler(lowering), V.set_fake_mode(mode), DebugContext():
                lowering.run(*on_it)
                lowering.codegen()
                return metrics.generated_kernel_count, lowering.count_bytes()[0]


def layer_with(attention: str) -> Any:
    """Return the layer without weights; `attention` is a name that transformers knows."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    config = LlamaConfig(**SHAPE)
    config._attn_implementation_internal = attention
    with torch.device("meta"):
        return LlamaDecoderLayer(config, 0).to(torch.bfloat16).eval()


def operators(layer: Any, n_tokens: int) -> tuple[torch.fx.GraphModule, list[Any]]:
    """Return the layer's graph of torch operators for a CPU, and fake inputs."""
    from torch._inductor.compile_fx import compile_fx

    for name, parameter in list(layer.named_parameters()):
        owner, _, last = name.rpartition(".")
        fake = torch.nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype), requires_grad=False)
        setattr(layer.get_submodule(owner), last, fake)
    traced: list[tuple[torch.fx.GraphModule, list[Any]]] = []

    def take(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        traced.append((graph, inputs))
        return graph.forward

    class LoweredError(Exception):
        """Stops the compiler once the operators are known."""

    lowered: list[tuple[torch.fx.GraphModule, list[Any]]] = []

    def stop(graph: torch.fx.GraphModule, inputs: list[Any], **_: Any) -> Any:
        lowered.append((graph, inputs))
        raise LoweredError

    rotary = torch.empty(1, n_tokens, HEAD_SIZE, dtype=torch.bfloat16)
    torch.compiler.reset()
    run = torch.compile(layer.forward, backend=take, dynamic=False)
    run(
        torch.empty(1, n_tokens, SHAPE["hidden_size"], dtype=torch.bfloat16),
        position_embeddings=(rotary,) * 2,
    )
    with suppress(LoweredError):
        compile_fx(*traced[0], inner_compile=stop)
    return lowered[0]


def guarded_attention(n_tokens: int) -> Any:
    """Do what was around FlexAttention inside the layer before it became opaque."""

    def kept(dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
        return torch.empty(1, KEY_HEADS, CONTEXT, HEAD_SIZE, dtype=dtype)

    above, below = (kept(), kept()), (kept(), kept())
    keep = torch.zeros(CONTEXT, dtype=torch.int64)
    key_end = torch.zeros(CONTEXT + n_tokens, dtype=torch.int64)

    def attend(_m: Any, query: Any, key: Any, value: Any, _mask: Any, **_: Any) -> tuple[torch.Tensor, None]:
        both = [torch.cat([old, new], 2) for old, new in zip(above, (key, value), strict=True)]
        for own, new in zip(below, both, strict=True):
            own.copy_(new.index_select(2, keep))
        sound = torch.isfinite(both[0]).all(3).all(1)[0] & torch.isfinite(both[1]).all(3).all(1)[0]
        keys, values = (torch.where(sound[:, None], one, 0) for one in both)
        output = torch.ops.milepost.attend(query, keys, values, 0.125, 0, 0.0).transpose(1, 2)
        broken = (~sound).to(torch.int32)
        first = (torch.arange(len(broken), device=query.device) - CONTEXT).clamp(min=0)
        change = torch.zeros(n_tokens + 1, dtype=torch.int32, device=query.device)
        change = change.index_add(0, first, broken)
        change = change.index_add(0, torch.maximum(key_end, first), -broken)
        sees = change.cumsum(0)[:-1] > 0
        output = torch.where(sees[None, None, :, None], torch.nan, output)
        return output.transpose(1, 2).contiguous(), None

    return attend


def on_card(value: Any) -> Any:
    """Return a fake tensor of the same layout on the card."""
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")


@contextmanager
def card() -> Iterator[None]:
    """Make torch, Inductor and Triton see an H100 while the context is open."""
    import torch._inductor.scheduler as scheduler
    import triton
    from torch._dynamo.device_interface import CudaInterface
    from triton.backends.compiler import GPUTarget

    class Driver:
        def get_current_target(self) -> GPUTarget:
            return GPUTarget("cuda", 90, 32)

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cuda", 0)

        def get_current_device(self) -> int:
            return 0

    triton.runtime.driver.set_active(Driver())
    answers: dict[str, Any] = {
        "is_available": True, "device_count": 1, "current_device": 0, "get_device_properties": H100,
        "get_compute_capability": 90, "is_triton_capable": True, "raise_if_triton_unavailable": None,
        "is_bf16_supported": True, "get_raw_stream": 0, "exchange_device": 0, "maybe_exchange_device": 0,
        "set_device": None, "synchronize": None,
    }  # fmt: skip
    worker = type("Worker", (), {"get_device_properties": lambda *_: H100, "current_device": lambda: 0})
    on_torch: dict[str, Any] = {
        "is_available": True, "device_count": 1, "current_device": 0, "get_device_properties": H100,
        "get_device_capability": (9, 0), "_lazy_init": None,
    }  # fmt: skip
    with (
        mock.patch.multiple(
            CudaInterface, Worker=worker, **{name: returning(value) for name, value in answers.items()}
        ),
        mock.patch.multiple(torch.cuda, **{name: returning(value) for name, value in on_torch.items()}),
        mock.patch.object(scheduler, "has_triton", returning(True)),
        mock.patch.object(scheduler, "device_need_guard", returning(False)),
    ):
        yield


def returning(value: Any) -> Any:
    """Return a function that always returns the same value."""
    return staticmethod(lambda *_, **__: value)


if __name__ == "__main__":
    main()
