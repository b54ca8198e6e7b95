//! Which addresses a webhook may go to: public ones, and those that the configuration allows.
//!
//! Whoever may make a subscription chooses where this program connects to. Without this list that would reach what only this
//! machine can see: services on loopback, in-house networks, the metadata of a cloud.

use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::model::Subnet;

/// Addresses that belong to nobody on the internet, and what they are.
const CLOSED: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this machine"),
    ("10.0.0.0/8", "a private network"),
    ("100.64.0.0/10", "a network behind a carrier, or the metadata of a cloud"),
    ("127.0.0.0/8", "this machine"),
    ("169.254.0.0/16", "the local link, or the metadata of a cloud"),
    ("172.16.0.0/12", "a private network"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "a relay between IPv6 and IPv4"),
    ("192.168.0.0/16", "a private network"),
    ("198.18.0.0/15", "for measurements"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "a multicast group"),
    ("240.0.0.0/4", "reserved"),
    ("::/96", "this machine, or IPv4 in an old form of IPv6"),
    ("64:ff9b::/96", "IPv4 behind a translator"),
    ("64:ff9b:1::/48", "IPv4 behind a translator"),
    ("100::/64", "a black hole"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "for documentation"),
    ("2002::/16", "IPv4 in a tunnel"),
    ("3fff::/20", "for documentation"),
    ("5f00::/16", "reserved for routing"),
    ("fc00::/7", "a private network"),
    ("fe80::/10", "the local link"),
    ("fec0::/10", "a private network"),
    ("ff00::/8", "a multicast group"),
];

static SUBNETS: LazyLock<Vec<(Subnet, &'static str)>> = LazyLock::new(|| {
    let subnet = |(text, what): &(&str, &'static str)| Subnet::parse(text).ok().map(|subnet| (subnet, *what));
    CLOSED.iter().filter_map(subnet).collect()
});

/// An address to which no webhook goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    pub address: IpAddr,
    /// What the address is.
    pub what: &'static str,
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; notify.allow does not name it", self.address, self.what)
    }
}

impl std::error::Error for Blocked {}

/// Whether a webhook may go to an address. IPv4 in the clothes of IPv6 is judged as IPv4.
pub fn judge(address: IpAddr, allow: &[Subnet]) -> Result<(), Blocked> {
    let address = address.to_canonical();
    if allow.iter().any(|subnet| subnet.contains(address)) {
        return Ok(());
    }
    match SUBNETS.iter().find(|(subnet, _)| subnet.contains(address)) {
        Some((_, what)) => Err(Blocked { address, what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_closed_subnet_is_read() {
        assert_eq!(SUBNETS.len(), CLOSED.len());
    }

    #[test]
    fn both_ends_of_every_closed_subnet_are_blocked_and_their_neighbours_are_not() {
        for (address, closed) in [
            ("0.0.0.0", true),
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("100.63.255.255", false),
            ("100.64.0.0", true),
            ("100.100.100.200", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("126.255.255.255", false),
            ("127.0.0.1", true),
            ("127.255.255.255", true),
            ("128.0.0.0", false),
            ("169.253.255.255", false),
            ("169.254.169.254", true),
            ("169.255.0.0", false),
            ("172.15.255.255", false),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.0.0.255", true),
            ("192.0.1.0", false),
            ("192.0.2.1", true),
            ("192.167.255.255", false),
            ("192.168.0.0", true),
            ("192.169.0.0", false),
            ("198.17.255.255", false),
            ("198.18.0.0", true),
            ("198.19.255.255", true),
            ("198.20.0.0", false),
            ("198.51.100.7", true),
            ("203.0.113.7", true),
            ("223.255.255.255", false),
            ("224.0.0.1", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
            ("93.184.216.34", false),
            ("::", true),
            ("::1", true),
            ("::127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("::ffff:93.184.216.34", false),
            ("64:ff9b::7f00:1", true),
            ("64:ff9b:1::1", true),
            ("100::1", true),
            ("2001::1", true),
            ("2001:db8::1", true),
            ("2001:4860:4860::8888", false),
            ("2002:7f00:1::", true),
            ("2606:2800:220:1::1", false),
            ("5f00::1", true),
            ("fbff::1", false),
            ("fc00::1", true),
            ("fdff::1", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("fec0::1", true),
            ("ff02::1", true),
        ] {
            assert_eq!(judge(address.parse().unwrap(), &[]).is_err(), closed, "{address}");
        }
    }

    #[test]
    fn what_the_configuration_allows_is_open_and_nothing_beside_it() {
        let allow = [Subnet::parse("10.1.0.0/16").unwrap(), Subnet::parse("::1").unwrap()];
        for (address, closed) in [
            ("10.1.2.3", false),
            ("::ffff:10.1.2.3", false),
            ("10.2.0.0", true),
            ("::1", false),
            ("127.0.0.1", true),
            ("64:ff9b::a01:203", true),
        ] {
            assert_eq!(judge(address.parse().unwrap(), &allow).is_err(), closed, "{address}");
        }
    }
}
