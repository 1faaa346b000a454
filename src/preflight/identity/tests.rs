use crate::facts::Facts;
use crate::preflight::Exchange;
use crate::preflight::samples::{NOW, Sample, sample};

fn set(field: impl Fn(&mut Facts)) -> Sample {
    sample().on("n2", &field).on("n3", &field)
}

#[test]
fn shared_identifiers() {
    let found = set(|facts| facts.hostname = "debian".into()).found();
    assert_eq!(found[0], "* UniqueHostname error: n2 and n3 have the same hostname debian");
    let found = set(|facts| facts.machine_id = Some("x".into())).found();
    assert_eq!(found, ["* UniqueMachineID error: n2 and n3 have the same machine-id x"]);
    let found = set(|facts| facts.product_uuid = Some("x".into())).found();
    assert_eq!(found, ["* UniqueProductUUID error: n2 and n3 have the same product_uuid x"]);
}

#[test]
fn identifiers_that_are_missing_are_not_shared() {
    let sample = set(|facts| (facts.machine_id, facts.product_uuid) = (None, None));
    assert_eq!(sample.found(), [""; 0]);
}

#[test]
fn containers_of_one_machine_share_its_uuid() {
    let contain = |facts: &mut Facts| {
        facts.product_uuid = Some("x".into());
        facts.virtualization = Some("systemd-nspawn".into());
    };
    assert_eq!(set(contain).found(), ["* UniqueProductUUID warning: n2 and n3 have the same product_uuid x"]);
    let mixed = set(contain).on("n3", |facts| facts.virtualization = Some("kvm".into()));
    assert_eq!(mixed.found(), ["* UniqueProductUUID error: n2 and n3 have the same product_uuid x"]);
}

#[test]
fn a_hostname_that_is_not_the_inventorys() {
    let found = sample().on("n2", |facts| facts.hostname = "n2.example.com".into()).found();
    assert_eq!(found, ["n2 Hostname warning: the host calls itself n2.example.com"]);
}

fn ahead(sample: Sample, host: &str, millis: i64) -> Sample {
    sample.on(host, |facts| facts.time_unix_ms = NOW.checked_add_signed(millis).unwrap())
}

#[test]
fn clocks() {
    // The round trip of 20 ms makes for that much doubt on either side.
    for (millis, expected) in [
        (0, None),
        (1_020, None),
        (-1_020, None),
        (1_021, Some("n2 TimeSkew warning: the clock is at least 1.0 s ahead of the other hosts'")),
        (-30_020, Some("n2 TimeSkew warning: the clock is at least 30.0 s behind the other hosts'")),
        (60_020, Some("n2 TimeSkew warning: the clock is at least 60.0 s ahead of the other hosts'")),
        (60_120, Some("n2 TimeSkew error: the clock is at least 60.1 s ahead of the other hosts'")),
        (-31_536_000_020, Some("n2 TimeSkew error: the clock is at least 31536000.0 s behind the other hosts'")),
    ] {
        let found = ahead(sample(), "n2", millis).found();
        assert_eq!(found, expected.map(String::from).into_iter().collect::<Vec<_>>(), "{millis}");
    }
}

#[test]
fn a_wrong_clock_of_the_control_plane_is_its_own_finding() {
    let found = ahead(sample(), "n1", 90_000).found();
    assert_eq!(found, ["n1 TimeSkew error: the clock is at least 90.0 s ahead of the other hosts'"]);
}

#[test]
fn of_two_hosts_the_control_planes_clock_is_the_measure() {
    for millis in [90_000, -90_000] {
        let mut sample = ahead(sample(), "n2", millis);
        sample.clocks.remove("n3");
        let found = sample.found();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("n2 TimeSkew error"), "{found:?}");
    }
}

#[test]
fn a_slow_answer_excuses_what_it_explains() {
    let mut sample = ahead(sample(), "n2", -5_000);
    sample.clocks.insert("n2".into(), Exchange { asked: NOW - 6_000, answered: NOW });
    assert_eq!(sample.found(), [""; 0]);
    sample.clocks.insert("n2".into(), Exchange { asked: NOW, answered: NOW });
    assert_eq!(sample.found().len(), 1);
}

#[test]
fn without_exchanges_no_clocks_are_compared() {
    let mut sample = ahead(sample(), "n2", 90_000);
    sample.clocks.clear();
    assert_eq!(sample.found(), [""; 0]);
}
