"""Write docs/api/ from the docstrings: python docs/build_api.py

Reads the source without importing it: what ``__all__`` of a package names is looked up in the file it comes from. A test holds
the pages against the docstrings (tests/test_api_reference.py).
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import textwrap
from pathlib import Path

__all__ = ["build", "main"]

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "apis": ["mmseg.apis"],
    "datasets": ["mmseg.datasets", "mmseg.datasets.converters", "mmseg.datasets.synthetic"],
    "transforms": ["mmseg.datasets.transforms", "mmseg.compat"],
    "segmentors": ["mmseg.models.segmentors", "mmseg.models.backbones", "mmseg.models.data_preprocessors"],
    "heads": ["mmseg.models.decode_heads"],
    "losses": ["mmseg.models.losses"],
    "layers": ["mmseg.models.layers"],
    "evaluation": ["mmseg.evaluation"],
    "engine": ["mmseg.engine", "mmseg.engine.hooks", "mmseg.engine.preflight"],
    "structures": ["mmseg.structures"],
}
"""Page name: its packages."""
_ONE_ITEM = ("Returns:", "Yields:", "Note:")
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


def build() -> dict[str, str]:
    """Every page by its file name."""
    pages = {}
    index = ["# API", "", "Written by `python docs/build_api.py` from the docstrings.", "", "| page | names |", "|---|---|"]
    for page, packages in PAGES.items():
        text, names = [f"# {page.capitalize() if page != 'apis' else 'What a user calls'}", ""], []
        for package in packages:
            text += [f"## {package}", "", ast.get_docstring(parse(package)) or "", ""]
            for name, module in public(package).items():
                if not ROOT.joinpath(*module.split(".")).is_dir():  # a package tells of its own names itself
                    text += entry(package, module, name)
                    names.append(name)
        pages[f"{page}.md"] = re.sub(r"\n{3,}", "\n\n", "\n".join(text)).strip() + "\n"
        index.append(f"| [{page}.md]({page}.md) | {', '.join(f'`{name}`' for name in sorted(names, key=str.lower))} |")
    return pages | {"README.md": "\n".join(index) + "\n"}


def parse(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8"))


def public(package: str) -> dict[str, str]:
    """What ``__all__`` names, and the module that defines it."""
    tree = parse(package)
    origin = {
        alias.asname or alias.name: str(node.module)
        for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    return {name: origin.get(name, package) for name in ast.literal_eval(lists[0])}


def entry(package: str, module: str, name: str) -> list[str]:
    """A heading, the signature and the docstring of one name; of classes, their public methods, too."""
    body = parse(module).body
    node = next(n for n in body if name in names_of(n))
    if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        after = body[body.index(node) + 1] if node is not body[-1] else None
        told = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        value = ast.unparse(node.value) if node.value else ""
        return [f"### {name}", "", f"`{name} = {value}`" if len(value) < 100 else "", "", *docstring(inspect.cleandoc(str(told)))]
    text = [f"### {name}", "", "```python", *signature(node, package), "```", "", *docstring(ast.get_docstring(node) or "")]
    for method in node.body if isinstance(node, ast.ClassDef) else []:
        told = ast.get_docstring(method) if isinstance(method, ast.FunctionDef) else None
        if told and not method.name.startswith("_"):
            call = method.name if is_property(method) else f"{method.name}({arguments(method)})"
            text += [f"**`{call}`**", "", *docstring(told)]
    return text


def is_property(method: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("property") for decorator in method.decorator_list)


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [ast.unparse(target) for target in targets]


def signature(node: ast.ClassDef | ast.FunctionDef, package: str) -> list[str]:
    """An import, and the call with types and defaults."""
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        call = f"class {node.name}({arguments(init) if init else '...'})" + (f"  # a {bases}" if bases else "")
    else:
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        call = f"{node.name}({arguments(node)}){returns}"
    return [f"from {package} import {node.name}", "", *textwrap.wrap(call, 120, subsequent_indent="    ", break_on_hyphens=False)]


def arguments(function: ast.FunctionDef) -> str:
    return re.sub(r"^(self|cls)(, )?", "", ast.unparse(function.args))


def docstring(text: str) -> list[str]:
    """Google's form as Markdown: sections become lists, roles and double backticks code, ``::`` blocks fenced.

    Of a role's name the class stays, the modules before it go. What is returned is one item, whatever its lines.
    """
    text = re.sub(r":\w+:`~?(?:[a-z_]\w*\.)*([\w.]+)`", r"`\1`", text).replace("``", "`")
    lines: list[str] = []
    literal = False
    section = ""
    for line in text.splitlines():
        if literal and line and not line.startswith("    "):
            lines[-1:] = ["```", ""]
            literal = False
        if re.fullmatch(r"(Args|Returns|Raises|Attributes|Yields|Note):", line):
            lines += [line, ""]
            section = line
        elif section and line.startswith("        - "):
            if not lines[-1]:
                lines.pop()
            lines.append(f"  {line.strip()}")
        elif section and line.startswith("    ") and (line[4] == " " or (section in _ONE_ITEM and lines[-1])):
            lines[-1] += f" {line.strip()}"
        elif section and line.startswith("    "):
            named = line.strip() if section in _ONE_ITEM else re.sub(r"^(\*{0,2}[\w., ()]{1,40}): ", r"`\1`: ", line.strip())
            lines.append(f"- {named}")
        elif line.endswith("::"):
            lines += [line[:-1], "", "```text"]
            literal = True
        elif not (literal and lines[-1] == "```text" and not line):
            section = section if not line else ""
            lines.append(line.removeprefix("    ") if literal else line)
    return [*lines, "```" if literal else "", ""]


def main() -> None:
    """Write the pages, and remove those that are no more."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    folder = ROOT / "docs/api"
    folder.mkdir(exist_ok=True)
    pages = build()
    for path in folder.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"{len(pages)} pages in {folder}")


if __name__ == "__main__":
    main()
