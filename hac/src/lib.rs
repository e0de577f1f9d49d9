//! The Home Agent Controller: authenticates mobile nodes over TLS, issues security associations (RFC 6618 s.5).
