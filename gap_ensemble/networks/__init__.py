"""Where networks come from: keras.applications, the small network, preset folders, ONNX files."""
