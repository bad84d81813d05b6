"""The step of a streaming module as an ONNX graph of any batch, any groups and any look-ahead."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnx import ModelProto, TensorProto
from onnxscript import opset18 as op
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn
from torch._dynamo import config as dynamo_config
from torch.export import Dim
from torch.utils import _pytree as pytree

from echostream.backends.export.quiet import quiet
from echostream.models import EchoStreamModel, ZipformerEncoder
from echostream.streaming import GROUP_FRAMES, named_leaves
from echostream.streaming import leaves as leaves_of

OPSET = 18
MAX_GROUPS, MAX_BATCH = 64, 4096  # bounds for the tracer; a runtime takes any number
LARGEST = 80.0  # exp of more would leave float32

# Sizes of the example input; torch.export specialises on the sizes 0 and 1.
BATCH, _GROUPS = 2, 3
BATCH_SIZE = Dim("batch", min=1, max=MAX_BATCH)

Call = Callable[[tuple[Tensor, ...], Any], tuple[Any, Any]]


class _Step(nn.Module):
    """A module whose `forward` is its step, for the tracer."""

    def __init__(self, module: nn.Module, step: Call) -> None:
        super().__init__()
        self.module = module
        self.step = step

    def forward(self, inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any]:
        return self.step(inputs, state)


class Input(NamedTuple):
    """An example of an input, and its symbolic sizes: `Dim` by axis."""

    example: Tensor
    sizes: dict[int, Any]


def trace_step(
    module: ZipformerEncoder | EchoStreamModel, input_dim: int, outputs: tuple[str, ...]
) -> ModelProto:
    """The graph of one step of an encoder or a network, with its weights.

    Inputs `x` `(batch, 16 * groups, F)` and `valid` `(batch, 16 * groups)`; otherwise as `trace`.
    """
    state, other = module.init_state(BATCH, 2), module.init_state(BATCH, 1)
    groups = Dim("groups", min=1, max=MAX_GROUPS)
    look_ahead = Dim("look_ahead", min=1, max=2)

    def sizes(leaf: Tensor, shorter: Tensor) -> dict[int, Any]:
        """Symbolic sizes; an axis that depends on L grows by the same amount with each L."""
        found: dict[int, Any] = {0: BATCH_SIZE}
        for axis, (two, one) in enumerate(zip(leaf.shape, shorter.shape, strict=True)):
            if two != one:
                rest = 2 * one - two
                growing = (two - one) * look_ahead
                found[axis] = growing + rest if rest else growing
        return found

    def step(inputs: tuple[Tensor, ...], state: Any) -> tuple[Any, Any]:
        x, valid = inputs
        if isinstance(module, ZipformerEncoder):
            y, valid, state = module.step_with_mask(x, state, valid)
            return (y, valid), state
        return module.step(x, state, valid)

    frames = {0: BATCH_SIZE, 1: GROUP_FRAMES * groups}
    x = torch.randn(BATCH, GROUP_FRAMES * _GROUPS, input_dim)
    inputs = {
        "x": Input(x, frames),
        "valid": Input(torch.ones(x.shape[:2], dtype=torch.bool), frames),
    }
    leaves = [sizes(*pair) for pair in zip(leaves_of(state), leaves_of(other), strict=True)]
    return trace(module, step, inputs, state, outputs, leaves)


def trace(
    module: nn.Module,
    step: Call,
    inputs: Mapping[str, Input],
    state: Any,
    outputs: Sequence[str],
    state_sizes: Sequence[dict[int, Any]] | None = None,
) -> ModelProto:
    """The graph of one step of a module, with its weights.

    Inputs and outputs have the names given, then `state.<field>` and `next.<field>` for each tensor
    of the state; the initializers have the names of the module's parameters, after `module.`.

    Args:
        step: calls the step of the module with tuples of inputs and state.
        state: an example of `BATCH` streams.
        state_sizes: symbolic sizes of the tensors of the state; the batch alone without it.
    """
    leaves, spec = pytree.tree_flatten(state)
    shapes = [{0: BATCH_SIZE}] * len(leaves) if state_sizes is None else list(state_sizes)
    examples = tuple(given.example for given in inputs.values())
    dynamic = tuple(given.sizes for given in inputs.values()), pytree.tree_unflatten(shapes, spec)
    with quiet(), _fast_tracing(), torch.no_grad():
        program = torch.onnx.export(
            _Step(module, step).eval(),
            (examples, state),
            dynamo=True,
            optimize=False,  # `_simplify` does it in 10 % of the time
            opset_version=OPSET,
            verbose=False,
            dynamic_shapes=dynamic,
            custom_translation_table={
                torch.ops.aten.logaddexp.default: _logaddexp,
                torch.ops.aten.linear.default: _linear,
                torch.ops.aten.searchsorted.Tensor: _searchsorted,
                torch.ops.aten.where.self: _where,
            },
        )
        assert program is not None
        _simplify(program.model)
    # Renamed only now: before that, an input returned unchanged is one value with two names.
    graph, names = program.model.graph, [name for name, _ in named_leaves(state)]
    before = [*inputs, *(f"state.{name}" for name in names)]
    after = [*outputs, *(f"next.{name}" for name in names)]
    for value, name in zip((*graph.inputs, *graph.outputs), (*before, *after), strict=True):
        value.name = name
    proto = program.model_proto
    for node in proto.graph.node:  # source positions
        del node.metadata_props[:]
    del proto.graph.metadata_props[:]
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    return proto


@contextmanager
def _fast_tracing() -> Iterator[None]:
    """Disables garbage collection and the fake tensor cache: a third less time for tracing.

    The collector would walk over a million live nodes again and again, and with symbolic shapes
    the cache costs more to fill than it saves.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        with dynamo_config.patch(fake_tensor_cache_enabled=False):
            yield
    finally:
        if was_on:
            gc.enable()


