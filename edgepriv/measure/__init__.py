"""Size, latency and memory of ONNX files, each in fresh processes; and the kit that repeats it on a device."""
