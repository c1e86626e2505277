"""The service account's key, made from the seed: a key file outlives the sandbox process that issued it."""

from __future__ import annotations

import math
from functools import cache
from itertools import count
from random import Random

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key(seed: str) -> rsa.RSAPrivateKey:
    rng, e = Random(seed), 65537
    p, q = _prime(rng, e), _prime(rng, e)
    p, q = max(p, q), min(p, q)
    d = pow(e, -1, (p - 1) * (q - 1))
    parts = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, d, *parts, rsa.RSAPublicNumbers(e, p * q)).private_key()


def _prime(rng: Random, e: int) -> int:
    small = math.prod(n for n in range(3, 2000, 2))
    start = rng.getrandbits(1024) | (3 << 1022) | 1
    return next(
        n
        for n in count(start, 2)
        if math.gcd(n, small) == 1 and (n - 1) % e and all(pow(base, n - 1, n) == 1 for base in (2, 3, 5))
    )