def _simplify(model: ir.Model) -> None:
    """Folds constants and removes duplicates, in place.

    The rewrite rules of `optimize=True` find next to nothing here, and ONNX Runtime applies its own
    when it loads the graph.
    """
    fold_constants(model)
    for simplification in (
        passes.RemoveUnusedNodesPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.LiftSubgraphInitializersToMainGraphPass(),
        passes.DeduplicateInitializersPass(),
        passes.IdentityEliminationPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        simplification(model)


def _logaddexp(a: Any, b: Any) -> Any:
    """`log(exp(a) + exp(b))` for a small constant b, exact for any a."""
    # The Softplus of ONNX Runtime is 5 times slower.
    rest = op.Exp(b)
    return op.Max(op.Log(op.Add(op.Exp(op.Min(a, op.Constant(value_float=LARGEST))), rest)), a)


def _linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """A Gemm with the weight in the layout of the model folder; a MatMul would transpose it."""
    operands = [weight] if bias is None else [weight, bias]
    if len(x.shape) == 2:
        return op.Gemm(x, *operands, transB=1)
    num_outputs, num_inputs = (int(size) for size in weight.shape)
    flat: Any = op.Reshape(x, op.Constant(value_ints=[-1, num_inputs]))  # type: ignore[arg-type]
    shape: Any = op.Concat(  # type: ignore[type-var]
        op.Shape(x, start=0, end=-1), op.Constant(value_ints=[num_outputs]), axis=0
    )
    return op.Reshape(op.Gemm(flat, *operands, transB=1), shape)


def _searchsorted(ends: Any, values: Any, right: bool = False, **_: Any) -> Any:
    """The number of elements of a row of `ends (B, N)` that are at most each of `values (B, T)`."""
    assert right
    rows: Any = op.Unsqueeze(ends, op.Constant(value_ints=[1]))  # type: ignore[arg-type]
    columns: Any = op.Unsqueeze(values, op.Constant(value_ints=[2]))  # type: ignore[arg-type]
    reached: Any = op.Cast(op.LessOrEqual(rows, columns), to=TensorProto.INT64)
    return op.ReduceSum(reached, op.Constant(value_ints=[-1]), keepdims=0)  # type: ignore[arg-type]


def _where(condition: Any, a: Any, b: Any) -> Any:
    """A Where, which ONNX Runtime does not have for bool."""
    if a.dtype != ir.DataType.BOOL:
        return op.Where(condition, a, b)
    return op.Or(op.And(condition, a), op.And(op.Not(condition), b))
