"""Every key of the web config file, once: the reader accepts exactly these, and docs/web-security.md lists them.

The format is that of Prometheus' exporter-toolkit (docs/web-configuration.md there).
"""

from __future__ import annotations

from exporter.config.keys import Key

WEB_BLOCKS: dict[str, tuple[Key, ...]] = {
    "": (
        Key("tls_server_config", "block", "", "Serve HTTPS with this certificate; without it plain HTTP.",
            "{cert_file: server.crt, key_file: server.key}"),
        Key("http_server_config", "block", "{}", "Protocol and headers.",
            "{headers: {Strict-Transport-Security: max-age=31536000}}"),
        Key("basic_auth_users", "mapping of secrets", "{}", "Users and the bcrypt hashes of their passwords. With any,"
            " every page asks for one of them.", "{prometheus: $2b$10$...}", secret=True),
        Key("rate_limit", "block", "{}", "How many requests are answered, of all clients together.",
            "{interval: 10ms, burst: 200}"),
    ),
    "tls_server_config": (
        Key("cert", "PEM text", "", "The server's certificate (and chain). One of `cert` and `cert_file` is needed.",
            "|"),
        Key("cert_file", "path", "", "File with it. Excludes `cert`.", "server.crt"),
        Key("key", "secret PEM text", "", "Its private key, not encrypted. One of `key` and `key_file` is needed.",
            "|", secret=True),
        Key("key_file", "path", "", "File with it. Excludes `key`.", "server.key"),
        Key("client_auth_type", "text", "NoClientCert", "`NoClientCert`, `VerifyClientCertIfGiven` or"
            " `RequireAndVerifyClientCert`. `RequestClientCert` counts as `NoClientCert`; `RequireAnyClientCert` is"
            " refused.", "RequireAndVerifyClientCert"),
        Key("client_ca", "PEM text", "", "Certificates of the CAs that client certificates are verified by.", "|"),
        Key("client_ca_file", "path", "", "File with them. Excludes `client_ca`.", "client-ca.crt"),
        Key("client_allowed_sans", "list of texts", "[]", "The client certificate must carry one of these subject"
            " alternative names (DNS, IP, e-mail, URI), exactly. Needs `RequireAndVerifyClientCert`.",
            "[prometheus.internal]"),
        Key("min_version", "text", "TLS12", "Lowest TLS version: `TLS10`, `TLS11`, `TLS12` or `TLS13`.", "TLS13"),
        Key("max_version", "text", "TLS13", "Highest TLS version, as above.", "TLS13"),
        Key("cipher_suites", "list of texts", "[]", "Cipher suites up to TLS 1.2 by Go's names; those of 1.3 are not"
            " a matter of choice. Without any: OpenSSL's.", "[TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
        Key("prefer_server_cipher_suites", "boolean", "true", "The order of `cipher_suites` counts, not that of the"
            " client.", "false"),
        Key("curve_preferences", "list of texts", "[]", "One of `CurveP256`, `CurveP384`, `CurveP521` and `X25519`;"
            " more than one is refused.", "[X25519]"),
    ),
    "http_server_config": (
        Key("http2", "boolean", "true", "Accepted for compatibility; the server speaks HTTP/1.1.", "false"),
        Key("headers", "block", "{}", "Headers of every answer, in place of the server's own of that name.",
            "{X-Frame-Options: deny}"),
    ),
    "headers": (
        Key("Content-Security-Policy", "text", "", "In place of the policy of each page.", "default-src 'none'"),
        Key("Strict-Transport-Security", "text", "", "Tells browsers to come by HTTPS only, for the whole host.",
            "max-age=31536000"),
        Key("X-Content-Type-Options", "text", "nosniff", "`nosniff`.", "nosniff"),
        Key("X-Frame-Options", "text", "deny", "`deny` or `sameorigin`; see `Content-Security-Policy`, too.",
            "sameorigin"),
        Key("X-XSS-Protection", "text", "", "A header of old browsers.", "0"),
    ),
    "rate_limit": (
        Key("interval", "duration", "0s", "Time between two requests, on average; 0s is no limit. At most 1h.", "10ms"),
        Key("burst", "integer", "0", "Requests that may come at once. 1 or more where there is an `interval`;"
            " at most 1000000.", "200"),
    ),
}  # fmt: skip


def web_keys_of(block: str) -> dict[str, Key]:
    """The keys a block of the web config may have, by name."""
    return {key.name: key for key in WEB_BLOCKS[block]}
