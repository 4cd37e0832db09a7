#!/usr/bin/env python3
"""Recompute MAC1, MAC2 and a cookie reply from the WireGuard paper, without any code of the gateway.

Over hashlib's BLAKE2s and the ChaCha20-Poly1305 of noise_vectors.py; HChaCha20 is checked against
the vector of draft-irtf-cfrg-xchacha, 2.2.1. The result is a C header.

usage: cookie_vectors.py            print the header
       cookie_vectors.py --check F  exit 1 when F is not what would be printed
"""
import struct
import sys

sys.dont_write_bytecode = True
from noise_vectors import aead_seal, blake2s, chacha20_block, mac  # noqa: E402


def hchacha20(key, nonce):
    """The block function without its last addition; the first and last rows are the result."""
    start = struct.unpack("<16I", b"expand 32-byte k" + key + nonce)
    block = chacha20_block(key, struct.unpack("<I", nonce[:4])[0], nonce[4:])
    words = [(a - b) & 0xFFFFFFFF for a, b in zip(struct.unpack("<16I", block), start)]
    return struct.pack("<8I", *(words[:4] + words[12:]))


def xaead_seal(key, nonce, plain, aad):
    return aead_seal(hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], plain, aad)


def vectors():
    assert hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927")) == \
        bytes.fromhex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")
    public_key, secret, nonce = bytes(range(32)), bytes(range(100, 132)), bytes(range(200, 224))
    for name, length, source in (
            ("V4", 148, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7]) + struct.pack(">H", 51820)),
            ("V6", 92, bytes.fromhex("20010db8000100020003000400050006") + struct.pack(">H", 443))):
        head = bytes((7 * i + 3) & 255 for i in range(length - 32))
        mac1 = mac(blake2s(b"mac1----" + public_key), head)
        cookie = mac(secret, source)
        yield f"{name}_MAC1", mac1
        yield f"{name}_COOKIE", cookie
        yield f"{name}_MAC2", mac(cookie, head + mac1)
        yield f"{name}_SEALED", xaead_seal(blake2s(b"cookie--" + public_key), nonce, cookie, mac1)


def header():
    lines = ["/* Made by cookie_vectors.py; see there. */"]
    lines += [f'#define {name} \\\n\t"{value.hex()}"' for name, value in vectors()]
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with open(sys.argv[2], encoding="ascii") as f:
            sys.exit(0 if f.read() == header() else f"{sys.argv[2]} is not what the paper gives")
    if len(sys.argv) != 1:
        sys.exit(__doc__)
    print(header(), end="")


if __name__ == "__main__":
    main()
