"""The public surface: the verbs, and an import that costs nothing until one of them is used."""

import subprocess
import sys

import pytest

import edgepriv


def in_a_fresh_process(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_verbs_and_nothing_else():
    assert edgepriv.__all__ == ["attacks", "audit", "bench", "compare", "export", "harden", "train"]


def test_every_verb_is_a_function_of_the_api_though_packages_share_a_name():
    """There is a package edgepriv.audit too; importing it must not take the verb's place."""
    code = (
        "import edgepriv\n"
        "from edgepriv.audit import gate\n"
        "from edgepriv import api, audit, train\n"
        "print(all(getattr(edgepriv, verb) is getattr(api, verb) for verb in edgepriv.__all__))\n"
        "print(audit is api.audit, train is api.train)"
    )
    assert in_a_fresh_process(code) == "True\nTrue True"


def test_a_verb_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="deploy"):
        edgepriv.deploy  # noqa: B018


def test_neither_the_package_nor_its_command_line_imports_torch_before_it_is_needed():
    assert in_a_fresh_process("import sys, edgepriv.cli; print('torch' in sys.modules)") == "False"
