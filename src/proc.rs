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

/// The mount points in /proc/PID/mountinfo, in the order in which they were mounted.
pub fn mount_points(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape)
}

/// The kernel writes a space as `\040`, and so on.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_string(), |text, (code, character)| text.replace(code, character))
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
    fn a_mount_point_may_have_a_space() {
        let mountinfo = "36 35 98:0 / /a rw - ext4 /dev/sda rw\n37 36 0:45 / /a/b\\040c rw - tmpfs tmpfs rw\n";
        assert_eq!(mount_points(mountinfo).collect::<Vec<_>>(), ["/a", "/a/b c"]);
    }

    #[test]
    fn a_link_with_a_dot_has_a_slash_in_its_parameter_s_name() {
        assert_eq!(sysctl("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(sysctl("net.ipv4.conf.eth0/100.rp_filter"), "/proc/sys/net/ipv4/conf/eth0.100/rp_filter");
        assert_eq!(sysctl_key("net/ipv4/conf/eth0.100/rp_filter"), "net.ipv4.conf.eth0/100.rp_filter");
    }
}
