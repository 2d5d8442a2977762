"""What a result was computed by: a hash of the definitions that are reached from where its computation begins.

A definition is a top-level function, class or constant of the package, or a method. From a few roots, such as a study's
measure, all are followed that they name, and what those name in turn; the hash is of their syntax trees. What computes
nothing does not count: names of modules and of definitions, import lines, docstrings, comments, annotations of
functions, and whatever is not reached. So a definition may be moved or renamed, and dead code be deleted, and no record
becomes stale.

An attribute of a module is the definition of that name there. Any other attribute is a method of a class that is
reached; where none of these has it, every method of that name in the package counts, for the object may be any of
theirs.
Never imports what it reads.
"""

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
CUT = "\0"  # no spelled text has it
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

# What is checked or recorded by other means. A card is part of a run's id; files, and the pixels of stand-ins, are
# checked against it before they are read; a ledger is kept by releases alone, and no release is ever computed again.
NOT_FOLLOWED = frozenset({"card", "check", "fetch", "_produce", "charge", "charged"})


@dataclass(frozen=True)
class Definition:
    """A top-level name of a module, or a method: "Class.method". node: its syntax tree."""

    module: str
    name: str
    node: Any = field(compare=False, repr=False)


@dataclass(frozen=True)
class _Spelling:
    """A definition as text, cut where it refers to others; those in order.  attributes: the names that it takes from
    objects.
    """

    pieces: list[str]
    references: list[Definition]
    attributes: frozenset[str]

    def text(self, reference: Callable[[Definition], str]) -> str:
        """The whole text. reference: what stands for a definition that it refers to."""
        between = [*map(reference, self.references), ""]
        return "".join(piece + name for piece, name in zip(self.pieces, between, strict=True))


@dataclass
class _Module:
    """A parsed file. imports: what a name stands for, as ("module", dotted) or ("name", module, name), or None:
    foreign.
    """

    definitions: dict[str, Definition]
    imports: dict[str, tuple | None]


