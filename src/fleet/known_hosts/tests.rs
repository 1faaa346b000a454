use std::os::unix::fs::PermissionsExt;

use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVE10V7mx3kYBcwsiaocBd1BFxBxPp8BP/9SVColkvO";
const ED25519_PRINT: &str = "SHA256:bxUnrgAg1yM7A1Vk/0wh65MQzm4EdNANnTqyOCKvWw4";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILS9oy0sGCCAkKDVcjqxzKpYAPAZT2mfha+QFoS+IibH";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMytVMud5jbXuCXBZDEuDXndZsPSe/xftSHun1j9Ph9ShlpEC9Bg9rmlqSfnxnHkBi/C0P/xyirRR98Gr2kItEg=";
const ECDSA_PRINT: &str = "SHA256:/l53tDPELNi3Tlg7A4sfvtvbnQhMqAm6ynuQtr7c7/0";
const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC43yYHolySyvv9ZdOALgB6aKJzNfVg4Ktx6OlsvMNkxeIrMuVQjjo0J7eGNDi19bWaaFFhB0BOX7qZ92MAOBhyhcHQDbTDNNAhH0BwPmU+vXZLJ+K8PkVtuQMbFzeoEhFcoC6rYJs0EuhpM3w9c1rffKfUtImCuSKwJSoeD5sR+JK/hJoS3akKAOsDHl3jnNJSXCNfGy04MD6T+O39CwkaJcQRSd0SqKUqevAE2mjj8Qpdprklff/Xpt8kKimVN1sD5Yhvcbz74XeZfCsiyDC9180FVMeOuJ+UI2fSVBu5ZU1iUINpqrlQTgNd0r6Yh7sfBkx90S2lbqwqLMXaRs1r";
/// `n1.lab` and `10.77.0.11` with ED25519, `[n1.lab]:2222` with ECDSA, hashed by `ssh-keygen -H`.
const HASHED: [&str; 3] = [
    "|1|r8L8s0yJsIh1/+9rXW3+6tWK8u4=|7Mb1/cvgjKFkqCVf9YwJf/9Xqjk=",
    "|1|BxhE+SNXdteUF/xih6H31PdR1nY=|lNyp8p/lexYKffTTvxNxfjX0hrI=",
    "|1|87443BvnOK6XIl3Qg6zhHsjQhtk=|+xIkMmvklgggsNbwFNJBXqqy4Bs=",
];

fn key(text: &str) -> PublicKey {
    PublicKey::from_openssh(text).unwrap()
}

fn known(text: impl Into<String>) -> KnownHosts {
    KnownHosts { file: "known_hosts".into(), text: text.into() }
}

fn verdict(text: &str, host: &str, port: u16, shown: &str) -> Verdict {
    known(text).record(host, port).unwrap().check(&key(shown))
}

fn changed(line: usize, expected: &str) -> Verdict {
    Verdict::Changed { file: "known_hosts".into(), line, expected: expected.into() }
}

#[test]
fn finds_hosts_in_every_form() {
    for (hosts, host, port, expected) in [
        ("n1", "n1", 22, true),
        ("n1", "N1", 22, true),
        ("N1", "n1", 22, true),
        ("n1", "n2", 22, false),
        ("n1", "n1.lab", 22, false),
        ("n2,n1,10.77.0.11", "10.77.0.11", 22, true),
        ("[n1]:2222", "n1", 2222, true),
        ("[n1]:2222", "n1", 22, false),
        // ssh accepts a port 22 line for any port; kboot does not.
        ("n1", "n1", 2222, false),
        ("[n1]:22", "n1", 22, false),
        ("*", "n1", 22, true),
        ("*", "n1", 2222, true),
        ("*.lab", "n1.lab", 22, true),
        ("*.lab,!n1.lab", "n1.lab", 22, false),
        ("!n1.lab,*.lab", "n1.lab", 22, false),
        ("!n1.lab,*.lab", "n2.lab", 22, true),
        ("!n1.lab", "n2.lab", 22, false),
        ("10.77.0.1?", "10.77.0.11", 22, true),
        ("::1", "::1", 22, true),
        ("[::1]:2222", "[::1]", 2222, true),
        (HASHED[0], "n1.lab", 22, true),
        (HASHED[0], "N1.lab", 22, true),
        (HASHED[0], "n1.lab", 2222, false),
        (HASHED[0], "n2.lab", 22, false),
        (HASHED[1], "n1.lab", 2222, true),
        (HASHED[1], "n1.lab", 22, false),
        (HASHED[2], "10.77.0.11", 22, true),
    ] {
        let expected = if expected { Verdict::Match } else { Verdict::Unknown };
        assert_eq!(
            verdict(&format!("{hosts} {ED25519} a comment"), host, port, ED25519),
            expected,
            "{hosts} {host}:{port}"
        );
    }
}

