//! `kboot token`

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::bootstrap::token::SECRET_PREFIX;
use crate::bootstrap::token::TokenError;
use crate::bootstrap::token_secret::{self, DEFAULT_GROUP, DEFAULT_LIFETIME, Grant, Listed, NAMESPACE};
use crate::bootstrap::{ClusterInfo, Token as BootstrapToken, cluster_info, discovery};
use crate::engine::Failure;
use crate::inventory::Period;
use crate::kube::{Connector, View, Writer};
use crate::pki::ca_hashes;
use crate::report::clean_line;

use super::exit::{Problem, print, print_json, unreadable};
use super::{Global, Output};

pub const ADMIN_CONF: &str = "/etc/kubernetes/admin.conf";

/// Create, list and delete the tokens with which machines join
///
/// Run this on a control plane, or on a machine with an administrator's kubeconfig.
#[derive(Subcommand)]
pub enum Token {
    Create(Create),
    List(List),
    Delete(Delete),
}

#[derive(Args)]
struct Access {
    /// The kubeconfig for the connection to the cluster
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", default_value = ADMIN_CONF, hide_env_values = true)]
    kubeconfig: Utf8PathBuf,
}

/// Create a token and print it
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot token create --print-join-command
  kboot token create --ttl 2h --description 'for rack 7'")]
pub struct Create {
    /// The token, in the form abcdef.0123456789abcdef. Default: a random token
    // Not parsed by clap: its errors would repeat the secret.
    token: Option<String>,
    /// How long the token is valid, for example 30m, 24h or 7d; 0 for no expiry
    #[arg(long, value_name = "TIME", default_value_t = format!("{}h", DEFAULT_LIFETIME.whole_hours()))]
    ttl: String,
    /// The purpose of the token, in your own words
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The allowed uses of the token
    #[arg(long, value_name = "USAGE,…", value_delimiter = ',', default_value = "signing,authentication", value_parser = ["signing", "authentication"])]
    usages: Vec<String>,
    /// The groups of a client that authenticates with the token
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',', default_value = DEFAULT_GROUP, value_parser = group)]
    groups: Vec<String>,
    /// Print the complete `kboot join` command
    #[arg(long)]
    print_join_command: bool,
    #[command(flatten)]
    access: Access,
}

/// List the tokens
#[derive(Args)]
#[command(after_help = "\
Examples:
  kboot token list
  kboot token list --output json")]
pub struct List {
    #[command(flatten)]
    access: Access,
}

/// Delete tokens
#[derive(Args)]
#[command(after_help = "Example:\n  kboot token delete abcdef")]
pub struct Delete {
    /// Tokens, or their IDs: the part before the dot
    #[arg(required = true, value_name = "TOKEN")]
    ids: Vec<String>,
    #[command(flatten)]
    access: Access,
}

fn group(text: &str) -> Result<String, String> {
    match token_secret::is_group(text) {
        true => Ok(text.into()),
        false => {
            Err("it begins with system:bootstrappers: and goes on with lower-case letters, digits, : and -".into())
        }
    }
}

/// A new token.
pub fn generate() -> Result<BootstrapToken, Failure> {
    BootstrapToken::generate().map_err(|error| Failure::new(format!("failed to {error}")))
}

/// Parses a token. The error does not repeat the token.
pub fn parse(text: &str) -> Result<BootstrapToken, Problem> {
    text.parse().map_err(|error: TokenError| Problem::usage(format!("failed to {error}")))
}

/// The ID of a token, from the token or its first half.
fn token_id(text: &str) -> Result<&str, Problem> {
    let id = text.split('.').next().unwrap_or_default();
    let is_id = id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_id {
        return Ok(id);
    }
    Err(Problem::usage("failed to read the token: it must begin with six lower-case letters and digits, as abcdef")
        .hint("`kboot token list` shows the tokens"))
}

impl Token {
    pub async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        match self {
            Token::Create(create) => create.run(global).await,
            Token::List(list) => list.run(global).await,
            Token::Delete(delete) => delete.run(global).await,
        }
    }
}

