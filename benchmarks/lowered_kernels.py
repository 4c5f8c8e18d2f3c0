"""Assemble the packed engine's attention kernel, as torch generates it for a card that this machine lacks.

    python -m venv /tmp/cuda && /tmp/cuda/bin/pip install torch==2.11.0 transformers==5.17.0 pyarrow
    /tmp/cuda/bin/python benchmarks/lowered_kernels.py --card 86 --heads 64 128 256

Needs a torch that was built for CUDA, and Triton; no GPU and no driver. Where `kernels.py` assembles a kernel
that was ported by hand, here Inductor lowers the very function that the engine compiles, on tensors without
memory, for a card whose properties are made up; Triton compiles what comes out, and ptxas assembles it.
Prints for each head size and dtype the shared memory of the kernel, what `milepost.engine.kernel_options`
computes for it, and the card's limit. Uses internals of torch 2.11, so another version may need changes.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

TOKENS, CONTEXT, QUERY_HEADS, KEY_HEADS = 2048, 512, 8, 2
KERNEL = re.compile(
    r"async_compile\.triton\('(\w*flex_attention\w*|triton_tem_\w+)', '''(.*?)''', device_str", re.DOTALL
)


class _LoweredError(Exception):
    """Carries the generated code out of the compiler."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--card", type=int, default=86, help="compute capability, such as 86")
    parser.add_argument("--heads", type=int, nargs="+", default=(16, 32, 64, 80, 96, 128, 192, 256))
    parser.add_argument("--dtypes", nargs="+", default=("bfloat16", "float16", "float32"))
    parser.add_argument("--softcap", type=float, help="of the scores, as Gemma 2 has it")
    parser.add_argument("--every", action="store_true", help="every tile that fits, not the first alone")
    options = parser.parse_args(arguments)
    from milepost.engine.kernel_options import Card, fitting_options, shared_bytes

    capability = divmod(options.card, 10)
    card = Card.named(capability)
    pretend(card)
    print("capability,dtype,head,M,N,stages,warps,softcap,shared,said,limit,seconds")
    for dtype in options.dtypes:
        for head in options.heads:
            fitting = fitting_options(head, getattr(torch, dtype), card)
            for tile in fitting if options.every else fitting[:1]:
                start = time.perf_counter()
                shared = assembled(lowered(head, getattr(torch, dtype), tile, options.softcap), options.card)
                computed = shared_bytes(tile, head, getattr(torch, dtype), capability)
                cells = (options.card, dtype, head, tile.rows, tile.keys, tile.stages, tile.warps,
                         options.softcap or 0, shared, computed, card.shared_bytes,
                         round(time.perf_counter() - start, 1))  # fmt: skip
                print(",".join(map(str, cells)), flush=True)
                if not shared <= computed <= card.shared_bytes:
                    raise SystemExit("the formula is wrong for this kernel")


def _do_nothing(*_: Any) -> None:
    pass


def pretend(card: Any) -> None:
    """Make torch and Triton see such a card in this process."""
    import torch._dynamo.device_interface as interfaces
    import torch._inductor.config
    import torch._inductor.fx_passes.joint_graph as joint
    import torch._inductor.fx_passes.post_grad as post
    import torch._subclasses.fake_tensor as fake
    import triton
    from triton.backends.compiler import GPUTarget

    major, minor = card.capability
    properties = types.SimpleNamespace(
        name="none", major=major, minor=minor, multi_processor_count=100, total_memory=24 << 30,
        shared_memory_per_block_optin=card.shared_bytes, shared_memory_per_block=49_152,
        shared_memory_per_multiprocessor=card.shared_bytes + 1024, warp_size=32,
        regs_per_multiprocessor=65_536, max_threads_per_multi_processor=1536, max_threads_per_block=1024,
        gcnArchName="", L2_cache_size=32 << 20,
    )  # fmt: skip

    class Driver:
        """Triton's driver, without a device."""

        utils = types.SimpleNamespace(
            get_device_properties=lambda _: {"max_shared_mem": card.shared_bytes, "max_num_regs": 65_536}
        )

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 10 * major + minor, 32)

        def get_current_device(self) -> int:
            return 0

        def get_active_torch_device(self) -> torch.device:
            return torch.device("cuda", 0)

    private: Any = torch._C
    private._ensureCUDADeviceGuardSet()
    private_fake: Any = fake
    private_fake.init_gpu_context = _do_nothing
    cuda: Any = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_properties = lambda *_: properties
    cuda.get_device_capability = lambda *_: card.capability
    cuda.is_bf16_supported = lambda *_, **__: card.capability >= (8, 0)
    cuda.get_rng_state = lambda *_: torch.zeros(1)
    cuda.set_rng_state = lambda *_: None
    cuda._lazy_init = lambda *_: None
    accelerator: Any = torch.accelerator
    accelerator.is_available = lambda: False
    interface: Any = interfaces.CudaInterface
    for place in (interface, interface.Worker):
        place.get_device_properties = staticmethod(lambda *_: properties)
        place.current_device = staticmethod(lambda: 0)
    interface.is_available = staticmethod(lambda: True)
    interface.get_compute_capability = staticmethod(lambda *_: 10 * major + minor)
    interface.is_triton_capable = staticmethod(lambda *_: True)
    interface.raise_if_triton_unavailable = staticmethod(lambda *_: None)
    # Patterns are found by tracing on the device, and none of them is for FlexAttention.
    passes: list[Any] = [joint, post]
    for module in passes:
        module.lazy_init = _do_nothing
    torch._inductor.config.compile_threads = 1
    torch._inductor.config.fx_graph_cache = False
    triton.runtime.driver.set_active(Driver())


