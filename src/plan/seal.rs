//! Plans as text, with a checksum by which a file that was cut off, damaged or edited is known. It proves no origin: whoever may write
//! the file may make it right again.

use serde::Deserialize;

use super::{SavedPlan, VERSION};
use crate::engine::sha256;

/// Why a text is no plan that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("it is not a plan of kboot's, or was cut off: {0}")]
    Unreadable(String),
    #[error("its format is version {0}, and this kboot knows version {VERSION}")]
    Format(u32),
    #[error("kboot {0} made it, and this is kboot {ours}", ours = env!("CARGO_PKG_VERSION"))]
    OtherKboot(String),
    #[error("it was changed after kboot wrote it")]
    Edited,
}

impl PlanError {
    pub fn hint(&self) -> &'static str {
        "make a new plan: kboot plan -i INVENTORY --out FILE"
    }
}

/// What any version's plan has.
#[derive(Deserialize)]
struct Head {
    version: u32,
    kboot: String,
    seal: String,
}

impl SavedPlan {
    /// The file's text, sealed.
    pub fn to_text(&self) -> String {
        let unsealed = Self { seal: zeros(), ..self.clone() };
        let text = serde_json::to_string_pretty(&unsealed).expect("a plan is plain data with string keys");
        text.replacen(&zeros(), &sha256(text.as_bytes()), 1)
    }

    /// Reads a file's text, every byte of which must be as it was written.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let head: Head = serde_json::from_str(text).map_err(|error| PlanError::Unreadable(error.to_string()))?;
        if head.version != VERSION {
            return Err(PlanError::Format(head.version));
        }
        if head.kboot != env!("CARGO_PKG_VERSION") {
            return Err(PlanError::OtherKboot(head.kboot));
        }
        let is_seal = head.seal.len() == zeros().len();
        if !is_seal || sha256(text.replacen(&head.seal, &zeros(), 1).as_bytes()) != head.seal {
            return Err(PlanError::Edited);
        }
        serde_json::from_str(text).map_err(|error| PlanError::Unreadable(error.to_string()))
    }
}

fn zeros() -> String {
    "0".repeat(64)
}
