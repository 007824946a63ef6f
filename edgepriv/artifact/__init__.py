"""torch -> ONNX: trace, fold, pack integer weights, prove parity; and the file as onnxruntime and torch run it.

``export.export`` writes a proven model.onnx. ``deployed.DeployedModel.open`` reads any, once, with what stands beside it: its
graph, its session and the same function with gradients, its manifest, its float twin. ``describe.describe`` says what is in it.
"""
