"""The clock of a stream, and its state as a value."""

from echostream.streaming.clock import (
    GROUP_FRAMES,
    GROUP_MS,
    GROUP_OUTPUTS,
    HOP_LENGTH,
    SAMPLE_RATE,
)
from echostream.streaming.state import (
    leaves,
    map_state,
    named_leaves,
    put_rows,
    replace_rows,
    select_rows,
    state_nbytes,
    take_rows,
)

__all__ = [
    "GROUP_FRAMES",
    "GROUP_MS",
    "GROUP_OUTPUTS",
    "HOP_LENGTH",
    "SAMPLE_RATE",
    "leaves",
    "map_state",
    "named_leaves",
    "put_rows",
    "replace_rows",
    "select_rows",
    "state_nbytes",
    "take_rows",
]
