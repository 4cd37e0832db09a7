#!/usr/bin/env python3
"""NAT-PMP and PCP by hand, byte for byte, from inside the tunnel.

  portmap.py refused GATEWAY SOURCE          a peer that may not is told so
  portmap.py rows GATEWAY SOURCE PUBLIC      each row of what clients rely on
  portmap.py over_quota GATEWAY SOURCE       a peer that has as many as it may is told so
  portmap.py strict GATEWAY SOURCE           another nonce is refused (portmap.pcp_nonce_strict)
  portmap.py rows6 GATEWAY SOURCE            what is answered over IPv6
  portmap.py natpmp GATEWAY PROTO INNER SUGGESTED LIFETIME      prints the public port
  portmap.py pcp GATEWAY SOURCE PROTO INNER LIFETIME [PREFIX]...   the same from the address SOURCE,
                                                 for these sources only

Each request goes out by a socket of its own, connected: an answer from any other address or port
than the one that was asked is none, and an ICMP error is a failure.
"""
import ipaddress
import socket
import struct
import sys

PORT = 5351
WAIT_S = 10
UDP, TCP = 17, 6
NATPMP_UDP, NATPMP_TCP = 1, 2
NONCE = b"twelve bytes"
LONG_S, SHORT_S = 1800, 30


