"""What the operator sees for each way in which a metrics server can fail."""

# ruff: noqa: E501  # a case of the table reads best on one line
from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trustme
from support.loopback import LoopbackServer, Request, always, http

from exporter.errors import SourceError, SourceGarbled, SourceRefused, SourceTooMuch, SourceUnavailable
from exporter.source.client import Client
from exporter.source.faults import REASONS
from exporter.source.reader import Reader

OK_VECTOR = (
    b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1700000000,"1"]}]}}'
)
U = "URL/api/v1/query"
CHECK_EXPR = "Check the expr of the query."
PATH = (
    "Check the path of source.url: VictoriaMetrics has its API at / or /prometheus, a cluster of it at "
    "/select/<account>/prometheus or, with tenants, /select/{tenant}/prometheus."
)
PREFIX = "The prefix of Cortex and Mimir is /prometheus."
LESS = "Lower source.max_points, narrow the expr, or raise the limit of the server."


def vector(*series: str, more: str = "") -> bytes:
    result = ",".join(series)
    return f'{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}{more}}}'.encode()


def error(kind: str, text: str) -> bytes:
    return f'{{"status":"error","errorType":"{kind}","error":"{text}"}}'.encode()


def declared(answer: bytes, length: int) -> bytes:
    """The same answer with another Content-Length."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % length]) + b"\r\n\r\n" + body


def reset_in_the_middle(request: Request, connection: socket.socket) -> None:
    connection.sendall(declared(http(200, OK_VECTOR[:40]), 5000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def cut_chunks(request: Request, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n" + OK_VECTOR[:40] + b"\r\n50\r\n{")


def drip(request: Request, connection: socket.socket) -> None:
    connection.sendall(declared(http(200), 100_000))
    while True:
        connection.sendall(b" ")
        connection.settimeout(0.02)
        try:
            connection.recv(1)
        except TimeoutError:
            continue
        return


def silence(request: Request, connection: socket.socket) -> None:
    connection.recv(1)  # until the client gives up


@dataclass(frozen=True)
class Fault:
    """``respond``: the server's doing; ``text``: what the operator reads (URL stands for the server's)."""

    name: str
    respond: Callable[[Request, socket.socket], None]
    kind: type[SourceError]
    reason: str
    text: str
    attempts: int = 1
    timeout_s: float = 10.0
    body_bytes: int = 1 << 20


def fault(name: str, answer: bytes, kind: type[SourceError], reason: str, text: str, attempts: int = 1) -> Fault:
    return Fault(name, always(answer), kind, reason, text, attempts)


BOMB = gzip.compress(bytes(50_000_000))

FAULTS = [
    Fault("reset in the body", reset_in_the_middle, SourceUnavailable, "connection",
          f"{U}: the connection broke: Connection reset by peer", 3),
    fault("body shorter than declared", declared(http(200, OK_VECTOR), 5000), SourceUnavailable, "connection",
          f"{U}: the connection broke: IncompleteRead({len(OK_VECTOR)} bytes read, {5000 - len(OK_VECTOR)} more expected)", 3),
    Fault("chunked body cut", cut_chunks, SourceUnavailable, "connection",
          f"{U}: the connection broke: IncompleteRead(0 bytes read)", 3),
    Fault("closed without a word", lambda request, connection: None, SourceUnavailable, "connection",
          f"{U}: the connection broke: Remote end closed connection without response", 3),
    fault("not HTTP", b"SSH-2.0-OpenSSH_9.2\r\n", SourceUnavailable, "connection",
          f"{U}: the connection broke: SSH-2.0-OpenSSH_9.2", 3),
    Fault("silence", silence, SourceUnavailable, "timeout",
          f"{U}: no answer in time. Raise source.timeout or narrow the expr.", 1, 0.3),
    Fault("slow drip", drip, SourceUnavailable, "timeout",
          f"{U}: the answer came too slowly. Raise source.timeout or narrow the expr.", 1, 0.3),
    fault("401 text", http(401, "Unauthorized\n", Www_Authenticate="Basic"), SourceRefused, "unauthorized",
          f"{U}: HTTP 401: Unauthorized. Check the credentials of source and, with tenants, the tenant id."),
    fault("401 empty (VictoriaMetrics)", http(401), SourceRefused, "unauthorized",
          f"{U}: HTTP 401, without a text. Check the credentials of source and, with tenants, the tenant id."),
    fault("401 no org id (Cortex)", http(401, "no org id"), SourceRefused, "unauthorized",
          f"{U}: HTTP 401: no org id. The server has tenants: name them under tenants (header X-Scope-OrgID)."),
    fault("403", http(403, error("forbidden", "not yours")), SourceRefused, "forbidden",
          f"{U}: HTTP 403: not yours. The server does not let these credentials read this."),
    fault("404 text", http(404, "404 page not found\n"), SourceRefused, "not_found",
          f"{U}: HTTP 404: 404 page not found. Is the API under a prefix such as /prometheus? It belongs into source.url. {PREFIX}"),
    fault("400 parse error", http(400, error("bad_data", 'invalid parameter \\"query\\": 1:17: parse error: unclosed left parenthesis')),
          SourceRefused, "bad_query",
          f'{U}: HTTP 400: invalid parameter "query": 1:17: parse error: unclosed left parenthesis. {CHECK_EXPR}'),
    fault("400 too many points", http(400, error("bad_data", "exceeded maximum resolution of 11,000 points per timeseries.")),
          SourceTooMuch, "too_much", f"{U}: HTTP 400: exceeded maximum resolution of 11,000 points per timeseries. {LESS}"),
    fault("400 range too long (Cortex)", http(400, error("bad_data", "the query time range exceeds the limit (query length: 24h0m0s, limit: 2h0m0s)")),
          SourceTooMuch, "too_much",
          f"{U}: HTTP 400: the query time range exceeds the limit (query length: 24h0m0s, limit: 2h0m0s). Raise the limit of the server (max_query_length), or shorten window."),
    fault("400 bad tenant (Cortex)", http(400, "tenant ID 'a b' contains unsupported character ' '"), SourceRefused, "bad_query",
          f"{U}: HTTP 400: tenant ID 'a b' contains unsupported character ' '. Correct the id under tenants."),
    fault("400 unsupported path (VictoriaMetrics)", http(400, 'unsupported path requested: "/select/abc/api"'), SourceRefused, "bad_query",
          f'{U}: HTTP 400: unsupported path requested: "/select/abc/api". {PATH}'),
    fault("415", http(415, "no"), SourceRefused, "refused", f"{U}: HTTP 415: no"),
    fault("413", http(413, "<html><head><title>413</title></head><body><h1>413 Request Entity Too Large</h1></body></html>"),
          SourceTooMuch, "too_much", f"{U}: HTTP 413: 413 Request Entity Too Large. {LESS}"),
    fault("422 too many samples", http(422, error("execution", "query processing would load too many samples into memory in query execution")),
          SourceTooMuch, "too_much",
          f"{U}: HTTP 422: query processing would load too many samples into memory in query execution. {LESS}"),
    fault("422 many-to-many", http(422, error("execution", "found duplicate series for the match group {limit=\\\"x\\\"}; many-to-many matching not allowed")),
          SourceRefused, "bad_query",
          f'{U}: HTTP 422: found duplicate series for the match group {{limit="x"}}; many-to-many matching not allowed. {CHECK_EXPR}'),
    fault("422 of type 422 (VictoriaMetrics)", http(422, error("422", "cannot select more than -search.maxSamplesPerQuery=500 samples; possible solutions: ...")),
          SourceTooMuch, "too_much",
          f"{U}: HTTP 422: cannot select more than -search.maxSamplesPerQuery=500 samples; possible solutions: . {LESS}"),
    fault("422 by Mimir's id", http(422, error("execution", "the query is denied (err-mimir-max-estimated-memory-consumption-per-query)")),
          SourceTooMuch, "too_much",
          f"{U}: HTTP 422: the query is denied (err-mimir-max-estimated-memory-consumption-per-query). "
          "Narrow the expr, or raise this limit of the tenant: -querier.max-estimated-memory-consumption-per-query."),
    fault("429 server_error (Cortex)", http(429, error("server_error", "too many outstanding requests")), SourceUnavailable, "rate_limited",
          f"{U}: HTTP 429: too many outstanding requests. Lower source.max_in_flight, raise the interval, or raise the limit of the server.", 3),
    fault("429 with a long Retry-After", http(429, "later", Retry_After="3600"), SourceUnavailable, "rate_limited",
          f"{U}: HTTP 429: later. Lower source.max_in_flight, raise the interval, or raise the limit of the server.", 1),
    fault("500", http(500, error("server_error", "queue is stopped")), SourceUnavailable, "server_error",
          f"{U}: HTTP 500: queue is stopped", 3),
    fault("503 HTML", http(503, "<html><head><title>x</title><style>p {}</style></head><body><h1>503 Service\n Unavailable</h1>nginx &amp; co</body></html>"),
          SourceUnavailable, "server_error", f"{U}: HTTP 503: 503 Service Unavailable nginx & co", 3),
    fault("503 timeout (Prometheus)", http(503, error("timeout", "query timed out in expression evaluation")),
          SourceUnavailable, "server_error", f"{U}: HTTP 503: query timed out in expression evaluation. Raise source.timeout and the server's own limit, or narrow the expr.", 3),
    fault("503 in control characters", http(503, "a\x00\x1b[31m\r\nb" + "c" * 1000), SourceUnavailable, "server_error",
          f"{U}: HTTP 503: a [31m b{'c' * 291}…", 3),
    fault("204", http(204), SourceGarbled, "garbled", f"{U}: HTTP 204, without a text; 200 and an answer were due"),
    fault("redirect to nowhere", http(302), SourceRefused, "redirect",
          f"{U}: HTTP 302 redirects to nowhere. Use that as source.url or allow follow_redirects."),
    fault("redirect in a circle", http(302, Location="/api/v1/query"), SourceRefused, "redirect",
          f"{U}: redirects without end. Check source.url."),
    fault("empty body", http(200), SourceGarbled, "garbled", f"{U} answered 200 with an empty body"),
    fault("truncated JSON", http(200, OK_VECTOR[:-3]), SourceGarbled, "garbled",
          f"{U} answered {len(OK_VECTOR) - 3} bytes that are not JSON (Expecting ',' delimiter: line 1 column {len(OK_VECTOR) - 2} (char {len(OK_VECTOR) - 3})); "
          f"they start with: {OK_VECTOR[:80].decode()}"),
    fault("200 HTML (a login page)", http(200, "<html>Please log in</html>"), SourceGarbled, "garbled",
          f"{U} answered 26 bytes that are not JSON (Expecting value: line 1 column 1 (char 0)); they start with: <html>Please log in</html>"),
    fault("200 but an error", http(200, error("execution", "broken")), SourceGarbled, "garbled",
          f"{U} answered 200 but not success: broken"),
    fault("string result", http(200, b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}'), SourceGarbled, "garbled",
          f"{U} answered a result of type string; series of numbers are needed"),
    Fault("1 GB declared", always(declared(http(200, OK_VECTOR), 10**9)), SourceTooMuch, "too_much",
          f"{U}: the answer is larger than source.max_body_bytes (1,048,576). Narrow the expr or raise it."),
    Fault("2 MB sent without saying so", always(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2_000_000)), SourceTooMuch, "too_much",
          f"{U}: the answer is larger than source.max_body_bytes (1,048,576). Narrow the expr or raise it."),
    fault("gzip bomb", http(200, BOMB, Content_Encoding="gzip"), SourceTooMuch, "too_much",
          f"{U}: the answer is larger than source.max_body_bytes (1,048,576). Narrow the expr or raise it."),
    fault("gzip cut", http(200, gzip.compress(OK_VECTOR)[:-12], Content_Encoding="gzip"), SourceUnavailable, "connection",
          f"{U}: the packed answer ended early", 3),
    fault("gzip that is none", http(200, OK_VECTOR, Content_Encoding="gzip"), SourceGarbled, "garbled",
          f"{U} answered gzip that can't be unpacked (Error -3 while decompressing data: incorrect header check)"),
    fault("unknown encoding", http(200, OK_VECTOR, Content_Encoding="br"), SourceGarbled, "garbled",
          f"{U} answered in the encoding 'br', which was not asked for"),
]  # fmt: skip


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_what_the_operator_sees(
    case: Fault, serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]
) -> None:
    server = serve(case.respond)
    seen: list[str] = []
    client = client_of(
        server.url, retries=2, timeout_s=case.timeout_s, max_body_bytes=case.body_bytes,
        observe=lambda outcome, body_bytes: seen.append(outcome),
    )  # fmt: skip
    with pytest.raises(SourceError) as caught:
        Reader(client, "sum(x)", 60).newest(1_700_000_000, 60)
    assert str(caught.value).replace(server.url, "URL") == case.text
    assert type(caught.value) is case.kind
    assert caught.value.reason == case.reason
    assert case.reason in REASONS
    if case.name != "redirect in a circle":
        assert len(server.requests) == case.attempts
        assert len(seen) == case.attempts


def test_refused_connection(client_of: Callable[..., Client]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceUnavailable) as caught:
        client_of(f"http://127.0.0.1:{port}").query("x", 0)
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/api/v1/query: connection refused. Is the server running, and is the port right?"
    )
    assert caught.value.reason == "refused_connection"


@pytest.mark.parametrize(("url", "kind", "reason", "text"), [
    ("http://no-such-host.invalid:9090", SourceUnavailable, "dns", "the host name can't be resolved. Check source.url."),
    ("http://", SourceRefused, "url", "this is no usable URL: Invalid URL"),
    ("gopher://127.0.0.1", SourceRefused, "url", "this is no usable URL: No connection adapters were found"),
    ("127.0.0.1:9090", SourceRefused, "url", "this is no usable URL"),
])  # fmt: skip
def test_unusable_urls(
    url: str, kind: type[SourceError], reason: str, text: str, client_of: Callable[..., Client]
) -> None:
    with pytest.raises(kind) as caught:
        client_of(url, retries=0).query("x", 0)
    assert caught.value.reason == reason
    assert text in str(caught.value)


def test_https_asked_of_a_server_without_tls(client_of: Callable[..., Client]) -> None:
    def answer_plainly() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(http(400, "what is this?"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_plainly)
        thread.start()
        with pytest.raises(SourceUnavailable) as caught:
            client_of(f"https://127.0.0.1:{listener.getsockname()[1]}", retries=0).query("x", 0)
        thread.join()
    assert caught.value.reason == "tls"
    assert "Does it speak https, and does it want a client certificate?" in str(caught.value)


def test_a_certificate_of_an_unknown_authority(client_of: Callable[..., Client]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def shake_hands() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=shake_hands)
        thread.start()
        with pytest.raises(SourceRefused) as caught:
            client_of(f"https://127.0.0.1:{listener.getsockname()[1]}").query("x", 0)
        thread.join()
    assert caught.value.reason == "tls"
    assert "its certificate is not trusted" in str(caught.value)
    assert str(caught.value).endswith("Check tls_config of source: ca_file, server_name.")


# --- answers that are odd, but answers --------------------------------------------------------------------------------


def newest(serve: Callable[..., LoopbackServer], client_of: Callable[..., Client], body: bytes, **headers: str):  # type: ignore[no-untyped-def]
    return Reader(client_of(serve(always(http(200, body, **headers))).url), "sum(x)", 60).newest(1_700_000_000, 60)


def test_numbers_without_bounds(serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]) -> None:
    texts = ["NaN", "+Inf", "-Inf", "1.7976931348623157e308", "1" + "0" * 308, "1e999", "-0", "5e-324"]
    body = vector(*(f'{{"metric":{{"i":"{i}"}},"value":[1700000000,"{text}"]}}' for i, text in enumerate(texts)))
    values = newest(serve, client_of, body).batch.value
    assert [repr(float(value)) for value in values] == [repr(float(text)) for text in texts]


def test_a_series_twice_is_two_rows_of_one_hash(
    serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]
) -> None:
    body = vector('{"metric":{"a":"b"},"value":[1700000000,"1"]}', '{"metric":{"a":"b"},"value":[1700000000,"2"]}')
    batch = newest(serve, client_of, body).batch
    assert batch.value.tolist() == [1.0, 2.0]
    assert batch.label_hash[0] == batch.label_hash[1]


def test_unsorted_samples_keep_the_order_of_the_server(
    serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]
) -> None:
    values = '[[1700000060,"2"],[1700000000,"1"],[1700000060,"3"]]'
    body = f'{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":{values}}}]}}}}'
    batch = newest(serve, client_of, body.encode()).batch
    assert batch.time_ms.tolist() == [1_700_000_060_000, 1_700_000_000_000, 1_700_000_060_000]
    assert batch.value.tolist() == [2.0, 1.0, 3.0]


def test_histograms_beside_numbers(serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]) -> None:
    histogram = '{"metric":{"a":"h"},"histogram":[1700000000,{"count":"1","sum":"2","buckets":[[0,"1","2","1"]]}]}'
    batch = newest(serve, client_of, vector(histogram, '{"metric":{"a":"b"},"value":[1700000000,"1"]}')).batch
    assert (batch.histograms, batch.value.tolist()) == (1, [1.0])


def test_partial_data_is_said(serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]) -> None:
    answer = newest(serve, client_of, vector(more=',"warnings":["store gateway down"],"isPartial":true'))
    assert (answer.warnings, answer.partial, answer.batch.series) == (("store gateway down",), True, 0)


def test_packed_though_identity_was_asked_for(
    serve: Callable[..., LoopbackServer], client_of: Callable[..., Client]
) -> None:
    assert newest(serve, client_of, gzip.compress(OK_VECTOR), Content_Encoding="gzip").batch.value.tolist() == [1.0]
    assert newest(serve, client_of, zlib.compress(OK_VECTOR), Content_Encoding="deflate").batch.value.tolist() == [1.0]
