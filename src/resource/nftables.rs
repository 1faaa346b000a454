//! The tables of nftables, through the kernel's own interface: hosts have `iptables` and no `nft`.

use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with};

use crate::engine::{Failure, Output, Result};

/// The query that [`list`] answers in the place of `nft`, and in its words.
pub(super) const LIST: &[&str] = &["nft", "list", "tables"];

// linux/netfilter/nfnetlink.h and nf_tables.h
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const TABLE_NAME: u16 = 1;
// linux/netlink.h
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;

const FAMILIES: [(u8, &str); 6] = [(1, "inet"), (2, "ip"), (3, "arp"), (5, "netdev"), (7, "bridge"), (10, "ip6")];

/// As `nft list tables` prints them; an exit code of 1 where the kernel can't tell.
pub(super) fn list() -> Output {
    match tables() {
        Ok(tables) => {
            let lines = tables.iter().map(|(family, name)| format!("table {family} {name}\n"));
            Output { code: Some(0), stdout: lines.collect(), stderr: String::new() }
        }
        Err(error) => Output { code: Some(1), stdout: String::new(), stderr: error.to_string() },
    }
}

/// Deletes a table and what is in it; no error where there is none.
pub(super) fn delete(family: &str, table: &str) -> Result<()> {
    let number = FAMILIES.iter().find(|(_, name)| *name == family).map(|(number, _)| *number);
    let number = number.ok_or_else(|| Failure::new(format!("there is no family {family} of nftables")))?;
    let failed = |error: rustix::io::Errno| Failure::new(format!("the kernel says {error}"));
    if !tables().map_err(failed)?.iter().any(|(f, name)| f == family && name == table) {
        return Ok(());
    }
    let mut request = message(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, &[]);
    request.extend(message(DELETE_TABLE, REQUEST | ACKNOWLEDGE, number, 0, &name_attribute(table)));
    request.extend(message(BATCH_END, REQUEST, 0, SUBSYSTEM, &[]));
    let socket = open().map_err(failed)?;
    send(&socket, &request, SendFlags::empty()).map_err(failed)?;
    let mut buffer = vec![0; 1 << 16];
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).map_err(failed)?;
    let refused = messages(&buffer[..length]).into_iter().find_map(|(kind, body)| (kind == ERROR).then(|| errno(body)));
    refused.flatten().map_or(Ok(()), |error| Err(failed(error)))
}

fn open() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    // The kernel answers at once or never; nobody waits longer.
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Recv,
        Some(std::time::Duration::from_secs(5)),
    )?;
    Ok(socket)
}

fn tables() -> rustix::io::Result<Vec<(String, String)>> {
    let socket = open()?;
    send(&socket, &message(GET_TABLE, REQUEST | DUMP, 0, 0, &[]), SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if listed(&buffer[..length], &mut found)? {
            return Ok(found);
        }
    }
}

/// Adds the tables in a part of the kernel's answer; whether it was the last part.
pub(super) fn listed(answer: &[u8], found: &mut Vec<(String, String)>) -> rustix::io::Result<bool> {
    for (kind, body) in messages(answer) {
        match kind {
            NEW_TABLE => found.extend(table(body)),
            DONE => return Ok(true),
            ERROR => return errno(body).map_or(Ok(true), Err),
            _ => {}
        }
    }
    Ok(false)
}

/// A message: netlink's header, the netfilter's of family and number, and attributes.
fn message(kind: u16, flags: u16, family: u8, number: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + 4 + attributes.len()).expect("a name is short");
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(number.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn name_attribute(name: &str) -> Vec<u8> {
    let length = u16::try_from(4 + name.len() + 1).expect("a name is short");
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(TABLE_NAME.to_ne_bytes());
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The kinds and bodies of messages that lie one behind the other.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= HEADER {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        found.push((u16::from_ne_bytes([bytes[4], bytes[5]]), &bytes[HEADER..length]));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

/// The family and name of a table.
fn table(body: &[u8]) -> Option<(String, String)> {
    let family = FAMILIES.iter().find(|(number, _)| Some(number) == body.first())?.1;
    let mut attributes = body.get(4..)?;
    while attributes.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        let value = attributes.get(4..length)?;
        if kind == TABLE_NAME {
            let name = value.split(|byte| *byte == 0).next()?;
            return Some((family.into(), String::from_utf8_lossy(name).into_owned()));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The error in an acknowledgement, which begins with 0 or a negative error number.
fn errno(body: &[u8]) -> Option<rustix::io::Errno> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    // What is no error number of Linux (include/linux/err.h) would panic.
    let number = code.checked_neg().filter(|number| (1..4096).contains(number));
    (code != 0).then(|| number.map_or(rustix::io::Errno::IO, rustix::io::Errno::from_raw_os_error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = message(NEW_TABLE, 0, 2, 0, &name_attribute("filter"));
        bytes.extend(message(NEW_TABLE, 0, 10, 0, &name_attribute("kube-proxy")));
        let found: Vec<_> = messages(&bytes).into_iter().filter_map(|(_, body)| table(body)).collect();
        let pair = |family: &str, name: &str| (family.to_string(), name.to_string());
        assert_eq!(found, [pair("ip", "filter"), pair("ip6", "kube-proxy")]);
    }

    #[test]
    fn what_is_no_error_number_is_an_error_all_the_same() {
        let told = |code: i32| errno(&code.to_ne_bytes());
        assert_eq!((told(0), told(-1)), (None, Some(rustix::io::Errno::PERM)));
        for odd in [1, 5, -4096, i32::MIN, i32::MAX] {
            assert_eq!(told(odd), Some(rustix::io::Errno::IO), "{odd}");
        }
        assert_eq!(errno(&[0; 3]), None);
    }

    #[test]
    fn a_message_that_was_cut_off_is_passed_over() {
        let whole = message(NEW_TABLE, 0, 2, 0, &name_attribute("filter"));
        for cut in 0..whole.len() {
            assert_eq!(messages(&whole[..cut]).len(), 0, "cut at {cut}");
            let _ = table(&whole[..cut]);
        }
    }
}
