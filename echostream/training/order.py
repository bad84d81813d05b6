"""The order of the utterances of a table in each epoch, by the weights of its rows."""

from __future__ import annotations

import math
import random
from array import array

import numpy as np
from numpy.typing import NDArray

WINDOW = 4  # shards whose rows are shuffled with each other
_GOLDEN = (math.sqrt(5) - 1) / 2
_KEPT = 2  # epochs whose orders are kept: lanes of the data are not at the same place


class EpochOrder:
    """The rows of each epoch in its order, a function of the seed and the epoch's number alone.

    `weights` (N,): how many times each row is used in an epoch, on average. The number of entries
    of an epoch, `size`, is the sum of the weights, rounded up. A row of weight w is used floor(w)
    or ceil(w) times. Which rows have the one use more is drawn by systematic sampling: the
    fractions of the weights lie one after the other on a line, and points at a distance of 1 choose
    the rows in whose part they lie. Where the points begin is spread evenly over successive epochs,
    so that a row of weight 0.25 comes about every fourth epoch.

    `shards` (N,): the number of the file in which the recording of each row is, -1 for a file of
    its own. Then the files are shuffled, and only the rows of `WINDOW` successive ones with each
    other, so that a stretch of the order needs few open files. Other rows are spread over all.

    Raises ValueError if no row has a weight.
    """

    def __init__(
        self, weights: NDArray[np.float64], seed: int, shards: NDArray[np.int64] | None = None
    ) -> None:
        self._num_rows = len(weights)
        self._seed = seed
        self._weights = None if (weights == 1).all() else weights
        self._shards = None if shards is None or (shards < 0).all() else shards
        self.size = len(self._uses(0))
        if not self.size:
            raise ValueError("all weights are 0")
        self._orders: dict[int, array[int]] = {}

    def row(self, index: int) -> int:
        """The row of entry `index`, counted over all epochs."""
        number, position = divmod(index, self.size)
        if number not in self._orders:
            while len(self._orders) >= _KEPT:
                self._orders.pop(next(iter(self._orders)))
            self._orders[number] = self._order(number)
        return self._orders[number][position]

    def _order(self, number: int) -> array[int]:
        uses = self._uses(number)
        if self._shards is not None:
            uses = self._by_windows(uses, self._shards[uses], number)
        order = array("I", uses.astype(np.uint32).tobytes())
        if self._shards is not None:
            return order
        random.Random(f"{self._seed} {number}").shuffle(order)
        return order

    def _by_windows(
        self, uses: NDArray[np.int64], shards: NDArray[np.int64], number: int
    ) -> NDArray[np.int64]:
        """The rows that an epoch uses, in the order of shuffled windows of shuffled shards."""
        rng = np.random.default_rng([self._seed, number, 5])
        windows = rng.permutation(int(shards.max()) + 1) // WINDOW
        window = np.where(shards >= 0, windows[shards], rng.choice(windows, len(uses)))
        return uses[np.lexsort((rng.random(len(uses)), window))]

    def _uses(self, number: int) -> NDArray[np.int64]:
        """The rows of an epoch in the order of the table, each as many times as it is used."""
        rows = np.arange(self._num_rows)
        if self._weights is None:
            return rows
        whole = np.floor(self._weights)
        edges = np.cumsum(self._weights - whole)
        # Without the rounding, ten weights of 0.1 may come to more than 1.
        num_points = math.ceil(round(float(edges[-1]), 6))
        begin = (random.Random(self._seed).random() + number * _GOLDEN) % 1
        points = begin + np.arange(num_points)
        drawn = np.searchsorted(edges, points[points < edges[-1]], side="right")
        counts = whole.astype(np.int64)
        counts[drawn] += 1
        if len(drawn) < num_points:  # a point beyond the line: any row that has no use more
            left = np.setdiff1d(np.flatnonzero(self._weights > whole), drawn)
            counts[np.random.default_rng([self._seed, number, 4]).choice(left)] += 1
        return np.repeat(rows, counts)
