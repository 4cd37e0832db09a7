#!/usr/bin/env python3
"""Recompute the WireGuard handshake from its paper, without any code of the gateway.

X25519, ChaCha20-Poly1305, HMAC and HKDF are written out here, over Python's integers and hashlib's
BLAKE2s only; each is first checked against its RFC. The result is a C header of test vectors.

usage: noise_vectors.py            print the header
       noise_vectors.py --check F  exit 1 when F is not what would be printed
"""
import hashlib
import struct
import sys

# --- primitives ---------------------------------------------------------------------------------

P = 2**255 - 19


def x25519(scalar, u):
    """RFC 7748, section 5: Montgomery ladder."""
    k = int.from_bytes(scalar, "little")
    k = (k & ~7 & (2**255 - 1)) | 2**254
    x1 = int.from_bytes(u, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1 % P, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(private):
    return x25519(private, b"\x09" + bytes(31))


def chacha20_block(key, counter, nonce):
    """RFC 8439, section 2.3."""

    def rotl(v, n):
        return (v << n | v >> (32 - n)) & 0xFFFFFFFF

    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = start[:]
    columns = [(i, i + 4, i + 8, i + 12) for i in range(4)]
    diagonals = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
    for _ in range(10):
        for a, b, c, d in columns + diagonals:
            for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                s[x] = (s[x] + s[y]) & 0xFFFFFFFF
                s[z] = rotl(s[z] ^ s[x], n)
    return struct.pack("<16I", *((x + y) & 0xFFFFFFFF for x, y in zip(s, start)))


def aead_seal(key, nonce, plain, aad):
    """RFC 8439, section 2.8."""

    def pad16(b):
        return b + bytes(-len(b) % 16)

    stream = b"".join(chacha20_block(key, 1 + i, nonce) for i in range((len(plain) + 63) // 64))
    cipher = bytes(x ^ y for x, y in zip(plain, stream))
    one_time = chacha20_block(key, 0, nonce)
    r = int.from_bytes(one_time[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    mac_data = pad16(aad) + pad16(cipher) + struct.pack("<QQ", len(aad), len(cipher))
    acc = 0
    for i in range(0, len(mac_data), 16):
        acc = (acc + int.from_bytes(mac_data[i:i + 16] + b"\x01", "little")) * r % (2**130 - 5)
    tag = (acc + int.from_bytes(one_time[16:32], "little")) % 2**128
    return cipher + tag.to_bytes(16, "little")


def blake2s(data):
    return hashlib.blake2s(data).digest()


def mac(key, data):
    return hashlib.blake2s(data, key=key, digest_size=16).digest()


def hmac(key, data):
    key = key + bytes(64 - len(key))
    inner = blake2s(bytes(b ^ 0x36 for b in key) + data)
    return blake2s(bytes(b ^ 0x5C for b in key) + inner)


def kdf(n, key, data):
    prk, out = hmac(key, data), []
    for i in range(1, n + 1):
        out.append(hmac(prk, (out[-1] if out else b"") + bytes([i])))
    return out


def check_primitives():
    h = bytes.fromhex
    # RFC 7748, 5.2, first vector, and 6.1
    assert x25519(h("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                  h("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")) == \
        h("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")
    assert public(h("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")) == \
        h("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    # RFC 8439, 2.8.2
    plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for " \
            b"the future, sunscreen would be it."
    sealed = aead_seal(bytes(range(0x80, 0xA0)), h("070000004041424344454647"), plain,
                       h("50515253c0c1c2c3c4c5c6c7"))
    assert sealed[:16] == h("d31a8d34648e60db7b86afbc53ef7ec2")
    assert sealed[-16:] == h("1ae10b594f09e26a7e902ecbd0600691")
    # RFC 7693, appendix B
    assert blake2s(b"abc") == h("508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")


# --- the handshake, paper section 5.4 -------------------------------------------------------------

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"


def handshake(v):
    def seal(key, plain, aad):
        return aead_seal(key, bytes(12), plain, aad)

    si, ei, sr, er = v["initiator"], v["initiator_ephemeral"], v["responder"], v["responder_ephemeral"]
    # 5.4.2
    c = blake2s(CONSTRUCTION)
    h = blake2s(blake2s(c + IDENTIFIER) + public(sr))
    (c,), h = kdf(1, c, public(ei)), blake2s(h + public(ei))
    c, k = kdf(2, c, x25519(ei, public(sr)))
    static = seal(k, public(si), h)
    h = blake2s(h + static)
    c, k = kdf(2, c, x25519(si, public(sr)))
    timestamp = seal(k, v["timestamp"], h)
    h = blake2s(h + timestamp)
    initiation = struct.pack("<II", 1, v["initiator_idx"]) + public(ei) + static + timestamp
    # 5.4.3
    (c,), h = kdf(1, c, public(er)), blake2s(h + public(er))
    (c,) = kdf(1, c, x25519(er, public(ei)))
    (c,) = kdf(1, c, x25519(er, public(si)))
    c, t, k = kdf(3, c, v["psk"])
    h = blake2s(h + t)
    empty = seal(k, b"", h)
    response = struct.pack("<III", 2, v["responder_idx"], v["initiator_idx"]) + public(er) + empty
    # 5.4.5
    to_responder, to_initiator = kdf(2, c, b"")
    return dict(v, initiator_public=public(si), responder_public=public(sr),
                initiation=initiation + bytes(32), response=response + bytes(32),
                to_responder=to_responder, to_initiator=to_initiator)


def secret(label):
    return hashlib.sha256(b"portier test " + label.encode()).digest()


def handshake_vectors():
    for n, (psk, stamp) in enumerate(((bytes(32), "400000006501020304000000"),
                                      (secret("psk"), "400000006501020305000000"),
                                      (b"\xff" * 32, "40000000ffffffff3b000000"))):
        yield handshake({
            "initiator": secret(f"initiator {n}"),
            "responder": secret(f"responder {n}"),
            "initiator_ephemeral": secret(f"initiator ephemeral {n}"),
            "responder_ephemeral": secret(f"responder ephemeral {n}"),
            "psk": psk,
            "timestamp": bytes.fromhex(stamp),
            "initiator_idx": 0x01020304 + n,
            "responder_idx": 0xF1F2F3F4 - n,
        })


# --- output -----------------------------------------------------------------------------------------

HEADER = """/* noise_vectors.h - known answers for lib/crypto and lib/noise.
 *
 * Printed by noise_vectors.py, which computes them from the specifications alone; do not edit.
 */
/* clang-format off */
#ifndef PORTIER_NOISE_VECTORS_H
#define PORTIER_NOISE_VECTORS_H

#include <stdint.h>

/* Text is hexadecimal. Input of length n is the bytes 0, 1, 2 ... modulo 251. */
struct hash_vector {
\tuint32_t input_len;
\tuint32_t key_len; /* of the MAC; the key is 0x80, 0x81 ... */
\tconst char *hash, *mac;
};

struct kdf_vector {
\tconst char *key, *input;
\tconst char *out[3];
};

struct noise_vector {
\tconst char *initiator, *responder, *initiator_ephemeral, *responder_ephemeral;
\tconst char *initiator_public, *responder_public;
\tconst char *psk, *timestamp;
\tuint32_t initiator_idx, responder_idx;
\tconst char *initiation, *response; /* MACs are zero */
\tconst char *to_responder, *to_initiator;
};
"""


def c_string(b, indent="\t\t\t"):
    text = b.hex()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)] or [""]
    return ("\n" + indent).join(f'"{line}"' for line in lines)


def header():
    out = [HEADER, "static const struct hash_vector hash_vectors[] = {"]
    for n, key_len in ((0, 32), (1, 16), (3, 1), (63, 31), (64, 32), (65, 32), (128, 16), (129, 32),
                       (255, 7), (1024, 32)):
        data, key = bytes(i % 251 for i in range(n)), bytes(range(0x80, 0x80 + key_len))
        out.append(f"\t{{{n}, {key_len},\n\t\t{c_string(blake2s(data))},\n\t\t{c_string(mac(key, data))}}},")
    out.append("};\n\nstatic const struct kdf_vector kdf_vectors[] = {")
    for n in (0, 1, 32, 64, 200):
        key, data = secret(f"kdf {n}"), bytes(i % 251 for i in range(n))
        outs = ",\n\t\t\t".join(c_string(o) for o in kdf(3, key, data))
        out.append(f"\t{{{c_string(key)},\n\t\t{c_string(data)},\n\t\t{{{outs}}}}},")
    out.append("};\n\nstatic const struct noise_vector noise_vectors[] = {")
    for v in handshake_vectors():
        out.append("\t{")
        for name, value in v.items():
            text = f"0x{value:08x}" if isinstance(value, int) else c_string(value)
            out.append(f"\t\t.{name} = {text},")
        out.append("\t},")
    out.append("};\n\n#endif")
    return "\n".join(out) + "\n"


def main():
    check_primitives()
    text = header()
    if sys.argv[1:2] == ["--check"] and len(sys.argv) == 3:
        with open(sys.argv[2], encoding="ascii") as f:
            if f.read() != text:
                sys.exit(f"{sys.argv[2]}: differs from what {sys.argv[0]} computes")
    elif len(sys.argv) == 1:
        sys.stdout.write(text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
