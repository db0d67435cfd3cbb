#!/usr/bin/env python3
"""A client for Mirra in the standard library alone, written from docs/protocol.md: HOST PORT [TOKEN].

Sends three events of a new user (pipelined), reads the profile back, asks for a recommendation, and checks that what
was acknowledged was learned. Exit code 1 on any mismatch.
"""
import socket, struct, sys, time

MASK, SUCCESS = (1 << 64) - 1, {0: "OK", 1: "PARTIAL", 2: "DUPLICATE"}


def mix(z):
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def canonical(i):
    small = isinstance(i, str) and i.isascii() and i.isdigit() and str(int(i)) == i and int(i) <= MASK
    return int(i) if small else i


def plain_hash(i):
    h = 0xCBF29CE484222325
    for byte in b"" if isinstance(i, int) else i.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return mix(i) if isinstance(i, int) else mix(h ^ 0xA5A55A5AC3C33C3C)


def siphash(key, data):
    """SipHash-2-4 under a key of two numbers (Aumasson & Bernstein 2012)."""
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D, key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]

    def add(a, b, turn):
        v[a] = (v[a] + v[b]) & MASK
        v[b] = (v[b] << turn | v[b] >> 64 - turn) & MASK ^ v[a]

    def rounds(count):
        for _ in range(count):
            add(0, 1, 13), add(2, 3, 16)
            v[0] = (v[0] << 32 | v[0] >> 32) & MASK
            add(2, 1, 17), add(0, 3, 21)
            v[2] = (v[2] << 32 | v[2] >> 32) & MASK

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def shard_of(i, shards, rule, key):
    i = canonical(i)
    if rule == 2:
        return siphash(key, struct.pack("<Q", i) if isinstance(i, int) else i.encode()) * shards >> 64
    return plain_hash(i) * shards >> 64


def text(s):
    return struct.pack("<H", len(s.encode())) + s.encode()


def ident(i):
    i = canonical(i)
    return struct.pack("<BQ", 0, i) if isinstance(i, int) else bytes([len(i.encode())]) + i.encode()


