"""Who is let in: nobody's key, a bearer token, a signature, or none of these."""

import pytest

from coldspark.errors import Forbidden
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.refusals import AuthRefused, RefusalReason
from coldspark.http.auth.scopes import KeyAction, authorize, is_allowed
from coldspark.platform.ports import Key


def key(*scopes: str) -> Key:
    """Return a key with these scopes."""
    return Key(id="CSK1", name="ci", scopes=scopes, created_ms=0)


class Keys:
    """The keys that a test wants; a token is ``csk_`` and the id."""

    def __init__(self, *keys: Key) -> None:
        self._keys = {one.id: one for one in keys}

    def is_empty(self) -> bool:
        return not self._keys

    def by_bearer(self, token: str) -> Key | None:
        return self._keys.get(token.removeprefix("csk_"))

    def secret(self, key_id: str) -> str | None:
        return "secret" if key_id in self._keys else None

    def by_id(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)


def authenticate(authenticator: Authenticator, query: str = "", **headers: str) -> Key | None:
    """Authenticate a request that has only these headers."""
    return authenticator.authenticate("POST", "/", query, headers, b"", now_ms=0)


def test_without_keys_everyone_is_let_in() -> None:
    """A fresh server on a loopback address needs no key, and ignores one that is sent."""
    assert authenticate(Authenticator(Keys())) is None
    assert authenticate(Authenticator(Keys()), authorization="Bearer anything") is None


def test_a_server_that_requires_keys_lets_nobody_in_without_one() -> None:
    """Deleting the last key closes the door rather than opening it."""
    with pytest.raises(AuthRefused) as refused:
        authenticate(Authenticator(Keys(), is_key_required=True))
    assert refused.value.reason is RefusalReason.MISSING


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_proves_its_key(scheme: str) -> None:
    """The scheme's case does not matter (RFC 9110, section 11.1)."""
    authenticator = Authenticator(Keys(key("invoke")))

    assert authenticate(authenticator, authorization=f"{scheme} csk_CSK1") == key("invoke")


def test_an_unknown_token_is_refused() -> None:
    """And so is an empty one."""
    for token in ("csk_CSK2", ""):
        with pytest.raises(AuthRefused) as refused:
            authenticate(Authenticator(Keys(key("invoke"))), authorization=f"Bearer {token}")
        assert refused.value.reason is RefusalReason.UNKNOWN_KEY


def test_nothing_at_all_is_told_what_to_send() -> None:
    """The message names both ways."""
    with pytest.raises(AuthRefused, match="Bearer csk_…' or an AWS signature") as refused:
        authenticate(Authenticator(Keys(key("invoke"))))
    assert refused.value.reason is RefusalReason.MISSING
    assert refused.value.http_status == 401


@pytest.mark.parametrize(
    "query", ["X-Amz-Signature=abc&X-Amz-Date=1", "AWSAccessKeyId=a&Signature=b&Expires=1"]
)
def test_presigned_queries_are_refused_in_words(query: str) -> None:
    """Both versions of them: they would outlive the five minutes."""
    with pytest.raises(AuthRefused, match="Presigned requests are not taken") as refused:
        authenticate(Authenticator(Keys(key("invoke"))), query)
    assert refused.value.reason is RefusalReason.UNSUPPORTED


@pytest.mark.parametrize(
    ("scopes", "action", "name", "expected"),
    [
        (("invoke",), KeyAction.INVOKE, "churn", True),
        (("invoke:churn",), KeyAction.INVOKE, "churn", True),
        (("invoke:churn",), KeyAction.INVOKE, "other", False),
        (("invoke:churn",), KeyAction.INVOKE, None, False),
        (("invoke",), KeyAction.DEPLOY, "churn", False),
        (("deploy",), KeyAction.INVOKE, "churn", False),
        (("deploy:a", "deploy:b"), KeyAction.DEPLOY, "b", True),
        (("admin",), KeyAction.DEPLOY, None, True),
        (("admin:churn",), KeyAction.INVOKE, "churn", True),
        (("admin:churn",), KeyAction.ADMIN, None, False),
    ],
)
def test_scopes_allow_an_action_for_all_names_or_for_one(
    scopes: tuple[str, ...], action: KeyAction, name: str | None, expected: bool
) -> None:
    """A scope with a name never allows what asks for all names."""
    assert is_allowed(key(*scopes), action, name) is expected


def test_a_missing_scope_is_named_in_the_refusal() -> None:
    """Who reads it knows which scope to add."""
    with pytest.raises(Forbidden, match=r"invoke:other or invoke\."):
        authorize(key("invoke:churn"), KeyAction.INVOKE, "other")
    authorize(None, KeyAction.ADMIN)
