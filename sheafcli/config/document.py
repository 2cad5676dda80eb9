"""A YAML document as plain values, remembering where each came from.

Scalars are read by the core schema of YAML 1.2, in which ``1e-3`` is a number and ``no`` is text.
Anchors, aliases, tags, duplicate keys, deep nesting and very many values are refused, so that a
small file stays small in memory and quick to read, and every value has one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import yaml

KeyPath = tuple[str | int, ...]

_MAX_DEPTH = 24
_MAX_NODES = 10_000
_PREFIX = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT = (_PREFIX + kind for kind in ("null", "bool", "int", "float"))
# In order of precedence; the second entry lists the characters a match may start with.
_CORE_SCHEMA = (
    (_NULL, ["~", "n", "N", ""], r"~|null|Null|NULL|"),
    (_BOOL, list("tTfF"), r"true|True|TRUE|false|False|FALSE"),
    (_INT, list("-+0123456789"), r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)"),
    (
        _FLOAT,
        list("-+.0123456789"),
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    ),
)


@dataclass(frozen=True)
class Origin:
    """Where a value was given: on a line of the file (from 1), of another file, or by an override."""

    given: str
    line: int | None = None
    key_line: int | None = None
    override: str | None = None
    file: Path | None = None

    def of_key(self) -> Origin:
        """Point at the key rather than the value."""
        return replace(self, line=self.key_line)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a configuration, at a line (of another file), at an override, or as a whole."""

    message: str
    line: int | None = None
    override: str | None = None
    file: Path | None = None


class DocumentError(Exception):
    """Raised when a text cannot be read as a document at all."""

    def __init__(self, problem: Problem):
        self.problem = problem
        super().__init__(problem.message)


@dataclass
class Document:
    """A YAML value of dicts, lists and scalars, and the origin of each part by its key path."""

    value: Any
    origins: dict[KeyPath, Origin]
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: KeyPath) -> Origin:
        """Say where the value at `path` was given, or else the innermost part that holds it."""
        while path not in self.origins:
            path = path[:-1]
        return self.origins[path]

    def replace(self, path: KeyPath, value: Any, origin: Origin) -> None:
        """Set the value at `path`, of which only mappings are passed through or made."""
        holder = self.value
        for depth, key in enumerate(path[:-1], start=1):
            holder = holder.setdefault(key, {})
            self.origins.setdefault(path[:depth], origin)
            if not isinstance(holder, dict):
                whole, part = dotted(path), dotted(path[:depth])
                message = f"{whole}: {part} is not a section but {shown(str(holder))}"
                self.problems.append(Problem(message, origin.key_line, origin.override, origin.file))
                return
        holder[path[-1]] = value
        self._forget(path)
        self.origins[path] = origin

    def remove(self, path: KeyPath) -> None:
        """Take out the value at `path`, which is there, among mappings."""
        holder = self.value
        for key in path[:-1]:
            holder = holder[key]
        del holder[path[-1]]
        self._forget(path)

    def _forget(self, path: KeyPath) -> None:
        self.origins = {p: o for p, o in self.origins.items() if p[: len(path)] != path}


def dotted(path: KeyPath) -> str:
    """Spell a key path as a user writes it: ``network.hidden[1]``."""
    parts = (f"[{key}]" if isinstance(key, int) else f".{shown(key)}" for key in path)
    return "".join(parts).removeprefix(".")


