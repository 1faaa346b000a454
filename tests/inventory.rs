//! Inventories as people write them: the good ones load, the bad ones are told in full.

#[path = "inventory/bad.rs"]
mod bad;
#[path = "inventory/files.rs"]
mod files;
#[path = "inventory/good.rs"]
mod good;
#[path = "inventory/roundtrip.rs"]
mod roundtrip;
