"""The digest of the code that a module runs.

It covers the module's own source, that of every module of this project that it imports, and the templates and tables
beside them.
"""

import ast
import functools
import hashlib
import importlib.util
import pathlib

_PACKAGES = ("jeat_tf", "components")


@functools.cache
def code_sha256(module: str) -> str:
    """Digest of the sources that `module` reaches by imports, including those inside functions."""
    digest = hashlib.sha256()
    for name, source in sorted(_reached(module).items()):
        digest.update(f"{name}\n{source}\n".encode())
    return digest.hexdigest()


def _reached(module: str) -> dict[str, str]:
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in sources or path is None:
            continue
        sources[name] = path.read_text(encoding="utf-8")
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        sources |= {file.name: file.read_text(encoding="utf-8") for file in _beside(path)}
        tree = ast.parse(sources[name])
        waiting += _folder_of(path, package) if _reads_its_folder(tree) else []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.split(".")[0] in _PACKAGES]
            elif isinstance(node, ast.ImportFrom):
                imported = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if imported.split(".")[0] in _PACKAGES:
                    waiting += _modules(imported, [alias.name for alias in node.names])
    return sources


def _reads_its_folder(tree: ast.Module) -> bool:
    """Whether a package imports all that its folder holds, as that of the methods does."""
    return any(isinstance(node, ast.Attribute) and node.attr == "iter_modules" for node in ast.walk(tree))


def _folder_of(path: pathlib.Path, package: str) -> list[str]:
    return [f"{package}.{file.stem}" for file in path.parent.glob("*.py") if file != path]


def _modules(module: str, names: list[str]) -> list[str]:
    """The modules that `from module import names` reads: of a package that loads lazily, only those of the names."""
    direct = [f"{module}.{name}" for name in names]
    path = _source(module)
    if path is None or not path.with_suffix(".pyi").exists():
        return [module, *direct]
    lines = ast.parse(path.with_suffix(".pyi").read_text(encoding="utf-8")).body
    imports = [line for line in lines if isinstance(line, ast.ImportFrom)]
    return [*direct, *(f"{module}.{i.module}" for i in imports if {alias.name for alias in i.names} & set(names))]


def _beside(path: pathlib.Path) -> list[pathlib.Path]:
    """Files of a module's folder that are part of the package and no modules."""
    return [file for file in path.parent.iterdir() if file.suffix in (".html", ".css", ".js", ".json")]


@functools.cache
def _source(module: str) -> pathlib.Path | None:
    """The file of a module; None for a name that is a function or a class in one, and for the root package.

    jeat_tf/__init__.py names all that is public: a component that needs one room would depend on all of them.
    """
    if module == "jeat_tf":
        return None
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return pathlib.Path(spec.origin) if spec and spec.origin else None
