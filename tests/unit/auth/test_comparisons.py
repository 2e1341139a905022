"""Comparisons of secrets take a time that tells nothing."""

import ast
from pathlib import Path

import pytest

import hive

SECRETS = {"state", "nonce", "signature", "mac", "digest", "secret", "secret_key", "password", "verifier"}
SECRETS |= {"token", "id_token", "access_token", "client_secret", "code", "challenge", "cookie"}
ROOT = Path(hive.__file__).parent
GUARDED = [*sorted((ROOT / "auth").glob("*.py")), *(ROOT / f"{name}.py" for name in
           ("sessions", "signin", "flows", "authentication", "bearers", "providers", "authhive",
            "revocations", "origins"))]  # fmt: skip


def words(node):
    """What an operand is called: a name, an attribute, the key of a lookup or of ``get()``."""
    node = node.func if isinstance(node, ast.Call) and not is_get(node) else node
    if isinstance(node, ast.Name):
        return {node.id}
    if isinstance(node, ast.Attribute):
        return {node.attr} | words(node.value)
    key = node.slice if isinstance(node, ast.Subscript) else node.args[0] if is_get(node) else None
    return {key.value} if isinstance(key, ast.Constant) else set()


def is_get(node):
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and bool(node.args)


def compared(tree):
    """The secrets that a module compares by ``==``, ``!=`` or ``in``, as far as their names tell, by line."""
    return [
        (node.lineno, words(operand) & SECRETS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        if isinstance(node.ops[0], ast.Eq | ast.NotEq)
        for operand in (node.left, *node.comparators)
        if words(operand) & SECRETS
    ]


@pytest.mark.parametrize("path", GUARDED, ids=lambda path: path.stem)
def test_no_secret_is_compared_in_a_time_that_tells_where_it_differs(path):
    assert compared(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "code",
    ["state == x", "x != nonce", "flow['state'] == state", "claims.get('nonce') != n", "self.secret_key == k",
     "state.encode() == y", "x == handler.nonce"],
)  # fmt: skip
def test_such_a_comparison_would_be_seen(code):
    assert compared(ast.parse(code))


def test_state_and_nonce_are_compared_by_hmac():
    trees = {path.stem: ast.parse(path.read_text()) for path in GUARDED}
    calls = [
        (stem, {word for argument in node.args for word in words(argument)} & SECRETS)
        for stem, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "is_same"
    ]
    assert ("flows", {"state"}) in calls
    assert ("openid", {"nonce"}) in calls
    [is_same] = [node for node in trees["tokens"].body if getattr(node, "name", "") == "is_same"]
    assert "hmac.compare_digest" in ast.unparse(is_same)
    assert not [node for node in ast.walk(is_same) if isinstance(node, ast.Compare)]
