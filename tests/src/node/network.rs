//! The addresses of one node: those of its pods, and of the Services of its cluster.
//!
//! No kube-proxy runs, so no address of a Service leads anywhere, but for one: Service `kubernetes` has the first address of
//! its range, and that is also the gateway of the pods, an address of this machine. What listens there
//! ([`super::gateway`]) is what a pod reaches when it asks for the API server, as in any other cluster.

use std::net::Ipv4Addr;

use crate::testbed::keys;

/// Which 256 addresses of 198.18.0.0/15 (set aside for tests of networks) it is. Several testbeds stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(u16);

impl Network {
    pub(crate) fn random() -> Network {
        let sum = |sum: u16, byte| sum.wrapping_mul(31).wrapping_add(u16::from(byte));
        Network(keys::random_token().bytes().fold(0, sum) % 512)
    }

    fn address(self, last: u8) -> Ipv4Addr {
        let [third, carry] = [self.0 % 256, self.0 / 256];
        Ipv4Addr::new(198, if carry == 0 { 18 } else { 19 }, u8::try_from(third).unwrap_or(u8::MAX), last)
    }

    pub(super) fn all(self) -> String {
        format!("{}/24", self.address(0))
    }

    /// The lower half, for `--service-cluster-ip-range`.
    pub(crate) fn services(self) -> String {
        format!("{}/25", self.address(0))
    }

    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.address(1)
    }

    /// Of the upper half.
    pub(super) fn first_of_pods(self) -> Ipv4Addr {
        self.address(128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_has_addresses_of_the_range_for_tests() {
        for (number, services, gateway) in [
            (0, "198.18.0.0/25", "198.18.0.1"),
            (255, "198.18.255.0/25", "198.18.255.1"),
            (511, "198.19.255.0/25", "198.19.255.1"),
        ] {
            let network = Network(number);
            assert_eq!(
                (network.services().as_str(), network.gateway().to_string().as_str()),
                (services, gateway)
            );
        }
    }
}
