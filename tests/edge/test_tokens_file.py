"""The tokens file: what it may say, and with which sentence anything else is refused."""

import hashlib
import tomllib

import pytest

from facade.tokens import (
    ENTRIES_MAX,
    FILE_BYTES_MAX,
    NAME_CHARS_MAX,
    Role,
    TokensFileError,
    digest_of,
    entry_of,
    new_token,
    read,
    roles_of,
)

DIGEST = "ab" * 32


def entry(name: str = "a", roles: str = '["read"]', sha256: str = DIGEST) -> str:
    return f'[[tokens]]\nname = "{name}"\nroles = {roles}\nsha256 = "{sha256}"\n'


class TestWhatItSays:
    def test_the_holder_of_a_token_is_found_with_name_and_roles(self) -> None:
        token = new_token()
        caller = read(entry_of(token, "billing", ["read", "publish"]).encode()).by_token(token)
        assert caller is not None
        assert ("billing", {Role.READ, Role.PUBLISH}) == (caller.name, set(caller.roles))

    def test_another_token_is_not_found(self) -> None:
        known = read(entry_of(new_token(), "billing", ["read"]).encode())
        assert known.by_token(new_token()) is None
        assert known.by_token("") is None

    def test_the_digest_is_sha_256_in_either_case(self) -> None:
        text = entry(sha256=hashlib.sha256(b"mine").hexdigest().upper())
        assert read(text.encode()).by_token("mine") is not None

    def test_two_tokens_may_have_one_name_while_one_replaces_the_other(self) -> None:
        old, new = new_token(), new_token()
        text = entry_of(old, "a", ["read"]) + entry_of(new, "a", ["read"])
        known = read(text.encode())
        assert known.by_token(old) == known.by_token(new) is not None

    def test_certificates_are_found_by_the_first_name_that_is_there(self) -> None:
        known = read(
            b'[[certificates]]\nname = "spiffe://x/a"\nroles = ["audit"]\n'
            b'[[certificates]]\nname = "b"\nroles = ["admin"]\n'
        )
        found = known.by_certificate(["other", "b", "spiffe://x/a"])
        assert found is not None
        assert "b" == found.name
        assert known.by_certificate(["other"]) is None

    def test_an_empty_file_knows_nobody(self) -> None:
        assert read(b"").by_token("x") is None

    @pytest.mark.parametrize(
        ("given", "included"),
        [
            ("publish", {"publish"}),
            ("read", {"read"}),
            ("admin", {"admin", "read"}),
            ("audit", {"audit", "read"}),
        ],
    )
    def test_roles_include_reading_where_they_show_the_same(
        self, given: str, included: set[str]
    ) -> None:
        assert included == roles_of([given])

    def test_tokens_are_long_differ_and_their_entry_does_not_hold_them(self) -> None:
        tokens = {new_token() for _ in range(100)}
        assert 100 == len(tokens)
        for token in tokens:
            assert token.startswith("ulg_")
            # 32 random bytes in base64 without padding.
            assert 4 + 43 == len(token)
            assert token not in entry_of(token, "a", ["read"])

    def test_an_entry_is_read_back_whatever_signs_its_name_has(self) -> None:
        name = r"""a"b\c'#=[]{}"""
        (read_back,) = tomllib.loads(entry_of("t", name, ["read"]))["tokens"]
        assert {"name": name, "roles": ["read"], "sha256": digest_of("t").hex()} == read_back


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("[[tokens", "is not TOML"),
            ("\xff", "is not text in UTF-8"),
            ("#" * (FILE_BYTES_MAX + 1), "longer than 1,048,576 bytes"),
            ("[[token]]\n", 'it has "token"'),
            ("tokens = 5", "must be written as [[tokens]]"),
            ("tokens = [5]", "must be written as [[tokens]]"),
            ('[[tokens]]\nname = "a"\nroles = ["read"]\n', "number 1 has no sha256"),
            (entry() + 'note = "x"\n', "may not have note"),
            (entry() + entry("b"), "number 2: another entry has the same sha256"),
            (entry(sha256="ab"), "sha256 must be 64 hexadecimal digits"),
            (entry(roles="[]"), "roles must be a list"),
            (entry(roles='"read"'), "roles must be a list"),
            (entry(roles="[5]"), "roles must be a list"),
            (entry(roles='["root"]'), '"root" is no role: one of publish, read, admin, audit'),
            (entry(""), "a name must be"),
            (entry("a b"), "a name must be"),
            (entry("\\u00e9"), "a name must be"),
            (entry("x" * (NAME_CHARS_MAX + 1)), "a name must be"),
            (entry("local:root"), "stands for callers that nobody authenticated"),
            (entry("unauthenticated"), "stands for callers that nobody authenticated"),
            ('[[certificates]]\nroles = ["read"]\n', "[[certificates]] number 1 has no name"),
            (
                '[[certificates]]\nname = "a"\nroles = ["read"]\n' * 2,
                'number 2: another entry has the name "a"',
            ),
            (
                "".join(entry(sha256=f"{n:064x}") for n in range(ENTRIES_MAX + 1)),
                "more than 1,000 entries",
            ),
        ],
    )
    def test_one_sentence_says_what_to_change(self, text: str, told: str) -> None:
        with pytest.raises(TokensFileError) as refused:
            read(text.encode("latin-1"))
        assert told in str(refused.value)

    def test_a_token_that_stands_where_its_digest_belongs_is_not_repeated(self) -> None:
        token = new_token()
        with pytest.raises(TokensFileError) as refused:
            read(entry(sha256=token).encode())
        assert token not in str(refused.value)
