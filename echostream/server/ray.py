"""The server on Ray Serve: replicas behind one address, whose sessions go on when one is replaced.

A replica has one service, as `echostream serve` has. Sessions that move wait in an actor of the
cluster for the replica to which their clients connect next.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from echostream.config import from_dict
from echostream.extras import extra

with extra("ray", "echostream.server.ray"):
    from ray import serve
    from starlette.applications import Starlette

    from echostream.server.app import make_app
    from echostream.server.health_watch import HEALTH_SECONDS, OVERDUE_SECONDS, HealthWatch
    from echostream.server.ray_store import ActorStore
    from echostream.server.served import ServedModel
    from echostream.server.settings import KEY


@serve.ingress()
class Replica:
    """One service of the model. Its methods are called by Ray Serve."""

    def __init__(self, served: ServedModel) -> None:
        store = ActorStore(f"sessions of {serve.get_replica_context().app_name}")
        self._service, self._examples = served.open(store)
        self._watch = HealthWatch(self._service)

    def __serve_build_asgi_app__(self) -> Starlette:
        return make_app(self._service, self._examples)

    async def check_health(self) -> None:
        """Raises RuntimeError if the replica must be replaced."""
        self._watch.checked()
        if not self._service.engine.alive:
            raise RuntimeError("the engine has stopped.")


def application(served: ServedModel, num_replicas: int = 1) -> serve.Application:
    """The application of a model. Deployed with other values, its replicas are replaced."""
    deployment: serve.Deployment = serve.deployment(
        name="echostream",
        num_replicas=num_replicas,
        max_ongoing_requests=served.server.capacity,
        ray_actor_options={"num_cpus": 1},
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_wait_loop_s=0.5,
        # until the drain begins, for the drain, and for the last words
        graceful_shutdown_timeout_s=OVERDUE_SECONDS + served.server.drain_seconds + 10,
    )(Replica)
    return deployment.bind(served)


def build(args: Mapping[str, Any]) -> serve.Application:
    """`application` from the arguments of `serve run` and `serve deploy`.

    args: the fields of `ServedModel`.

    Raises:
        ConfigError: naming the first argument that is wrong.
    """
    served = from_dict(ServedModel, dict(args))
    if served.server.api_key is None:
        key = os.environ.get(KEY)
        served = replace(served, server=replace(served.server, api_key=key))
    return application(served)