class Body:
    """Takes values off a body, in the order of the page."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.raw, self.at)
        self.at += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def bytes(self, count):
        check(self.at + count <= len(self.raw), "a value ends within the body")
        self.at += count
        return self.raw[self.at - count:self.at]

    def text(self):
        return self.bytes(self.take("H")).decode()

    def ident(self):
        length = self.take("B")
        return self.bytes(length).decode() if length else self.take("Q")

    def list(self, each):
        return [each() for _ in range(self.take("I"))]

    def attribute(self):
        name, tag = self.text(), self.take("B")
        readers = [lambda: None, lambda: self.take("d"), self.text, lambda: self.take("?"), lambda: self.list(self.text)]
        return name, readers[tag](), self.take("q")

    def end(self):
        check(self.at == len(self.raw), f"{len(self.raw) - self.at} bytes are left over")


def check(holds, what):
    if not holds:
        sys.exit(f"mismatch: {what}")  # exit code 1


def send(sock, opcode, request_id, body):
    sock.sendall(struct.pack("<IHBBQ", len(body), opcode, 0, 1, request_id) + body)


def receive(stream):
    length, status, flags, version, request_id = struct.unpack("<IHBBQ", stream.read(16))
    body = Body(stream.read(length))
    check((flags, version) == (0, 1), f"flags {flags}, version {version}")
    if status not in SUCCESS:
        retry_after_ms, message = body.take("I"), body.text()
        sys.exit(f"request {request_id} refused with status {status}: {message} (again after {retry_after_ms} ms)")
    return request_id, status, body


def main(host, port, token=""):
    sock = socket.create_connection((host, int(port)), timeout=10)
    stream = sock.makefile("rb")

    send(sock, 0x0001, 1, text("wire_client.py") + bytes([1, 1]) + text(token))
    request_id, status, body = receive(stream)
    version, server, shards = body.take("B"), body.text(), body.take("H")
    shard_map = body.list(lambda: (body.take("H"), body.text()))
    kinds = body.list(lambda: (body.take("B"), body.text(), body.take("f")))
    strategies, limits = body.list(body.text), body.take("IIIB")
    body.end()
    check((request_id, status, version) == (1, 0, 1), f"HELLO answered with version {version}")
    print(f"{server}: {shards} shards {shard_map}, kinds {[k[1] for k in kinds]}, strategies {strategies}, limits {limits}")

    send(sock, 0x0005, 2, b"")
    request_id, status, body = receive(stream)
    rule, *key = body.take("HQQ")
    body.end()
    check(rule in (1, 2), f"ids are routed by rule {rule}")

    def owner_of(i):
        return shard_of(i, shards, rule, key)

    user, now_ms, kind = f"wire-{time.time_ns()}", time.time_ns() // 1_000_000, kinds[0][0] if kinds else 0
    items = ["film-1", 2, "3"]
    for n, item in enumerate(items):  # all three are in flight at once
        event = ident(f"{user}/{n}") + ident(user) + ident(item) + struct.pack("<Bfq", kind, 1.0 + n, now_ms + n)
        send(sock, 0x0101, 10 + n, event + bytes([1]))
    versions = {}
    for _ in items:
        request_id, status, body = receive(stream)
        shard, sequence, profile_version, level, score, rank = body.take("HQIBfI")
        body.end()
        check(status == 0 and request_id in (10, 11, 12), f"event {request_id} answered {SUCCESS[status]}")
        check(level >= 1 and shard == owner_of(user), f"shard {shard}, computed {owner_of(user)}")
        versions[request_id] = profile_version
        print(f"event {request_id}: shard {shard} sequence {sequence} version {profile_version} score {score} rank {rank}")
    check(versions[10] < versions[11] < versions[12], f"versions {versions}")

    send(sock, 0x0201, 20, ident(user) + struct.pack("<H?", 10, True))
    request_id, status, body = receive(stream)
    owner, shard, version, events, first_ms, last_ms, mean = (body.ident(), *body.take("HIQqqd"))
    attributes = body.list(body.attribute)
    arms = body.list(lambda: (body.text(), body.take("I"), body.list(lambda: body.take("f"))))
    recent, digest = body.list(lambda: (body.ident(), *body.take("Bfq"))), body.take("Q")
    body.end()
    check((request_id, owner, shard) == (20, user, owner_of(user)), f"profile of {owner} on {shard}")
    check(version >= versions[12] and events == 3, f"{events} events, version {version}")
    check([r[0] for r in recent] == [canonical(item) for item in reversed(items)], f"recent {recent}")
    print(f"profile: version {version}, {events} events, {first_ms}..{last_ms}, mean {mean}, attributes {attributes}, "
          f"factors {[(a[0], len(a[2])) for a in arms]}, digest {digest:#018x}")

    no_lists = struct.pack("<IIII", 0, 0, 0, 0)
    send(sock, 0x0203, 30, ident(user) + struct.pack("<H?", 5, True) + no_lists + text(""))
    request_id, status, body = receive(stream)
    decision, strategy, (basis, version) = body.take("Q"), body.text(), body.take("BI")
    found = body.list(lambda: (body.ident(), body.take("f")))
    body.end()
    check(request_id == 30 and len(found) <= 5, f"{len(found)} items where at most 5 were asked for")
    check(not {i for i, _ in found} & {canonical(item) for item in items}, f"seen items in {found}")
    print(f"recommendation {decision} by {strategy} (basis {basis}, version {version}): {found}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} HOST PORT [TOKEN]")
    try:
        main(*sys.argv[1:])
    except (OSError, struct.error, UnicodeDecodeError, IndexError) as error:
        sys.exit(f"mismatch: {type(error).__name__}: {error}")
