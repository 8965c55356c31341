"""Connect to Ray quietly, and say in one line what stands in the way.

Ray is imported here, when an address asks for it. It is an optional dependency.
"""

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gap_ensemble.extraction.cores import usable_cores
from gap_ensemble.messages.errors import UserError, one_line

CLIENT = "ray://"
CLIENT_PORT = 10001
SECONDS_TO_ANSWER = 10
# For results on this machine, of which a few MB are in work at a time.
LOCAL_STORE_BYTES = 512 * 2**20


def connect(address: str, code: Path) -> Any:
    """Connect this process to a cluster, or start one for this process alone.

    Parameters
    ----------
    address : str
        `cluster.address` of params.yaml: local, auto, HOST:PORT, ray://HOST or ray://HOST:PORT.
    code : Path
        The folder from which workers import this project.

    Returns
    -------
    module
        `ray`, connected. `ray.shutdown()` leaves the cluster, and ends one that was started here.

    Raises
    ------
    UserError
        If Ray is not installed, or the cluster does not answer or does not let us in.
    """
    # Ray reads these when it is imported. No usage reports.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address == "local":
        # Ray would write a token into the home folder, which may be read-only. This one lives as long as the cluster.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        # Ray would let its workers give way to everything else on the machine.
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            f"params.yaml: cluster.address: {address}: Ray is missing ({one_line(error, 80)}); "
            '`pip install "ray>=2.60"`, or set address: null'
        ) from None
    path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH")]))
    options: dict[str, Any] = {"runtime_env": {"env_vars": {"PYTHONPATH": path}}}
    options |= {"log_to_driver": False, "logging_level": "CRITICAL"}
    if address == "local":
        options |= {"address": "local", "include_dashboard": False, "num_cpus": usable_cores()}
        options |= {"object_store_memory": LOCAL_STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    else:
        options["address"] = _reachable(address)
    # Ray prints paragraphs, with pages of its logs, about workers and nodes that are lost. We say it in one line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    try:
        with _without_stderr():
            ray.init(**options)
    except Exception as error:  # Of many types, all of which mean that there is no connection.
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise UserError(f"params.yaml: cluster.address: {address}: {_why(error)}") from None
    return ray


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what Ray's C++ part prints once a second while it tries to connect."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _reachable(address: str) -> str:
    """Return an address that `ray.init` takes, once something answers there: Ray itself would try for a minute."""
    found, source = address, ""
    if address == "auto":
        found, source = _find()
    if found.startswith(CLIENT):
        host, _, port = found.removeprefix(CLIENT).partition(":")
        found = f"{CLIENT}{host}:{port or CLIENT_PORT}"
    host, _, port = found.removeprefix(CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"params.yaml: cluster.address: {address}: {found}{source} does not answer ({one_line(error, 80)}); start "
            "the cluster, name one that runs (HOST:PORT, as `ray start --head` says it), or set address: local"
        ) from None
    return found


def _find() -> tuple[str, str]:
    """Return the address of the cluster that runs on this machine, and words on where it is written."""
    from ray._private.services import find_bootstrap_address, find_gcs_addresses

    if named := os.environ.get("RAY_ADDRESS"):
        return named, " (RAY_ADDRESS)"
    running = sorted(find_gcs_addresses())
    written = find_bootstrap_address(None)
    # `ray start` writes its address into a file, which stays there when the cluster is killed.
    if written and (written in running or not running):
        return written, " (named in /tmp/ray/ray_current_cluster, perhaps left by an earlier cluster)"
    if len(running) == 1:
        return running[0], ""
    if running:
        raise UserError(
            f"params.yaml: cluster.address: auto: found {len(running)} clusters on this machine; name one of "
            f"{', '.join(running)}"
        )
    raise UserError(
        "params.yaml: cluster.address: auto: no cluster runs on this machine; start one (`ray start --head`), name one "
        "(HOST:PORT), or set address: local"
    )


def _why(error: Exception) -> str:
    """Return what stands in the way, and what to do."""
    text = one_line(error, 150)
    if "token was found" in text:
        return (
            "RAY_AUTH_MODE=token is set, and there is no token; set RAY_AUTH_TOKEN_PATH to the cluster's file, as "
            "docs/cluster.md says"
        )
    return (
        f"can't connect ({text}); check that Ray and Python have the same versions everywhere, and whether the cluster "
        "wants a token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH; see docs/cluster.md); or set address: local"
    )
