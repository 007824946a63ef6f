"""The public surface: the verbs, an import that costs nothing until one of them is used, and packages that share a name."""

import subprocess
import sys

import pytest

import edgepriv

HEAVY = ("torch", "onnx", "onnxruntime", "sklearn", "matplotlib", "scipy", "numpy")


def in_a_fresh_process(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_verbs_what_they_take_and_what_they_raise():
    verbs = [
        "attacks",
        "audit",
        "bench",
        "compare",
        "defences",
        "export",
        "harden",
        "quickstart",
        "show",
        "train",
        "tune",
    ]
    assert edgepriv.__all__ == ["GateFailed", "Recipe", "UserError", *verbs]
    assert all(callable(getattr(edgepriv, name)) for name in edgepriv.__all__)
    assert set(edgepriv.__all__) <= set(dir(edgepriv))


def test_a_package_that_shares_the_name_of_a_verb_is_called_as_the_verb():
    """There is a package edgepriv.audit: its modules are imported by that name, before and after the verb is used."""
    code = (
        "import edgepriv.audit.gate\n"
        "import edgepriv, inspect\n"
        "from edgepriv import api, audit\n"
        "from edgepriv.audit import gate\n"
        "print(edgepriv.audit.gate is gate, audit is edgepriv.audit, edgepriv.train is api.train)\n"
        "print(inspect.signature(audit) == inspect.signature(api.audit))\n"
        "try: audit('nothing.onnx')\n"
        "except edgepriv.UserError as error: print(error)\n"
    )
    assert in_a_fresh_process(code).splitlines() == ["True True True", "True", "no such file: nothing.onnx"]


def test_a_verb_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="deploy"):
        edgepriv.deploy  # noqa: B018


def test_nothing_heavy_is_imported_before_a_verb_is_called():
    loaded = f"print([name for name in {HEAVY} if name in sys.modules])"
    assert in_a_fresh_process(f"import sys, edgepriv; edgepriv.harden, edgepriv.Recipe; {loaded}") == "[]"
    code = f"import sys; from edgepriv.cli import app; app(['--help'], standalone_mode=False); {loaded}"
    assert in_a_fresh_process(code).splitlines()[-1] == "[]"
    assert in_a_fresh_process(code.replace("['--help']", "['harden', '--help']")).splitlines()[-1] == "[]"
    light = "import sys; from edgepriv.cli import app; app(['--help'], standalone_mode=False); print('pydantic' in sys.modules)"
    assert in_a_fresh_process(light).splitlines()[-1] == "False"
