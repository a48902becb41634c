//! Mistakes in who may call: `[callers]` and `[issuers]`.

use super::mistakes::check_reports;

#[test]
fn every_mistake_in_callers_and_issuers_is_told_with_its_place() {
    check_reports(&[
        (
            "callers.a.key_sha256 = \"abc\"",
            "1:24: callers.a.key_sha256: expected a SHA-256 in 64 hexadecimal digits, as `zoho-gateway key` prints it",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nweight = 0",
            "3:10: callers.a.weight: expected an integer from 1 to 1000",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nweight = 1001",
            "3:10: callers.a.weight: expected an integer from 1 to 1000",
        ),
        (
            "[callers.a]",
            "1:10: callers.a: nothing identifies the caller; expected key_sha256 (the hash of an API key), san (a name in its client certificate) or jwt (the subject of its tokens)",
        ),
        (
            "callers.a.key_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\ncallers.b.key_sha256 = [\"2C70E12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"]",
            "2:25: callers.b.key_sha256: is used twice: whose key is it?",
        ),
        (
            "callers.a.key_sha256 = 7",
            "1:24: callers.a.key_sha256: expected the SHA-256 of an API key in hexadecimal digits, or a list of them, found an integer",
        ),
        (
            "callers.a.key_sha256 = {}",
            "1:11: callers.a.key_sha256: expected the SHA-256 of an API key in hexadecimal digits, a list of them, or { file = \"PATH\" } with one a line",
        ),
        (
            "callers.a.key_sha256 = { file = \"/nowhere/keys\" }",
            "1:33: callers.a.key_sha256.file: the file /nowhere/keys cannot be read: No such file or directory (os error 2)",
        ),
        (
            "callers.a.key_sha256 = { file = \"/dev/null\" }",
            "1:33: callers.a.key_sha256.file: the file /dev/null holds no hash; expected one per line",
        ),
        (
            "callers.a.san = \"a.example.org\"",
            "1:11: callers.a.san: no caller can present a certificate: proxy.tls has no client_ca",
        ),
        (
            "callers.a.jwt = \"token\"",
            "1:17: callers.a.jwt: expected a table: { issuer = \"NAME\", subject = \"SUB\" }, found a string",
        ),
        (
            "callers.a.jwt = { issuer = \"i\", subject = \"s\" }",
            "1:28: callers.a.jwt.issuer: names no issuer of this configuration: expected the NAME of an [issuers.NAME]",
        ),
        (
            "callers.a.jwt = { issuer = \"i\" }\nissuers.i = { issuer = \"i\", audience = \"a\", jwks_url = \"https://i\" }",
            "1:11: callers.a.jwt.subject: is missing; expected the sub of its tokens, or a list of them",
        ),
        (
            "callers.a.jwt = { subject = \"s\" }",
            "1:11: callers.a.jwt.issuer: is missing; expected the NAME of an [issuers.NAME]",
        ),
        (
            "callers.a.jwt = { issuer = \"i\", subject = \"s\" }\ncallers.b.jwt = { issuer = \"i\", subject = [\"t\", \"s\"] }\nissuers.i = { issuer = \"i\", audience = \"a\", jwks_url = \"https://i\" }",
            "2:49: callers.b.jwt.subject: is used twice: which caller does it name?",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nlimit = 600",
            "3:9: callers.a.limit: expected a table: { requests = 600, window = \"60s\" }, found an integer",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nlimit = {}",
            "3:1: callers.a.limit.requests: is missing; expected how many requests there may be in each window",
        ),
        // Issuers.
        ("[issuers.i]\nissuer = \"\"\naudience = \"a\"\njwks_url = \"https://i\"", "2:10: issuers.i.issuer: is empty"),
        (
            "[issuers.i]\naudience = \"a\"\njwks_url = \"https://i\"",
            "1:10: issuers.i.issuer: is missing; expected the iss of its tokens, exactly as they have it",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\njwks_url = \"https://i\"",
            "1:10: issuers.i.audience: is missing; expected what the aud of its tokens has to hold: a name of this gateway. Without one, tokens for others would be taken too",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"",
            "1:10: issuers.i: expected its public keys: either jwks_url or jwks_file",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"http://keys.example.org/\"",
            "4:12: issuers.i.jwks_url: expected a URL such as https://issuer.example.org/jwks.json; http:// only for this machine itself",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://me:secret@keys.example.org/\"",
            "4:12: issuers.i.jwks_url: expected a URL such as https://issuer.example.org/jwks.json; http:// only for this machine itself",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_file = \"/dev/null\"",
            "4:13: issuers.i.jwks_file: the file /dev/null is not a JWK Set: expected a JSON object with a list \"keys\" (RFC 7517)",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_file = \"/dev/zero\"",
            "4:13: issuers.i.jwks_file: the file /dev/zero is too long: more than 262144 bytes",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\nalgorithms = [\"ES256\", \"HS256\"]",
            "5:24: issuers.i.algorithms: expected some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA; others are never taken, HS256 and none least of all",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\nrefresh = \"100ms\"",
            "5:11: issuers.i.refresh: expected a duration from 1s to 24h",
        ),
        (
            "[issuers.i]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://i\"\n[issuers.j]\nissuer = \"i\"\naudience = \"a\"\njwks_url = \"https://j\"",
            "6:10: issuers.j.issuer: is another issuer's too: which of the two would be believed?",
        ),
        (
            "[callers.a]\nkey_sha256 = \"2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683\"\nread_only = \"yes\"",
            "3:13: callers.a.read_only: expected true or false, found a string",
        ),
    ]);
}
