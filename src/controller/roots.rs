//! This machine's CA certificates, for hosts that have none yet.

/// A host without CA certificates needs these for HTTPS before kboot installs anything.
pub fn roots() -> Option<String> {
    const BUNDLES: [&str; 3] =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok())
}
