use super::*;
use crate::preflight::samples::sample;

pub const JOIN: &str = "jjjjjj.jjjjjjjjjjjjjjjj";
pub const USER: &str = "uuuuuu.uuuuuuuuuuuuuuuu";
pub const AUTHORITIES: &str = "the authorities' keys";
pub const ETCD_AUTHORITY: &str = "the key of etcd's authority";
pub const ETCD_CLIENT: &str = "the key of etcd's clients";
pub const CERTIFICATE_KEY: &str = "cccccccccccccccccccccccccccccccc";

fn pem(text: &str) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn files(names: &[&str], text: &str) -> Authorities {
    names.iter().map(|name| ((*name).to_owned(), pem(text))).collect::<BTreeMap<_, _>>().into()
}

fn etcd() -> EtcdFiles {
    let key = EtcdKey::Whole(pem(ETCD_CLIENT).into());
    EtcdFiles { authority: pem("a CA"), certificate: pem("a client"), key }
}

fn join(cluster: &Cluster) -> Join {
    Join { server: format!("https://{}", cluster.endpoint()), ca_pem: pem("a CA"), token: JOIN.parse().unwrap() }
}

impl Secrets {
    /// One of every kind, each known by its text.
    pub fn sample(cluster: &Cluster) -> Self {
        let key = Some((CERTIFICATE_KEY.parse().unwrap(), USER.parse().unwrap()));
        let secrets = Self::default()
            .with_join(Some(join(cluster)))
            .with_authorities(Some(files(&share_authorities::shared(cluster), AUTHORITIES)))
            .with_etcd(Some(etcd()))
            .with_tokens(vec![(USER.parse().unwrap(), Grant::join(None))])
            .with_certificate_key(key);
        Self { etcd_authority: Some(files(&share_etcd::SHARED, ETCD_AUTHORITY)), ..secrets }
    }
}

#[test]
fn what_is_declared_is_declared_of_steps_that_exist() {
    for (step, _) in NEEDS.iter().chain(&GIVES) {
        assert!(crate::steps::names().any(|name| name == *step), "{step}");
    }
    let hand_overs: Vec<_> = hand_overs().collect();
    assert_eq!(
        hand_overs,
        [
            ("issue-join-token", "write-bootstrap-kubeconfig"),
            ("share-authorities", "write-authorities"),
            ("share-etcd", "write-etcd-authority"),
            ("share-etcd", "write-etcd-credentials"),
        ]
    );
}

#[test]
fn what_travels_arrives_whole() {
    let cluster = sample().cluster;
    let Secrets { join, authorities, etcd_authority, etcd, tokens, certificate_key, given: _ } =
        Secrets::sample(&cluster);
    let sent =
        Handout { join, authorities, etcd_authority, etcd, tokens, certificate_key, withholds_certificate_key: true };
    let line = serde_json::to_value(&sent).unwrap();
    let arrived: Handout = serde_json::from_value(line.clone()).unwrap();
    assert_eq!(serde_json::to_value(&arrived).unwrap(), line);
    let kept = [&line["join"]["token"], &line["etcd"]["key"], &line["tokens"][0][0], &line["certificate_key"][0]];
    assert!(kept.iter().all(|value| value.is_string()), "{line}");
    assert!(
        serde_json::from_value::<Handout>(serde_json::json!({"join": {"server": "", "ca_pem": "", "token": "x"}}))
            .is_err()
    );
}

/// n1 and n2 are control planes, and n2 joins; n3 is a worker that does.
fn inputs() -> (Cluster, Inputs) {
    let mut cluster = sample().cluster;
    cluster.hosts[1].roles = cluster.hosts[0].roles.clone();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let inputs = Inputs {
        leader: Some("n1".into()),
        joining: names(&["n2"]),
        unregistered: names(&["n2", "n3"]),
        join_token: JoinToken::ForRun,
        ..Inputs::default()
    };
    (cluster, inputs)
}

fn gift(cluster: &Cluster) -> Outputs {
    let authorities = files(&share_authorities::shared(cluster), AUTHORITIES);
    Outputs { join: Some(join(cluster)), authorities: Some(authorities), ..Outputs::default() }
}

const BOTH: [Secret; 2] = [Secret::JoinToken, Secret::Authorities];

fn accept(secrets: &mut Secrets, outputs: Outputs, host: &str, gives: &[Secret], mode: Mode) -> Result<()> {
    let (cluster, inputs) = inputs();
    let gives = gives.iter().copied().collect();
    secrets.accept(outputs, &Giver { host, cluster: &cluster, inputs: &inputs, gives, mode })
}

#[test]
fn each_is_taken_once_from_who_is_asked_in_the_phase_that_gives_it() {
    let (cluster, _) = inputs();
    let take = |host: &str, gives: &[Secret], mode| accept(&mut Secrets::default(), gift(&cluster), host, gives, mode);
    assert!(take("n1", &BOTH, Mode::Apply).is_ok());
    assert!(take("n2", &BOTH, Mode::Apply).unwrap_err().cause.starts_with("it gave a join token, which nobody asked"));
    assert!(take("n3", &BOTH, Mode::Apply).is_err());
    assert!(take("n1", &[], Mode::Apply).is_err());
    assert!(take("n1", &BOTH[..1], Mode::Apply).is_err());
    assert!(take("n1", &BOTH, Mode::Plan).is_err());
    let mut secrets = Secrets::default();
    assert!(accept(&mut secrets, gift(&cluster), "n1", &BOTH, Mode::Apply).is_ok());
    assert!(accept(&mut secrets, gift(&cluster), "n1", &BOTH, Mode::Apply).is_err());
    assert!(accept(&mut secrets, Outputs::default(), "n3", &[], Mode::Apply).is_ok());
    let etcd = Outputs { etcd: Some(etcd()), ..Outputs::default() };
    assert!(accept(&mut secrets, etcd, "n1", &[Secret::EtcdClient], Mode::Apply).is_err(), "no etcd host leads");
}

#[test]
fn even_a_leader_gives_only_what_it_is_asked_for() {
    let (cluster, _) = inputs();
    let take = |outputs| accept(&mut Secrets::default(), outputs, "n1", &BOTH, Mode::Apply);
    let mut names = share_authorities::shared(&cluster);
    let with = |authorities| Outputs { authorities: Some(authorities), ..Outputs::default() };
    assert!(take(with(files(&names, &"x".repeat(LARGEST)))).is_err());
    names.push("../../shadow");
    assert!(take(with(files(&names, ""))).is_err());
    let elsewhere = Join { server: "https://10.0.0.66:6443".into(), ..join(&cluster) };
    assert!(take(Outputs { join: Some(elsewhere), ..Outputs::default() }).is_err());
}

#[test]
fn a_dry_run_gets_the_digest_of_a_key_and_no_more() {
    let (cluster, inputs) = inputs();
    let to = Receiver {
        host: &cluster.hosts[0],
        inputs: &inputs,
        needs: [Secret::EtcdClient, Secret::CertificateKey].into(),
        mode: Mode::Plan,
    };
    let handout = Secrets::sample(&cluster).for_host(&to);
    assert!(handout.withholds_certificate_key && handout.certificate_key.is_none());
    assert!(handout.etcd.is_some_and(|files| files.key.whole().is_none()));
}