#[test]
fn tells_a_changed_key_with_its_line() {
    let text = format!("# first\n\nn2 {OTHER}\nn1 {ED25519}\nn1 {ECDSA}\n");
    assert_eq!(verdict(&text, "n1", 22, OTHER), changed(4, ED25519_PRINT));
    assert_eq!(verdict(&text, "n1", 22, ECDSA), Verdict::Match);
    // An algorithm that isn't on record is no change, and no new host either.
    let (file, line, expected) = ("known_hosts".into(), 1, ECDSA_PRINT.into());
    let other = Verdict::OtherAlgorithm { file, line, expected };
    assert_eq!(verdict(&format!("n1 {ECDSA}"), "n1", 22, ED25519), other);
}

#[test]
fn several_keys_of_one_host_all_match() {
    let text = format!("n1 {OTHER}\nn1 {ED25519}\n");
    assert_eq!(verdict(&text, "n1", 22, ED25519), Verdict::Match);
    assert_eq!(verdict(&text, "n1", 22, OTHER), Verdict::Match);
}

#[test]
fn revocation_outweighs_trust() {
    let text = format!("n1 {ED25519}\n@revoked * {ED25519}\n");
    assert_eq!(verdict(&text, "n1", 22, ED25519), Verdict::Revoked { file: "known_hosts".into(), line: 2 });
    // Only that key is revoked: another one is judged as ever.
    assert_eq!(verdict(&text, "n1", 22, OTHER), changed(1, ED25519_PRINT));
    assert_eq!(verdict(&format!("@revoked n1 {OTHER}"), "n1", 22, ED25519), Verdict::Unknown);
}

#[test]
fn names_an_authority_only_where_nothing_else_is_on_record() {
    let text = format!("@cert-authority *.lab {OTHER}\nn1.lab {ED25519}\n");
    assert_eq!(verdict(&text, "n1.lab", 22, ED25519), Verdict::Match);
    assert_eq!(verdict(&text, "n2.lab", 22, ED25519), Verdict::OnlyAuthority { file: "known_hosts".into(), line: 1 });
    // The authority's own key is not a host's.
    assert_ne!(verdict(&text, "n2.lab", 22, OTHER), Verdict::Match);
}

#[test]
fn offers_the_algorithms_on_record() {
    let algorithms = |text: &str| -> Vec<String> {
        known(text).record("n1", 22).unwrap().algorithms().iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        algorithms(&format!("n1 {ECDSA}\nn1 {ED25519}\nn1 {OTHER}\nn2 {RSA}")),
        ["ecdsa-sha2-nistp256", "ssh-ed25519"]
    );
    assert_eq!(algorithms(&format!("n1 {RSA}")), ["ssh-rsa"]);
    assert!(algorithms(&format!("@revoked n1 {ED25519}\n@cert-authority n1 {ED25519}")).is_empty());
}

#[test]
fn a_line_that_cant_be_read_is_an_error_for_its_own_host_only() {
    let (truncated, _) = ED25519.split_at(ED25519.len() - 8);
    for (line, why) in [
        (format!("n1 {truncated}"), "the ssh-ed25519 key can't be read"),
        ("n1 ssh-ed25519".into(), "no key after the host"),
        ("n1".into(), "no key after the host"),
        (format!("n1 {}", ECDSA.replace("ecdsa-sha2-nistp256", "ssh-ed25519")), "but the key is ecdsa-sha2-nistp256"),
        (format!("@trusted n1 {ED25519}"), "unknown marker @trusted"),
        (format!("@revoked n1 {truncated}"), "can't be read"),
    ] {
        let known = known(format!("n2 {ED25519}\n{line}"));
        let error = known.record("n1", 22).unwrap_err().to_string();
        assert!(error.starts_with("known_hosts:2: ") && error.contains(why), "{line}: {error}");
        assert_eq!(known.record("n2", 22).unwrap().check(&key(ED25519)), Verdict::Match, "{line}");
    }
    // What is for many hosts, or for another program's keys, stops none of them.
    for line in ["* ssh-rsa AAAA".to_string(), "n1 ssh-dss AAAAB3NzaC1kc3M=".into(), format!("n? {truncated}")] {
        let text = format!("{line}\nn1 {ED25519}");
        assert_eq!(verdict(&text, "n1", 22, ED25519), Verdict::Match, "{line}");
        assert_eq!(verdict(&line, "n1", 22, ED25519), Verdict::Unknown, "{line}");
        assert!(known(format!("@revoked {line}")).record("n1", 22).is_err(), "{line}");
    }
    // A hashed name that can't be read may be anyone's.
    for hosts in ["|1|r8L8s0yJsIh1|", "|2|AAAA|AAAA", "|1|!!|AAAA", "|1|AAAA|AAAA|AAAA"] {
        assert_eq!(verdict(&format!("{hosts} {OTHER}\nn1 {ED25519}"), "n1", 22, ED25519), Verdict::Match, "{hosts}");
        assert!(known(format!("@revoked {hosts} {OTHER}")).record("n1", 22).is_err(), "{hosts}");
    }
}

