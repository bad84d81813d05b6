"""What changes over the steps of a run."""

from __future__ import annotations

from echostream.training.config import LossConfig, OptimConfig


def learning_rate(step: int, steps: int, config: OptimConfig) -> float:
    """The learning rate of a step: a linear way up, a linear way down."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.lr + (config.final_lr - config.lr) * done


def alignment_weight(step: int, config: LossConfig) -> float:
    """The weight of the cross-entropy on known word times: from 1 to 0 over `align_steps`."""
    return max(0.0, 1.0 - step / config.align_steps) if config.align_steps else 0.0
