//! Subnets of internet addresses: `10.1.0.0/16`, `fd00::/8`.

use std::fmt;
use std::net::IpAddr;

use super::error::{Error, Result};

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subnet {
    first: IpAddr,
    bits: u32,
}

impl Subnet {
    /// Reads `10.1.0.0/16`; an address alone is a subnet of one.
    pub fn parse(text: &str) -> Result<Subnet> {
        let broken = |what: String| Error::invalid(what).hint("write it like 10.1.0.0/16 or fd00::/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let first: IpAddr = address.parse().map_err(|_| broken(format!("{text:?} is no subnet")))?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(bits) => {
                let number = bits.parse().ok().filter(|number| *number <= width && bits.len() <= 3);
                number.ok_or_else(|| broken(format!("the length in {text:?} is none of 0 to {width}")))?
            }
        };
        let subnet = Subnet { first, bits };
        if subnet.prefix(first) != Some(number(first)) {
            let message = format!("the address in {text:?} has bits beyond the first {bits}");
            return Err(Error::invalid(message).hint("write the subnet's first address before the slash"));
        }
        Ok(subnet)
    }

    /// Whether it holds an address. IPv4 in the clothes of IPv6 (`::ffff:10.1.2.3`) is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.prefix(address.to_canonical()) == Some(number(self.first))
    }

    /// An address with the bits behind the prefix cleared; `None` for one of the other family.
    fn prefix(&self, address: IpAddr) -> Option<u128> {
        if address.is_ipv4() != self.first.is_ipv4() {
            return None;
        }
        let width = if address.is_ipv4() { 32 } else { 128 };
        let behind = width - self.bits;
        let number = number(address);
        Some(number.checked_shr(behind).and_then(|bits| bits.checked_shl(behind)).unwrap_or(0))
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_hold_their_addresses_and_no_others() {
        for (subnet, address, expected) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.0.0/16", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001::1", true),
            ("::/0", "1.2.3.4", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1/128", "::1", true),
        ] {
            let (subnet, address) = (Subnet::parse(subnet).unwrap(), address.parse().unwrap());
            assert_eq!(subnet.contains(address), expected, "{subnet} {address}");
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused_with_what_to_write() {
        for text in
            ["", "10.1", "10.1.0.0/33", "10.1.0.0/", "10.1.0.0/-1", "10.1.2.3/16", "::1/129", "0x7f.1/8", "a/8", "/8"]
        {
            assert!(Subnet::parse(text).unwrap_err().hint_text().is_some(), "{text}");
        }
    }
}
