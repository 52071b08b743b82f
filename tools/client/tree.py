"""The source tree of `phonemeter-client`, written from the checkout.

The modules are those that `producers.interface` imports, directly or not. They keep their folders, as private
packages inside `phonemeter_client`, so that nothing else appears in a user's environment; the imports are
rewritten to that.
"""

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
INTERFACE: Final = "producers.interface"
PACKAGE: Final = "phonemeter_client"
STAGES: Final = ("metering", "secret_files", "kafka_access", "producers")

_IMPORT = re.compile(rf"^(\s*(?:from|import) )({'|'.join(STAGES)})(?=[. ])", re.MULTILINE)


class UnknownModuleError(Exception):
    """A module is imported that the distribution can't have."""


def write_tree(target: Path) -> None:
    """Write the project in place of what is at `target`."""
    shutil.rmtree(target, ignore_errors=True)
    package = target / PACKAGE
    for module in module_names():
        folder, _, name = module.rpartition(".")
        file = package / f"_{folder.replace('.', '/')}" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_rewritten(_source(module)), encoding="utf-8")
    for stage in STAGES:
        docstring = (ROOT / stage / "__init__.py").read_text(encoding="utf-8")
        (package / f"_{stage}" / "__init__.py").write_text(docstring, encoding="utf-8")
    interface = package / "_producers" / "interface.py"
    interface.rename(package / "__init__.py")
    (package / "py.typed").touch()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(Path(__file__).with_name(name), target)
    shutil.copy(ROOT / "LICENSE", target)


def module_names() -> list[str]:
    """The names of all modules in the distribution, in the checkout."""
    found: set[str] = set()
    open_ones = [INTERFACE]
    while open_ones:
        module = open_ones.pop()
        if module not in found:
            found.add(module)
            open_ones.extend(_imported(module))
    return sorted(found)


def _imported(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module in STAGES:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.partition(".")[0] in STAGES:
                yield name


def _source(module: str) -> str:
    file = ROOT / f"{module.replace('.', '/')}.py"
    if not file.is_file():
        raise UnknownModuleError(f"{module} is no module; import a module of it by name.")
    return file.read_text(encoding="utf-8")


def _rewritten(source: str) -> str:
    return _IMPORT.sub(rf"\1{PACKAGE}._\2", source)
