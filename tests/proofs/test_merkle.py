"""Hashes of trees and proofs: published vectors, and the RFC's own recursion as the reference."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.audit import merkle
from tests.proofs import naive

# Certificate Transparency's test data: eight leaves and the root over the first n of them.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# (leaf, size) and the path; and (first, second) and the proof: of the same test data.
VECTOR_PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]
VECTOR_CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]


def leaves_of(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % number) for number in range(count)]


def hash_of(leaves: list[bytes], spans: list[merkle.Span]) -> list[bytes]:
    return [naive.root(leaves[start:end]) for start, end in spans]


class TestVectors:
    def test_the_empty_tree(self) -> None:
        assert hashlib.sha256(b"").digest() == merkle.EMPTY_ROOT

    @pytest.mark.parametrize("size", range(1, 9))
    def test_roots(self, size: int) -> None:
        leaves = [merkle.leaf_hash(entry) for entry in VECTOR_LEAVES[:size]]
        subtrees = [
            naive.root(leaves[i << h : (i + 1) << h]) for h, i in merkle.subtrees_of(0, size)
        ]
        assert VECTOR_ROOTS[size - 1] == merkle.folded(subtrees).hex()

    @pytest.mark.parametrize(("number", "size", "path"), VECTOR_PATHS)
    def test_inclusion(self, number: int, size: int, path: list[str]) -> None:
        leaves = [merkle.leaf_hash(entry) for entry in VECTOR_LEAVES[:size]]
        spans = merkle.inclusion_spans(number, size)
        assert path == [each.hex() for each in hash_of(leaves, spans)]
        hashes = [bytes.fromhex(each) for each in path]
        root = merkle.root_by_inclusion(leaves[number], number, size, hashes)
        assert root is not None
        assert VECTOR_ROOTS[size - 1] == root.hex()

    @pytest.mark.parametrize(("first", "second", "proof"), VECTOR_CONSISTENCY)
    def test_consistency(self, first: int, second: int, proof: list[str]) -> None:
        leaves = [merkle.leaf_hash(entry) for entry in VECTOR_LEAVES[:second]]
        spans = merkle.consistency_spans(first, second)
        assert proof == [each.hex() for each in hash_of(leaves, spans)]
        assert merkle.is_consistent(
            first,
            bytes.fromhex(VECTOR_ROOTS[first - 1]),
            second,
            bytes.fromhex(VECTOR_ROOTS[second - 1]),
            [bytes.fromhex(each) for each in proof],
        )


class TestAgainstTheRfcsRecursion:
    def test_every_tree_of_up_to_forty_leaves(self) -> None:
        leaves = leaves_of(40)
        for size in range(1, 41):
            root = naive.root(leaves[:size])
            for number in range(size):
                path = hash_of(leaves, merkle.inclusion_spans(number, size))
                assert naive.path(number, leaves[:size]) == path
                assert root == merkle.root_by_inclusion(leaves[number], number, size, path)
            for first in range(1, size + 1):
                proof = hash_of(leaves, merkle.consistency_spans(first, size))
                assert naive.consistency(first, leaves[:size]) == proof
                first_root = naive.root(leaves[:first])
                assert merkle.is_consistent(first, first_root, size, root, proof)

    @given(st.integers(1, 2**62), st.data())
    def test_proofs_are_as_long_as_the_tree_is_high(self, size: int, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, size - 1))
        assert len(merkle.inclusion_spans(number, size)) <= size.bit_length()
        first = data.draw(st.integers(1, size))
        assert len(merkle.consistency_spans(first, size)) <= size.bit_length() + 1


class TestWhatProvesNothing:
    @given(st.integers(1, 70), st.data())
    def test_an_altered_proof_of_inclusion(self, size: int, data: st.DataObject) -> None:
        leaves = leaves_of(size)
        number = data.draw(st.integers(0, size - 1))
        path = hash_of(leaves, merkle.inclusion_spans(number, size))
        root = naive.root(leaves)
        other = data.draw(st.integers(0, size + 3))
        bent = _bent(path, data)
        for leaf, at, told in (
            (leaves[number], other, path),
            (leaves[number], number, bent),
            (merkle.leaf_hash(b"another"), number, path),
        ):
            is_true = (leaf, at, told) == (leaves[number], number, path)
            assert is_true == (root == merkle.root_by_inclusion(leaf, at, size, told))

    @given(st.integers(1, 70), st.data())
    def test_an_altered_proof_of_consistency(self, size: int, data: st.DataObject) -> None:
        leaves = leaves_of(size)
        first = data.draw(st.integers(1, size))
        proof = hash_of(leaves, merkle.consistency_spans(first, size))
        roots = naive.root(leaves[:first]), naive.root(leaves)
        bent = _bent(proof, data)
        assert (bent == proof) == merkle.is_consistent(first, roots[0], size, roots[1], bent)
        wrong = merkle.leaf_hash(b"another")
        assert not merkle.is_consistent(first, wrong, size, roots[1], proof)
        assert not merkle.is_consistent(first, roots[0], size, wrong, proof)
        if first < size:
            assert not merkle.is_consistent(size, roots[1], first, roots[0], proof)

    def test_a_leaf_beyond_the_tree(self) -> None:
        assert merkle.root_by_inclusion(merkle.leaf_hash(b""), 1, 1, []) is None
        assert merkle.root_by_inclusion(merkle.leaf_hash(b""), -1, 1, []) is None


def _bent(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """A proof with a hash less, a hash more, two exchanged, or a bit that was turned."""
    bent = list(proof)
    match data.draw(st.integers(0, 3)):
        case 0 if bent:
            del bent[data.draw(st.integers(0, len(bent) - 1))]
        case 1:
            bent.insert(data.draw(st.integers(0, len(bent))), merkle.leaf_hash(b"more"))
        case 2 if len(bent) > 1:
            at = data.draw(st.integers(1, len(bent) - 1))
            bent[at - 1], bent[at] = bent[at], bent[at - 1]
        case 3 if bent:
            at = data.draw(st.integers(0, len(bent) - 1))
            turned = bytearray(bent[at])
            turned[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
            bent[at] = bytes(turned)
    return bent