#[test]
fn prints_fingerprints_as_openssh_does() {
    assert_eq!(fingerprint(&key(ED25519)), ED25519_PRINT);
    assert_eq!(fingerprint(&key(ECDSA)), ECDSA_PRINT);
    assert_eq!(fingerprint(&key(RSA)), "SHA256:O/lJXBuq4hcTTB/yV6eilu3KHAynwCCWlvB4YrNDPRw");
}

#[test]
fn a_missing_file_knows_nobody_and_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(folder.path()).unwrap();
    let known = KnownHosts::read(&path.join("none")).unwrap();
    assert_eq!(known.record("n1", 22).unwrap().check(&key(ED25519)), Verdict::Unknown);
    let error = KnownHosts::read(path).unwrap_err().to_string();
    assert!(error.contains(path.as_str()), "{error}");
}

#[test]
fn adds_once_and_keeps_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = Utf8Path::from_path(folder.path()).unwrap().join("new/known_hosts");
    let mode = |path: &Utf8Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    assert_eq!(add(&file, "N1", 22, &key(&format!("{ED25519} root@n1"))), Ok(Added::New));
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    assert_eq!(add(&file, "n1", 22, &key(ED25519)), Ok(Added::Present));
    assert_eq!(add(&file, "n1", 22, &key(ECDSA)), Ok(Added::New));
    assert_eq!(add(&file, "n1", 2222, &key(ED25519)), Ok(Added::New));
    assert_eq!(add(&file, "::1", 22, &key(ED25519)), Ok(Added::New));
    let expected = format!("n1 {ED25519}\nn1 {ECDSA}\n[n1]:2222 {ED25519}\n::1 {ED25519}\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);

    let conflict = add(&file, "n1", 22, &key(OTHER)).unwrap_err();
    assert!(matches!(&conflict, Error::Conflict { line: 1, expected, .. } if expected == ED25519_PRINT), "{conflict}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
}

#[test]
fn adds_after_a_last_line_without_its_end_and_sees_hashed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = Utf8Path::from_path(folder.path()).unwrap().join("known_hosts");
    let before = format!("{} {ED25519}\n@revoked * {OTHER}", HASHED[0]);
    std::fs::write(&file, &before).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();

    assert_eq!(add(&file, "n1.lab", 22, &key(ED25519)), Ok(Added::Present));
    assert_eq!(add(&file, "n2", 22, &key(OTHER)), Err(Error::Revoked { file: file.clone(), line: 2 }));
    assert_eq!(add(&file, "n2", 22, &key(ED25519)), Ok(Added::New));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{before}\nn2 {ED25519}\n"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn adds_from_many_threads_without_losing_or_doubling_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = Utf8Path::from_path(folder.path()).unwrap().join("known_hosts");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let file = &file;
            scope.spawn(move || {
                for host in 0..10 {
                    // Each host is added by two threads.
                    add(file, &format!("n{}-{host}", thread / 2), 22, &key(ED25519)).unwrap();
                }
            });
        }
    });
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    assert_eq!((text.lines().count(), lines.len()), (40, 40));
    assert!(lines.iter().all(|line| line.ends_with(ED25519)));
}

#[test]
fn the_machine_s_own_files_are_read_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| Utf8Path::from_path(folder.path()).unwrap().join(name);
    let (own, global, missing) = (path("own"), path("global"), path("missing"));
    let verdict = |of_own: &str, of_global: &str, shown: &str| {
        std::fs::write(&own, of_own).unwrap();
        std::fs::write(&global, of_global).unwrap();
        record_in(&own, &[&global, &missing], "n1", 22).unwrap().check(&key(shown))
    };
    let (known, other) = (format!("n1 {ED25519}\n"), format!("n1 {OTHER}\n"));
    assert_eq!(verdict("", &known, ED25519), Verdict::Match);
    assert_eq!(verdict(&other, &known, ED25519), Verdict::Match, "as ssh does: one of them is enough");
    let expected = ED25519_PRINT.to_string();
    assert_eq!(verdict("", &known, OTHER), Verdict::Changed { file: global.clone(), line: 1, expected });
    let revoked = format!("# taken\n@revoked * {ED25519}\n");
    assert_eq!(verdict(&known, &revoked, ED25519), Verdict::Revoked { file: global.clone(), line: 2 });
    assert_eq!(verdict("", "", ED25519), Verdict::Unknown);
}
