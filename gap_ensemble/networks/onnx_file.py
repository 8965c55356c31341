"""A network in an ONNX file, as timm, Keras or anybody exports it. OpenVINO computes it; PyTorch is not needed.

    backbones:
      Timm: {onnx: convnext_tiny.onnx, input_size: 224, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}

The file says neither how pixels are scaled nor, often, how large the picture is, so the entry does. Of several outputs
the entry names one. What the output holds follows from its shape:

| shape | what it holds | pooling |
| --- | --- | --- |
| (n, features) | features, pooled already | none |
| (n, channels, height, width), or channels last | a map of features | `avg`, `max` or `flatten`; avg if none is given |
| (n, tokens, features) | tokens | `cls`, `mean` or `cls+mean`: the entry must say which |
"""

from functools import cached_property
from typing import Any

import numpy as np

from gap_ensemble.messages.errors import UserError, listed, one_line
from gap_ensemble.networks.network import Network, digest_of
from gap_ensemble.networks.own_weights import find_file
from gap_ensemble.networks.pixels import Scaling
from gap_ensemble.params import Backbone


class OnnxNetwork(Network):
    """A network that OpenVINO computes.

    Parameters
    ----------
    key, entry
        As `Network` says.
    """

    kind = "onnx"
    libraries = ("openvino",)

    def __init__(self, key: str, entry: Backbone):
        super().__init__(key, entry)
        which = "onnx" if entry.onnx else "weights"
        self.key_of_file = f"{key}.{which}"
        self.file = find_file(self.key_of_file, str(entry.onnx or entry.weights), "an ONNX file")
        if self.file.is_dir():
            raise UserError(f"params.yaml: {self.key_of_file}: {self.file}: is a folder; accepted: an ONNX file")
        self.title = self.file.stem
        scaling = Scaling.of_entry(key, entry)
        if scaling is None:
            raise UserError(
                f"params.yaml: {key}: mean and std are missing, and an ONNX file does not say how pixels are scaled; "
                "add mean and std (timm: model.pretrained_cfg), or mean: 0, std: 1 where the network takes pixels from "
                "0 to 255"
            )
        self.scaling = scaling
        self.input_size = entry.input_size or self._size_in_file()

    @property
    def n_features(self) -> int:
        """Features of one picture."""
        return int(self._graph.output(0).get_partial_shape()[1].get_length())

    def openvino_model(self) -> Any:
        """Return a model of OpenVINO with preprocessing and pooling.

        Returns
        -------
        openvino.Model
            Takes (n, input_size, input_size, 3) uint8, red, green and blue; gives (n, n_features) float32; n is free.
            Each call returns a copy, which the caller may reshape and compile.

        Raises
        ------
        UserError
            If the file is no whole ONNX file, or its input or output is of another form.
        """
        return self._graph.clone()

    def _identity(self) -> object:
        entry = self.entry
        return [digest_of(self.file), self.input_size, self.scaling, entry.pooling, entry.output]

    @cached_property
    def _file_model(self) -> Any:
        from gap_ensemble.networks.openvino_setup import openvino

        try:
            return openvino.Core().read_model(self.file)
        except Exception as error:  # OpenVINO raises RuntimeError with pages of text.
            raise UserError(
                f"{self.file}: not readable as ONNX ({self.key_of_file}): {_reason(error)}; accepted: a whole ONNX file"
            ) from None

    def _picture_shape(self) -> tuple[str, list[int | None]]:
        """Return the layout of the input, NCHW or NHWC, and its shape; None stands for a free length."""
        inputs = self._file_model.inputs
        shape = inputs[0].get_partial_shape()
        lengths = [d.get_length() if d.is_static else None for d in shape] if shape.rank.is_static else []
        if len(inputs) != 1 or len(lengths) != 4 or 3 not in (lengths[1], lengths[3]):
            found = listed(f"{i.get_any_name() if i.names else '?'} {i.get_partial_shape()}" for i in inputs)
            raise UserError(
                f"{self.file}: its inputs are {found} ({self.key_of_file}); accepted: one input of pictures with three "
                "channels, (n, 3, height, width) or (n, height, width, 3)"
            )
        return ("NCHW" if lengths[1] == 3 else "NHWC"), lengths

    def _size_in_file(self) -> int:
        layout, lengths = self._picture_shape()
        height, width = (lengths[layout.index(side)] for side in "HW")
        if height is None or width is None:
            raise UserError(
                f"params.yaml: {self.key}.input_size: missing, and {self.file} takes pictures of any size; add the "
                "size that the network was trained on"
            )
        if height != width:
            raise UserError(
                f"{self.file}: takes pictures of {height} × {width} pixels ({self.key_of_file}); accepted: squares"
            )
        return height

    @cached_property
    def _graph(self) -> Any:
        """The file's network between uint8 pixels and pooled features."""
        from gap_ensemble.networks.openvino_setup import openvino

        layout, _ = self._picture_shape()
        size = self.input_size
        model = self._with_one_output(self._file_model)
        try:
            model.reshape([-1, 3, size, size] if layout == "NCHW" else [-1, size, size, 3])
        except Exception as error:
            raise UserError(
                f"params.yaml: {self.key}.input_size: {self.file} does not take pictures of {size} pixels, in any "
                f"number: {_reason(error)}; set the size that it was exported with, or export it with free axes"
            ) from None
        steps = openvino.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout(layout))
        steps.input().preprocess().convert_element_type(openvino.Type.f32)
        steps.input().preprocess().mean(list(self.scaling.mean)).scale(list(self.scaling.std))
        return self._pooled(steps.build())

    def _with_one_output(self, model: Any) -> Any:
        """Return the model with the output that the entry names."""
        from gap_ensemble.networks.openvino_setup import openvino

        names = [
            sorted(output.names)[0] if output.names else str(number) for number, output in enumerate(model.outputs)
        ]
        wanted = self.entry.output
        if wanted is None and len(names) == 1:
            return model.clone()
        if wanted not in names:
            found = "missing" if wanted is None else f"found {wanted!r}"
            raise UserError(
                f"params.yaml: {self.key}.output: {found}; accepted: one of the outputs of {self.file}: "
                f"{listed(names, 20)}"
            )
        copy = model.clone()
        return openvino.Model([copy.get_results()[names.index(wanted)]], copy.get_parameters(), model.friendly_name)

    def _pooled(self, model: Any) -> Any:
        """Return the model with the entry's pooling behind it, and float32 features of shape (n, n_features)."""
        from gap_ensemble.networks.openvino_setup import openvino

        ops = openvino.opset13
        output = model.get_results()[0].input_value(0)  # What the network computed, before it was called a result.
        node = ops.convert(output, "f32") if output.get_element_type() != openvino.Type.f32 else output
        shape = output.get_partial_shape()
        rank = shape.rank.get_length() if shape.rank.is_static else 0
        lengths = [d.get_length() if d.is_static else None for d in shape] if rank else []
        pooling = self.entry.pooling
        accepted: tuple[str, ...]
        if rank == 2:
            accepted = ()
            pooled = node
        elif rank == 4:
            accepted = ("avg", "max", "flatten")
            pooling = pooling or "avg"
            # A map of features has more channels than rows of pixels; a network of Keras has them last.
            last = lengths[3] is not None and lengths[1] is not None and lengths[3] > lengths[1]
            axes = ops.constant(np.array([1, 2] if last else [2, 3]))
            if pooling == "flatten":
                pooled = ops.reshape(node, ops.constant(np.array([0, -1])), special_zero=True)
            elif pooling == "max":
                pooled = ops.reduce_max(node, axes)
            else:
                pooled = ops.reduce_mean(node, axes)
        elif rank == 3:
            accepted = ("cls", "mean", "cls+mean")
            # The class token comes first.
            axis = ops.constant(np.array(1))
            cls = ops.gather(node, ops.constant(np.array(0)), axis)
            patches = ops.slice(
                node,
                ops.constant(np.array([1])),
                ops.constant(np.array([2**31 - 1])),
                ops.constant(np.array([1])),
                ops.constant(np.array([1])),
            )
            mean = ops.reduce_mean(patches, axis)
            pooled = {"cls": cls, "mean": mean}.get(str(pooling), ops.concat([cls, mean], 1))
        else:
            raise UserError(
                f"{self.file}: its output has the shape {shape} ({self.key_of_file}); accepted: features (n, f), a map "
                "(n, c, h, w), or tokens (n, t, f)"
            )
        if pooling not in accepted and not (rank == 2 and pooling is None):
            raise UserError(
                f"params.yaml: {self.key}.pooling: found {pooling or 'none'}; the output of {self.file} has the shape "
                f"{shape}; accepted: {', '.join(accepted) or 'none, it is pooled already'}"
            )
        return openvino.Model([pooled], model.get_parameters(), self.title)


def _reason(error: Exception) -> str:
    """Return the last sentence of OpenVINO's report, which says what is wrong; before it, it says where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(Exception(lines[-1] if lines else type(error).__name__), 160)
