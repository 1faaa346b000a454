//! Certificates in words: what one says, or will say. Nobody reads base64.

use time::{Duration, OffsetDateTime};

use super::{Line, Page, Style};
use crate::pki::{self, CertificateRequest};

/// What a new certificate will say: whose it is, until when, and its names on a line of their own.
pub(super) fn requested(request: &CertificateRequest, issuer: Option<&str>, now: OffsetDateTime) -> Page {
    let mut subject = format!("CN={}", request.common_name);
    if let Some(organization) = &request.organization {
        subject += &format!(", O={organization}");
    }
    let issuer = issuer.map_or("itself".into(), |path| path.to_string());
    let until = (now + Duration::hours(i64::from(request.validity_hours))).date();
    let mut page: Page =
        [Line::of(Style::Good, format!("+{subject}, signed by {issuer}, valid until {until}"))].into_iter().collect();
    let names: Vec<String> =
        request.dns_names.iter().cloned().chain(request.ip_addresses.iter().map(ToString::to_string)).collect();
    if !names.is_empty() && !request.is_ca {
        page.push(Line::of(Style::Good, format!("+for {}", names.join(" "))));
    }
    page
}

/// A text that is nothing but a certificate, in a line.
pub(super) fn of(text: &str) -> Option<String> {
    text.trim_start().starts_with("-----BEGIN CERTIFICATE-----").then_some(())?;
    pki::describe(text).ok().map(|description| description.to_string())
}
