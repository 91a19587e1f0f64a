"""BLAKE3 by its specification and Ed25519 by RFC 8032 (section 5.1.7), for where the packages are missing."""

from __future__ import annotations

import hashlib

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
"""Where each word of a block goes from one round to the next."""
MIXED = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)  # fmt: skip
"""Columns, then diagonals of the state."""
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
LOW = 0xFFFFFFFF


def compress(value: tuple[int, ...], block: bytes, counter: int, flags: int) -> tuple[int, ...]:
    """BLAKE3's compression: eight words and a block of at most 64 bytes to eight words."""
    words = [int.from_bytes(block[i : i + 4], "little") for i in range(0, 64, 4)]
    v = [*value, *IV[:4], counter & LOW, counter >> 32, len(block), flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIXED):
            for word, first, second in ((words[2 * i], 16, 12), (words[2 * i + 1], 8, 7)):
                v[a] = (v[a] + v[b] + word) & LOW
                x = v[d] ^ v[a]
                v[d] = (x >> first | x << (32 - first)) & LOW
                v[c] = (v[c] + v[d]) & LOW
                x = v[b] ^ v[c]
                v[b] = (x >> second | x << (32 - second)) & LOW
        words = [words[i] for i in ORDER]
    return tuple(v[i] ^ v[i + 8] for i in range(8))


def chunk(data: bytes, counter: int, last: int) -> tuple[int, ...]:
    """The words of a chunk of at most 1,024 bytes; `last` is `ROOT` for one that is all there is, else 0."""
    value: tuple[int, ...] = IV
    starts = range(0, max(len(data), 1), 64)
    for start in starts:
        flags = CHUNK_START * (start == 0) | (CHUNK_END | last) * (start == starts[-1])
        value = compress(value, data[start : start + 64], counter, flags)
    return value


def parent(left: tuple[int, ...], right: tuple[int, ...], last: int) -> tuple[int, ...]:
    """The words above two subtrees; `last` is `ROOT` at the top, else 0."""
    return compress(IV, b"".join(word.to_bytes(4, "little") for word in (*left, *right)), 0, PARENT | last)


def plain_blake3(data: bytes) -> bytes:
    """The BLAKE3 hash, 32 bytes. Subtrees of equal size are joined as soon as more is to come after both."""
    pieces = [data[start : start + 1024] for start in range(0, len(data), 1024)] or [b""]
    if len(pieces) == 1:
        return b"".join(word.to_bytes(4, "little") for word in chunk(pieces[0], 0, ROOT))
    waiting: list[tuple[int, ...]] = []
    for number, piece in enumerate(pieces[:-1], start=1):
        waiting.append(chunk(piece, number - 1, 0))
        while number % 2 == 0 and number < len(pieces):
            right = waiting.pop()
            waiting[-1] = parent(waiting[-1], right, 0)
            number //= 2
    top = chunk(pieces[-1], len(pieces) - 1, 0)
    while waiting:
        top = parent(waiting.pop(), top, ROOT if not waiting else 0)
    return b"".join(word.to_bytes(4, "little") for word in top)


P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
"""The field's prime, and the order of the base point."""
D = -121665 * pow(121666, -1, P) % P
HALF_TURN = pow(2, (P - 1) // 4, P)
"""A square root of -1."""

Point = tuple[int, int, int, int]
"""x and y as X/Z and Y/Z, and XY/Z."""


def add(p: Point, q: Point) -> Point:
    """The sum of two points of the curve."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number: int, point: Point) -> Point:
    """A multiple of a point."""
    found: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def point_of(data: bytes) -> Point | None:
    """The point that 32 bytes stand for, if any."""
    text = int.from_bytes(data, "little")
    y, odd = text % 2**255 % P, text >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * HALF_TURN % P
    if x * x % P != square:
        return None
    x = P - x if x % 2 != odd else x
    return x % P, y, 1, x * y % P


def bytes_of(point: Point) -> bytes:
    """The 32 bytes of a point."""
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def plain_ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `S·B - k·A` has the bytes of `R`, as cryptography's OpenSSL asks."""
    known, base, s = point_of(key), point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little")), signature[32:]
    number = int.from_bytes(s, "little")
    if known is None or base is None or number >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    against = (-known[0] % P, known[1], known[2], -known[3] % P)
    return bytes_of(add(times(number, base), times(k, against))) == signature[:32]