def packed(address):
    address = ipaddress.ip_address(address)
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def ask(gateway, message, wait_s=WAIT_S, source=None):
    """The answer's bytes; None when there is none."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(wait_s)
        if source:
            sock.bind((source, 0))
        sock.connect((gateway, PORT))
        sock.send(message)
        try:
            return sock.recv(4096)
        except TimeoutError:
            return None


def check(what, got, want):
    """want: bytes, of which None stands for any; as long as what is got."""
    print(what)
    shown = " ".join("--" if b is None else f"{b:02x}" for b in want)
    if got is None:
        sys.exit(f"portmap: {what}: no answer; wanted {shown}")
    if len(got) != len(want) or any(w not in (None, g) for g, w in zip(got, want)):
        sys.exit(f"portmap: {what}: {got.hex(' ')}\n  wanted {shown}")
    return got


def natpmp(op, inner, suggested, lifetime):
    return struct.pack("!BBHHHI", 0, op, 0, inner, suggested, lifetime)


EPOCH = [None] * 4


def natpmp_answer(op, result, inner, public, lifetime):
    port = [None, None] if public is None else struct.pack("!H", public)
    return [*struct.pack("!BBH", 0, 128 | op, result), *EPOCH, *struct.pack("!H", inner), *port,
            *struct.pack("!I", lifetime)]


def pcp(source, proto, inner, suggested, lifetime, options=b"", op=1, address="::"):
    head = struct.pack("!BBHI", 2, op, 0, lifetime) + packed(source)
    return head + NONCE + struct.pack("!B3xHH", proto, inner, suggested) + packed(address) + options


def pcp_answer(request, result, lifetime, public=None, address=None, options=b""):
    """A refusal says again what was suggested; a grant has options that were applied."""
    if result:
        number = request[42:60]
    else:
        number = [*(struct.pack("!H", public) if public is not None else [None] * 2),
                  *(packed(address) if address else [None] * 16)]
    return [2, 128 | request[1], 0, result, *struct.pack("!I", lifetime), *EPOCH, *bytes(12),
            *request[24:42], *number, *options]


def option(code, data=b""):
    return struct.pack("!BBH", code, 0, len(data)) + data + bytes(-len(data) % 4)


def source_filter(prefix, port=0):
    net = ipaddress.ip_network(prefix)
    bits = net.prefixlen + (96 if net.version == 4 else 0)
    return option(3, struct.pack("!BBH", 0, bits, port) + packed(net.network_address))


CLEAR = option(3, bytes(20))
PREFER_FAILURE = option(2)


def public_port(answer):
    return struct.unpack("!H", answer[10:12] if answer[0] == 0 else answer[42:44])[0]


def refused(gateway, source):
    check("address", ask(gateway, b"\0\0"), [0, 128, 0, 2, *EPOCH, 0, 0, 0, 0])
    for op in (NATPMP_UDP, NATPMP_TCP):
        check(f"NAT-PMP {op}", ask(gateway, natpmp(op, 6881, 40001, 3600)),
              natpmp_answer(op, 2, 6881, 0, 0))
    request = pcp(source, UDP, 6881, 40001, 7200)
    check("PCP", ask(gateway, request), pcp_answer(request, 2, LONG_S))


def natpmp_rows(gateway, public):
    check("external address", ask(gateway, b"\0\0"), [0, 128, 0, 0, *EPOCH, *packed(public)[12:]])
    first = ask(gateway, natpmp(NATPMP_TCP, 7001, 40111, 3600))
    check("a suggestion that is free", first, natpmp_answer(NATPMP_TCP, 0, 7001, 40111, 3600))
    check("again, whatever is suggested", ask(gateway, natpmp(NATPMP_TCP, 7001, 40222, 3600)),
          natpmp_answer(NATPMP_TCP, 0, 7001, 40111, 3600))
    check("the companion", ask(gateway, natpmp(NATPMP_UDP, 7001, 0, 3600)),
          natpmp_answer(NATPMP_UDP, 0, 7001, 40111, 3600))
    check("a port that is out of range", ask(gateway, natpmp(NATPMP_UDP, 7002, 80, 3600)),
          natpmp_answer(NATPMP_UDP, 0, 7002, None, 3600))
    check("the shortest lifetime", ask(gateway, natpmp(NATPMP_UDP, 7002, 0, 1)),
          natpmp_answer(NATPMP_UDP, 0, 7002, None, 60))
    check("the longest lifetime", ask(gateway, natpmp(NATPMP_UDP, 7002, 0, 0xffffffff)),
          natpmp_answer(NATPMP_UDP, 0, 7002, None, 86400))
    symmetric = check("a symmetric mapping", ask(gateway, natpmp(NATPMP_UDP, 0, 1, 60)),
                      natpmp_answer(NATPMP_UDP, 0, 0, None, 60))
    check("its companion", ask(gateway, natpmp(NATPMP_TCP, 0, 1, 60)),
          natpmp_answer(NATPMP_TCP, 0, 0, public_port(symmetric), 60))
    check("delete", ask(gateway, natpmp(NATPMP_TCP, 7001, 40111, 0)),
          natpmp_answer(NATPMP_TCP, 0, 7001, 0, 0))
    check("delete what is not there", ask(gateway, natpmp(NATPMP_TCP, 7001, 40111, 0)),
          natpmp_answer(NATPMP_TCP, 0, 7001, 0, 0))
    check("the other protocol stays", ask(gateway, natpmp(NATPMP_UDP, 7001, 0, 3600)),
          natpmp_answer(NATPMP_UDP, 0, 7001, 40111, 3600))
    for op in (NATPMP_UDP, NATPMP_TCP):
        check(f"delete all {op}", ask(gateway, natpmp(op, 0, 0, 0)), natpmp_answer(op, 0, 0, 0, 0))
    check("an opcode that is none", ask(gateway, b"\0\3"), [0, 131, 0, 5, *EPOCH])
    check("cut short", ask(gateway, natpmp(NATPMP_UDP, 7001, 0, 3600)[:8]),
          natpmp_answer(NATPMP_UDP, 2, 7001, 0, 0))
    check("another version", ask(gateway, b"\1\1" + bytes(10)),
          [2, 129, 0, 1, 0, 0, 7, 8, *EPOCH, *bytes(12)])
    for message in (b"\0\x80", b"\2\x81" + bytes(58), b"\0"):
        if ask(gateway, message, 1) is not None:
            sys.exit(f"portmap: an answer to {message.hex()}, which is no request")


def pcp_rows(gateway, source, public):
    def row(what, result, lifetime, options=b"", answer_options=b"", port=None, asked=7200,
            proto=UDP, inner=7101, suggested=40333, address="::", public_address=public):
        request = pcp(source, proto, inner, suggested, asked, options, address=address)
        check(what, ask(gateway, request), pcp_answer(
            request, result, lifetime, port, public_address, answer_options))

    row("a mapping", 0, 7200, port=40333)
    row("the same again", 0, 7200, port=40333)
    row("again, whatever is suggested", 0, 7200, port=40333, suggested=40444)
    row("the companion", 0, 7200, port=40333, proto=TCP, suggested=0)
    row("the shortest lifetime", 0, 120, port=40333, asked=1)
    row("the longest lifetime", 0, 86400, port=40333, asked=0xffffffff)
    row("no alternative", 11, LONG_S, PREFER_FAILURE, suggested=40444)
    row("no alternative is needed", 0, 7200, PREFER_FAILURE, PREFER_FAILURE, 40333)
    row("an address that is not the peer's", 11, LONG_S, PREFER_FAILURE, address="192.0.2.77")
    one = source_filter("203.0.113.0/24")
    row("filters", 0, 7200, one + option(200, b"?"), one, 40333)
    row("filters cleared", 0, 7200, CLEAR, CLEAR, 40333)
    nine = b"".join(source_filter(f"203.0.113.{i}/32") for i in range(9))
    row("too many filters", 13, LONG_S, nine)
    row("a filter of a port", 5, LONG_S, source_filter("203.0.113.9/32", 443))
    row("a filter of the other family", 6, LONG_S, source_filter("2001:db8::/32"))
    row("THIRD_PARTY", 5, LONG_S, option(1, packed("100.64.0.9")))
    row("an option that is to be understood", 5, LONG_S, option(99))
    row("an option that may be ignored", 0, 7200, option(128, b"abc"), port=40333)
    row("another protocol", 9, LONG_S, proto=132)
    row("delete", 0, 0, port=0, asked=0, public_address="::")
    row("delete what is not there", 0, 0, port=0, asked=0, public_address="::")
    row("delete all", 0, 0, port=0, asked=0, proto=0, inner=0, public_address="::")

    whole = pcp(source, UDP, 7101, 40333, 7200)
    stranger = pcp("100.64.0.9", UDP, 7101, 40333, 7200)
    check("another's address", ask(gateway, stranger), pcp_answer(stranger, 12, LONG_S))
    check("cut short", ask(gateway, whole[:44]), pcp_answer(whole[:44] + bytes(16), 3, LONG_S))
    check("no multiple of four", ask(gateway, whole + b"?"), pcp_answer(whole, 3, LONG_S))
    check("too long", ask(gateway, whole + bytes(1044)), pcp_answer(whole, 3, LONG_S))
    peer = pcp(source, UDP, 7101, 0, 7200, op=2) + bytes(20)
    check("PEER", ask(gateway, peer), [2, 130, 0, 4, 0, 0, 7, 8, *EPOCH, *bytes(12), *peer[24:80]])
    check("ANNOUNCE", ask(gateway, struct.pack("!BBHI", 2, 0, 0, 0) + packed(source)),
          [2, 128, 0, 0, 0, 0, 0, 0, *EPOCH, *bytes(12)])


def nonces(gateway, source):
    """Another nonce than that of the mapping is adopted, to renew and to delete."""
    request = pcp(source, UDP, 7102, 40555, 7200)
    check("a nonce", ask(gateway, request), pcp_answer(request, 0, 7200, 40555))
    request = request[:24] + b"another one!" + request[36:]
    check("another nonce", ask(gateway, request), pcp_answer(request, 0, 7200, 40555))
    request = request[:4] + bytes(4) + request[8:24] + b"and another." + request[36:]
    check("a third one deletes", ask(gateway, request), pcp_answer(request, 0, 0, 0, "::"))


def over_quota(gateway, source):
    check("over quota, NAT-PMP", ask(gateway, natpmp(NATPMP_UDP, 7201, 40401, 3600)),
          natpmp_answer(NATPMP_UDP, 4, 7201, 0, 0))
    request = pcp(source, UDP, 7201, 40401, 7200)
    check("over quota, PCP", ask(gateway, request), pcp_answer(request, 10, SHORT_S))


def strict(gateway, source):
    request = pcp(source, UDP, 7301, 40601, 7200)
    check("a nonce", ask(gateway, request), pcp_answer(request, 0, 7200, 40601))
    other = request[:24] + b"another one!" + request[36:]
    check("another nonce does not renew", ask(gateway, other), pcp_answer(other, 2, LONG_S))
    other = other[:4] + bytes(4) + other[8:]
    check("nor delete", ask(gateway, other), pcp_answer(other, 2, LONG_S))
    request = request[:4] + bytes(4) + request[8:]
    check("its own does", ask(gateway, request), pcp_answer(request, 0, 0, 0, "::"))


def rows6(gateway, source):
    """A pinhole is at the address and port that ask, whatever is suggested."""
    def row(what, result, lifetime, options=b"", suggested=0, asked=7200, port=7401,
            address=source, suggested_address="::"):
        request = pcp(source, TCP, 7401, suggested, asked, options, address=suggested_address)
        check(what, ask(gateway, request, source=source),
              pcp_answer(request, result, lifetime, port, address, b"" if result else options))

    row("a pinhole", 0, 7200)
    row("another port is suggested", 0, 7200, suggested=7402)
    row("no alternative", 11, LONG_S, PREFER_FAILURE, suggested=7402)
    row("no alternative to an address", 11, LONG_S, PREFER_FAILURE,
        suggested_address="2001:db8:77::1")
    row("no alternative is needed", 0, 7200, PREFER_FAILURE, suggested=7401)
    row("delete", 0, 0, asked=0, port=0, address="::")
    for message in (b"\0\0", natpmp(NATPMP_TCP, 7401, 0, 3600)):
        check("NAT-PMP over IPv6", ask(gateway, message, source=source),
              [2, 128 | message[1], 0, 1, 0, 0, 7, 8, *EPOCH, *bytes(12)])


def main():
    verb, gateway, *rest = sys.argv[1:]
    if verb == "refused":
        refused(gateway, *rest)
    elif verb == "rows":
        natpmp_rows(gateway, rest[1])
        pcp_rows(gateway, *rest)
        nonces(gateway, rest[0])
    elif verb == "over_quota":
        over_quota(gateway, *rest)
    elif verb == "strict":
        strict(gateway, *rest)
    elif verb == "rows6":
        rows6(gateway, *rest)
    elif verb == "natpmp":
        proto, inner, suggested, lifetime = rest
        op = NATPMP_TCP if proto == "tcp" else NATPMP_UDP
        answer = ask(gateway, natpmp(op, int(inner), int(suggested), int(lifetime)))
        if answer is None or answer[3] != 0:
            sys.exit(f"portmap: refused: {answer}")
        print(public_port(answer))
    elif verb == "pcp":
        source, proto, inner, lifetime, *prefixes = rest
        options = b"".join(source_filter(p) for p in prefixes)
        answer = ask(gateway, pcp(source, TCP if proto == "tcp" else UDP, int(inner), 0,
                                  int(lifetime), CLEAR + options), source=source)
        if answer is None or answer[3] != 0:
            sys.exit(f"portmap: refused: {answer}")
        print(public_port(answer))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