class Package:
    """The parsed modules of a package folder, by dotted name below it; "" is its __init__."""

    def __init__(self, folder: Path):
        self.name = folder.name
        paths = {_dotted(folder, path): path for path in sorted(folder.rglob("*.py"))}
        self.modules = {name: self._parse(name, path) for name, path in paths.items()}
        self._spellings: dict[Definition, _Spelling] = {}
        self.methods: dict[str, list[Definition]] = {}
        for module in self.modules.values():
            for owner in module.definitions.values():
                for method in _methods(owner.node):
                    self.methods.setdefault(method.name, []).append(
                        Definition(owner.module, f"{owner.name}.{method.name}", method))

    def definition(self, dotted: str) -> Definition:
        """A definition by "module.name", followed through imports. Raises ValueError if there is none."""
        module, _, name = dotted.rpartition(".")
        found = self.meaning(module, name) if module in self.modules else None
        if not isinstance(found, Definition):
            raise ValueError(f"{dotted!r} is no definition of {self.name}")
        return found

    def meaning(self, module: str, name: str, is_local: bool = False) -> Definition | str | None:
        """What a name stands for in a module: a definition, a module's dotted name, or None if it is not the package's.

        is_local: a function imports it for itself.
        """
        seen: set[tuple[str, str]] = set()
        while (module, name) not in seen:
            parsed = self.modules[module]
            if name in parsed.definitions and not (is_local and not seen):
                return parsed.definitions[name]
            seen.add((module, name))
            if (target := parsed.imports.get(name)) is None:
                return None
            if target[0] == "module":
                return target[1]
            _, module, name = target
            if (below := f"{module}.{name}".strip(".")) in self.modules:
                return below
            if module not in self.modules:
                return None
        return None

    def named_in_call(self, module: str, call: str, key: str, value: str, arguments: tuple[str, ...]) -> list[str]:
        """The definitions, as "module.name", that some arguments of a call at the top of a module name, in their order.

        call: the class that is called, or how names of its subclasses end.  The call is the one whose argument `key` is
        the text `value`. An argument that is not given, the key too, has its default, which stands with the class.
        Raises ValueError if there is no such call.
        """
        if module in self.modules:
            owner = self.definition(f"{module}.{call}")
            for node in _calls(self.modules[module].definitions, call):
                given = _defaults(owner.node) | {word.arg: (module, word.value) for word in node.keywords}
                if _text(given.get(key)) == value:
                    named = []
                    for argument in arguments:
                        if argument in given:
                            place, expression = given[argument]
                            named += self._named(place or owner.module, expression)
                    return named
        raise ValueError(f"{self.name}.{module} has no {call}({key}={value!r}, ...)")

    def _named(self, module: str, expression: ast.expr) -> list[str]:
        found = dict.fromkeys(_Speller(self, module).spelling(expression).references)
        return [f"{definition.module}.{definition.name}" for definition in found]

    def _parse(self, name: str, path: Path) -> _Module:
        tree = _tree(path.read_text(encoding="utf-8"))
        definitions: dict[str, Definition] = {}
        for statement in _top_level(tree.body):
            for defined in _names_of(statement):
                # A constant that is assigned in parts counts with all of them.
                before = definitions[defined].node.body if defined in definitions else []
                definitions[defined] = Definition(name, defined, ast.Module([*before, statement], []))
        is_package = path.name == "__init__.py"
        imports = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    imports[alias.asname or alias.name.partition(".")[0]] = self._target(
                        alias.name if alias.asname else alias.name.partition(".")[0])
            elif isinstance(node, ast.ImportFrom):
                base = self._base(name, is_package, node)
                for alias in node.names:
                    imports[alias.asname or alias.name] = None if base is None else ("name", base, alias.name)
        return _Module(definitions, imports)

    def _target(self, dotted: str) -> tuple | None:
        first, _, below = dotted.partition(".")
        return ("module", below) if first == self.name else None

    def _base(self, module: str, is_package: bool, node: ast.ImportFrom) -> str | None:
        """The module, below the package, that an import takes names from."""
        if not node.level:
            first, _, below = (node.module or "").partition(".")
            return below if first == self.name else None
        parts = module.split(".") if module else []
        parents = parts[: len(parts) - node.level + is_package]
        return ".".join([*parents, *(node.module or "").split(".")]).strip(".")

    # What is reached

    def source_digest(self, roots: Iterable[str]) -> str:
        """SHA-256, 64 hex digits, of all definitions that the roots reach, the roots named as in definition().

        Raises ValueError for a root that is not there.
        """
        return hashlib.sha256("\n".join(text for _, text in self._walk(roots)).encode()).hexdigest()

    def reached(self, roots: Iterable[str]) -> set[str]:
        """The definitions behind source_digest(), each as "module.name"."""
        return {f"{found.module}.{found.name}" for found, _ in self._walk(roots)}

    def _walk(self, roots: Iterable[str]) -> list[tuple[Definition, str]]:
        numbers: dict[Definition, int] = {}
        spelled: list[tuple[Definition, str]] = []
        wanted: set[str] = set()

        def number(found: Definition) -> str:
            return f"@{numbers.setdefault(found, len(numbers))}"

        for root in roots:
            number(self.definition(root))
        while True:
            while len(spelled) < len(numbers):
                definition = list(numbers)[len(spelled)]
                spelling = self._spelling(definition)
                spelled.append((definition, spelling.text(number)))
                wanted |= spelling.attributes
            told = set().union(*(_members(found.node) for found in numbers))
            more = [method for name in sorted(wanted - told) for method in self._any_of(name)]
            before = len(numbers)
            for method in more:
                number(method)
            if len(numbers) == before:
                return spelled

    def _any_of(self, name: str) -> list[Definition]:
        """Every method of that name, in an order that does not depend on where they stand."""
        return sorted(self.methods.get(name, []),
                      key=lambda method: (method.name, self._spelling(method).text(lambda _: "Reference")))

    def _spelling(self, definition: Definition) -> _Spelling:
        if definition not in self._spellings:
            self._spellings[definition] = _Speller(self, definition.module).spelling(definition.node)
        return self._spellings[definition]


