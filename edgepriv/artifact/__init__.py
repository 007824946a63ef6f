"""torch -> ONNX: trace, fold, pack integer weights, prove parity; and the file as onnxruntime and torch run it.

``export.export`` writes a proven model.onnx, ``session.predict`` runs any, ``twin.load_twin`` makes it differentiable,
``describe.describe`` says what is in it, ``manifest`` says where it comes from.
"""