def lowered(head: int, dtype: torch.dtype, tile: Any, softcap: float | None) -> str:
    """Return the code that Inductor generates for the engine's attention on one pack."""
    import torch._inductor.compile_fx as compile_fx
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses import FakeTensorMode

    from milepost.engine.attention_gpu import _flex
    from milepost.engine.tree_mask import Visibility, empty_blocks

    mode = FakeTensorMode(allow_non_fake_inputs=True)

    def inner(graph: torch.fx.GraphModule, examples: list[Any], **_: Any) -> Any:
        output: Any = graph.graph.output_node()
        output.meta["original_output_strides"] = [tuple(node.meta["val"].stride()) for node in output.args[0]]
        output.meta.setdefault("user_visible_output_idxs", [0])
        lowering = GraphLowering(graph, example_inputs=examples, is_inference=True)
        with V.set_graph_handler(lowering), V.set_fake_mode(mode), V.set_debug_handler(DebugContext()):
            lowering.run(*examples)
            raise _LoweredError(lowering.codegen()[0].value)

    def backend(graph: torch.fx.GraphModule, examples: list[Any]) -> Any:
        return compile_fx.compile_fx(graph, examples, inner_compile=inner)

    torch.compiler.reset()
    compiled: Callable[..., Any] = torch.compile(_flex, backend=backend, dynamic=False, fullgraph=True)
    with mode, torch.no_grad():
        device = torch.device("cuda")
        ends, positions = torch.zeros(2, CONTEXT + TOKENS, dtype=torch.int32, device=device).unbind(0)
        window = torch.zeros((), dtype=torch.int32, device=device)
        mask = _mask(Visibility(ends, positions), empty_blocks(TOKENS, CONTEXT, device), window)
        query = torch.empty(1, QUERY_HEADS, TOKENS, head, dtype=dtype, device=device)
        key, value = (
            torch.empty(1, KEY_HEADS, CONTEXT + TOKENS, head, dtype=dtype, device=device) for _ in "kv"
        )
        try:
            compiled(query, key, value, mask, head**-0.5, softcap, tile.for_flex())
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, _LoweredError):
                cause = cause.__cause__ or getattr(cause, "inner_exception", None) or cause.__context__
            if cause is None:
                raise
            return str(cause)
    raise AssertionError("nothing was compiled")


def _mask(visibility: Any, blocks: Any, window: torch.Tensor) -> Any:
    """Return the engine's mask; torch computes its part of the backward pass on tensors that have memory."""
    from torch._subclasses.fake_tensor import unset_fake_temporarily

    from milepost.engine import tree_mask

    real = tree_mask.BlockMask

    class FakeMask:
        @staticmethod
        def from_kv_blocks(*tensors: torch.Tensor, **settings: Any) -> Any:
            with unset_fake_temporarily():
                mask = real.from_kv_blocks(
                    *(torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in tensors), **settings
                )
            for name, content in list(vars(mask).items()):
                if isinstance(content, torch.Tensor):
                    setattr(mask, name, torch.zeros(content.shape, dtype=content.dtype, device="cuda"))
            return mask

    with mock.patch.object(tree_mask, "BlockMask", FakeMask):
        return tree_mask.block_mask(visibility, blocks, CONTEXT, window)


def assembled(code: str, card: int) -> int:
    """Assemble the FlexAttention kernel in generated code and return its shared memory."""
    import triton
    from torch._inductor.codecache import PyCodeCache
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    found = [(name, source) for name, source in KERNEL.findall(code) if "SPARSE_KV_BLOCK_SIZE" in source]
    ((name, source),) = found
    kernel: Any = getattr(PyCodeCache.load(source), name)
    (config,) = kernel.configs
    meta = kernel.triton_meta
    signature = dict(meta["signature"])
    names = list(signature)
    constants = {names.index(key): content for key, content in meta["constants"].items() if key in names}
    built = triton.compile(
        ASTSource(
            fn=kernel.fn,
            signature=signature,
            constexprs={(number,): content for number, content in constants.items()},
            attrs={(number,): [["tt.divisibility", 16]] for number in _divisible(meta)},
        ),
        target=GPUTarget("cuda", card, 32),
        options={"num_warps": config.num_warps, "num_stages": config.num_stages},
    )
    shared: int = built.metadata.shared
    return shared


def _divisible(meta: dict[str, Any]) -> list[int]:
    """Return the places of the arguments that are multiples of 16."""
    (found,) = meta["configs"]
    if isinstance(found, dict):
        return [place[0] for place in found]
    return list(found.divisible_by_16)


if __name__ == "__main__":
    main()