class _Speller:
    """A syntax tree as text that every supported Python spells alike, with CUT where it refers to a definition."""

    def __init__(self, package: Package, module: str):
        self.package, self.module = package, module
        self.references: list[Definition] = []
        self.scopes: list[frozenset[str]] = []
        self.classes = 0  # around what is being spelled
        self.imported: list[frozenset[str]] = []  # within functions, where an import hides a definition of that name
        self.attributes: set[str] = set()
        self.outside: set[int] = set()  # ids of what stands in a scope, and means what it means around that

    def spelling(self, node) -> _Spelling:
        return _Spelling(self.spell(node).split(CUT), self.references, frozenset(self.attributes))

    def spell(self, node) -> str:
        if id(node) in self.outside:
            return self._around(node)
        if isinstance(node, list):
            return "[" + ",".join(self.spell(item) for item in node if not _is_idle(item)) + "]"
        if not isinstance(node, ast.AST):
            return ascii(node)  # not repr: which characters it escapes depends on Python's Unicode tables
        if (found := self._refers_to(node)) is not None:
            return self._reference(found)
        if isinstance(node, ast.Attribute) and not self._is_foreign(node.value):
            self.attributes.add(node.attr)
        with_scope, is_class = isinstance(node, SCOPES), isinstance(node, ast.ClassDef)
        self.classes += is_class
        if with_scope:
            self.enter(node)
        try:
            return f"{type(node).__name__}({','.join(self._fields(node))})"
        finally:
            self.classes -= is_class
            if with_scope:
                self.leave()

    def enter(self, node) -> None:
        self.scopes.append(_bound(node))
        self.imported.append(_imported(node))
        self.outside.update(map(id, _outside(node)))

    def leave(self) -> None:
        self.scopes.pop()
        self.imported.pop()

    def _around(self, node) -> str:
        self.outside.discard(id(node))
        scope, imported = self.scopes.pop(), self.imported.pop()
        try:
            return self.spell(node)
        finally:
            self.scopes.append(scope)
            self.imported.append(imported)

    def _fields(self, node) -> Iterator[str]:
        fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
        if isinstance(node, ast.JoinedStr):  # Python 3.12 ends a format like {x:>{width}} with an empty text
            fields = {"values": [part for part in node.values if getattr(part, "value", None) != ""]}
        if isinstance(node, FUNCTIONS):
            fields.pop("returns", None)
            if not self.scopes[:-1]:  # of the definition itself: what others call it does not count
                fields.pop("name")
        if isinstance(node, ast.ClassDef) and not self.scopes:
            fields.pop("name")
        if isinstance(node, ast.arg) or isinstance(node, ast.AnnAssign) and self.scopes:
            fields.pop("annotation", None)
        if isinstance(node, ast.Module):
            fields = {"body": node.body}
        return (f"{name}={self.spell(value)}" for name, value in fields.items())

    def _refers_to(self, node) -> Definition | str | None:
        """The definition, or module, that a name or a dotted name stands for here."""
        if isinstance(node, ast.Name):
            is_field = self.classes and isinstance(node.ctx, ast.Store)
            if is_field or any(node.id in scope for scope in self.scopes):
                return None
            if node.id in NOT_FOLLOWED:
                return None
            is_local = any(node.id in names for names in self.imported)
            return self.package.meaning(self.module, node.id, is_local)
        if isinstance(node, ast.Attribute):
            base = self._refers_to(node.value)
            if isinstance(base, str):
                below = f"{base}.{node.attr}".strip(".")
                if below in self.package.modules:
                    return below
                return None if node.attr in NOT_FOLLOWED else self.package.meaning(base, node.attr)
        return None

    def _reference(self, found: Definition | str) -> str:
        if isinstance(found, str):
            return "Module"  # as a value; what is taken from it elsewhere cannot be told
        self.references.append(found)
        return CUT

    def _is_foreign(self, node) -> bool:
        """Whether it is a name imported from another package, or something taken from one, as np.random is."""
        while isinstance(node, ast.Attribute):
            node = node.value
        imports = self.package.modules[self.module].imports
        return (isinstance(node, ast.Name) and node.id in imports and imports[node.id] is None
                and not any(node.id in scope for scope in self.scopes))


