"""Lack of memory is one sentence, whichever library runs out of it."""

import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from edgepriv.cli.messages import run


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeException("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
    ],
)
def test_one_sentence_and_exit_code_2(error, capsys):
    def app(standalone_mode):
        raise error

    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: not enough memory")


def test_a_fault_of_our_own_is_not_hidden():
    def app(standalone_mode):
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        run(app)