impl Create {
    async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let expires = expiry(&self.ttl)?;
        let token = match self.token {
            Some(text) => parse(&text)?,
            None => generate()?,
        };
        let (view, writer) = open(&self.access.kubeconfig).await?;
        if secret(&view, &token).await?.is_some() {
            return Err(Problem::usage(format!("there is a token {} already", token.id()))
                .hint(format!("delete it first: kboot token delete {}", token.id())));
        }
        let grant = Grant { description: self.description, expires, usages: self.usages, groups: self.groups };
        writer.apply(&token_secret::secret_object(&token, &grant)).await?;
        remember_expiry(&writer, &token, expires).await?;
        let join = match self.print_join_command {
            true => {
                signed(&view, &token).await?;
                Some(join_line(&view, &token).await?)
            }
            false => None,
        };
        let token = token.expose();
        match global.output {
            Output::Json => print_json(&json!({"token": token.expose_secret(), "joinCommand": join}))?,
            Output::Auto | Output::Plain => print(&format!("{}\n", join.as_deref().unwrap_or(token.expose_secret())))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Records when the token expires. A machine that joins too late then gets that as the reason, after the token itself is gone.
async fn remember_expiry(
    writer: &Writer,
    token: &BootstrapToken,
    expires: Option<OffsetDateTime>,
) -> Result<(), Failure> {
    let Some(expires) = expires else { return Ok(()) };
    let (key, value) = cluster_info::expiry_annotation(token.id(), expires);
    writer
        .update("v1", "ConfigMap", Some("kube-public"), "cluster-info", |object: &mut Value| {
            object["metadata"]["annotations"][&key] = json!(value);
        })
        .await
}

/// Waits until the controller manager has signed cluster-info with the token. No machine can join with it before that.
async fn signed(view: &View, token: &BootstrapToken) -> Result<(), Failure> {
    for _ in 0..100 {
        let info = view.get("v1", "ConfigMap", Some("kube-public"), "cluster-info").await?;
        if info.is_some_and(|info| cluster_info::is_signed(&info, token)) {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    Err(Failure::new("the token was made, but cluster-info was not signed with it within 10 s")
        .hint_text("see that the controller manager runs: kubectl -n kube-system get pods"))
}

fn expiry(ttl: &str) -> Result<Option<OffsetDateTime>, Problem> {
    if ttl == "0" {
        return Ok(None);
    }
    let now = OffsetDateTime::now_utc();
    // Tokens, unlike certificates, may be valid for minutes only.
    let short = [("s", 1), ("m", 60)].iter().find_map(|(unit, seconds)| {
        let number: i64 = ttl.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    if let Some(seconds) = short.filter(|seconds| *seconds > 0) {
        return Ok(Some(now + time::Duration::seconds(seconds)));
    }
    match ttl.parse::<Period>() {
        Ok(period) => Ok(Some(now + time::Duration::hours(i64::from(period.hours())))),
        Err(_) => {
            Err(Problem::usage(format!("--ttl {ttl} is not a time")).hint("write it as 30m, 24h or 7d; 0 for ever"))
        }
    }
}

impl List {
    async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let (view, _) = open(&self.access.kubeconfig).await?;
        let tokens = all(&view).await?;
        if matches!(global.output, Output::Json) {
            for listed in tokens {
                let mut shown = serde_json::to_value(&listed.grant).expect("plain data");
                shown["token"] = json!(listed.token.expose().expose_secret());
                print_json(&shown)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = format!("{:<25}{:<22}{:<24}DESCRIPTION\n", "TOKEN", "EXPIRES", "USAGES");
        for listed in tokens {
            let expires =
                listed.grant.expires.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| "never".into());
            let description = listed.grant.description.unwrap_or_default();
            let usages = listed.grant.usages.join(",");
            let token = listed.token.expose();
            let line = format!("{:<25}{expires:<22}{usages:<24}{description}", token.expose_secret());
            out += &format!("{}\n", clean_line(&line));
        }
        print(&out)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self, global: Global) -> Result<ExitCode, Problem> {
        let ids = self.ids.iter().map(|text| token_id(text)).collect::<Result<Vec<_>, _>>()?;
        let (view, writer) = open(&self.access.kubeconfig).await?;
        for id in ids {
            let name = format!("{}{id}", SECRET_PREFIX);
            if view.get("v1", "Secret", Some(NAMESPACE), &name).await?.is_none() {
                return Err(Problem::Failed(
                    Failure::new(format!("there is no token {id}")).hint_text("see `kboot token list`"),
                ));
            }
            writer.delete("v1", "Secret", Some(NAMESPACE), &name).await?;
            match global.output {
                Output::Json => print_json(&json!({ "deleted": id }))?,
                Output::Auto | Output::Plain => print(&format!("deleted token {id}\n"))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn open(kubeconfig: &Utf8Path) -> Result<(View, Writer), Problem> {
    // An empty KUBECONFIG counts as unset, as in kubectl.
    let kubeconfig = if kubeconfig.as_str().is_empty() { Utf8Path::new(ADMIN_CONF) } else { kubeconfig };
    if !kubeconfig.exists() {
        return Err(Problem::usage(format!("there is no {kubeconfig}"))
            .hint("run this on a control plane, or name a kubeconfig: --kubeconfig FILE"));
    }
    std::fs::read(kubeconfig).map_err(|error| unreadable(kubeconfig, &error))?;
    // kboot has not contacted the cluster yet, so the fault is in the file.
    Connector::open(kubeconfig).await.map_err(|failure| {
        Problem::Usage(failure).hint(format!("look at it with `kubectl config view --kubeconfig {kubeconfig}`"))
    })
}

async fn all(view: &View) -> Result<Vec<Listed>, Failure> {
    let secrets = view.list("v1", "Secret", Some(NAMESPACE), "").await?;
    Ok(secrets.iter().filter_map(|secret| token_secret::from_secret(secret).ok()).collect())
}

async fn secret(view: &View, token: &BootstrapToken) -> Result<Option<Value>, Failure> {
    view.get("v1", "Secret", Some(NAMESPACE), &token.secret_name()).await
}

/// The `kboot join` command with a token that is still valid; None if there is none.
pub async fn join_command(kubeconfig: &Utf8Path) -> Result<Option<String>, Problem> {
    let (view, _) = Connector::open(kubeconfig).await?;
    let soon = OffsetDateTime::now_utc() + time::Duration::minutes(10);
    let usable = all(&view)
        .await?
        .into_iter()
        .find(|listed| !listed.is_expired(soon) && listed.grant.groups.iter().any(|group| group == DEFAULT_GROUP));
    match usable {
        Some(listed) => {
            signed(&view, &listed.token).await?;
            Ok(Some(join_line(&view, &listed.token).await?))
        }
        None => Ok(None),
    }
}

async fn join_line(view: &View, token: &BootstrapToken) -> Result<String, Failure> {
    let unreadable = || {
        Failure::new("the cluster has no usable ConfigMap kube-public/cluster-info")
            .hint_text("run `kboot init` or `kboot up` again")
    };
    let info = view.get("v1", "ConfigMap", Some("kube-public"), "cluster-info").await?;
    let text = info.as_ref().and_then(|info| info["data"]["kubeconfig"].as_str()).ok_or_else(unreadable)?;
    let ClusterInfo { server, ca_pem } = discovery::parse(text).map_err(|_| unreadable())?;
    let hashes = ca_hashes(&ca_pem).map_err(|error| Failure::new(format!("failed to {error}")))?;
    let pins: Vec<String> = hashes.iter().map(|hash| format!("--discovery-token-ca-cert-hash {hash}")).collect();
    let endpoint = server.trim_start_matches("https://");
    let token = token.expose();
    Ok(format!("kboot join {endpoint} --token {} {}", token.expose_secret(), pins.join(" ")))
}
