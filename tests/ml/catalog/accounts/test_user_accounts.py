"""Accounts and their tokens, as the database holds them."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from ml.catalog.accounts import user_accounts
from ml.catalog.accounts.tokens import IssuedToken, issue_token, revoke_token, revoke_tokens, token_digest
from ml.catalog.accounts.user_accounts import (
    ROLES,
    Account,
    StoredAccount,
    add_account,
    change_password,
    change_role,
    demand_account,
    disable_account,
    erase_account,
    find_account,
    find_token_account,
    is_any_account,
    is_unchanged,
    list_accounts,
    put_demo_accounts,
    rehash_password,
    reset_account,
    verify_password,
)
from ml.catalog.database import Catalog
from ml.catalog.tables import accounts, feedback, review_decisions, tokens
from ml.errors import AccountError, LastAdminError, UnknownAccountError

PASSWORD, NEW = "correct horse battery", "another long password"
HOUR = timedelta(hours=1)
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_accounts, "_HASHER", CHEAP)


@pytest.fixture
def add(catalog: Catalog) -> Callable[..., StoredAccount]:
    """Adds an account: add(login, role)."""

    def add_one(login: str, role: str = "user") -> StoredAccount:
        add_account(catalog, login, role, PASSWORD)
        return stored(catalog, login)

    return add_one


def stored(catalog: Catalog, login: str) -> StoredAccount:
    with catalog.begin() as connection:
        found = find_account(connection, login)
    assert found is not None
    return found


def give_token(catalog: Catalog, account: Account, lifetime: timedelta = HOUR) -> str:
    with catalog.begin() as connection:
        return issue_token(connection, account.id, lifetime).token


def who(catalog: Catalog, token: str) -> str | None:
    """The login that a token stands for now."""
    with catalog.begin() as connection:
        found = find_token_account(connection, token)
    return None if found is None else found.login


@pytest.mark.parametrize("role", ROLES)
def test_an_account_is_stored_as_it_was_asked_for_and_without_its_password(catalog: Catalog, role: str) -> None:
    account = add_account(catalog, "ada.l-1_x@y", role, PASSWORD)
    found = stored(catalog, "ada.l-1_x@y")
    assert (found.account, account.role, found.is_disabled) == (account, role, False)
    assert PASSWORD not in found.password_hash
    assert (verify_password(found, PASSWORD), verify_password(found, NEW)) == (True, False)
    with pytest.raises(AccountError, match=r"'ada\.l-1_x@y' is taken"):
        add_account(catalog, "ada.l-1_x@y", "user", PASSWORD)


@pytest.mark.parametrize("login", ["", "Ada", "-ada", ".ada", "a b", "a" * 65, "ada\n", "é", "a/b"])
def test_a_login_of_another_form_is_neither_made_nor_found(catalog: Catalog, login: str) -> None:
    with pytest.raises(AccountError, match="1 to 64 lower-case letters"):
        add_account(catalog, login, "user", PASSWORD)
    with catalog.begin() as connection:
        assert find_account(connection, login) is None
        with pytest.raises(UnknownAccountError, match="expected an existing account"):
            demand_account(connection, login)


@pytest.mark.parametrize("login", ["a", "0", "a" * 64])
def test_the_shortest_and_the_longest_login_are_taken(catalog: Catalog, login: str) -> None:
    assert add_account(catalog, login, "user", PASSWORD).login == login


def test_a_password_has_twelve_characters_and_a_role_a_known_name(catalog: Catalog) -> None:
    with pytest.raises(AccountError, match=r"at least 12 characters, got 11\."):
        add_account(catalog, "ada", "user", "x" * 11)
    with pytest.raises(AccountError, match="expected one of user, expert, admin, got 'root'"):
        add_account(catalog, "ada", "root", PASSWORD)
    add_account(catalog, "ada", "user", "x" * 12)


def test_accounts_are_listed_by_login_disabled_ones_too(catalog: Catalog, add: Callable[..., StoredAccount]) -> None:
    with catalog.begin() as connection:
        assert is_any_account(connection) is False
    for login in ("cleo", "ada", "bob"):
        add(login)
    with catalog.begin() as connection:
        assert is_any_account(connection) is True
        disable_account(connection, "bob")
        assert [(each.account.login, each.is_disabled) for each in list_accounts(connection)] == [
            ("ada", False),
            ("bob", True),
            ("cleo", False),
        ]


def test_nobody_verifies_against_a_missing_account_or_a_damaged_hash(add: Callable[..., StoredAccount]) -> None:
    assert verify_password(None, PASSWORD) is False
    damaged = StoredAccount(add("ada").account, "no hash", add("bob").created_at, is_disabled=False)
    assert verify_password(damaged, PASSWORD) is False


def test_a_missing_account_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Watching:
        salt_len, hash_len = CHEAP.salt_len, CHEAP.hash_len
        memory_cost, time_cost, parallelism = CHEAP.memory_cost, CHEAP.time_cost, CHEAP.parallelism

        def verify(self, password_hash: str, password: str) -> bool:
            asked.append(password_hash)
            return CHEAP.verify(password_hash, password)

    monkeypatch.setattr(user_accounts, "_HASHER", Watching())
    assert verify_password(None, PASSWORD) is False
    (made,) = asked
    assert made.split("$")[:4] == CHEAP.hash(PASSWORD).split("$")[:4]
    assert [len(part) for part in made.split("$")] == [len(part) for part in CHEAP.hash(PASSWORD).split("$")]


def test_a_hash_of_older_parameters_is_renewed_once(
    catalog: Catalog, add: Callable[..., StoredAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = add("ada")
    assert rehash_password(catalog, old, PASSWORD) == old
    monkeypatch.setattr(user_accounts, "_HASHER", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    renewed = rehash_password(catalog, old, PASSWORD)
    assert renewed == stored(catalog, "ada") != old
    assert verify_password(renewed, PASSWORD)
    reset_account(catalog, "ada", NEW)
    assert rehash_password(catalog, old, PASSWORD) == old  # the password was changed meanwhile
    assert verify_password(stored(catalog, "ada"), NEW)


def test_a_token_stands_for_its_account_until_it_expires_or_is_revoked(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    ada, bob = add("ada").account, add("bob").account
    first, second, of_bob = give_token(catalog, ada), give_token(catalog, ada), give_token(catalog, bob)
    expired = give_token(catalog, ada, timedelta(0))
    assert [who(catalog, token) for token in (first, second, of_bob, expired, "made up")] == [
        "ada",
        "ada",
        "bob",
        None,
        None,
    ]
    with catalog.begin() as connection:
        revoke_token(connection, first)
    assert [who(catalog, token) for token in (first, second, of_bob)] == [None, "ada", "bob"]
    with catalog.begin() as connection:
        revoke_tokens(connection, ada.id)
    assert [who(catalog, token) for token in (first, second, of_bob)] == [None, None, "bob"]


def test_a_token_is_long_stored_as_its_digest_and_expires_when_it_says(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    ada = add("ada").account
    with catalog.begin() as connection:
        now = connection.scalar(sa.select(sa.func.clock_timestamp()))
        issued: IssuedToken = issue_token(connection, ada.id, HOUR)
        (digest,) = connection.scalars(sa.select(tokens.c.token_sha256))
    assert now is not None
    assert abs(issued.expires_at - now - HOUR) < timedelta(minutes=1)
    assert (len(issued.token), digest) == (43, token_digest(issued.token))
    assert issued.token not in digest


def test_a_new_token_sweeps_up_the_invalid_ones_of_its_account(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    ada, bob = add("ada").account, add("bob").account
    valid, revoked = give_token(catalog, ada), give_token(catalog, ada)
    give_token(catalog, ada, timedelta(0))
    of_bob = give_token(catalog, bob, timedelta(0))
    with catalog.begin() as connection:
        revoke_token(connection, revoked)
    newest = give_token(catalog, ada)
    with catalog.begin() as connection:
        left = set(connection.scalars(sa.select(tokens.c.token_sha256)))
    assert left == {token_digest(each) for each in (valid, newest, of_bob)}


def test_revoking_again_keeps_the_time_of_the_first(catalog: Catalog, add: Callable[..., StoredAccount]) -> None:
    token = give_token(catalog, add("ada").account)
    times = []
    for _ in range(2):
        with catalog.begin() as connection:
            revoke_token(connection, token)
            times.append(connection.scalar(sa.select(tokens.c.revoked_at)))
    assert times[0] is not None
    assert times[0] == times[1]


def test_a_disabled_account_loses_its_tokens_and_a_reset_one_comes_back_without_them(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    token = give_token(catalog, add("ada").account)
    with catalog.begin() as connection:
        disable_account(connection, "ada")
    late = give_token(catalog, stored(catalog, "ada").account)
    assert [who(catalog, token), who(catalog, late)] == [None, None]
    reset_account(catalog, "ada", NEW)
    found = stored(catalog, "ada")
    assert (found.is_disabled, verify_password(found, NEW), verify_password(found, PASSWORD)) == (False, True, False)
    assert [who(catalog, token), who(catalog, late)] == [None, None]
    with pytest.raises(AccountError, match="at least 12"):
        reset_account(catalog, "ada", "short")


def test_a_changed_password_ends_the_sessions_of_its_account_alone(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    before = add("ada")
    token, of_bob = give_token(catalog, before.account), give_token(catalog, add("bob").account)
    changed = change_password(catalog, before, NEW)
    assert changed == stored(catalog, "ada")
    assert verify_password(changed, NEW)
    assert [who(catalog, token), who(catalog, of_bob)] == [None, "bob"]
    assert change_password(catalog, before, PASSWORD) is None  # that was not its password any more
    assert verify_password(stored(catalog, "ada"), NEW)
    with pytest.raises(AccountError, match="at least 12"):
        change_password(catalog, stored(catalog, "ada"), "short")


def test_an_account_is_unchanged_while_it_has_its_password_and_is_enabled(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    ada, bob = add("ada"), add("bob")
    with catalog.begin() as connection:
        assert is_unchanged(connection, ada)
        for one, other in ((ada, bob), (bob, ada)):
            mixed = StoredAccount(one.account, other.password_hash, one.created_at, is_disabled=False)
            assert not is_unchanged(connection, mixed)
        disable_account(connection, "ada")
        assert not is_unchanged(connection, ada)
    reset_account(catalog, "ada", PASSWORD)
    with catalog.begin() as connection:
        assert not is_unchanged(connection, ada)


def test_a_role_is_changed_and_the_former_one_told(catalog: Catalog, add: Callable[..., StoredAccount]) -> None:
    for login in ("first", "ada", "last"):
        add(login)
    with catalog.begin() as connection:
        assert change_role(connection, "ada", "expert").role == "user"
        roles = {each.account.login: each.account.role for each in list_accounts(connection)}
        assert roles == {"first": "user", "ada": "expert", "last": "user"}
        with pytest.raises(AccountError, match="Role: expected one of"):
            change_role(connection, "ada", "root")
        with pytest.raises(UnknownAccountError):
            change_role(connection, "nobody", "user")


LEAVING = {
    "disabled": lambda connection, account: disable_account(connection, account.login),
    "demoted": lambda connection, account: change_role(connection, account.login, "expert"),
    "erased": erase_account,
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_the_last_enabled_admin_stays(
    catalog: Catalog,
    add: Callable[..., StoredAccount],
    leave: Callable[[sa.Connection, Account], object],
) -> None:
    ada, bob = add("ada", "admin"), add("bob", "admin")
    add("eve", "user")
    with catalog.begin() as connection:
        disable_account(connection, "bob")
    with catalog.begin() as connection, pytest.raises(LastAdminError, match="'ada' is the last admin"):
        leave(connection, ada.account)
    reset_account(catalog, "bob", PASSWORD)
    with catalog.begin() as connection:
        change_role(connection, "ada", "admin")  # the same role takes nothing away
        leave(connection, ada.account)
    with catalog.begin() as connection, pytest.raises(LastAdminError, match="'bob' is the last admin"):
        leave(connection, bob.account)
    with catalog.begin() as connection:
        leave(connection, demand_account(connection, "eve"))  # who is no admin may always go


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
def test_of_two_admins_who_leave_at_once_one_stays(
    catalog: Catalog, add: Callable[..., StoredAccount], leave: Callable[[sa.Connection, Account], object]
) -> None:
    def go(account: Account) -> str:
        try:
            with catalog.begin() as connection:
                leave(connection, account)
        except LastAdminError:
            return "stays"
        return "left"

    both = [add(login, "admin").account for login in ("ada", "bob")]
    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(go, both)) == ["left", "stays"]


def test_an_erased_account_leaves_neither_row_nor_tokens(catalog: Catalog, add: Callable[..., StoredAccount]) -> None:
    ada, bob = add("ada").account, add("bob").account
    token, of_bob = give_token(catalog, ada), give_token(catalog, bob)
    with catalog.begin() as connection:
        erase_account(connection, ada)
    assert [who(catalog, token), who(catalog, of_bob)] == [None, "bob"]
    with catalog.begin() as connection:
        assert list(connection.scalars(sa.select(accounts.c.login))) == ["bob"]
        with pytest.raises(UnknownAccountError, match="'ada'"):
            erase_account(connection, ada)


# A photo that two accounts asked about, and what each of them typed.
TYPED = """
INSERT INTO training.images (sha256, media_type, width, height, byte_count)
VALUES (repeat('0', 64), 'image/png', 32, 32, 100);
INSERT INTO training.items (id, image_sha256, group_key, source)
VALUES (repeat('0', 64), repeat('0', 64), 'g', 'upload');
INSERT INTO logs.results (item_id, model_version, probabilities, top_class, confidence, margin)
VALUES (repeat('0', 64), 1, '{1}', 'a', 1, 1);
INSERT INTO logs.predictions (result_id, account_id, is_cached)
SELECT results.id, accounts.id, false FROM logs.results, users.accounts;
INSERT INTO logs.feedback (prediction_id, account_id, verdict, instead, proposed_name)
SELECT id, account_id, 'nok', 'other', 'typed by ' || account_id FROM logs.predictions;
INSERT INTO training.review_decisions (item_id, queue, decision, reason, account_id, changes)
SELECT repeat('0', 64), 'waiting', 'reject', 'typed by ' || id, id, '[]' FROM users.accounts;
INSERT INTO training.review_decisions (item_id, queue, decision, class_name, account_id, changes)
SELECT repeat('0', 64), 'waiting', 'certify', 'a', id, '[]' FROM users.accounts;
"""


def test_what_an_erased_account_typed_goes_and_what_others_typed_stays(
    catalog: Catalog, add: Callable[..., StoredAccount]
) -> None:
    first, ada, last = (add(login).account for login in ("first", "ada", "last"))
    with catalog.begin() as connection:
        connection.execute(sa.text(TYPED))
        erase_account(connection, ada)
        names = set(connection.scalars(sa.select(feedback.c.proposed_name)))
        reasons = connection.execute(sa.select(review_decisions.c.decision, review_decisions.c.reason)).tuples().all()
        left = [each.account.login for each in list_accounts(connection)]
    others = [f"typed by {account.id}" for account in (first, last)]
    assert left == ["first", "last"]
    assert names == {None, *others}
    assert Counter(reasons) == {("certify", None): 3, ("reject", ""): 1, **{("reject", each): 1 for each in others}}


def test_the_demo_has_an_account_of_each_role_with_new_passwords_each_time(catalog: Catalog) -> None:
    first = put_demo_accounts(catalog)
    with catalog.begin() as connection:
        roles = {each.account.login: each.account.role for each in list_accounts(connection)}
        disable_account(connection, "alice")
    assert roles == {"alice": "user", "bob": "admin", "clementine": "expert"}
    again = put_demo_accounts(catalog)
    assert first.keys() == again.keys() == roles.keys()
    for login in roles:
        assert len(again[login]) >= 16
        assert first[login] != again[login]
        found = stored(catalog, login)
        assert (verify_password(found, again[login]), verify_password(found, first[login])) == (True, False)
        assert not found.is_disabled