def _calls(definitions: dict[str, Definition], name: str) -> Iterator[ast.Call]:
    for definition in definitions.values():
        for statement in definition.node.body:
            for node in ast.walk(statement) if isinstance(statement, ast.Assign | ast.AnnAssign) else ():
                if isinstance(node, ast.Call) and _called(node).endswith(name):
                    yield node


def _called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _defaults(owner: ast.Module) -> dict[str, tuple[None, ast.expr]]:
    """The defaults of a dataclass's fields; None stands for the module of the class."""
    fields = [field for definition in owner.body if isinstance(definition, ast.ClassDef) for field in definition.body]
    return {field.target.id: (None, field.value) for field in fields
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None}


def _text(given: tuple | None) -> object:
    return given[1].value if given and isinstance(given[1], ast.Constant) else None


def _dotted(folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=256)
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If | ast.Try):
            yield from _top_level([*statement.body, *statement.orelse])
        else:
            yield statement


def _names_of(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return [statement.name]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [node.id for target in targets if target is not None for node in ast.walk(target)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _methods(node: ast.AST) -> list[Any]:
    return [method for owner in getattr(node, "body", []) if isinstance(owner, ast.ClassDef)
            for method in owner.body if isinstance(method, FUNCTIONS)]


@lru_cache(maxsize=4096)
def _members(node: ast.AST) -> frozenset[str]:
    """Names of a class's methods and fields, and of what its methods set on self."""
    found = set()
    for owner in getattr(node, "body", []):
        if isinstance(owner, ast.ClassDef):
            for statement in owner.body:
                found.update(_names_of(statement))
            found.update(inner.attr for inner in ast.walk(owner) if isinstance(inner, ast.Attribute)
                         and isinstance(inner.ctx, ast.Store))
    return frozenset(found)


@cache
def _bound(node: Any) -> frozenset[str]:
    """The names that a function or comprehension binds for itself, but for imports, which stand for what they
    import.
    """
    found: set[str] = set()
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
            if each is not None:
                found.add(each.arg)
        waiting: list[Any] = list(node.body) if isinstance(node.body, list) else [node.body]
    else:
        waiting = [generator.target for generator in node.generators]
    elsewhere: set[str] = set()
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, (*FUNCTIONS, ast.ClassDef)):
            found.add(inner.name)
            continue
        if isinstance(inner, ast.Global | ast.Nonlocal):
            elsewhere.update(inner.names)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store | ast.Del):
            found.add(inner.id)
        if isinstance(inner, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and inner.name:
            found.add(inner.name)
        if isinstance(inner, ast.MatchMapping) and inner.rest:
            found.add(inner.rest)
        if not isinstance(inner, (ast.Lambda, *SCOPES[3:])):
            waiting.extend(ast.iter_child_nodes(inner))
        else:  # a walrus binds in the function around
            found.update(name.target.id for name in ast.walk(inner) if isinstance(name, ast.NamedExpr))
    return frozenset(found - elsewhere)


def _outside(node: Any) -> list[Any]:
    """What stands in a function or comprehension, but is evaluated around it: decorators, defaults, the first values
    that it goes through.
    """
    if isinstance(node, (*FUNCTIONS, ast.Lambda)):
        defaults = [each for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None]
        return [*getattr(node, "decorator_list", []), *defaults]
    return [node.generators[0].iter]


@cache
def _imported(node: ast.AST) -> frozenset[str]:
    """The names that imports within a function bind."""
    statements = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
    return frozenset(alias.asname or alias.name.partition(".")[0] for inner in statements for alias in inner.names)


def _is_idle(node) -> bool:
    """A statement without effect: pass, an import, or a bare string such as a docstring."""
    return isinstance(node, ast.Pass | ast.Import | ast.ImportFrom) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
