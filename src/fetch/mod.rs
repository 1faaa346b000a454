//! Downloads and look-ups over the network: one HTTP client, one retry policy, and one table of what goes wrong.
//!
//! A [`Fault`] is why an attempt failed. It decides whether another attempt may help ([`Retry`]), and it words the one cause
//! and the one fix. Programs that fetch by themselves (apt, crictl) have their output read into the same faults. Nothing here
//! knows what a key, a package list or an image is for.

mod fault;
mod output;
mod retry;
#[cfg(test)]
pub(crate) mod testing;
mod web;

pub use fault::{Fault, Kind, Sort};
pub use output::{of_apt, of_crictl};
#[cfg(test)]
pub use retry::Policy;
pub use retry::{Attempt, Retry};
pub use web::{Answer, Ask, Web, by_the_clock};
