//! The kernel's tables below /proc, from their text. Pure.

use camino::Utf8PathBuf;

/// The names of the network links in /proc/net/dev, whose first two lines are a head.
pub fn links(dev: &str) -> impl Iterator<Item = &str> {
    dev.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim())
}

/// The ports of the sockets in /proc/net/tcp, udp and the like that are in this state (net/tcp_states.h, as two hexadecimal digits).
pub fn ports<'a>(sockets: &'a str, state: &'a str) -> impl Iterator<Item = u16> + 'a {
    let port = move |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        let (_, port) = local.rsplit_once(':')?;
        (found == state).then(|| u16::from_str_radix(port, 16).ok())?
    };
    sockets.lines().skip(1).filter_map(port)
}

/// The state of a TCP socket that waits for connections.
pub const LISTEN: &str = "0A";

/// A line of /proc/PID/mountinfo (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub id: u64,
    /// Where it is mounted, without links.
    pub point: Utf8PathBuf,
    /// The file system's type: `ext4`, `nfs4`.
    pub kind: String,
    /// What is mounted: a device, an export, or a word for it.
    pub source: String,
}

impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.source)
    }
}

/// The mounts in /proc/PID/mountinfo, in the order in which they were mounted, without those whose mount point was removed.
pub fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount> {
    let read = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ');
        let (id, point) = (fields.next()?.parse().ok()?, unescape(fields.nth(3)?));
        let mut fields = right.split(' ');
        let (kind, source) = (fields.next()?, fields.next()?);
        Some(Mount { id, point: point.into(), kind: kind.into(), source: unescape(source) })
    };
    mountinfo.lines().filter_map(read).filter(|mount| !mount.point.as_str().ends_with("//deleted"))
}

/// The kernel writes a space as `\040`, and so on: three octal digits (fs/proc_namespace.c, mangle).
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        let code = digits.map(|digits| digits.iter().fold(0u32, |code, digit| code * 8 + u32::from(digit - b'0')));
        match code.and_then(|code| u8::try_from(code).ok()).filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a kernel parameter is, by the name that sysctl(8) has for it: dots and slashes change places.
pub fn sysctl(key: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("/proc/sys/{}", swapped(key)))
}

/// The name that sysctl(8) has for a kernel parameter, by its path below /proc/sys.
pub fn sysctl_key(path: &str) -> String {
    swapped(path)
}

fn swapped(name: &str) -> String {
    let swap = |c: char| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_names() {
        let dev = "Inter-|   Receive\n face |bytes\n    lo: 0 0\nflannel.1:10 1\n";
        assert_eq!(links(dev).collect::<Vec<_>>(), ["lo", "flannel.1"]);
    }

    #[test]
    fn ports_are_those_of_sockets_in_a_state() {
        let tcp = "  sl  local_address rem_address   st\n\
            \x20  0: 00000000:0016 00000000:0000 0A 0\n   1: 0100007F:1F90 00000000:0000 01 0\n   2: broken\n";
        assert_eq!(ports(tcp, LISTEN).collect::<Vec<_>>(), [22]);
        assert_eq!(ports(tcp, "01").collect::<Vec<_>>(), [8080]);
    }

    #[test]
    fn mounts_have_names_with_spaces_and_backslashes() {
        let mountinfo = "36 35 98:0 / /a rw shared:1 - ext4 /dev/sda rw\n\
            37 36 0:45 / /a/b\\040c\\134040 rw - tmpfs my\\040disk rw\n38 36 0:46 / /a/d//deleted rw - tmpfs x rw\nbroken\n";
        let found: Vec<String> = mounts(mountinfo).map(|m| format!("{} {}: {m}", m.id, m.point)).collect();
        assert_eq!(found, ["36 /a: ext4 /dev/sda", "37 /a/b c\\040: tmpfs my disk"]);
    }

    #[test]
    fn a_link_with_a_dot_has_a_slash_in_its_parameter_s_name() {
        assert_eq!(sysctl("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(sysctl("net.ipv4.conf.eth0/100.rp_filter"), "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(sysctl_key("net/ipv4/conf/eth0.100/rp_filter"), "net.ipv4.conf.eth0/100.rp_filter");
    }
}