def shown(text: str, length: int = 60) -> str:
    """Show what was given on one line of at most so many characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not words:
        return "nothing"
    return words if len(words) <= length else words[: length - 3] + "..."


def parse(text: str) -> Document:
    """Read one YAML document, whose value is None if the text is empty.

    Raises DocumentError where the text is not YAML or uses a part of it that is refused.
    Duplicate keys are listed in the document's `problems`.
    """
    with _syntax_errors(text):
        loader = _Loader(text)
        try:
            # The composer takes the stream's opening event in check_node.
            root = loader.get_node() if loader.check_node() else None
            if loader.check_node():
                second: Any = loader.peek_event()  # type: ignore[no-untyped-call]
                line = second.start_mark.line + 1
                _refuse("a second document starts here; give one document, without `---`", line)
        except (ValueError, OverflowError):  # PyYAML leaves these to int() and chr().
            _refuse("not YAML: an escape or a directive is out of range", loader.line + 1)
        finally:
            loader.dispose()
    document = Document(None, {})
    if root is not None:
        document.value = _Builder(text, document).value(root, (), _line(root))
    return document


def _refuse(message: str, line: int) -> NoReturn:
    raise DocumentError(Problem(message, line))


@contextmanager
def _syntax_errors(text: str) -> Iterator[None]:
    """Turn the parser's errors into one in plain words, with its line."""
    try:
        yield
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"U+{ord(text[error.position]):04X}"
        _refuse(f"not YAML: the character {character} is not allowed in a text file", line)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        advice = "; indent with spaces" if "\\t" in (error.problem or "") else ""
        line = mark.line + 1 if mark else 1
        _refuse(f"not YAML: {error.problem}{context}{advice}", line)


class _Loader(yaml.SafeLoader):
    """The safe composer, with the core schema's scalars and without anchors, aliases and tags."""

    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            _refuse("anchors (&name) and aliases (*name) are refused; write the value out", line)
        if event.tag is not None:
            _refuse(f"the tag {shown(event.tag)} is refused; write the plain value", line)
        if self._depth == _MAX_DEPTH:
            _refuse(f"nested more than {_MAX_DEPTH} levels deep", line)
        if self._nodes == _MAX_NODES:
            _refuse(f"more than {_MAX_NODES} keys and values", line)
        self._nodes += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_BREAKS = frozenset("\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """Quotes text that would be another scalar by YAML 1.1 (of its parent) or 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # YAML 1.1 breaks lines at these three, within quotes too, unless they are escaped.
        breaks = not _BREAKS.isdisjoint(data)
        return self.represent_scalar(_PREFIX + "str", data, style='"' if breaks else None)


# YAML 1.1's scalars are forgotten by the loader, and kept by the dumper.
_Loader.yaml_implicit_resolvers = {}
for _tag, _first, _pattern in _CORE_SCHEMA:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"\A(?:{_pattern})\Z"), _first)

_Dumper.add_representer(str, _Dumper.represent_str)
_Dumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence(_PREFIX + "seq", items, flow_style=True)
)


def write(value: dict[str, Any] | list[Any]) -> str:
    """Write plain values as YAML, which `parse` reads back as the same values."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10**9)


def write_value(value: Any) -> str:
    """Write one value as it stands after its key, on the same line."""
    # An item of a list is on the list's one line, whatever it is: {train_loss: null, seconds: null}.
    return write([value]).strip()[1:-1]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Builder:
    """Turns the nodes of one text into values, noting the origin of each in the document."""

    def __init__(self, text: str, document: Document):
        self.text = text
        self.document = document

    def value(self, node: yaml.Node, path: KeyPath, key_line: int) -> Any:
        given = shown(self.text[node.start_mark.index : node.end_mark.index])
        self.document.origins[path] = Origin(given, _line(node), key_line)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self.value(item, (*path, index), _line(item)) for index, item in items]
        return _scalar(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                _refuse("a key must be a plain name, not a list or a mapping", line)
            key = key_node.value
            if key in lines:
                name = dotted((*path, key))
                message = f"{name}: given twice, first on line {lines[key]}; keep one of the two"
                self.document.problems.append(Problem(message, line))
                continue
            lines[key] = line
            values[key] = self.value(value_node, (*path, key), line)
        return values


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    text = node.value
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return bool(text.lower() == "true")
    if node.tag == _FLOAT:
        # Python spells .inf and .nan without the dot.
        return float(re.sub(r"\.(?=[a-z])", "", text.lower()))
    if node.tag == _INT:
        try:
            return int(text)
        except ValueError:  # Thousands of digits: no number that any key allows.
            return str(text)
    return str(text)
