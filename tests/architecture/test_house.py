"""The house keeps its order: imports point down, signals are documented and tested, tests have a tree."""

import ast
import inspect
import re
from pathlib import Path

import hive.current
import hive.dispatcher
import hive.embedded
import hive.errors
import hive.plugins
import hive.testing
from hive import signals

ROOT = Path(hive.__file__).parents[1]
HIVE, TESTS = ROOT / "hive", ROOT / "tests"
MODULES = {
    ".".join(path.relative_to(HIVE).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(HIVE.rglob("*.py"))
}
ORDER = [
    *("__init__", "testing", "plugins", "server", "authhive", "flows", "signin", "routing", "saving"),
    *(
        "handlers",
        "many",
        "several",
        "writing",
        "reading",
        "together",
        "exchange",
        "bodies",
        "serving",
        "codings",
        "paths",
    ),
    *(
        "places.reference",
        "places.embedded",
        "places.field",
        "places.stored",
        "places.pages",
        "places.place",
        "places.__init__",
    ),
    "indexes",
    *(
        "expansion",
        "query",
        "shapes",
        "decoding",
        "neighbours",
        "protection",
        "resource",
        "orders",
        "cursors",
    ),
    *("filters", "operators", "operands", "matching", "names"),
    *("payload", "serializers", "encoding", "schema"),
    *("idempotency", "answers", "writes", "emissions"),
    *("deletions", "storage", "races", "insertions", "outcomes", "transactions"),
    *("refusals", "rows", "changes", "preconditions"),
    *(
        "authentication",
        "bearers",
        "providers",
        "auth.google",
        "auth.openid",
        "auth.tokens",
        "auth.fetching",
        "auth.provider",
    ),
    *("auth.__init__", "sessions", "revocations", "rates", "permissions"),
    "fields",
    *("codecs.containers", "codecs.untyped", "codecs.times", "codecs.numbers", "codecs.geo"),
    *("codecs.references", "codecs.scalars", "codecs.codec", "codecs.__init__", "plain"),
    *("patches", "values", "pool", "threads", "origins", "errors", "routers"),
    *("expiring", "availability", "concerns"),
    *(
        "signals",
        "dispatcher",
        "connections",
        "listeners",
        "receivers",
        "current",
        "exclusive",
        "embedded",
        "lazy",
    ),
]
"""The modules of hive in the order in which they are read: each imports only from those after it."""
LISTENED_TO = {
    "handlers",
    "writes",
    "emissions",
    "reading",
    "together",
    "exchange",
    "serving",
    "routing",
    "signin",
    "providers",
}


def imported(tree):
    """The modules of hive that a module imports, with the node of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"a relative import, at line {node.lineno}")
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, *rest = name.split(".")
            if package == "hive":
                paths = (".".join(rest[:length]) for length in range(len(rest), 0, -1))
                yield next((path for path in paths if path in MODULES), "__init__"), node


def test_every_module_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(MODULES)


def test_imports_point_down_only():
    upwards = [
        f"{name}, line {node.lineno}: {other}"
        for place, name in enumerate(ORDER)
        for other, node in imported(MODULES[name])
        if other in ORDER[: place + 1]
    ]
    assert upwards == []


def test_nothing_is_imported_inside_a_function():
    inside = [
        f"{name}, line {node.lineno}"
        for name, tree in MODULES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_there_is_no_room_for_what_belongs_nowhere():
    assert not {"utils", "util", "common", "helpers", "misc", "base"} & {
        name.split(".")[-1] for name in MODULES
    }


def test_only_storage_and_its_like_know_the_driver():
    allowed = {
        "storage",
        "races",
        "transactions",
        "outcomes",
        "idempotency",
        "insertions",
        "rows",
        "refusals",
        "pool",
        "changes",
        "availability",
        "concerns",
        "expiring",
        "embedded",
        "revocations",
        "rates",
        "testing",
        "threads",
    }
    clients = {
        name
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for module in [getattr(node, "module", None) or node.names[0].name]
        if module.split(".")[0] == "pymongo"
    }
    assert clients <= allowed


# Signals


def table_of_the_readme():
    """The rows of the README's table of signals: name, arguments."""
    rows = re.findall(r"^\| `(\w+)` \| `([\w, ]+)` \| .+ \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return {name: tuple(arguments.split(", ")) for name, arguments in rows}


def emitted():
    """The names of the signals that the verbs and the exchange mention in their code."""
    return {
        node.attr
        for name in LISTENED_TO
        for node in ast.walk(MODULES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "signals"
    }


def mentioned_in_tests():
    """The signals that tests name in their code or in what they expect."""
    texts = [path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    return set(re.findall(r"\w+", "\n".join(texts)))


def offenders(is_wrong):
    """The names of the signals of which something is wrong."""
    return [name for name, signal in signals.core.items() if is_wrong(name, signal)]


def test_every_signal_has_a_name_in_hive_signals_and_a_docstring():
    assert offenders(lambda name, signal: getattr(signals, name) is not signal) == []
    assert offenders(lambda _, signal: signal.__doc__ == type(signal).__doc__) == []
    assert offenders(lambda _, signal: not signal.__doc__.endswith((".", "``."))) == []


def test_every_signal_is_sent():
    assert set(signals.core) - emitted() == set()


def test_every_signal_is_tested():
    assert set(signals.core) - mentioned_in_tests() == set()


def test_the_readme_names_every_signal_with_its_arguments_and_no_other():
    assert table_of_the_readme() == {name: signal.arguments for name, signal in signals.core.items()}


# Docstrings


def test_every_module_has_a_docstring():
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def is_documented(value):
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)


def exported():
    """What users of hive see: names of the package, of the modules that they import, of their classes."""
    found = {f"hive.{name}": getattr(hive, name) for name in hive.__all__}
    for module in (hive.testing, hive.embedded, hive.dispatcher, hive.plugins, hive.errors):
        own = {name: value for name, value in vars(module).items() if is_documented(value)}
        found |= {
            f"{module.__name__}.{name}": value
            for name, value in own.items()
            if getattr(value, "__module__", None) == module.__name__
        }
    for owner in (hive.ModelHive, hive.signals.Signal, hive.current.Current, hive.embedded.Server):
        found |= {f"{owner.__name__}.{name}": getattr(owner, name) for name in vars(owner)}
    return [
        (name, value)
        for name, value in found.items()
        if not name.rpartition(".")[2].startswith("_") and is_documented(value)
    ]


def documentation(value):
    """What the documentation says of a value; a problem says it by its sentence."""
    if inspect.isclass(value) and issubclass(value, hive.Problem):
        return value.sentence
    return inspect.getdoc(value)


def test_everything_that_is_exported_has_a_docstring():
    assert [name for name, value in exported() if not documentation(value)] == []


# Tests

TREE = {"architecture", "contract", "integration", "support", "system", "unit"}
SERVERS = {"serve", "database", "mongodb_database", "mongodb_server", "new_mongodb_database"}


def test_every_directory_of_tests_is_known():
    assert {path.name for path in TESTS.iterdir() if path.is_dir()} - {"__pycache__"} <= TREE


def test_tests_of_units_need_no_server():
    needing = [
        f"{path.relative_to(TESTS)}, line {node.lineno}: {name}"
        for path in sorted((TESTS / "unit").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.arg | ast.alias)
        for name in [node.arg if isinstance(node, ast.arg) else node.name]
        if name in SERVERS
    ]
    assert needing == []
