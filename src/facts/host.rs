//! Parsers of the small files that say what a host is. Pure.

use super::Os;
use crate::engine::sha256;

/// /etc/os-release, with the shell's quoting.
pub fn os_release(text: &str) -> Os {
    let mut os = Os::default();
    for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
        let value = unquote(value);
        match key {
            "ID" => os.id = value,
            "ID_LIKE" => os.id_like = value.split_whitespace().map(String::from).collect(),
            "VERSION_ID" => os.version_id = value,
            "VERSION_CODENAME" => os.codename = value,
            "PRETTY_NAME" => os.pretty_name = value,
            _ => {}
        }
    }
    os
}

/// The lines of an fstab that switch swap on at boot, as they stand.
pub fn fstab_swaps(text: &str) -> Vec<String> {
    let is_swap = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let options = fields.get(3).copied().unwrap_or_default();
        !line.starts_with('#') && fields.get(2) == Some(&"swap") && !options.split(',').any(|option| option == "noauto")
    };
    text.lines().map(str::trim).filter(is_swap).map(String::from).collect()
}

/// The API server's URL in a kubeconfig.
pub fn kubeconfig_server(text: &str) -> Option<String> {
    let config: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let server = config.get("clusters")?.get(0)?.get("cluster")?.get("server")?;
    server.as_str().map(String::from)
}

/// SHA-256 of each certificate in a PEM file's DER form.
pub fn certificate_digests(pem: &[u8]) -> Vec<String> {
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).map(|der| sha256(&der)).collect()
}

/// `df --output=avail / /var/lib`: a header and a number for each path.
pub fn free_bytes(text: &str) -> Option<super::FreeBytes> {
    let mut numbers = text.lines().filter_map(|line| line.trim().parse().ok());
    Some(super::FreeBytes { root: numbers.next()?, var_lib: numbers.next()? })
}

fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\''].iter().find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
    inner.unwrap_or(value).replace("\\\"", "\"").replace("\\$", "$").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_of_debian_and_ubuntu() {
        let debian = os_release(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
             VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n",
        );
        let expected = Os {
            id: "debian".into(),
            id_like: vec![],
            version_id: "12".into(),
            codename: "bookworm".into(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".into(),
        };
        assert_eq!(debian, expected);

        let ubuntu = os_release("ID=ubuntu\nID_LIKE=debian\nVERSION_ID='24.04'\nVERSION_CODENAME=noble\n# x\n\n");
        assert_eq!((ubuntu.id.as_str(), ubuntu.version_id.as_str()), ("ubuntu", "24.04"));
        assert_eq!(ubuntu.id_like, ["debian"]);
    }

    #[test]
    fn fstab_lines_that_swap_at_boot() {
        let text = "# swap was on /dev/sda5 none swap sw\nUUID=aa / ext4 errors=remount-ro 0 1\n\
                    UUID=bb none swap sw 0 0\n/swapfile swap swap defaults 0 0\n#/old none swap sw 0 0\n\
                    /dev/sdc none swap sw,noauto 0 0\n/dev/sdd none swap\n";
        assert_eq!(
            fstab_swaps(text),
            ["UUID=bb none swap sw 0 0", "/swapfile swap swap defaults 0 0", "/dev/sdd none swap"]
        );
    }

    #[test]
    fn server_of_a_kubeconfig() {
        let text = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n    \
                    server: https://10.77.0.11:6443\n  name: lab\nkind: Config\n";
        assert_eq!(kubeconfig_server(text).as_deref(), Some("https://10.77.0.11:6443"));
        assert_eq!(kubeconfig_server("clusters: []"), None);
        assert_eq!(kubeconfig_server("{"), None);
    }

    #[test]
    fn certificates_of_a_bundle_are_told_apart_whatever_the_white_space() {
        let one = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
        let two = "-----BEGIN CERTIFICATE-----\r\nAAED\r\n-----END CERTIFICATE-----\r\n";
        let bundle = certificate_digests(format!("{one}\n{two}").as_bytes());
        assert_eq!(bundle.len(), 2);
        assert_ne!(bundle[0], bundle[1]);
        // echo -ne '\x00\x01\x02' | sha256sum
        assert_eq!(bundle[0], "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc");
        assert_eq!(certificate_digests(b"nothing"), Vec::<String>::new());
    }

    #[test]
    fn df_prints_a_header_and_two_numbers() {
        let free = free_bytes("      Avail\n71685898240\n 1024\n").unwrap();
        assert_eq!((free.root, free.var_lib), (71_685_898_240, 1024));
        assert_eq!(free_bytes("      Avail\n71685898240\n"), None);
    }
}
