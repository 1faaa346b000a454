//! Swap off, now and at boot: the kubelet refuses to start with it.

use crate::resource::{Converge, Edited, SwapOff};

pub fn step() -> Converge {
    Converge::new("disable-swap", "Switch swap off").with(SwapOff).with(Edited::new("/etc/fstab", without_swap))
}

/// Comments out the lines that mount swap.
fn without_swap(fstab: &str) -> String {
    let lines = fstab.split_inclusive('\n').map(|line| {
        let is_swap = !line.trim_start().starts_with('#') && line.split_whitespace().nth(2) == Some("swap");
        if is_swap { format!("# {line}") } else { line.to_string() }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_commented_out_and_all_else_kept() {
        let fstab = "# header\nUUID=a / ext4 defaults 0 1\n/dev/sda2 none swap sw 0 0\n  /swapfile\tnone\tswap\tsw 0 0";
        let edited = without_swap(fstab);
        assert_eq!(
            edited,
            "# header\nUUID=a / ext4 defaults 0 1\n# /dev/sda2 none swap sw 0 0\n#   /swapfile\tnone\tswap\tsw 0 0"
        );
        assert_eq!(without_swap(&edited), edited);
    }
}
