"""What the API reference shows of a value: each setting with its default and its help text."""

import ast
from typing import Any

import griffe


class Settings(griffe.Extension):
    """Reads `field: type = setting(default, "help")` in classes that are decorated with `@value`."""

    def on_class_members(self, *, node: ast.AST, cls: griffe.Class, **kwargs: Any) -> None:
        """The settings of the class as documented attributes."""
        if not isinstance(node, ast.ClassDef):
            return
        for line in node.body:
            match line:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=ast.Name(id="setting"), args=args)):
                    self._describe(cls.members[name], args)

    def _describe(self, attribute: Any, arguments: list[ast.expr]) -> None:
        attribute.value = ast.unparse(arguments[0]) if arguments else None
        if len(arguments) > 1 and isinstance(arguments[1], ast.Constant):
            text = str(arguments[1].value)
            attribute.docstring = griffe.Docstring(f"{text[0].upper()}{text[1:]}.", parent=attribute)
