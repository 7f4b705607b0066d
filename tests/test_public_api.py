"""The package's face: its names, lazily imported, none of them hidden behind a module."""

from __future__ import annotations

import ast
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import convsurgeon
from convsurgeon.base import errors

PACKAGE = Path(convsurgeon.__file__).parent


def _process(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_all_is_sorted_and_complete() -> None:
    """__all__ is in ruff's order, without doubles, and every name in it is there."""
    names = convsurgeon.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(convsurgeon, name) for name in names)
    plain = [name for name in names if name not in ("__version__",)]
    assert plain == sorted(plain, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


def test_what_type_checkers_see_is_what_there_is() -> None:
    """The names imported for type checkers are those imported on first use."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(convsurgeon.__all__)


def test_importing_the_package_does_not_import_torch() -> None:
    """import convsurgeon, its version and its errors are instant."""
    code = "import sys, convsurgeon; convsurgeon.__version__, convsurgeon.UsageError; print('torch' in sys.modules)"
    assert _process(code) == "False"


def test_no_module_hides_a_verb() -> None:
    """A submodule of a verb's name would take its place once imported: none has one."""
    modules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert modules & set(convsurgeon.__all__) == set()
    code = (
        "import pkgutil, importlib, convsurgeon\n"
        "for m in pkgutil.walk_packages(convsurgeon.__path__, 'convsurgeon.'):\n"
        "    if not m.name.endswith(('__main__', '.pytest_plugin')):\n"
        "        importlib.import_module(m.name)\n"
        "verbs = ('convert', 'plan', 'apply', 'inspect', 'load', 'count')\n"
        "print(all(callable(getattr(convsurgeon, verb)) for verb in verbs))"
    )
    assert _process(code) == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is refused as any module would."""
    with pytest.raises(AttributeError, match="module 'convsurgeon' has no attribute 'convrt'"):
        convsurgeon.convrt  # noqa: B018


@pytest.mark.parametrize("name", [n for n in convsurgeon.__all__ if n != "__version__"])
def test_every_public_name_is_documented(name: str) -> None:
    """Every public function and class has a docstring of its own, and so have its public methods."""
    thing = getattr(convsurgeon, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        own = {k: v for k, v in vars(thing).items() if inspect.isfunction(v) and not k.startswith("_")}
        assert all(inspect.getdoc(method) for method in own.values()), name


def test_every_error_has_its_exit_code() -> None:
    """Usage errors are 2, model errors 3, the root 70; the drawing at the top of the file names every class."""
    classes = {
        thing
        for thing in vars(errors).values()
        if inspect.isclass(thing) and issubclass(thing, errors.ConvsurgeonError)
    }
    for kind in classes:
        expected = 2 if issubclass(kind, errors.UsageError) else 3 if issubclass(kind, errors.ModelError) else 70
        assert kind.exit_code == expected
        line = next(line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in f" {line} ")
        assert kind is errors.ConvsurgeonError or str(expected) in line


def test_the_library_never_prints_and_never_unpickles() -> None:
    """No print call in the package, no pickle, no torch.load that may run code."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {alias.name for alias in node.names} & {"pickle", "dill", "joblib"}, path
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name != "print", f"{path}:{node.lineno}"
                if name == "torch.load":
                    assert "weights_only=True" in ast.unparse(node), f"{path}:{node.lineno}"
