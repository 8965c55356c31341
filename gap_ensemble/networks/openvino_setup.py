"""OpenVINO as this project uses it: nothing is sent to anybody.

    from gap_ensemble.networks.openvino_setup import openvino

Its converter reports each use over the network, unless the package that does so is missing. So it is, here.
"""

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # An import of it fails.

import openvino  # noqa: E402

__all__ = ["openvino"]
